"""A front end's Verilog, built for its cocotb bench."""

from pathlib import Path

from cocotb_tools.runner import Runner, get_runner
from synflip_sim.testbenches.runner import environment


def build_icarus(folder: Path, text: str, top: str, generation: str) -> Runner:
    """The runner of Icarus with the Verilog ``text``, top module ``top``, compiled in ``folder`` by the rules
    of Verilog ("2005") or SystemVerilog ("2012")."""
    (folder / f"{top}.v").write_text(text)
    runner = get_runner("icarus")
    runner.build(
        sources=[folder / f"{top}.v"],
        hdl_toplevel=top,
        build_dir=folder,
        build_args=[f"-g{generation}"],
        timescale=("1ns", "1ns"),
    )
    return runner


def build(folder: Path, text: str, top: str) -> Runner:
    """The runner of Verilator with the Verilog ``text``, top module ``top``, built in ``folder``.

    It is compiled without optimisation: to build it takes longer than the benches run.
    """
    (folder / f"{top}.v").write_text(text)
    runner = get_runner("verilator")
    with environment(folder, ("OPT_FAST=-O0", "OPT_GLOBAL=-O0")):
        runner.build(
            sources=[folder / f"{top}.v"],
            hdl_toplevel=top,
            build_dir=folder,
            build_args=["-Wno-fatal", "-Wno-lint", "-Wno-ALWNEVER", "--x-initial", "unique"],
            timescale=("1ns", "1ns"),
        )
    return runner
