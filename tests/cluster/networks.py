"""What the room's tests run, and what it must give: all but cycles, to the bit."""

import numpy as np
from synflip.golden.cpu import Golden
from synflip.inference.compare import QUANTITIES
from synflip.inference.result import Result

from tests.networks import random_model

MODEL = random_model((12, 16, 5))
IMAGES = np.random.default_rng(2).integers(0, 256, (200, 12)).astype(np.uint8)
ALL_BUT_CYCLES = [name for name in QUANTITIES if name != "cycles"]


def golden(images: np.ndarray = IMAGES, samples: int = 8, seed: int = 3, **options: object) -> Result:
    with Golden() as device:
        device.load(MODEL)
        return device.infer(images, samples, seed, **options)  # type: ignore[arg-type]


def same(one: Result, other: Result) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ALL_BUT_CYCLES)
