"""The golden model's cycles of convolutions on the array, against the cycle model fed by the reference."""

import numpy as np
import pytest
from synflip.golden.cpu import Golden
from synflip.inference.parts import runs_of
from synflip.inference.plan import Plan
from synflip.inference.request import InferenceRequest

from tests.mapped import CASES, SEED, expected


@pytest.mark.parametrize("name", CASES)
def test_cycles(name: str) -> None:
    """All images at once or one by one, in batches; early stopping."""
    case = CASES[name]
    model, geometry, pixels = case.model(), case.geometry, case.pixels()
    margins = None if case.margins is None else np.array(case.margins)
    assert isinstance(runs_of(InferenceRequest(model, pixels, case.samples, SEED, margins), geometry), Plan)
    _, cycles = expected(case)
    with Golden(geometry) as golden:
        golden.load(model)
        assert golden.infer(pixels, case.samples, SEED, margins).cycles == sum(cycles)
    with Golden() as unasked:
        unasked.load(model)
        assert unasked.infer(pixels, case.samples, SEED, margins).cycles == -1
