"""A pool: several devices that share the work of one, and go on if some of them die.

Each device takes a piece of the request, and when it has its result the next one. How much it takes follows
its measured speed. A device that fails is lost until the next load; its piece goes to the others. A device
that does not answer is not waited for: one that has nothing else to do computes the piece too, and the first
result counts. So nothing is lost, and nothing is added twice.
"""

import threading
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from queue import SimpleQueue
from typing import Any

from synflip.errors import DeviceError, DeviceWarning, SynflipError
from synflip.inference.device import Device
from synflip.inference.pieces import Piece, Uncut, Whole, piece_size
from synflip.inference.plan import most_images
from synflip.inference.request import InferenceRequest, Progress
from synflip.inference.result import Result
from synflip.spec.model import CompiledModel
from synflip.util.text import first_line, one_line

LOOK = 0.05  # seconds between two looks at who is late, and at how far the work is
NOT_MEASURED = 1.0  # seconds that a piece is taken to last on a device whose speed is not known
NO_MEMORY = "not enough memory"
PATIENCE = 10.0  # seconds that a load or a close waits for a device that is late


class _Overtaken(Exception):
    """Another device computed the piece, or the run is over."""


class _Member:
    """A device of a pool, and the one thread that calls it, so that no two calls meet.

    lost: why it is out; empty if it is not. told: whether a warning said it. speed: network samples times
    images a second, of its fastest piece.
    """

    def __init__(self, name: str, device: Device) -> None:
        self.name, self.device = name, device
        self.lost, self.told = "", False
        self.speed: float | None = None
        self._calls: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None] = (
            SimpleQueue()
        )
        # A daemon, because a device that never answers must not keep the process from ending.
        threading.Thread(target=self._serve, name=f"pool: {name}", daemon=True).start()

    def call(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Call ``function`` behind all calls before."""
        future: Future[Any] = Future()
        self._calls.put((future, function, arguments))
        return future

    def close(self) -> "Future[Any]":
        """Close the device, now or when it answers, and end the thread."""
        future = self.call(self.device.close)
        self._calls.put(None)
        return future

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function, arguments = call
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # it belongs to whoever waits for the call
                future.set_exception(error)


class Pool(Device):
    """Devices that run one model together. Votes, sums, samples used and logits are those of one device, to
    the bit; ``cycles`` are the sum over the runs of all devices, which are cut as their speeds ask for, -1 if
    one does not know them.

    Their geometries may differ; ``geometry`` is the first one's. Images are shared; network samples only of a
    single image, without early stopping and of devices without tunnel junctions.
    """

    def __init__(self, devices: Sequence[tuple[str, Device]]) -> None:
        """devices: at least one, with the name of each. The pool closes them."""
        self.name = f"pool:{','.join(name for name, _ in devices)}"
        self.geometry = devices[0][1].geometry
        self.numbered = all(device.numbered for _, device in devices)
        self._members = [_Member(name, device) for name, device in devices]

    @property
    def lost(self) -> dict[str, str]:
        """Why devices are out until the next load, by their names."""
        return {member.name: member.lost for member in self._members if member.lost}

    def prepare(self, model: CompiledModel) -> None:
        """Load ``model`` into all devices at once, those that were lost too. One that does not answer is lost
        until the next load, with a DeviceWarning. Raises SynflipError for a model that a device refuses, and
        if no device answers."""
        self.model = None
        idle = [member.call(_nothing) for member in self._members]
        wait_for(idle, PATIENCE)
        loads: dict[_Member, Future[None]] = {}
        for member, free in zip(self._members, idle, strict=True):
            member.speed, member.lost = None, "" if free.done() else "it still does not answer"
            if not member.lost:
                loads[member] = member.call(member.device.load, model)
        wait_for(loads.values())
        for member, load in loads.items():
            error = load.exception()
            if isinstance(error, DeviceError | OSError | MemoryError):
                member.lost = _reason(error)
            elif isinstance(error, SynflipError):
                raise SynflipError(f"{member.name}: {error}")
            elif error is not None:
                raise error
        self._check_lost()
        self.model = model

    def run(self, request: InferenceRequest, progress: Progress | None = None) -> Result:
        """Carry out a request for the model that is loaded. Ctrl-C leaves the pool usable.

        request: shared by all devices that are not lost. progress: called with (done, total), in network
        samples times images, of all devices. A device that fails warns with a DeviceWarning. Raises
        SynflipError, with every device's reason, if all fail.
        """
        members = [member for member in self._members if not member.lost]
        if not members:
            self._check_lost()
        run = _Run(request, members)
        for member in members:
            member.call(run.serve, member)
        whole = run.wait(progress)
        self._check_lost()
        return whole

    def _check_lost(self) -> None:
        """Warn of each device that was lost just now. Raises SynflipError if all are lost."""
        lost = self.lost
        if len(lost) == len(self._members):
            reasons = "; ".join(f"{name}: {why}" for name, why in lost.items())
            raise SynflipError(f"all devices of the pool are lost until the next load: {reasons}")
        for member in self._members:
            if member.lost and not member.told:
                line = f"{member.name} left the pool, and the others do its work: {member.lost}"
                warnings.warn(line, DeviceWarning, stacklevel=4)
            member.told = bool(member.lost)

    def line_bytes(self) -> int:
        """Bytes that the serial lines of all devices have carried since they were opened, both ways."""
        return sum(member.device.line_bytes() for member in self._members)

    def close(self) -> None:
        """Close all devices. One that is late is closed when it answers."""
        wait_for([member.close() for member in self._members], PATIENCE)


class _Run:
    """One request, while the devices share it. All that changes does so under ``_changed``."""

    def __init__(self, request: InferenceRequest, members: Sequence[_Member]) -> None:
        self._request, self._members = request, members
        numbered = all(member.device.numbered for member in members)  # of those that are not lost
        self._uncut, self._whole = Uncut(request, numbered), Whole(request)
        self._total = self._uncut.size
        self._least = max(self._total // (2 * len(members)), 1)
        # Of each piece that is under way: who computes it, since when, in seconds, and how far it is.
        self._given: dict[Piece, dict[_Member, float]] = {}
        self._under_way: dict[Piece, int] = {}
        self._done = 0
        self._over = False
        self._defect: BaseException | None = None
        self._changed = threading.Condition()

    def wait(self, progress: Progress | None) -> Result:
        """The result, when the last piece is there; the devices that still compute one are told to stop."""
        shown = -1
        try:
            with self._changed:
                while not self._over and not all(member.lost for member in self._members):
                    self._changed.wait(LOOK)
                    done = self._done + sum(self._under_way.values())
                    if progress is not None and done > shown:
                        shown = done
                        progress(done, self._total)
                if self._defect is not None:
                    raise self._defect
        finally:
            self._over = True
        return self._whole.result()

    def serve(self, member: _Member) -> None:
        """Let a device compute pieces until there are none. Runs in the device's thread."""
        while (piece := self._next(member)) is not None:

            def watch(done: int, total: int, piece: Piece = piece) -> None:
                with self._changed:
                    if self._over or piece not in self._given:
                        raise _Overtaken
                    self._under_way[piece] = max(self._under_way.get(piece, 0), done)

            try:
                began = time.monotonic()
                result = member.device.run(piece.of(self._request), watch)
                self._deliver(member, piece, result, time.monotonic() - began)
            except _Overtaken:
                pass
            except (SynflipError, OSError, MemoryError) as error:
                self._lose(member, piece, _reason(error))
                return
            except BaseException as error:  # a defect, which is told where the run was asked for
                with self._changed:
                    self._over, self._defect = True, error
                    self._changed.notify_all()
                return

    def _next(self, member: _Member) -> Piece | None:
        """The piece that ``member`` computes next; None when all are done, and if it was lost meanwhile."""
        with self._changed:
            while not self._over and not member.lost:
                piece = self._uncut.take(self._share(member)) if self._uncut else self._late(member)
                if piece is not None:
                    self._given.setdefault(piece, {})[member] = time.monotonic()
                    return piece
                self._changed.wait(LOOK)
            return None

    def _share(self, member: _Member) -> int:
        """How much ``member`` takes: half of its share of what is left, by speed; at least what its memories
        hold at once, if that is no more than half of an equal share of all."""
        request = self._request
        least = max(most_images(request.model, member.device.geometry), 1) * request.samples
        least = min(least, self._least)
        if member.speed is None:
            return least
        speeds = sum(other.speed or 0.0 for other in self._members if not other.lost)
        return piece_size(self._uncut.size * member.speed / speeds, member.speed, least)

    def _late(self, member: _Member) -> Piece | None:
        """A piece of another device that ``member`` would sooner have computed; None if there is none.

        What a device still needs is what its speed says. One that takes longer than that, or whose speed is
        not known, is taken to need as long again as it has taken.
        """
        now = time.monotonic()
        for piece, holders in self._given.items():
            other, began = list(holders.items())[-1]
            taken = now - began
            expected = piece.size / other.speed if other.speed else 0.0
            own = piece.size / member.speed if member.speed else NOT_MEASURED
            if member not in holders and own < (expected - taken if taken < expected else taken):
                return piece
        return None

    def _deliver(self, member: _Member, piece: Piece, result: Result, seconds: float) -> None:
        with self._changed:
            member.speed = max(member.speed or 0.0, max(piece.size, 1) / max(seconds, 1e-9))
            if self._over or self._given.pop(piece, None) is None:
                return  # another device was faster
            self._under_way.pop(piece, None)
            self._whole.add(piece, result)
            self._done += piece.size
            self._over = not self._uncut and not self._given
            self._changed.notify_all()

    def _lose(self, member: _Member, piece: Piece, why: str) -> None:
        with self._changed:
            member.lost = why
            holders = self._given.get(piece, {})
            holders.pop(member, None)
            if piece in self._given and not holders:
                del self._given[piece]
                self._under_way.pop(piece, None)
                self._uncut.give_back(piece)
            self._changed.notify_all()


def _nothing() -> None:
    """What a device that is idle has done at once."""


def _reason(error: Exception) -> str:
    return NO_MEMORY if isinstance(error, MemoryError) else one_line(first_line(error))
