"""Where caches are: one setting for all, no home, foreign and read-only folders."""

import getpass
import os
import tempfile
from pathlib import Path

import pytest
from synflip.errors import SynflipError
from synflip.util import cache


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of its own for the system, and no variable that says anything of caches."""
    for name in ("SYNFLIP_CACHE", "XDG_CACHE_HOME", "YOWASP_CACHE_DIR", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path


def test_where_it_is(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "home").mkdir()
    monkeypatch.setenv("HOME", str(bare / "home"))
    assert cache.cache_root() == bare / "home" / ".cache" / "synflip"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the standard says: to be ignored
    assert cache.cache_root() == bare / "home" / ".cache" / "synflip"
    monkeypatch.setenv("XDG_CACHE_HOME", str(bare / "xdg"))
    assert cache.cache_root() == bare / "xdg" / "synflip"
    assert "MPLCONFIGDIR" not in cache.tool_environment()
    monkeypatch.setenv("SYNFLIP_CACHE", "~/mine")
    assert cache.cache_root() == bare / "home" / "mine"
    monkeypatch.chdir(bare)
    monkeypatch.setenv("SYNFLIP_CACHE", "mine")
    assert cache.cache_root() == bare / "mine"


@pytest.mark.parametrize("home", ["/dev/null/x", "/proc", "relative"])
def test_no_home(bare: Path, monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setenv("HOME", home)
    monkeypatch.chdir(bare)
    assert cache.cache_root() == cache.last_resort() == bare / "tmp" / f"synflip-{os.geteuid()}"
    folder = cache.cache_folder("verilator")
    assert folder == cache.last_resort() / "verilator" and folder.is_dir()
    assert cache.last_resort().stat().st_mode & 0o777 == 0o700
    (folder / "x.so").touch()
    assert cache.cached_file("verilator", "x.so") == folder / "x.so"
    with cache.tool_caches():
        for name in ("XDG_CACHE_HOME", "YOWASP_CACHE_DIR", "MPLCONFIGDIR", "SYNFLIP_CACHE"):
            assert Path(os.environ[name]).is_relative_to(cache.last_resort())
        assert Path(os.environ["HOME"]).is_dir()
        assert cache.cache_root() == cache.last_resort()
    assert "XDG_CACHE_HOME" not in os.environ and os.environ["HOME"] == home


def test_no_entry_of_the_user(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setenv("HOME", str(bare))
    monkeypatch.setattr(getpass, "getuser", unknown)
    assert cache.tool_environment() == {"LOGNAME": f"user-{os.geteuid()}"}


def test_one_setting_for_all(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNFLIP_CACHE", str(bare / "cache"))
    monkeypatch.setenv("MPLCONFIGDIR", "/chosen")  # whoever names one of them, is heard
    found = cache.tool_environment()
    assert found["YOWASP_CACHE_DIR"] == str(bare / "cache" / "tools" / "yowasp")
    assert found["MPLCONFIGDIR"] == "/chosen"


@pytest.mark.parametrize("root", ["/proc/nothing", "/dev/null/cache"])
def test_a_cache_that_cannot_be_written(bare: Path, monkeypatch: pytest.MonkeyPatch, root: str) -> None:
    monkeypatch.setenv("SYNFLIP_CACHE", root)
    assert cache.cache_root() == Path(root)
    assert cache.cache_folder("a", "b") == cache.last_resort() / "a" / "b"
    assert Path(cache.tool_environment()["XDG_CACHE_HOME"]).is_relative_to(cache.last_resort())


def test_a_filled_cache_is_read(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNFLIP_CACHE", str(bare / "cache"))
    (bare / "cache").mkdir()
    (bare / "cache" / "x.so").touch()
    monkeypatch.setattr(cache, "_writable", lambda folder: False)
    assert cache.cached_file("x.so") == bare / "cache" / "x.so"
    assert cache.cached_file("y.so") is None
    with pytest.raises(SynflipError, match="set SYNFLIP_CACHE to a folder that can"):
        cache.cache_folder("x")


@pytest.mark.parametrize("trap", ["open", "link"])
def test_a_last_resort_that_others_could_fill(bare: Path, monkeypatch: pytest.MonkeyPatch, trap: str) -> None:
    """Libraries are loaded from it: a folder in /tmp that somebody else has prepared is not taken."""
    monkeypatch.setenv("SYNFLIP_CACHE", "/dev/null/cache")
    if trap == "open":
        cache.last_resort().mkdir()
        cache.last_resort().chmod(0o777)
    else:
        (bare / "theirs").mkdir()
        cache.last_resort().symlink_to(bare / "theirs")
    (cache.last_resort() / "x.so").touch()
    assert cache.cached_file("x.so") is None
    with pytest.raises(SynflipError, match="neither /dev/null/cache nor "):
        cache.cache_folder("x")
