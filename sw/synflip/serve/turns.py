"""Fair turns: the jobs of several people share a device, one turn of each after the other."""

import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

from synflip.errors import SynflipError
from synflip.inference.device import Device
from synflip.util.text import first_line, one_line

MOST_JOBS, MOST_OF_ONE = 64, 8  # that share a device, in all and of one person
JOIN_SECONDS = 10.0  # that the end of a device waits for the turn that is under way


class Busy(SynflipError):
    """As many jobs as a device takes are there already, in all or of one person."""


class Job(Protocol):
    """What is done on a device in turns. Both are called in the device's thread."""

    def turn(self, device: Device) -> bool:
        """Do a little; whether there is more to do. Raises SynflipError if the job cannot go on."""

    def fail(self, why: str) -> None:
        """The job has ended early: ``why``, one line."""


class Turns:
    """A device, and the jobs that share it. A thread of its own does a turn of each person, in a ring, and
    the jobs of one person take their turns.

    So nobody waits longer than a turn of every other person, however many jobs those have. No turn waits for
    the person whose job it is. The device is used in that thread only, and closed there. After it has failed
    it is opened again for the next turn: a board that was reset has lost the model, and says no more.
    """

    def __init__(self, name: str, device: Device, open_again: Callable[[], Device] | None = None) -> None:
        """name: of the device, as the user gave it. open_again: gives the device anew, with the model loaded,
        when the one before is closed; None: that one goes on."""
        self.name, self.device = name, device
        self._open_again, self._failed = open_again, False
        self._ring: dict[str, deque[Job]] = {}  # by person, in the order of their turns: jobs that wait
        self._jobs: Counter[str] = Counter()  # by person, with the one whose turn it is
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"synflip {name}", daemon=True)
        self._thread.start()

    @property
    def jobs(self) -> int:
        """How many jobs share the device now."""
        return self._jobs.total()

    def add(self, job: Job, person: str) -> None:
        """Let ``job`` take turns. person: whose it is. Raises Busy if MOST_JOBS do already, or MOST_OF_ONE of
        the person's, and SynflipError after the end."""
        with self._changed:
            if self._closed:
                raise SynflipError("the server is stopping")
            for count, whose in ((self._jobs[person], " of yours"), (self.jobs, "")):
                if count >= (MOST_OF_ONE if whose else MOST_JOBS):
                    raise Busy(f"{count} runs{whose} share {self.name} already; try again in a moment")
            self._jobs[person] += 1
            self._ring.setdefault(person, deque()).append(job)
            self._changed.notify()

    def end(self) -> None:
        """End all jobs and close the device, after the turn that is under way. Does not wait for it."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def close(self) -> None:
        """``end``, and wait for the turn that is under way, JOIN_SECONDS at most."""
        self.end()
        self._thread.join(JOIN_SECONDS)

    def _work(self) -> None:
        while (turn := self._next()) is not None:
            person, job = turn
            more = False
            try:
                if self._failed and self._open_again is not None:
                    self.device.close()
                    self.device = self._open_again()
                self._failed = False
                more = job.turn(self.device)
            except SynflipError as error:
                self._failed = True
                job.fail(one_line(str(error)))
            except Exception as error:  # a device of another package may raise anything; others go on
                self._failed = True
                job.fail(one_line(f"{self.name}: {type(error).__name__}: {first_line(error)}"))
            with self._changed:
                if more:
                    self._ring.setdefault(person, deque()).append(job)
                else:
                    self._jobs -= Counter((person,))  # who has none left is forgotten
        for jobs in self._ring.values():
            for left in jobs:
                left.fail("the server is stopping")
        self._ring.clear()
        self.device.close()

    def _next(self) -> tuple[str, Job] | None:
        """The person whose turn it is, and the job; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ring or self._closed)
            if self._closed:
                return None
            person = next(iter(self._ring))
            jobs = self._ring.pop(person)
            job = jobs.popleft()
            if jobs:
                self._ring[person] = jobs  # behind all others
            return person, job
