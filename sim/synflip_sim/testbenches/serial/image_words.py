"""Bench of the expander of images: words from the line in, words of the memory map out, in their cycles."""

import random
from collections import deque
from collections.abc import Generator, Iterable
from typing import Any

import cocotb
import numpy as np
from synflip.devices.image_code import packed, pairs
from synflip.spec.frames import PACKED, PAIRS
from synflip.spec.memory_map import IMAGE_WORD_BITS, Region
from synflip_hdl.serial.image_words import CODED, IMAGE_WORD

from synflip_sim.testbenches.clocked import Bench, Player, noise
from synflip_sim.testbenches.ports import pack, read, unpack
from synflip_sim.testbenches.scoreboard import Scoreboard
from synflip_sim.testbenches.script import Script
from synflip_sim.testbenches.serial.twin import Coded, Offer, expand
from synflip_sim.testbenches.streams import StreamSource

RANDOM_IMAGES = 50
GIVEN_UP = 0.4  # share of images in whose middle another begins

Image = tuple[int, list[int]]  # code, words


def of_run(script: Script) -> list[Image]:
    """The images of a run, each in all codes that can have it."""
    words: dict[int, dict[int, int]] = {}
    for offset, word in script.of(Region.IMAGES):
        slot, place = divmod(offset, 1 << IMAGE_WORD_BITS)
        words.setdefault(slot, {})[place] = word
    images: list[Image] = []
    for image in words.values():
        x = np.array([image.get(place, 0) for place in range(max(image) + 1)], "<u4").view(np.uint8)
        images.append((PAIRS, pairs(x).tolist()))
        images += [(bits, packed(x & np.uint8((1 << bits) - 1), bits).tolist()) for bits in PACKED]
    return images


def random_image(chance: random.Random) -> Image:
    """Words that need not come from an image: gaps of any length, values of 0, groups without a value."""
    code = chance.choice((PAIRS, PAIRS, *PACKED))
    words = []
    for _ in range(chance.choice((1, 2, chance.randint(3, 12)))):
        gaps = [chance.choice((0, chance.randint(0, 5), chance.getrandbits(8))) for _ in range(2)]
        values = [chance.choice((0, chance.getrandbits(8))) for _ in range(2)]
        sparse = chance.getrandbits(32) & chance.getrandbits(32) & chance.getrandbits(32)
        two = gaps[0] | values[0] << 8 | gaps[1] << 16 | values[1] << 24
        words.append(two if code == PAIRS else chance.choice((0, sparse, chance.getrandbits(32))))
    return code, words


class Images:
    """Driver: begins an image when the one before has ended, or gives that one up, and sends its words."""

    def __init__(self, dut: Any, chance: random.Random, images: Iterable[Image]) -> None:
        self._dut, self._chance = dut, chance
        self._images, self._words = deque(images), deque[int]()
        self._source = StreamSource(dut, "coded", chance, ())
        self._busy, self._least = False, 0  # an image is under way; words at which it is given up

    @property
    def done(self) -> bool:
        """All images have ended."""
        return not (self._images or self._words or self._source.items or self._busy)

    def drive(self, cycle: int) -> None:
        """See ``Driver``."""
        quiet = not self._source.items
        begins = quiet and bool(self._images) and len(self._words) <= self._least
        begins = begins and (self._least > 0 or not self._busy) and self._chance.random() < 0.5
        code = self._chance.getrandbits(3)
        if begins:
            code, words = self._images.popleft()
            self._words = deque(pack(CODED, {"data": word, "last": 0}) for word in words)
            self._words[-1] |= pack(CODED, {"data": 0, "last": 1})
            given_up = len(words) > 1 and self._chance.random() < GIVEN_UP
            self._least = self._chance.randrange(1, len(words)) if given_up else 0
        elif quiet and self._words:
            self._source.items.append(self._words.popleft())
        self._dut.begin.value = int(begins)
        self._dut.code.value = code
        self._source.drive(cycle)

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        self._source.sample(cycle)
        self._busy = bool(read(self._dut.busy)) or bool(read(self._dut.begin))


class ImageMonitor:
    """Looks at both ends: whether a word is awaited, which one is offered, and whether an image is under way.

    The twin says what must be seen in each cycle.
    """

    def __init__(self, dut: Any, scoreboard: Scoreboard) -> None:
        self._dut, self._scoreboard = dut, scoreboard
        self._twin: Generator[tuple[bool, Offer], tuple[Coded | None, bool], None] | None = None
        self._awaited: bool = False
        self._offer: Offer = None

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        dut = self._dut
        valid, ready = read(dut.words__valid), read(dut.coded__ready)
        word = unpack(IMAGE_WORD, read(dut.words__payload)) if valid else None
        offer = None if self._offer is None else dict(zip(("word", "data"), self._offer, strict=True))
        expected = {"busy": self._twin is not None, "awaits": self._awaited, "offers": offer}
        self._scoreboard.expect("image", cycle, expected)
        seen = {"busy": bool(read(dut.busy)), "awaits": bool(ready), "offers": word}
        self._scoreboard.check("image", cycle, seen)
        came = None
        if ready and read(dut.coded__valid):
            coded = unpack(CODED, read(dut.coded__payload))
            came = coded["data"], bool(coded["last"])
        if read(dut.begin):
            self._twin = expand(read(dut.code))
            self._awaited, self._offer = next(self._twin)
        elif self._twin is not None:
            try:
                self._awaited, self._offer = self._twin.send((came, bool(read(dut.words__ready))))
            except StopIteration:
                self._twin, self._awaited, self._offer = None, False, None


@cocotb.test()
async def image_words(dut: Any) -> None:
    """The drivers play the bridge: what it takes off the line, and a bus that is not always free."""
    bench = Bench(dut)
    chance = bench.chance
    items = of_run(bench.script) + [random_image(chance) for _ in range(RANDOM_IMAGES)]
    chance.shuffle(items)
    images = Images(dut, chance, items)
    bus = Player(dut, words__ready=noise(chance, 1))
    monitor = ImageMonitor(dut, bench.scoreboard)
    cycles = 100 * sum(len(words) for _, words in items)
    await bench.run(0, [images, bus], [monitor, images], last=cycles, done=lambda: images.done)
    assert images.done
