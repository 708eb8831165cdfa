"""Coverage: the bins of cases whose situations are known, and the reader of Verilator's counters."""

from dataclasses import replace

import numpy as np
import pytest
from synflip.golden.cpu import Golden
from synflip.spec.geometry import Geometry
from synflip.spec.model import Layer
from synflip.verification import fuzz
from synflip.verification.cases import RandomCase, draw_case, draw_geometry, network
from synflip.verification.coverage import BINS, observe
from synflip_sim.campaigns.coverage import block, points, share

from tests.networks import random_network

GEOMETRY = Geometry(16, 2, bits=3)


def bins(case: RandomCase) -> dict[str, int]:
    return observe(case, fuzz.run(case, Golden(case.geometry))[0])


def certain(pixels: list[list[int]], margins=None) -> RandomCase:
    """Two rows whose coins always come up heads, two hidden outputs, three equal logits."""
    always = np.full((2, 2), 7, dtype=np.uint16)
    sign = np.array([[0, 0], [1, 1]], dtype=np.uint8)
    last = Layer(
        np.zeros((3, 2), dtype=np.uint16), np.zeros((3, 2), dtype=np.uint8), np.full(3, -5, np.int32)
    )
    model = network([Layer(always, sign, np.zeros(2, dtype=np.int32)), last], 3, 8, [0], 255)
    return RandomCase(GEOMETRY, model, np.array(pixels, dtype=np.uint8), 4, 0, margins, True)


def test_bins_of_known_cases():
    seen = bins(certain([[200, 200], [0, 9], [0, 0]]))
    assert seen["hidden: clamped at the largest"] == 4  # 400, once a sample
    assert seen["hidden: clamped at 0"] == 8
    assert seen["hidden: between"] == 4
    assert seen["logits: tie for the largest"] == seen["logits: largest is negative"] == 12
    assert seen["events: none in an image"] == 4
    assert seen["events: none in a hidden layer"] == 4
    assert (seen["seed: 0"], seen["seed: 2**64-1"], seen["layers: 1"]) == (1, 0, 0)


def test_bins_of_early_stopping():
    case = certain([[200, 200]] * 3)
    assert bins(replace(case, margins=np.array([9, 2, 2, 2])))["early: leaves later"] == 3
    assert bins(replace(case, margins=np.full(4, 1)))["early: leaves at the first sample"] == 3
    never = bins(replace(case, margins=np.full(4, 5)))
    assert never["early: stays to the last sample"] == 3
    assert never["wait: for a decision (queue)"] == 0 or never["wait: for the layer before"]


def test_no_bin_without_a_name_and_no_room_is_one():
    names = set()
    for number in range(30):
        geometry = draw_geometry(np.random.default_rng((1, number)))
        names |= set(bins(draw_case(geometry, np.random.default_rng((1, number, 0)))))
    assert names <= set(BINS)
    assert len(set(BINS)) == len(BINS)
    tight = replace(certain([[1, 1]]), geometry=Geometry(16, 2, bits=3, result_depth=2, log_depth=2))
    assert bins(tight) == {"refused: no room": 1}


def test_points_are_read_by_module_and_kind():
    def key(module: str, kind: str) -> str:
        return f"C '\1f\2synflip.v\1l\0023\1page\2v_{kind}/{module}\1o\2x\1h\2TOP' "

    text = "\n".join(
        [
            "# SystemC::Coverage-3",
            key("synflip.votes", "line") + "7",
            key("synflip.votes", "branch") + "0",
            key("synflip.votes", "toggle") + "0",
            key("synflip.array.lane_3", "toggle") + "1",
            key("synflip.array.lane_11", "toggle") + "0",
            key("synflip", "user") + "5",
        ]
    )
    found = points(text)
    assert found == {("votes", "line"): [7, 0], ("votes", "toggle"): [0], ("array.lane", "toggle"): [1, 0]}
    assert share(found["array.lane", "toggle"]) == "50.0% of 2"
    assert share([]) == "-"


@pytest.mark.parametrize(
    ("module", "name"), [("synflip", "synflip"), ("synflip.events$130.hidden_0", "events.hidden")]
)
def test_names_of_modules(module, name):
    assert block(module) == name


def test_bins_of_parts():
    """One layer at a time, of 20 rows and 40 outputs: a bank has 24 keys; a tile is 16 outputs."""
    rng = np.random.default_rng(2)
    model = random_network(rng, (20, 40, 3), bits=3)
    pixels = np.ones((1, 20), dtype=np.uint8)
    case = RandomCase(GEOMETRY, model, pixels, 2, 0, np.array([1, 1]), False)
    alone = bins(replace(case, geometry=Geometry(16, 2, bits=3, layer_depth=1)))
    assert (alone["parts: one layer"], alone["parts: side by side"], alone["parts: early stopping"]) == (
        2,
        1,
        1,
    )
    small = Geometry(16, 2, bits=3, key_depth=8, weight_depth=16, log_depth=99)
    seen = bins(replace(case, geometry=small))
    assert (seen["parts: some rows"], seen["parts: side by side"]) == (seen["parts: some outputs"] + 3, 0)
    assert seen["parts: tiles before their own"] and not seen["parts: one layer"]
