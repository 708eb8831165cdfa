"""Bench of the bridge with a queue: frames good and bad come as close as they may, a slow bus answers.

The twin says which accesses and which replies come of them, in which order.
"""

import random
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import cocotb
import numpy as np
from synflip.devices.framing import Replies, escape, request
from synflip.spec.frames import (
    CHAINED,
    CODE_SHIFT,
    ESCAPE,
    FLAG,
    MAX_WORDS,
    QUEUE_OVERHEAD,
    QUEUE_REQUESTS,
    QUEUE_WORDS,
    Command,
    Status,
)
from synflip_hdl.bus.registers import REQUEST, RESPONSE
from synflip_hdl.serial.framing import LONGEST

from synflip_sim.testbenches.clocked import Bench, Driver, Monitor
from synflip_sim.testbenches.ports import pack, read, unpack
from synflip_sim.testbenches.serial.image_words import Image, of_run, random_image
from synflip_sim.testbenches.serial.twin import NUMBERS, SILENCE, Access, Bus, Device, Request
from synflip_sim.testbenches.streams import StreamSink, StreamSource

FRAMES = 240  # at least, and until each status was answered
REMEMBERED = QUEUE_REQUESTS + 4  # requests of which one comes again: the device forgot the oldest
QUIET, STUCK = 200, 20_000  # cycles without a byte behind the last reply; when one is waited for

T = TypeVar("T")


@dataclass(frozen=True)
class Frame:
    """line: bytes, then ``pause`` cycles without any. words: that it takes of the queue while it comes."""

    line: bytes
    words: int
    pause: int = 0


class Story:
    """What hosts send, right and wrong. frames, and the replies that must come, grow together.

    statuses: of the replies, counted; a POLL that stays BUSY takes too long here.
    """

    def __init__(self, chance: random.Random, images: list[Image]) -> None:
        self._chance, self._images = chance, images
        self.device = Device()
        self.frames: list[Frame] = []
        self.replies: list[list[int]] = []
        self.statuses: Counter[Status] = Counter()
        self._sent: deque[Request] = deque(maxlen=REMEMBERED)  # of the session
        self._turns: Counter[str] = Counter()
        self._hello(1)

    def go_on(self) -> None:
        """One more frame."""
        kinds = {
            self._new: 54,
            self._again: 20,
            self._elsewhere: 8,
            self._wrong: 8,
            self._unreadable: 8,
            self._take_over: 2,
            self._greet: 1,
            self._format: 1,
        }
        self._chance.choices(list(kinds), list(kinds.values()))[0]()

    def _hello(self, session: int) -> None:
        self._send(Request(session * NUMBERS + self._chance.randrange(NUMBERS), Command.HELLO, 0, 1))

    def _greet(self) -> None:
        self._hello(self.device.session)

    def _take_over(self) -> None:
        """Another host, behind a request that is refused: of that and of all others nothing is known."""
        self._send(Request(self._tag(self.device.last + 1), Command.READ, Bus.BAD, 1))
        self._hello(self._chance.choice([other for other in (1, 2, 3) if other != self.device.session]))
        self._sent.clear()
        self._send(Request(self._tag(0), Command.READ, 0, 1))
        item = self._request(1)
        self._send(replace(item, command=item.command | CHAINED))

    def _format(self) -> None:
        self._send(Request(self._tag(self._chance.randrange(NUMBERS)), Command.FORMAT, 0, 1))

    def _new(self) -> None:
        self._sent.append(self._request(self.device.last + 1))
        self._send(self._sent[-1])

    def _again(self) -> None:
        """A request whose answer the host did not get; now and then another command has its number."""
        if self._sent:
            item = self._chance.choice(self._sent)
            self._send(item if self._chance.random() < 0.8 else self._request(item.tag % NUMBERS))

    def _elsewhere(self) -> None:
        """A number that is neither the next nor one of the last, or another session."""
        session = self.device.session
        offsets = [(0, session), (2, session), (999, session), (-QUEUE_REQUESTS, session), (-40, session)]
        offset, session = self._turn("elsewhere", [*offsets, (1, session ^ 1), (1, 0)])
        item = self._request(self.device.last + offset)
        self._send(replace(item, tag=session * NUMBERS + item.tag % NUMBERS))

    def _wrong(self) -> None:
        """The next number, of a request that no device carries out."""
        item, chance = self._request(self.device.last + 1), self._chance
        unknown = chance.choice((0, 7, CHAINED | 7, CHAINED | Command.HELLO, CHAINED | Command.FORMAT))
        code = chance.choice((3, 5, 6, 7))
        wrong = [
            replace(item, command=unknown),
            Request(item.tag, Command.IMAGE, 0x5030000 | code, 1, (1,)),
            Request(item.tag, Command.READ, 0, 0),
            replace(item, count=chance.choice((MAX_WORDS + 1, item.count + 1 << 16))),
            replace(item, data=(*item.data, 5)),
        ]
        self._send(self._turn("wrong", wrong))

    def _turn(self, name: str, options: Sequence[T]) -> T:
        """One after the other, so that each comes."""
        self._turns[name] += 1
        return options[self._turns[name] % len(options)]

    def _tag(self, number: int) -> int:
        return self.device.session * NUMBERS + number % NUMBERS

    def _request(self, number: int) -> Request:
        chance = self._chance
        kinds = (Command.READ, Command.WRITE, Command.IMAGE, Command.POLL)
        command = chance.choices(kinds, (3, 4, 3, 1))[0]
        chained = CHAINED * (chance.random() < 0.5)
        count = MAX_WORDS if chance.random() < 0.02 else chance.randint(1, 8)
        address = chance.choice((chance.randrange(40), chance.randrange(40), Bus.BAD - 3))
        data: tuple[int, ...] = ()
        if command == Command.IMAGE:
            code, words = chance.choice(self._images)
            address = chance.choice((0x5030000, 0x5FF0000, Bus.SHORT & ~0xFFFF)) | code
            count, data = len(words), tuple(words)
        elif command == Command.POLL:
            address, count = chance.choice((Bus.BUSY + chance.randrange(8), Bus.BAD)), min(count, 4)
        elif command == Command.WRITE:
            data = tuple(chance.choice((chance.getrandbits(32), 0x7E7D7E7D)) for _ in range(count))
        return Request(self._tag(number), command | chained, address, count, data)

    def _send(self, item: Request) -> None:
        data = np.array(item.data, np.uint32)
        line = request(item.tag, item.command, item.address, item.count, data)
        self._append(line, len(data) + QUEUE_OVERHEAD, self.device.serve(item))

    def _unreadable(self) -> None:
        """Damaged, cut off, too short, too long."""
        item, chance = self._request(self.device.last + 1), self._chance
        line = request(item.tag, item.command, item.address, item.count, np.array(item.data, np.uint32))
        plain = [
            place
            for place in range(2, len(line) - 2)
            if not {FLAG, ESCAPE} & set(line[place - 1 : place + 2]) and line[place] != line[place + 1]
        ]
        place = chance.choice(plain)
        swapped = line[:place] + line[place : place + 2][::-1] + line[place + 2 :]
        words = chance.choice((MAX_WORDS + 1, MAX_WORDS + 2, MAX_WORDS + 90))
        bad = [
            (swapped, len(item.data)),
            (line[:place] + line[place + 1 :], len(item.data)),
            (line[:place] + line[-1:], len(item.data)),
            (escape(bytes(4 * chance.randint(0, 2))), 0),
            (request(item.tag, Command.WRITE, 0, 1, np.zeros(words, np.uint32)), words),
        ]
        line, data = self._turn("unreadable", bad)
        taken = min(data + QUEUE_OVERHEAD, LONGEST + 1 + QUEUE_OVERHEAD)
        self._append(line, taken, self.device.unreadable(data + 4))

    def _append(self, line: bytes, words: int, reply: tuple[int, ...]) -> None:
        chance = self._chance
        shared = self.frames and not self.frames[-1].pause
        if chance.random() < 0.1:  # the closing flag is lost
            frame = Frame(line[:-1], words, 2 * SILENCE)
        elif shared and chance.random() < 0.3:  # the flag before opens this frame, too
            frame = Frame(line[1:], words)
        else:
            frame = Frame(line, words, chance.choice((0, 0, SILENCE // 2)))
        self.frames.append(frame)
        self.replies.append(list(reply))
        self.statuses[Status(reply[-1] >> CODE_SHIFT)] += 1


class Host:
    """Driver of the line into the device: as many frames are under way as the queue has room for."""

    def __init__(self, dut: Any, chance: random.Random, frames: list[Frame]) -> None:
        self._dut, self._chance, self._frames = dut, chance, deque(frames)
        self._under_way: deque[int] = deque()  # words of each frame that has no reply yet
        self._bytes: deque[int] = deque()  # of the frame that is sent
        self._after = self._pause = 0  # cycles without a byte: behind the frame, from now on
        self._pace = 1.0

    @property
    def done(self) -> bool:
        """Everything was sent and answered."""
        return not self._frames and not self._under_way

    def heard(self) -> None:
        """A reply came."""
        self._under_way.popleft()

    def drive(self, cycle: int) -> None:
        """See ``Driver``."""
        byte = None
        if self._pause:
            self._pause -= 1
        elif self._chance.random() < self._pace and (self._bytes or self._begin()):
            byte = self._bytes.popleft()
            self._pause = 0 if self._bytes else self._after
        self._dut.received__valid.value = int(byte is not None)
        self._dut.received__payload.value = self._chance.getrandbits(8) if byte is None else byte

    def _begin(self) -> bool:
        """The next frame, if there is room for it."""
        if not self._frames or len(self._under_way) == QUEUE_REQUESTS:
            return False
        frame = self._frames[0]
        if sum(self._under_way) + frame.words > QUEUE_WORDS - QUEUE_OVERHEAD:
            return False
        self._frames.popleft()
        self._under_way.append(frame.words)
        self._bytes.extend(frame.line)
        self._after, self._pace = frame.pause, self._chance.choice((0.3, 1.0))
        return True


class LineMonitor:
    """The line out of the device: replies in their order, and how many errors were reported before each."""

    def __init__(self, dut: Any, bench: Bench, host: Host, replies: list[list[int]]) -> None:
        self._dut, self._board, self._host = dut, bench.scoreboard, host
        self._replies, self._errors, self._count = Replies(), 0, 0
        self._sink = StreamSink(dut, "sent", bench.chance, self._board, self._taken, eager=0.8)
        self.quiet = 0  # cycles since the last byte
        errors = 0
        for number, words in enumerate(replies):
            self._board.expect("reply", number, words)
            errors += words[-1] >> CODE_SHIFT != Status.OK
            self._board.expect("errors before reply", number, errors)

    def drive(self, cycle: int) -> None:
        """See ``Driver``."""
        self._sink.drive(cycle)

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        self.quiet += 1
        self._errors += read(self._dut.error)
        self._sink.sample(cycle)

    def _taken(self, cycle: int, byte: int) -> None:
        self.quiet = 0
        for reply in self._replies.feed(bytes([byte])):
            self._board.check("reply", self._count, reply and list(reply.words))
            self._board.check("errors before reply", self._count, self._errors)
            self._count += 1
            self._host.heard()


class BusMonitor:
    """Driver and monitor of the bus: accesses in their order, and how soon each follows the answer before."""

    def __init__(self, dut: Any, bench: Bench, accesses: list[Access]) -> None:
        self._dut, self._board, self._bus = dut, bench.scoreboard, Bus()
        self._sink = StreamSink(dut, "request", bench.chance, self._board, self._taken, view=access_of)
        self._source = StreamSource(dut, "response", bench.chance, (), busy=0.4)
        self._count, self._answered, self._standing = 0, 0, False
        for number, access in enumerate(accesses):
            self._board.expect("access", number, access._replace(pause=None))
            if access.pause is not None:
                self._board.expect("pause before access", number, access.pause)

    def drive(self, cycle: int) -> None:
        """See ``Driver``."""
        self._sink.drive(cycle)
        self._source.drive(cycle)

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        offered = bool(read(self._dut.request__valid))
        if offered and not self._standing and self._board.expects("pause before access", self._count):
            self._board.check("pause before access", self._count, cycle - self._answered)
        self._standing = offered and not read(self._dut.request__ready)
        if read(self._dut.response__valid) and read(self._dut.response__ready):
            self._answered = cycle
        self._source.sample(cycle)
        self._sink.sample(cycle)

    def _taken(self, cycle: int, access: Access) -> None:
        self._board.check("access", self._count, access)
        self._count += 1
        word = self._bus.answer(access)
        self._source.items.append(pack(RESPONSE, {"data": word or 0, "error": int(word is None)}))


def access_of(payload: int) -> Access:
    """What counts of a request's bits: a read has no data."""
    item = unpack(REQUEST, payload)
    return Access(bool(item["write"]), item["address"], item["data"] if item["write"] else 0)


@cocotb.test()
async def queued_bridge(dut: Any) -> None:
    """The drivers play a host that sends ahead, over a line that damages frames, and the bus."""
    bench = Bench(dut)
    chance = bench.chance
    story = Story(chance, of_run(bench.script) + [random_image(chance) for _ in range(20)])
    while len(story.frames) < FRAMES or story.statuses.keys() != set(Status) - {Status.BUSY}:
        story.go_on()
    host = Host(dut, chance, story.frames)
    line = LineMonitor(dut, bench, host, story.replies)
    bus = BusMonitor(dut, bench, story.device.accesses)
    cycles = 20 * sum(len(frame.line) + frame.pause for frame in story.frames)
    drivers: list[Driver] = [host, line, bus]
    monitors: list[Monitor] = [line, bus]
    await bench.run(
        0, drivers, monitors, last=cycles, done=lambda: line.quiet > (QUIET if host.done else STUCK)
    )
