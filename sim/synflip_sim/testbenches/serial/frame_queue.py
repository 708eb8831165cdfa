"""Bench of the frame queue: frames of all kinds come in, and a reader that hesitates drops them."""

import random
from collections import Counter, deque
from typing import Any

import cocotb
from synflip.spec.frames import QUEUE_OVERHEAD, QUEUE_WORDS, REQUEST_WORDS
from synflip_hdl.serial.frame_queue import HEADER
from synflip_hdl.serial.framing import LONGEST

from synflip_sim.testbenches.clocked import Bench, Player, noise
from synflip_sim.testbenches.ports import pack, read, unpack
from synflip_sim.testbenches.scoreboard import Scoreboard

CYCLES = 20_000
FRAMES = 8  # behind so many the reader rests until there is no room
#: Least and most words of frames: short, long, too short, the longest, too long; how many of each come in a
#: random order before the next so many.
SIZES = {
    (REQUEST_WORDS, 12): 11,
    (REQUEST_WORDS, 100): 5,
    (REQUEST_WORDS - 1, REQUEST_WORDS - 1): 2,
    (LONGEST, LONGEST): 1,
    (LONGEST + 1, LONGEST + 40): 1,
}


class Line:
    """Driver that plays a deframer whose line brings a byte in most cycles.

    left: bytes of the frame that are to come. over: the one before has just ended. missed: a byte of it found
    no room. kinds: of frames, counted.
    """

    def __init__(self, dut: Any, chance: random.Random, kinds: Counter[str]) -> None:
        self._dut, self._chance, self._kinds = dut, chance, kinds
        self._ports = Player(
            dut,
            word=noise(chance, 32),
            word_valid=0,
            length=lambda: self._length,
            end=0,
            good=noise(chance, 1),
        )
        self.left, self.missed, self.over = 0, False, False
        self._position = self._length = 0  # bytes of the word, words of the frame that came
        self._good = self._begun = False
        self._sizes: list[tuple[int, int]] = []

    def _next(self) -> None:
        """Choose a frame: its bytes, and whether it is damaged."""
        if not self._sizes:
            self._sizes = [size for size, count in SIZES.items() for _ in range(count)]
            self._chance.shuffle(self._sizes)
        self.left = 4 * self._chance.randint(*self._sizes.pop())
        if self._chance.random() < 0.08:  # in the middle of a word
            self.left += self._chance.randint(1, 3)
        self._good = self._chance.random() < 0.9

    def drive(self, cycle: int) -> None:
        """Nothing is set before ``listen`` is known."""

    def settle(self, cycle: int) -> None:
        """See ``Responder``: what is there depends on ``listen`` in the same cycle."""
        listen = bool(read(self._dut.listen))
        byte = self._chance.random() < 0.9
        flag = byte and not self.left
        self.missed |= byte and not flag and not listen
        here = listen and not self.missed
        self.over = flag
        whole = byte and not flag and self._position == 3
        end = flag and self._begun and here
        self._ports.at(cycle, word_valid=int(whole and here), end=int(end))
        if end:  # of a frame that is no whole number of words no CRC is right
            self._ports.at(cycle, good=int(self._good and self._position == 0))
        self._ports.drive(cycle)
        if flag:
            self._kinds["no room"] += self._begun and not here
            self._begun = self.missed = False
            self._position = self._length = 0
            self._next()
        elif byte:
            self.left -= 1
            self._begun = True
            self._position = (self._position + 1) % 4
            self._length = min(self._length + whole, LONGEST + 1)


class Reader:
    """Driver that does as the bridge does: asks for the header, then for words, then drops the frame, often
    when another one that has just ended is counted."""

    def __init__(self, dut: Any, chance: random.Random, line: Line) -> None:
        self._dut, self._chance, self._line = dut, chance, line
        self._index = self._dropped = 0
        self._rests = self._waits = False  # until there is no room; for a frame's end
        self._stored: int | None = None  # words behind the header, once it was read
        self._wanted = 0  # the last word that is looked at
        self._asked = self._drops = False

    def drive(self, cycle: int) -> None:
        """See ``Driver``."""
        chance, dut = self._chance, self._dut
        self._rests &= not self._line.missed
        goes = not self._rests and chance.random() < 0.8
        known = self._stored is not None
        over = known and self._index >= self._wanted
        self._drops = goes and over and not (self._waits and not self._line.over)
        self._index += goes and known and not over
        elsewhere = not goes and chance.random() < 0.2
        dut.index.value = chance.randint(0, LONGEST) if elsewhere else self._index
        dut.drop.value = int(self._drops)
        dut.taken.value = (self._stored or 0) + 1 if self._drops else chance.randint(1, LONGEST)
        self._asks = not elsewhere and not known

    def sample(self, cycle: int) -> None:
        """See ``Monitor``: takes the header, a cycle after it was asked for."""
        if self._asked and self._stored is None:
            header = unpack(HEADER, read(self._dut.value))
            self._stored = header["length"] - 1 if header["good"] else 0
            self._wanted = self._stored if self._chance.random() < 0.9 else 0
        self._asked = self._asks and bool(read(self._dut.there))
        if self._drops:
            self._stored, self._index, self._asked = None, 0, False
            self._dropped += 1
            self._rests, self._waits = self._dropped % FRAMES == 0, self._chance.random() < 0.3


class QueueMonitor:
    """Looks at both ends, and keeps what came as frames. kinds: of frames, counted."""

    INPUTS = ("word", "word_valid", "length", "end", "good", "index", "drop")

    def __init__(self, dut: Any, scoreboard: Scoreboard, kinds: Counter[str]) -> None:
        self._dut, self._scoreboard, self._kinds = dut, scoreboard, kinds
        self._frames: deque[list[int]] = deque()  # of each its header, and its words if it can be used
        self._ended: list[list[int]] = []  # one that ended in the cycle before, and is not counted yet
        self._coming: list[int] = []
        self._listens = False  # what must be seen in this cycle
        self._asked: int | None = None  # the same, if there is something to see

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        self._look("there", cycle, int(bool(self._frames)))
        self._look("listen", cycle, int(self._listens))
        if self._asked is not None:
            self._look("value", cycle, self._asked)
        now = {name: read(getattr(self._dut, name)) for name in self.INPUTS}
        used = sum(map(len, self._frames))
        self._listens = used + now["length"] + QUEUE_OVERHEAD <= QUEUE_WORDS
        oldest = self._frames[0] if self._frames else []
        self._asked = oldest[now["index"]] if now["index"] < len(oldest) else None
        if now["word_valid"]:  # a frame that was broken off left words
            self._coming = [*self._coming[: now["length"]], now["word"]]
        if now["drop"]:
            self._frames.popleft()
            self._kinds["one in, one out"] += len(self._ended)
        self._frames += self._ended
        self._ended = []
        if now["end"]:
            usable = now["good"] and REQUEST_WORDS <= now["length"] <= LONGEST
            header = pack(HEADER, {"length": now["length"], "good": int(usable)})
            self._ended = [[header, *(self._coming[:-1] if usable else ())]]  # without the CRC
            self._kinds["kept" if usable else "overlong" if now["length"] > LONGEST else "damaged"] += 1

    def _look(self, what: str, cycle: int, expected: int) -> None:
        self._scoreboard.expect(what, cycle, expected)
        self._scoreboard.check(what, cycle, read(getattr(self._dut, what)))


@cocotb.test()
async def frame_queue(dut: Any) -> None:
    """The drivers play deframer and bridge."""
    bench = Bench(dut)
    kinds: Counter[str] = Counter()
    line = Line(dut, bench.chance, kinds)
    reader = Reader(dut, bench.chance, line)
    monitor = QueueMonitor(dut, bench.scoreboard, kinds)
    await bench.run(0, [reader, line], [monitor, reader], last=CYCLES)
    for kind in ("kept", "overlong", "damaged", "no room", "one in, one out"):
        assert kinds[kind], f"no frame of the kind: {kind}"
