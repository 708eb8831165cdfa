"""The runner of outside programs: FPGA tools, Verilator, compilers. Each is a process with a log.

Bitstreams, simulators and the golden model's kernels use it alike. A program that fails raises ToolError,
which names the file of its output; ``scratch_folder`` keeps that file when the folder around it is deleted.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from synflip.errors import SynflipError
from synflip.util.cache import cache_folder, tool_environment

#: A process between us and a program. We hold its standard input: when that ends, because we close it or are
#: killed, it ends the program and all that this has started.
_GUARD = """
import os, signal, subprocess, sys, tempfile, threading
with tempfile.TemporaryDirectory(prefix="synflip-", ignore_cleanup_errors=True) as folder:
    program = subprocess.Popen(
        sys.argv[1:],
        stdin=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": folder},
        start_new_session=True,
    )
    def watch():
        sys.stdin.buffer.read()
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
    threading.Thread(target=watch, daemon=True).start()
    status = program.wait()
os._exit(status if status >= 0 else 128 - status)
"""
#: Scratch folders begin with it; a process that uses one holds a lock of the file ALIVE in it.
SCRATCH, ALIVE = "synflip-build-", ".alive"
#: Paths that make, shells and compilers take for themselves.
PLAIN = r"[A-Za-z0-9_./+-]+"
TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")
#: What a line of a program's output says of an error, in the words of Yosys, nextpnr, Verilator and g++.
ERROR_LINE = re.compile(r"^%?error\b|: (fatal )?error: ", re.IGNORECASE)


class ToolError(SynflipError):
    """A program failed. reason: what happened, in one line. log: the file with its output."""

    def __init__(self, reason: str, log: Path) -> None:
        self.reason, self.log = reason, log
        super().__init__(f"{reason}; its output is in {log}")


def run_program(
    words: Sequence[str],
    folder: Path,
    name: str,
    heard: Callable[[str], None] = lambda line: None,
    environment: Mapping[str, str] | None = None,
    writes_log: bool = False,
) -> str:
    """Run the command line ``words`` in ``folder``; returns what it printed, also in ``folder/<name>.log``.

    heard: called with each line of output as it comes. environment: ``os.environ`` unless given. writes_log:
    the program writes that log itself; what it prints is added only after a failure, as far as the log lacks
    it. Whatever ends this process, also SIGKILL, ends the program with all that it has started, and its
    temporary files are deleted. Raises SynflipError for a program that is missing, ToolError for an exit
    status other than 0.
    """
    variables = {**(os.environ if environment is None else environment), "PYTHONUNBUFFERED": "1"}
    if environment is None:
        variables |= tool_environment()
    if shutil.which(words[0], path=variables.get("PATH")) is None:
        raise SynflipError(f"{words[0]} is missing")
    log = folder / f"{name}.log"
    log.unlink(missing_ok=True)  # an earlier run's must not be taken for this one's
    lines: list[str] = []
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", _GUARD, *words],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=variables,
        start_new_session=True,  # Ctrl-C on a terminal is for us alone; the guard ends the program
    )
    assert process.stdin is not None and process.stdout is not None
    output = Path(os.devnull if writes_log else log)
    try:
        with process.stdout, output.open("w", buffering=1, encoding="utf-8") as out:
            for line in process.stdout:
                lines.append(line)
                out.write(line)
                heard(line)
        status = process.wait()
    finally:
        process.stdin.close()  # tells the guard to end
        process.wait()
    if writes_log:
        written = log.read_text("utf-8", "replace").splitlines(keepends=True) if log.is_file() else []
        if status:
            known = set(written)
            written += [line for line in lines if line not in known]
            log.write_text("".join(written), "utf-8")
        lines = written
    if status:
        errors = [line.strip() for line in lines if ERROR_LINE.search(line)]
        raise ToolError(f"{name} failed: {errors[0] if errors else f'status {status}'}", log)
    return "".join(lines)


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """A folder that is deleted at the end of the ``with`` block, with a path that every tool understands.

    parent: where to make it. If it is None, or has a path with a blank, an accent or another character that
    means something to make or a shell, the system's temporary folder is taken. Folders that killed processes
    have left behind are deleted. If a program fails in it, ToolError names a copy of its log in the cache's
    folder ``failed``. Raises SynflipError if no folder has such a path.
    """
    import fcntl

    root = _plain_folder(parent)
    _sweep(root)
    folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=root))
    try:
        with (folder / ALIVE).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    except ToolError as error:
        kept = cache_folder("failed") / error.log.name
        shutil.copyfile(error.log, kept)
        raise ToolError(error.reason, kept) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _plain_folder(parent: Path | None) -> Path:
    folders = [*([] if parent is None else [parent]), Path(tempfile.gettempdir()), *map(Path, TEMPORARY)]
    for folder in folders:
        if re.fullmatch(PLAIN, str(folder)) and os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise SynflipError(
        f"{folders[0]} is no folder to build in: set TMPDIR to one whose path has only letters and digits"
    )


def _sweep(root: Path) -> None:
    """Delete scratch folders whose process has ended without deleting them."""
    import fcntl

    for folder in root.glob(f"{SCRATCH}*"):
        with suppress(OSError), (folder / ALIVE).open("r+") as lock:  # of another user, or just being made
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
