"""The worked example of docs/reference/axi.md: its program, the output that the page shows, the answers."""

import contextlib
import io
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from synflip.golden.cpu import Golden
from synflip.inference.result import Result
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel, Layer

from tests.docs.pages import ROOT, blocks

SEED = 1
GEOMETRY = Geometry(16, 2, bits=4, weight_depth=256)


@dataclass(frozen=True)
class Example:
    """names: what the program defines. printed: by it. said: by the page, instead. answers: by the page.
    model: of the program."""

    names: dict[str, Any]
    printed: str
    said: str
    answers: list[tuple[int, list[int]]]
    model: CompiledModel

    @property
    def pixels(self) -> np.ndarray:
        """[1, inputs]."""
        return np.array([self.names["IMAGE"]], dtype=np.uint8)

    def golden(self) -> Result:
        """What the golden model says."""
        golden = Golden(GEOMETRY)
        golden.load(self.model)
        return golden.infer(self.pixels, self.names["SAMPLES"], SEED, logits=True)


@cache
def example() -> Example:
    """Runs the program."""
    text = (ROOT / "docs" / "reference" / "axi.md").read_text()
    (program,) = (block.text for block in blocks(text) if block.language == "python")
    said, answers = (block.text for block in blocks(text) if block.language == "text")
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(program, names)
    layers = []
    for q, biases, _ in names["LAYERS"]:
        words = np.array(q)
        sign = (words < 0).astype(np.uint8)
        layers.append(Layer(np.abs(words).astype(np.uint16), sign, np.array(biases, dtype=np.int32)))
    shifts = tuple(r for _, _, r in names["LAYERS"][:-1])
    model = CompiledModel(tuple(layers), 4, 8, shifts, ("first", "second"), input_max=255)
    found = []
    for line in answers.splitlines():
        place, *words = line.replace(":", "").split()
        found.append((int(place, 16), [int(word, 16) for word in words]))
    return Example(names, printed.getvalue(), said, found, model)
