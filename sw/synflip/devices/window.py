"""Many accesses at once: requests that are under way together on a serial line.

docs/reference/uart.md has the rules; ``devices.serial`` has the line."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from types import EllipsisType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from synflip.devices.framing import NOTHING, Reply, request
from synflip.devices.image_code import shortest
from synflip.devices.transport import Access, BusError, ImageWrite, Poll, Read, Write
from synflip.spec.frames import (
    CHAINED,
    NUMBER_BITS,
    QUEUE_OVERHEAD,
    REPLY_WORDS,
    Command,
    Status,
)

NUMBERS = 1 << NUMBER_BITS
PARTS = 4  # requests of the longest write that fit the queue together


@dataclass
class Counters:
    """What happened on the line.

    requests: each counted once. repeats: how often one was sent again, because of: silences: no answer in
    time; damaged_requests: the device could not read it; damaged_replies: wrong CRC here; gaps: one before
    it was lost, with several under way.
    stale: answers to earlier requests, passed over. sent, received: bytes.
    """

    requests: int = 0
    repeats: int = 0
    silences: int = 0
    damaged_requests: int = 0
    damaged_replies: int = 0
    gaps: int = 0
    stale: int = 0
    sent: int = 0
    received: int = 0


@dataclass(eq=False)
class Request:
    """One frame of an access. place: of its first word in the access. chained: see CHAINED."""

    access: Access
    command: Command
    address: int
    count: int
    data: NDArray[np.uint32] = field(default_factory=lambda: NOTHING)
    place: int = 0
    number: int = 0
    frame: bytes = b""

    @property
    def reads(self) -> bool:
        """Whether the answer has data."""
        return self.command in (Command.READ, Command.POLL)

    @property
    def words(self) -> int:
        """Of the queue, at most."""
        return len(self.data) + QUEUE_OVERHEAD

    @property
    def longest_reply(self) -> int:
        """Bytes, every one of them escaped."""
        return 8 * (REPLY_WORDS + self.count * self.reads)


def requests_of(access: Access, burst: int, most: int) -> Iterator[Request]:
    """The frames of an access. burst: words of a write's frame, at most; most: of a read's, and of an
    IMAGE."""
    if isinstance(access, ImageWrite) and not access.zeros:
        code, coded = shortest(access.x)
        if len(coded) <= most and len(coded) < len(access.words):
            yield Request(access, Command.IMAGE, access.address | code, len(coded), coded)
            return
    match access:
        case Write(address=address, words=words) | ImageWrite(address=address, words=words):
            for first in range(0, len(words), burst):
                part = words[first : first + burst]
                yield Request(access, Command.WRITE, address + first, len(part), part)
        case Read(address=address, count=count):
            command = Command.POLL if isinstance(access, Poll) else Command.READ
            for first in range(0, count, most):
                size = min(most, count - first)
                yield Request(access, command, address + first, size, place=first)


class Line(Protocol):
    """What a window sends over; ``devices.serial`` has one.

    tries: how often what gets no answer is sent.
    """

    path: str
    counters: Counters
    tries: int

    def next_number(self) -> int:
        """The number of the next request."""
        ...

    def tag(self, number: int) -> int:
        """TAG of the request with this number."""
        ...

    def send(self, frame: bytes) -> None:
        """Send a frame."""

    def hear(self, sent: int, longest: int, silences: int) -> Reply | EllipsisType | None:
        """The next answer, None if it is damaged, ``...`` if there is none in time. sent: bytes of the
        requests that wait; longest: bytes of their answers, at most; silences: that came before."""
        ...


class Window:
    """One exchange: requests go out as long as the device has room for them, and their answers come in.

    A request is sent again, and all that wait with it, once it is known that an answer will not come: after a
    damaged frame, in either direction, or a silence. Before that, what is under way is heard out.

    done: this request and all before it were answered; None before the first.
    """

    def __init__(self, line: Line, room: int, most: int, burst: int, accesses: Iterable[Access]) -> None:
        """room: words of the device's queue. most: requests under way. burst: words of a frame's data, at
        most. accesses: the next is asked for when the one before was sent."""
        self.done: int | None = None
        self._line = line
        self._room, self._most = room - QUEUE_OVERHEAD, most
        short = min(burst, self._room // PARTS - QUEUE_OVERHEAD)
        self._source = (item for access in accesses for item in requests_of(access, short, burst))
        self._todo: deque[Request] = deque()  # to be sent under a new number, before all of the source
        self._flight: dict[int, Request] = {}
        self._under_way = 0  # frames that were sent and of which nothing was heard
        self._repair = False  # what waits is sent again as soon as nothing is under way
        self._broken = False  # a request was not carried out whole: what is under way behind it is skipped
        self._chained = False  # the next request is behind another of this exchange
        self._newest = 0  # number of the request that was sent last
        self._refusal: BusError | None = None
        self._attempts = 0  # since a request was answered
        self._silences = 0

    def run(self) -> None:
        """Carry out all accesses, once. Raises BusError for the first that is refused; none behind it is
        carried out."""
        while True:
            self._send()
            if not self._flight:
                if self._refusal is not None:
                    raise self._refusal
                if not self._broken:
                    return
                self._broken = self._chained = False
                continue
            self._hear()

    def _send(self) -> None:
        if self._repair:
            if self._under_way > 0:
                return
            self._line.counters.repeats += len(self._flight)
            for item in self._flight.values():
                self._line.send(item.frame)
            self._under_way, self._repair = len(self._flight), False
        # The device keeps the outcomes of the last requests only: the oldest that waits must be one of them.
        while not self._broken and self._span() < self._most:
            if not self._todo:
                self._todo.extend(islice(self._source, 1))
            if not self._todo or not self._may_go(self._todo[0]):
                return
            item = self._todo.popleft()
            item.number = self._line.next_number()
            command = item.command | CHAINED if self._chained else item.command
            item.frame = request(self._line.tag(item.number), command, item.address, item.count, item.data)
            self._chained = True
            self._flight[item.number] = item
            self._newest = item.number
            self._under_way += 1
            self._line.counters.requests += 1
            self._line.send(item.frame)

    def _span(self) -> int:
        """Requests from the oldest that waits to the newest, those between included that were answered."""
        return (self._newest - next(iter(self._flight)) + 1) % NUMBERS if self._flight else 0

    def _may_go(self, item: Request) -> bool:
        """Whether the device has room, and nothing that waits could be read otherwise behind it."""
        if self._flight and sum(other.words for other in self._flight.values()) + item.words > self._room:
            return False
        if item.reads or not isinstance(item.access, Write):
            return True
        after = item.access.after
        waiting = (other.access for other in self._flight.values() if other.reads)
        return not any(after is None or access in after for access in waiting)

    def _hear(self) -> None:
        flight, counters = self._flight.values(), self._line.counters
        sent = sum(len(item.frame) for item in flight)
        longest = sum(item.longest_reply for item in flight)
        reply = self._line.hear(sent, longest, self._silences)
        if reply is ...:
            counters.silences += 1
            self._silences += 1
            self._under_way = 0
            self._fail()
        elif reply is None:
            counters.damaged_replies += 1
            self._under_way -= 1
            self._fail()
        elif self._line.tag(number := reply.tag % NUMBERS) == reply.tag and number in self._flight:
            self._under_way -= 1
            if reply.status == Status.OUT_OF_ORDER:
                counters.gaps += 1
                self._fail()
            else:
                self._take(self._flight.pop(number), reply)
        elif reply.status in (Status.DAMAGED, Status.OVERLONG):
            counters.damaged_requests += 1
            self._under_way -= 1
            self._fail()
        else:
            counters.stale += 1

    def _fail(self) -> None:
        """Something was lost."""
        self._attempts += not self._repair
        self._repair = True
        if self._attempts >= self._line.tries:
            raise BusError(f"no answer from {self._line.path} after {self._attempts} tries")

    def _take(self, item: Request, reply: Reply) -> None:
        """A request was answered."""
        self._attempts = self._silences = 0
        self.done = (next(iter(self._flight), self._newest + 1) - 1) % NUMBERS
        check_reply(self._line.path, reply, item)
        if reply.status == Status.OK:
            if isinstance(item.access, Read):
                item.access.take(item.place, reply.data)
            return
        self._broken = True
        if reply.status == Status.REFUSED:
            kind = "read" if item.reads else "write"
            place = item.address + (0 if item.command == Command.IMAGE else reply.done)
            self._refusal = BusError(f"the accelerator at {self._line.path} refused a {kind} at {place:#x}")
        elif reply.status == Status.BUSY and isinstance(item.access, Poll):
            item.access.still_busy(self._line.path)
            self._todo.append(item)
        elif reply.status == Status.SKIPPED:
            self._todo.append(item)


def check_reply(path: str, reply: Reply, item: Request) -> None:
    """Raises BusError for a status that ends a session, and for an answer that cannot be the request's."""
    if reply.status == Status.NO_SESSION:
        raise LostSession(f"{path}: the device was reset or taken over; open it again")
    if reply.status not in (Status.OK, Status.REFUSED, Status.SKIPPED, Status.BUSY):
        raise BusError(f"the device at {path} answered a {item.command.name} with {reply.status.name}")
    if not reply.answers(item.command, item.count):
        raise BusError(
            f"{path} answered a {item.command.name} of {item.count} words with {reply.status.name}, "
            f"{reply.done} done and {len(reply.data)} words of data"
        )


class LostSession(BusError):
    """The device was reset, or another host took it over."""
