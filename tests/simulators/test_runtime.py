"""Objects of Verilator's runtime: kept by recipe, and put where make finds them."""

import time
from pathlib import Path

import pytest
from synflip_sim.simulators.runtime import kept_runtime


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_an_object_is_kept_for_builds_by_the_same_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNFLIP_CACHE", str(tmp_path / "cache"))
    failed, first, second, other = (
        folder(tmp_path / name) for name in ("failed", "first", "second", "other")
    )
    with pytest.raises(RuntimeError), kept_runtime(failed, ["-O2", "g++"]):
        (failed / "verilated.o").write_bytes(b"half")
        raise RuntimeError("the compiler failed")
    with kept_runtime(first, ["-O2", "g++"]):
        assert not list(first.iterdir())
        (first / "verilated.o").write_bytes(b"whole")
        (first / "design.o").write_bytes(b"of this design")
    with kept_runtime(second, ["-O2", "g++"]):
        (there,) = second.iterdir()
        assert there.name == "verilated.o" and there.read_bytes() == b"whole"
        assert there.stat().st_mtime > time.time() + 60  # or make would compile it again
        there.write_bytes(b"changed")
    with kept_runtime(other, ["-O0", "g++"]):
        assert not list(other.iterdir())
    with kept_runtime(folder(tmp_path / "third"), ["-O2", "g++"]):
        assert (tmp_path / "third/verilated.o").read_bytes() == b"whole"
