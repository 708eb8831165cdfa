"""Verilator builds whatever the paths are called, whatever the environment says; a filled cache is enough."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import synflip
import synflip_hdl
import synflip_sim
from synflip.errors import SynflipError
from synflip.spec.geometry import Geometry
from synflip.util import cache, libraries
from synflip_sim.simulators import verilate

ODD = "a b é#$:'(c"
#: Variables that make takes for its own, each of which breaks a build.
FLAGS = {
    "CXXFLAGS": "-fno-such-option",
    "CPPFLAGS": "-fno-such-option",
    "CFLAGS": "-fno-such-option",
    "LDFLAGS": "-lnosuchlibrary",
    "LDLIBS": "-lnosuchlibrary",
    "MAKEFLAGS": "-n",
    "OPT_FAST": "-fno-such-option",
    "USER_CPPFLAGS": "-fno-such-option",
    "CPLUS_INCLUDE_PATH": "/nosuchfolder",
}


def behind(odd: Path, code: str, **variables: str) -> str:
    """What ``code`` prints. Interpreter, sources, cache and working folder are in the folder ``odd``."""
    odd.mkdir()
    (odd / "venv").symlink_to(sys.prefix)
    trees = []
    for package in (synflip, synflip_hdl, synflip_sim):
        assert package.__file__
        tree = Path(package.__file__).parents[1]
        (odd / tree.name).symlink_to(tree)
        trees.append(str(odd / tree.name))
    environment = {**os.environ, "SYNFLIP_CACHE": str(odd / "cache"), **variables}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [odd / "venv" / "bin" / "python", "-c", f"import sys; sys.path[:0] = {trees!r}; {code}"],
        cwd=odd, env=environment, capture_output=True, encoding="utf-8", timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.simulator
@pytest.mark.nightly
def test_odd_paths_and_flags(tmp_path: Path) -> None:
    """Behind a path that make would cut."""
    odd = tmp_path / ODD
    said = behind(
        odd,
        "import synflip; device = synflip.open_device('verilator:16x1'); print(device.geometry.name); "
        "from synflip_sim.simulators import verilate; print(verilate.HARNESS)",
        **FLAGS,
        PATH=_without("c++", tmp_path),
    )
    assert said.splitlines()[0] == "16x1" and ODD in said
    assert len(list((odd / "cache" / "verilator").glob("*.so"))) == 1
    assert not list((odd / "cache" / "verilator").glob("synflip-build-*"))


@pytest.mark.simulator
@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_icarus_behind_odd_paths(tmp_path: Path) -> None:
    said = behind(
        tmp_path / ODD,
        "import synflip; print(synflip.open_device('icarus:16x1').geometry.name); "
        "from synflip_sim.simulators import icarus; print(icarus.BENCH)",
        TMPDIR=str(tmp_path / ODD),
    )
    assert said.splitlines()[0] == "16x1" and ODD in said


@pytest.mark.simulator
@pytest.mark.nightly
def test_a_bench_behind_odd_paths(tmp_path: Path) -> None:
    """cocotb builds and runs one; it hands paths on in PYTHONPATH, which cannot hold a colon."""
    said = behind(
        tmp_path / ODD.replace(":", ""),
        "from pathlib import Path; from synflip_sim.testbenches.runner import run; "
        "from synflip_sim.testbenches.runs import RUNS; Path('run').mkdir(); "
        "run('source', RUNS['16x1-k16'].prepare(Path('run').resolve())); print('passed')",
    )
    assert said == "passed\n"


def _without(tool: str, folder: Path) -> str:
    """A PATH with every program of the machine but ``tool``."""
    programs = folder / "programs"
    programs.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for program in Path(place).glob("*"):
            if program.name != tool and not (programs / program.name).is_symlink():
                (programs / program.name).symlink_to(program)
    return str(programs)


def test_the_compiler_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    usual = verilate.content_key(Geometry(16, 1))
    monkeypatch.setenv("CXX", "g++")
    assert verilate.content_key(Geometry(16, 1)) == usual
    monkeypatch.setenv("CXX", "ccache clang++")
    assert verilate.content_key(Geometry(16, 1)) != usual
    assert {"CXX=ccache clang++", "LINK=ccache clang++"} < set(verilate.make_variables())


def test_a_compiler_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "nothing++ -O9")
    with pytest.raises(
        SynflipError, match=r"nothing\+\+, which the environment variable CXX names, is missing"
    ):
        verilate.compile_library(tmp_path, [], lambda text: None)


def test_a_filled_cache_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a lock nor a folder is made where the library is there already: the disk may be read-only."""
    monkeypatch.setenv("SYNFLIP_CACHE", str(tmp_path))
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / libraries.LIBRARY).write_bytes(b"library")

    path = libraries.cached("verilator", "name", "key", make)
    assert path.read_bytes() == b"library" and len(made) == 1 and not made[0].exists()
    for item in path.parent.glob("*.lock"):
        item.unlink()
    monkeypatch.setattr(cache, "_writable", lambda folder: pytest.fail("nothing is to be written"))
    assert libraries.cached("verilator", "name", "key", make) == path
    assert [item.name for item in path.parent.iterdir()] == [path.name] and len(made) == 1


@pytest.mark.simulator
@pytest.mark.nightly
def test_two_processes_at_once(tmp_path: Path) -> None:
    """With an empty cache the second waits for the library of the first; with a full one neither waits. Both
    compute what golden does."""
    code = (
        "import numpy as np, synflip; from synflip.devices.registry import open_device; "
        "from synflip.golden.cpu import Golden; from tests.networks import random_model; "
        "device = open_device('verilator:16x1'); model = random_model((20, 6, 3)); "
        "pixels = np.arange(60, dtype=np.uint8).reshape(3, 20); golden = Golden(device.geometry); "
        "found = [(each.load(model), each.infer(pixels, 4, 1))[1] for each in (device, golden)]; "
        "assert found[0].cycles == found[1].cycles > 0; assert (found[0].votes == found[1].votes).all()"
    )
    environment = os.environ | {"SYNFLIP_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    written: set[int] = set()
    for _ in range(2):
        pair = [
            subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for process in pair:
            _, said = process.communicate(timeout=600)
            assert process.returncode == 0, said
        written |= {library.stat().st_mtime_ns for library in (tmp_path / "verilator").glob("*.so")}
    assert len(written) == 1


def test_two_processes_make_a_library_once(tmp_path: Path) -> None:
    """The second waits until the first has made it."""
    code = (
        "import time; from pathlib import Path; from synflip.util import libraries\n"
        "def make(folder):\n"
        "    with Path('made').open('a') as file: file.write('x')\n"
        "    time.sleep(1); (folder / libraries.LIBRARY).write_bytes(b'library')\n"
        "assert libraries.cached('kind', 'name', 'key', make).read_bytes() == b'library'"
    )
    environment = os.environ | {"SYNFLIP_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-c", code]
    pair = [subprocess.Popen(words, env=environment, cwd=tmp_path) for _ in range(2)]
    assert [process.wait(60) for process in pair] == [0, 0]
    assert (tmp_path / "made").read_text() == "x"


def test_a_library_that_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "x.so").write_bytes(b"no library")
    with pytest.raises(SynflipError, match="cannot be loaded"):
        libraries.load_library(tmp_path / "x.so")
