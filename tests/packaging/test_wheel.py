"""The wheel, installed in an environment outside the checkout: what a user of ``pip install synflip`` has.

The dependencies are those of the environment that runs the tests: a path to them, without the editable
synflip that is installed beside them. Nothing comes from a network.
"""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from synflip import __version__

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = {"sw/synflip": "synflip", "hdl/synflip_hdl": "synflip_hdl", "sim/synflip_sim": "synflip_sim"}
PACKAGES |= {"constraints": "synflip_hdl/constraints"}
#: What Python and tools leave behind.
LEFT_BEHIND = {"__pycache__", ".DS_Store"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, *offline, "--wheel-dir", str(folder), str(ROOT)], check=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def place(wheel, tmp_path_factory) -> Path:
    """The new environment."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    # A path in a .pth file is searched, and the .pth files in it are not read: the editable install is one.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def run(place: Path, program: str, *arguments: str, cwd: Path) -> str:
    """What a program of the environment prints, far from the checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(place / "bin" / program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=kept)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_file_of_the_packages_is_in_the_wheel(wheel):
    files = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        f"{package}/{path.relative_to(ROOT / source)}"
        for source, package in PACKAGES.items()
        for path in (ROOT / source).rglob("*")
        if path.is_file() and not LEFT_BEHIND & set(path.parts)
    }
    assert {"synflip/spec/coin_taps.json", "synflip_hdl/constraints/ulx3s-85f.lpf"} <= wanted
    assert wanted - files == set()
    assert {name for name in files - wanted if ".dist-info/" not in name} == set()


def test_the_checkout_is_not_importable(place, tmp_path):
    script = "import synflip, synflip_hdl, synflip_sim, sys, json; print(json.dumps([sys.path, *("
    script += "m.__file__ for m in (synflip, synflip_hdl, synflip_sim))]))"
    path, *files = json.loads(run(place, "python", "-c", script, cwd=tmp_path))
    assert not [entry for entry in path if entry.startswith(str(ROOT / "sw"))]
    assert all(Path(file).is_relative_to(place) for file in files)


def test_version(place, tmp_path):
    assert run(place, "synflip", "--version", cwd=tmp_path) == f"synflip {__version__}\n"
    script = "import importlib.metadata as m; print(m.version('synflip'))"
    assert run(place, "python", "-c", script, cwd=tmp_path) == f"{__version__}\n"


def test_demo(place, tmp_path):
    said = run(place, "synflip", "demo", "--quick", "--out", "demo", cwd=tmp_path)
    assert "mismatches of votes, golden and Verilator │ 0 of 4,450" in " ".join(said.split())
    assert (tmp_path / "demo" / "votes.png").is_file()


def test_boards_and_verilog(place, tmp_path):
    from synflip_hdl.boards.catalogue import BOARDS

    said = run(place, "synflip", "boards", cwd=tmp_path)
    assert all(name in said for name in BOARDS)
    run(place, "synflip", "verilog", "--geometry", "16x1", "--out", "top.v", cwd=tmp_path)
    assert "module synflip(" in (tmp_path / "top.v").read_text()


def test_simulators_are_found_as_devices(place, tmp_path):
    script = "from importlib.metadata import entry_points as points\n"
    script += "for point in points(group='synflip.devices'): print(point.name, point.load().__module__)"
    found = dict(line.split() for line in run(place, "python", "-c", script, cwd=tmp_path).splitlines())
    assert {name: found.get(name) for name in ("verilator", "icarus", "netlist")} == {
        name: f"synflip_sim.simulators.{name}" for name in ("verilator", "icarus", "netlist")
    }


def test_constraints_are_found(place, tmp_path):
    script = "from synflip_hdl.boards.constraints import read_constraints as read; print(len(read('{}')))"
    for path in (ROOT / "constraints").iterdir():
        said = run(place, "python", "-c", script.format(path.name), cwd=tmp_path)
        assert int(said) == len(path.read_text())


def test_the_page_of_the_report_is_found(place, tmp_path):
    script = "from synflip.experiments.pages.page import html; print(len(html([], 'none', 'none')))"
    assert int(run(place, "python", "-c", script, cwd=tmp_path)) > 1000
