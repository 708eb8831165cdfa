"""Text that is printed: encodings, widths, and control codes where there is no terminal."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ASCII = (
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
)
ESCAPE = b"\x1b"


def synflip(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "synflip.cli.app", *arguments]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **variables}, capture_output=True, timeout=120
    )


@pytest.mark.parametrize("variables", ASCII)
@pytest.mark.parametrize("name", ["bïld.npy", "図.npy"])
def test_letters_that_the_encoding_lacks(tmp_path: Path, variables: dict[str, str], name: str) -> None:
    done = synflip("images", "digits", "--count", "3", "--out", name, folder=tmp_path, **variables)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"images" in done.stdout and b".npy" in done.stdout
    assert (tmp_path / name).is_file()
    done = synflip("info", name, folder=tmp_path, **variables)
    assert done.returncode == 1 and done.stderr.startswith(b"error: ") and done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("columns", ["0", "1", "20", "-3", "x", "²", "99999999999999999999"])
def test_widths(tmp_path: Path, columns: str) -> None:
    arguments = ("images", "digits", "--count", "3", "--out", "x.npy")
    done = synflip(*arguments, folder=tmp_path, COLUMNS=columns)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"uint8 [3, 64]" in done.stdout and b"x.npy" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= (40 if columns in ("1", "20") else 80)
    done = synflip("map", "--help", folder=tmp_path, COLUMNS=columns)
    assert b"--format" in done.stdout


@pytest.mark.parametrize("name", ["FORCE_COLOR", "PY_COLORS", "TTY_COMPATIBLE", "GITHUB_ACTIONS"])
def test_no_control_codes_where_no_terminal_is(tmp_path: Path, name: str) -> None:
    for arguments in (("map", "--out", "x.md"), ("verilog", "--geometry", "16x1", "--out", "x"), ("--help",)):
        done = synflip(*arguments, folder=tmp_path, **{name: "1"})
        assert done.returncode == 0 and ESCAPE not in done.stdout + done.stderr
        assert done.stderr == b""


def in_terminal(tmp_path: Path, **variables: str) -> bytes:
    """What ``synflip map`` prints in a pseudo-terminal."""
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "synflip.cli.app", "map", "--out", "x.md"]
    environment = {**os.environ, "TERM": "xterm", **variables}
    environment.pop("NO_COLOR", None) if "NO_COLOR" not in variables else None
    subprocess.run(command, cwd=tmp_path, env=environment, stdout=theirs, stderr=theirs, check=True)
    os.close(theirs)
    found = b""
    try:
        while part := os.read(ours, 1 << 16):
            found += part
    except OSError:  # Linux says so that the other side is closed
        pass
    os.close(ours)
    return found


def test_terminals(tmp_path: Path) -> None:
    assert ESCAPE in in_terminal(tmp_path)
    assert ESCAPE not in in_terminal(tmp_path, TERM="dumb")
    assert b"wrote" in in_terminal(tmp_path, TERM="dumb")
    without_colour = in_terminal(tmp_path, NO_COLOR="1")
    assert not re.search(rb"\x1b\[[\d;]*[34]\dm", without_colour) and b"wrote" in without_colour


def test_a_stdout_that_takes_nothing(tmp_path: Path) -> None:
    command = f"{sys.executable} -m synflip.cli.app map --out x.md"
    done = subprocess.run(f"{command} >&-", shell=True, cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "x.md").is_file()
    if Path("/dev/full").exists():
        done = subprocess.run(f"{command} > /dev/full", shell=True, cwd=tmp_path, capture_output=True)
        assert done.returncode == 1 and done.stderr.count(b"\n") == 1
        assert b"No space left" in done.stderr
