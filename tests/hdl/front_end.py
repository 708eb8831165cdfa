"""A front end's Verilog, built for its cocotb bench."""

from pathlib import Path

from cocotb_tools.runner import Runner, get_runner
from synflip_sim.simulators.runtime import kept_runtime
from synflip_sim.simulators.verilate import make_variables
from synflip_sim.testbenches.runner import OPTIMISE, environment


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

    It is compiled without optimisation, and only the top module's signals are public: to build it takes
    longer than the benches run.
    """
    (folder / f"{top}.v").write_text(text)
    public = f'`verilator_config\npublic_flat_rw -module "{top}" -var "*"\n'
    (folder / "public.vlt").write_text(public)
    options = ["-Wno-fatal", "-Wno-lint", "-Wno-ALWNEVER", "--x-initial", "unique", "--no-public-flat-rw"]
    runner = get_runner("verilator")
    with environment(folder), kept_runtime(folder, [*options, *make_variables(), *OPTIMISE]):
        runner.build(
            sources=[folder / f"{top}.v", folder / "public.vlt"],
            hdl_toplevel=top,
            build_dir=folder,
            build_args=options,
            timescale=("1ns", "1ns"),
        )
    return runner
