"""Convolutions on the array: the whole accelerator beside the reference, and defects that this finds."""

import os
import subprocess
import sys

import pytest
from synflip_sim.campaigns.mutant_list import Mutant
from synflip_sim.campaigns.mutants import patch

from tests.hdl.maps import difference
from tests.mapped import CASES

#: ``run`` is the network that must find it.
DEFECTS = [
    Mutant(
        "maps-tap-skipped",
        "maps",
        "engine/segments.py",
        "self.places.image[bank].eq(position + read.data[bank])",
        "self.places.image[bank].eq(position + (read.data[bank] if bank else 0))",
        "one bank reads the position's first activation for every tap",
        "pixel",
    ),
    Mutant(
        "maps-stale-pixel",
        "maps",
        "engine/event_lists.py",
        "appended |= whole & busy",
        "appended |= whole & busy & value.any()",
        "a zero leaves the pixel of the image before in its place",
        "pixel",
    ),
    Mutant(
        "maps-window-shifted",
        "maps",
        "engine/sequencer.py",
        "tile.pooled.first.eq(current.window_end)",
        "tile.pooled.first.eq(~current.window_end)",
        "a window begins with its second position",
        "pixel",
    ),
    Mutant(
        "maps-pool-min",
        "maps",
        "engine/pool.py",
        "(old > new)",
        "(old < new)",
        "the smallest of a window goes on",
        "pixel",
    ),
    Mutant(
        "maps-border",
        "maps",
        "engine/segments.py",
        "places.none.eq(entry.data.first == 0)",
        "places.none.eq(entry.data.first <= 1)",
        "a segment that begins with the second pixel begins with the first",
        "three",
    ),
    Mutant(
        "maps-two-maps",
        "maps",
        "engine/event_lists.py",
        "number.eq(Cat(pixels, append.hidden_set[0]))",
        "number.eq(Cat(pixels, 0))",
        "a map's ends are written over those of the map that is read",
        "three",
    ),
    Mutant(
        "maps-tile-weights",
        "maps",
        "engine/sequencer.py",
        "now.tile_weight + now.row_blocks)",
        "now.tile_weight)",
        "the second tile of a window has the weights of the first",
        "tiles",
    ),
    Mutant(
        "maps-tile-again",
        "maps",
        "engine/segments.py",
        "Mux(window_end & demand.again, window, number + 1)",
        "Mux(demand.again, window, number + 1)",
        "a window of several segments begins anew with each of them",
        "tiles",
    ),
    Mutant(
        "maps-early",
        "maps",
        "engine/sequencer.py",
        "& (layer_ends | segments.ready)",
        "& (layer_ends | segments.ready | ~current.position_end)",
        "a segment is opened before it was looked up",
        "three",
    ),
    Mutant(
        "maps-hold",
        "maps",
        "engine/sequencer.py",
        "& (~current.position_end | wait.drained)",
        "",
        "a position's sums come while those of the one before are drained",
        "three",
    ),
]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "pooled" else [pytest.mark.nightly]) for name in CASES]
)
def test_as_the_reference(name):
    """Every logit of every network sample, and the cycles of every run."""
    assert difference(CASES[name]) == ""


@pytest.mark.nightly
@pytest.mark.parametrize("defect", DEFECTS, ids=[defect.name for defect in DEFECTS])
def test_defect_is_found(defect, tmp_path):
    path = os.pathsep.join((str(patch(defect, tmp_path)), *sys.path))
    done = subprocess.run(
        [sys.executable, "-m", "tests.hdl.maps", defect.run],
        env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 1
    assert "expected" in done.stderr or "does not end" in done.stderr, done.stderr[-2000:]
