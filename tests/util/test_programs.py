"""Programs end with the process that started them, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from synflip.errors import SynflipError
from synflip.util import programs

#: A program that starts another and writes temporary files; both run for a minute.
PROGRAM = """
import os, subprocess, sys, tempfile, time
tempfile.mkstemp()
child = subprocess.Popen(["sleep", "60"])
with open("ids", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
print("started", flush=True)
time.sleep(60)
"""
BUILD = """
import signal, sys
from pathlib import Path
from synflip.util import programs
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it
root = Path(sys.argv[1])
with programs.scratch_folder(root) as folder:
    words = [sys.executable, "-c", sys.argv[2]]
    programs.run_program(words, folder, "tool", heard=lambda line: print(folder, flush=True))
"""


def alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # it ended before, or while, it was read
        return False


def gone(*numbers: int) -> bool:
    """Whether these processes end within half a minute."""
    for _ in range(300):
        if not any(map(alive, numbers)):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_build(tmp_path: Path, kind: signal.Signals) -> None:
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    command = [sys.executable, "-c", BUILD, str(tmp_path), PROGRAM]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as build:
        assert build.stdout is not None
        folder = Path(build.stdout.readline().strip())
        numbers = [int(number) for number in (folder / "ids").read_text().split()]
        assert folder.parent == tmp_path and all(map(alive, numbers))
        build.send_signal(kind)
        build.wait(30)
    assert gone(*numbers)
    for _ in range(100):  # the guard deletes them after the program's end
        if not list((tmp_path / "tmp").iterdir()):
            break
        time.sleep(0.1)
    assert not list((tmp_path / "tmp").iterdir())
    with programs.scratch_folder(tmp_path) as other:
        assert not folder.exists() and other.exists()


def test_a_build_that_runs_is_not_swept_away(tmp_path: Path) -> None:
    with programs.scratch_folder(tmp_path) as first, programs.scratch_folder(tmp_path) as second:
        assert first.is_dir() and second.is_dir() and first != second
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["a b", "é", "a#b", "a$b", "a:b", "a'b", "a(b", "a&b", "a%b", "a\\b", "a\nb"]
)
def test_scratch_folders_have_plain_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    odd = tmp_path / name
    odd.mkdir()
    for temporary in (tmp_path, odd):
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        with programs.scratch_folder(odd) as folder:
            assert not folder.is_relative_to(odd)
    with programs.scratch_folder(tmp_path) as folder:
        assert folder.is_relative_to(tmp_path)
    monkeypatch.setattr(programs, "TEMPORARY", ())
    with pytest.raises(SynflipError, match="set TMPDIR"), programs.scratch_folder(odd):
        pass


def test_a_program_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SynflipError, match="nothing is missing"):
        programs.run_program(["nothing"], tmp_path, "tool")


def test_a_program_that_is_killed(tmp_path: Path) -> None:
    code = "import os; os.kill(os.getpid(), 9)"
    with pytest.raises(programs.ToolError, match="status 137"):
        programs.run_program([sys.executable, "-c", code], tmp_path, "tool")


@pytest.mark.parametrize("writes_log", [False, True])
def test_what_a_program_printed_is_in_its_log(writes_log: bool, tmp_path: Path) -> None:
    """Also a crash's last words, where the program writes the log itself and cannot put them there."""
    code = "import sys; print('first', flush=True); sys.exit('x.cpp:1:2: error: no such type')"
    if writes_log:
        code = "open('tool.log', 'w').write('first\\n'); " + code
    heard: list[str] = []
    with pytest.raises(programs.ToolError, match=r"tool failed: x\.cpp:1:2: error: no such type; its"):
        programs.run_program([sys.executable, "-c", code], tmp_path, "tool", heard.append, None, writes_log)
    text = "first\nx.cpp:1:2: error: no such type\n"
    assert (tmp_path / "tool.log").read_text() == text and "".join(heard) == text
    assert programs.run_program([sys.executable, "-c", "print(7)"], tmp_path, "tool") == "7\n"
    assert (tmp_path / "tool.log").read_text() == "7\n"
