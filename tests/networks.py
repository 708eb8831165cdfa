"""Networks that tests of several rooms try."""

from itertools import pairwise
from typing import Any

import numpy as np
from synflip.spec.convolution import Convolution
from synflip.spec.model import CompiledModel, Layer


def random_layers(
    rng: np.random.Generator, sizes: tuple[int, ...], bits: int = 4, reach: int = 300
) -> tuple[Layer, ...]:
    """Layers of ``sizes``, such as 24-20-5: any probability word, either sign, biases in -reach..reach-1."""
    return tuple(
        Layer(
            q=rng.integers(0, 1 << bits, (outputs, rows)).astype(np.uint16),
            sign=rng.integers(0, 2, (outputs, rows)).astype(np.uint8),
            bias=rng.integers(-reach, reach, outputs).astype(np.int32),
        )
        for rows, outputs in pairwise(sizes)
    )


def random_network(
    rng: np.random.Generator, sizes: tuple[int, ...], bits: int = 4, reach: int = 300, shift: int = 3
) -> CompiledModel:
    """A network of ``random_layers``, A = 8, with the same shift everywhere; classes are 0, 1, ..."""
    classes = tuple(map(str, range(sizes[-1])))
    shifts = (shift,) * (len(sizes) - 2)
    return CompiledModel(random_layers(rng, sizes, bits, reach), bits, 8, shifts, classes, 255)


def random_model(sizes: tuple[int, ...] = (12, 20, 5), bits: int = 4) -> CompiledModel:
    """The network that commands are tried on, always the same one."""
    layers = random_layers(np.random.default_rng(1), sizes, bits, reach=50)
    classes = tuple(f"class {index}" for index in range(sizes[-1]))
    return CompiledModel(layers, bits, 8, (2,) * (len(layers) - 1), classes, 255, {"data": "random"})


def convolution_layer(
    rng: np.random.Generator, outputs: int, place: Convolution, bits: int = 4, reach: int = 300
) -> Layer:
    """A convolution of ``random_layers``: any probability word, either sign, biases in -reach..reach-1."""
    dense = random_layers(rng, (place.rows, outputs), bits, reach)[0]
    return Layer(dense.q, dense.sign, dense.bias, place)


def small_convolutional_network(**other: Any) -> CompiledModel:
    """5x4x2-3(3x3, pad 1x1, pool 2x2)-4(2x1)-3, k = 4, A = 8, always the same one, with some fields
    replaced."""
    rng = np.random.default_rng(7)
    first = convolution_layer(rng, 3, Convolution((5, 4, 2), (3, 3), pad=(1, 1), pool=(2, 2)))
    second = convolution_layer(rng, 4, Convolution((2, 2, 3), (2, 1)))
    fields: dict[str, Any] = {
        "layers": (first, second, *random_layers(rng, (8, 3))),
        "bits": 4,
        "activation_bits": 8,
        "shifts": (2, 2),
        "classes": ("a", "b", "c"),
        "input_max": 255,
    }
    return CompiledModel(**(fields | other))
