"""Networks that tests of several rooms try."""

from itertools import pairwise

import numpy as np
from synflip.spec.model import CompiledModel, Layer


def random_model(sizes: tuple[int, ...] = (12, 20, 5), bits: int = 4) -> CompiledModel:
    rng = np.random.default_rng(1)
    layers = tuple(
        Layer(
            q=rng.integers(0, 1 << bits, (outputs, rows)).astype(np.uint16),
            sign=rng.integers(0, 2, (outputs, rows)).astype(np.uint8),
            bias=rng.integers(-50, 50, outputs).astype(np.int32),
        )
        for rows, outputs in pairwise(sizes)
    )
    classes = tuple(f"class {index}" for index in range(sizes[-1]))
    return CompiledModel(layers, bits, 8, (2,) * (len(layers) - 1), classes, 255, {"data": "random"})
