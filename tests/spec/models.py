"""Sound models, and how one that is not is refused."""

from typing import Any

import numpy as np
import pytest
from synflip.errors import SynflipError
from synflip.spec.model import CompiledModel, Layer


def layer(outputs: int, rows: int, q: int = 1, sign: int = 0, bias: int = 0) -> Layer:
    return Layer(
        np.full((outputs, rows), q, np.uint16),
        np.full((outputs, rows), sign, np.uint8),
        np.full(outputs, bias, np.int32),
    )


def model(**other: Any) -> CompiledModel:
    """A sound model of two layers, 5-3-2, k = 4, A = 3, with some fields replaced."""
    draw = np.random.default_rng(0)
    layers = tuple(
        Layer(
            draw.integers(0, 16, (outputs, rows), dtype=np.uint16),
            draw.integers(0, 2, (outputs, rows), dtype=np.uint8),
            draw.integers(-9, 9, outputs, dtype=np.int32),
        )
        for rows, outputs in ((5, 3), (3, 2))
    )
    fields: dict[str, Any] = {
        "layers": layers,
        "bits": 4,
        "activation_bits": 3,
        "shifts": (1,),
        "classes": ("no", "yes"),
        "input_max": 255,
        "source": {"data": "by hand", "epochs": 0},
    }
    return CompiledModel(**(fields | other))


def refused(*words: str, **other: Any) -> None:
    """``model(**other)`` is refused in one line with all of ``words``."""
    with pytest.raises(SynflipError) as error:
        model(**other)
    one_line(str(error.value), *words)


def one_line(message: str, *words: str) -> None:
    assert message.isprintable(), f"not one line of printable text: {message!r}"
    for word in words:
        assert word in message


def single(made: Layer, **other: Any) -> dict[str, Any]:
    """Fields of a model of one layer."""
    return {"layers": (made,), "shifts": (), "classes": ("c",) * made.outputs} | other
