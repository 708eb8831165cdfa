"""The Verilog is the same text on every Python."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from amaranth.hdl import Signal
from amaranth.lib.stream import Signature
from synflip.spec.geometry import Geometry
from synflip_hdl.export.verilog import convert, convert_axi, convert_serial

ROOT = Path(__file__).parents[2]
VERSIONS = ("3.11", "3.12", "3.13")
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
SMALL = {"weight_depth": 96, "event_depth": 100, "key_depth": 64, "bias_depth": 96}


def test_names_of_variables_that_are_stored_at_once():
    """As on Python 3.11: of several calls, the last is next to the store of its variable."""
    first, second = Signal(), Signal()
    one, two, three = Signal(), Signal(), Signal()
    alone = Signal()
    write, read = Signature(8).create(), Signature(8).create()
    assert [item.name for item in (first, second)] == ["$signal", "second"]
    assert [item.name for item in (one, two, three)] == ["$signal", "$signal", "three"]
    assert alone.name == "alone"
    assert (write.valid.name, read.valid.name) == ("$signature__valid", "read__valid")


def hashes() -> str:
    """Of every front's text."""
    plain = Geometry(16, 2, bits=3, soft_classes=10, **SMALL)
    junctions = Geometry(16, 1, bits=4, devices=8, **SMALL)
    texts = [front(geometry) for geometry in (plain, junctions) for front in (convert, convert_axi)]
    texts.append(convert_serial(plain, 25e6))
    return " ".join(hashlib.sha256(text.encode()).hexdigest() for text in texts)


@pytest.mark.tools
@pytest.mark.nightly
def test_one_text_on_every_python():
    """With the environments that `make pythons` makes, which have the versions of requirements.lock."""
    pythons = [
        ROOT / "build" / f"python{version}" / "bin" / "python" for version in VERSIONS if version != HERE
    ]
    pythons = [python for python in pythons if python.exists()]
    if not pythons:
        pytest.skip("build has no other Pythons: `make pythons` makes them")
    path = os.pathsep.join(str(ROOT / part) for part in ("sw", "hdl", "sim", "."))
    wanted = hashes().split()
    for python in pythons:
        said = subprocess.run(
            [python, "-c", "from tests.hdl.test_names import hashes; print(hashes())"],
            env=os.environ | {"PYTHONPATH": path},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout.split() == wanted, python
