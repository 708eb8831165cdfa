"""The cycle model counts a run by itself in ints and several side by side in arrays: the same cycles."""

import numpy as np
import pytest
from synflip.spec.cycles import CycleModel
from synflip.spec.geometry import Geometry

ROWS, OUTPUTS = (100, 400, 33), (400, 33, 10)


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("name", ["16x1", "16x2,key_halves=1,flight=2", "32x4,key_depth=1024,flight=4"])
def test_runs_side_by_side_are_as_long_as_each_alone(name: str, early: bool) -> None:
    geometry, runs, slots = Geometry.parse(name), 5, 4
    numbers = np.random.default_rng(1)
    together = CycleModel(geometry, ROWS, OUTPUTS, runs, early)
    alone = [CycleModel(geometry, ROWS, OUTPUTS, 1, early) for _ in range(runs)]
    lengths = []
    for sample in range(6):
        loads = numbers.choice([0, 1, 5, 60], (slots, runs, len(ROWS), 3))
        active = numbers.random((slots, runs)) < (0.7 if early else 1)
        together.advance(loads, active)
        for run, model in enumerate(alone):
            model.advance(loads[:, run : run + 1], active[:, run : run + 1])
        lengths.append(together.cycles().tolist())
        assert lengths[-1] == [int(model.cycles()[0]) for model in alone], sample
    assert len({length for row in lengths for length in row}) > runs  # they do differ
