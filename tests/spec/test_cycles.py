"""The cycle model counts a run by itself in ints and several side by side in arrays: the same cycles."""

import numpy as np
import pytest
from synflip.spec.convolution import Convolution
from synflip.spec.cycles import CycleModel
from synflip.spec.geometry import Geometry
from synflip.spec.maps import image_program

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


def test_a_convolution_by_hand() -> None:
    """1x2x1-2(1x1)-3 at 16x1, keys always there: D = 8. The convolution is picked by cycle 2 and opened 4
    later. Its first position takes 8 row blocks: 6 + 8 = 14; its two outputs leave in two steps. The second
    takes 8 more: 22. Its outputs are in their lists at 22 + 8 + 2 + 5 = 37, and the four events of the layer
    behind take until 41. The last of three logits enters the votes at 41 + 8 + 4 + 2 = 55, and is decided at
    60."""
    programs = [image_program(Convolution((1, 2, 1), (1, 1))), None]
    loads = np.array([[0, 0, 0], [4, 0, 4]]).reshape(1, 1, 2, 3)
    for runs in (1, 2):  # in ints, in arrays
        model = CycleModel(
            Geometry(16, 1, map_depth=64), (1, 4), (2, 3), runs, False, key_interval=0, programs=programs
        )
        model.advance(
            np.tile(loads, (1, runs, 1, 1)), np.ones((1, runs), dtype=bool), {0: np.full((1, runs, 2), 8)}
        )
        first, second = model.passes[0].layers
        assert [[int(np.max(time)) for time in pair] for pair in first.segments] == [[6, 14], [14, 22]]
        assert np.max(second.opened) == 37 and np.max(second.first_end) == 41
        assert model.cycles().tolist() == [62] * runs
