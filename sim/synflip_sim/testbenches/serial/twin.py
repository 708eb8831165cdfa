"""A device with a queue in plain Python, by the rules of docs/reference/uart.md."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from synflip.spec.frames import (
    CHAINED,
    CODE_BITS,
    CODE_SHIFT,
    FORMAT_VERSION,
    MAX_WORDS,
    NO_TAG,
    NUMBER_BITS,
    PACKED,
    PAIRS,
    QUEUE_REQUESTS,
    QUEUE_WORDS,
    REQUEST_WORDS,
    Command,
    Status,
)
from synflip.spec.memory_map import ACTIVATIONS_PER_WORD, IMAGE_WORD_BITS

SILENCE = 200  # cycles without a byte that end a frame
#: Cycles from the bus's answer to the next word's access, and to the next read of a POLL.
NEXT_WORD, NEXT_POLL = 3, 1
NUMBERS = 1 << NUMBER_BITS

Coded = tuple[int, bool]  # a word of an image from the line, and whether it is the last
Offer = tuple[int, int] | None  # number of a word of the map, and the word


def expand(code: int) -> Generator[tuple[bool, Offer], tuple[Coded | None, bool], None]:
    """An image, cycle by cycle from the one behind ``begin`` on. Yields whether a word from the line is
    awaited and which word is offered; is sent the word that came, and whether the offered one was taken."""
    word = gathered = row = 0
    last = False

    def send() -> Generator[tuple[bool, Offer], tuple[Coded | None, bool], None]:
        taken = False
        while not taken:
            empty = gathered == 0 and word != 0
            _, taken = yield False, None if empty else (word, gathered)
            taken |= empty

    while not last:
        came = None
        while came is None:
            came, _ = yield True, None
        content, last = came
        if code == PAIRS:
            for gap, value in (content & 0xFF, content >> 8 & 0xFF), (content >> 16 & 0xFF, content >> 24):
                yield False, None  # the pair is cut off
                row += gap
                yield False, None  # its word is looked at
                if row // ACTIVATIONS_PER_WORD != word:
                    yield from send()
                    word, gathered = row // ACTIVATIONS_PER_WORD, 0
                    yield False, None
                gathered |= value << 8 * (row % ACTIVATIONS_PER_WORD)
                row += 1
                yield False, None  # the next pair
        else:
            for first in range(0, 32, code * ACTIVATIONS_PER_WORD):
                yield False, None  # the group is cut off
                places = [first + code * lane for lane in range(ACTIVATIONS_PER_WORD)]
                values = [content >> place & (1 << code) - 1 for place in places]
                gathered = sum(value << 8 * lane for lane, value in enumerate(values))
                yield from send()
                word += 1
                yield False, None  # the next group
    if code == PAIRS:
        yield from send()


def expanded(code: int, words: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(words from the line that were used, number, word) of each word of the map that an image writes."""
    machine, used = expand(code), 0
    awaited, offer = next(machine)
    while True:
        came = None
        if awaited:
            used += 1
            came = words[used - 1], used == len(words)
        if offer is not None:
            yield used, *offer
        try:
            awaited, offer = machine.send((came, True))
        except StopIteration:
            return


class Access(NamedTuple):
    """One access of the bus. data: 0 of a read. pause: cycles from the answer to the access before until this
    one is offered; None if that is left open."""

    write: bool
    address: int
    data: int = 0
    pause: int | None = None


class Bus:
    """A memory. It refuses what is from BAD on, and from SHORT on in its slot; a word between BUSY
    and BAD reads 1 as often as its address says before it reads 0."""

    BUSY, BAD = 0xB500000, 0xBAD0000
    SHORT = 0x5040002

    def __init__(self) -> None:
        self._words: dict[int, int] = {}
        self._polled = 0

    def answer(self, access: Access) -> int | None:
        """The word, 0 for a write, None if the access is refused."""
        short = self.SHORT <= access.address < (self.SHORT >> IMAGE_WORD_BITS) + 1 << IMAGE_WORD_BITS
        if access.address >= self.BAD or short:
            return None
        if access.write:
            self._words[access.address] = access.data
            return 0
        if access.address >= self.BUSY:
            self._polled = (self._polled + 1) % (1 + access.address % 8)
            return int(self._polled > 0)
        return self._words.get(access.address, access.address ^ 0x7E7D)


@dataclass(frozen=True)
class Request:
    """A frame that was received whole."""

    tag: int
    command: int  # CHAINED included
    address: int
    count: int
    data: tuple[int, ...] = ()


@dataclass
class _Kept:
    """The outcome of a request."""

    status: Status
    done: int
    wrote: bool


class Device:
    """Frames in, in their order; accesses of the bus and replies out.

    accesses: of all frames. session: the open one. last: number of the last request carried out.
    """

    def __init__(self) -> None:
        self.accesses: list[Access] = []
        self.session = self.last = 0
        self._bus = Bus()
        self._outcomes: dict[int, _Kept] = {}
        self._broken = False

    def unreadable(self, words: int) -> tuple[int, ...]:
        """The reply to a frame that is damaged or too long; words: that it has."""
        status = Status.OVERLONG if words > REQUEST_WORDS + MAX_WORDS else Status.DAMAGED
        return NO_TAG, status << CODE_SHIFT

    def serve(self, request: Request) -> tuple[int, ...]:
        """The words of the reply, without its CRC."""
        status, done, data = self._serve(request)
        return request.tag, *data, status << CODE_SHIFT | done

    def _serve(self, request: Request) -> tuple[Status, int, Sequence[int]]:
        number, session = request.tag % NUMBERS, request.tag // NUMBERS
        command, chained = request.command % CHAINED, request.command >= CHAINED
        code = request.address % (1 << CODE_BITS)
        wrote = command in (Command.WRITE, Command.IMAGE)
        may_chain = wrote or command in (Command.READ, Command.POLL)
        if command not in list(Command) or (chained and not may_chain):
            return Status.UNKNOWN, 0, ()
        if command == Command.IMAGE and code not in (PAIRS, *PACKED):
            return Status.UNKNOWN, 0, ()
        if not 0 < request.count <= MAX_WORDS or len(request.data) != request.count * wrote:
            return Status.LENGTH, 0, ()
        if session == 0 or (session != self.session and command != Command.HELLO):
            return Status.NO_SESSION, 0, ()
        if command == Command.HELLO:
            if session != self.session:
                self.session, self.last, self._outcomes, self._broken = session, 0, {}, False
            return Status.OK, self.last, ()
        if command == Command.FORMAT:
            return Status.OK, 1, (FORMAT_VERSION | QUEUE_REQUESTS << 8 | QUEUE_WORDS << 16,)
        if number == (self.last + 1) % NUMBERS:
            self.last = number
            if chained and self._broken:
                ended: tuple[Status, int, Sequence[int]] = Status.SKIPPED, 0, ()
            else:
                ended = self._carry_out(request, command)
            self._outcomes[number] = _Kept(*ended[:2], wrote)
            for old in list(self._outcomes)[:-QUEUE_REQUESTS]:
                del self._outcomes[old]
            self._broken = ended[0] != Status.OK
            return ended
        kept = self._outcomes.get(number)
        if kept is None or (wrote and not kept.wrote and kept.status != Status.SKIPPED):
            return Status.OUT_OF_ORDER, 0, ()
        if wrote or kept.status == Status.SKIPPED:
            return kept.status, kept.done, ()
        return self._carry_out(request, command)

    def _carry_out(self, request: Request, command: int) -> tuple[Status, int, Sequence[int]]:
        if command == Command.IMAGE:
            slot = request.address >> IMAGE_WORD_BITS << IMAGE_WORD_BITS
            for used, number, content in expanded(request.address % (1 << CODE_BITS), request.data):
                if self._access(Access(True, slot | number, content)) is None:
                    return Status.REFUSED, used, ()
            return Status.OK, request.count, ()
        data: list[int] = []
        for place in range(request.count):
            write = command == Command.WRITE
            access = Access(write, request.address + place, request.data[place] if write else 0)
            word = self._access(access._replace(pause=NEXT_WORD if place else None))
            while command == Command.POLL and place == 0 and word is not None and word % 2:
                word = self._access(access._replace(pause=NEXT_POLL))
            if word is None:
                return Status.REFUSED, place, () if write else data
            data.append(word)
        return Status.OK, request.count, () if command == Command.WRITE else data

    def _access(self, access: Access) -> int | None:
        self.accesses.append(access)
        return self._bus.answer(access)
