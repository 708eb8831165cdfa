"""The serial front end in Verilator, spoken to by cocotbext-uart in synflip_sim.testbenches.serial.uart."""

import pytest
from cocotb_tools.check_results import get_results
from synflip.spec.geometry import Geometry
from synflip_hdl.export.verilog import SERIAL_TOP, convert_serial

from tests.hdl.front_end import build

pytestmark = pytest.mark.simulator

GEOMETRY = Geometry(
    16, 1, bits=1, weight_depth=64, event_depth=64, key_depth=64, bias_depth=64, image_slots=2, log_depth=64
)
CLOCK_NS, BAUD, SILENCE_BITS = 40, 3_000_000, 200  # 25 MHz: 8.3 cycles a bit


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uart")
    runner = build(folder, convert_serial(GEOMETRY, 1e9 / CLOCK_NS, BAUD, SILENCE_BITS), SERIAL_TOP)
    return runner, folder


def run(runner, folder, name, off=0.0, reset="active"):
    """off: of the host's clock."""
    environment = {
        "UART_BAUD": str(round(BAUD * (1 + off))),
        "UART_CLOCK_NS": str(CLOCK_NS),
        "UART_SILENCE_BITS": str(SILENCE_BITS),
        "RESET": reset,
    }
    results = runner.test(
        test_module="synflip_sim.testbenches.serial.uart",
        hdl_toplevel=SERIAL_TOP,
        hdl_toplevel_lang="verilog",
        testcase=name,
        build_dir=folder,
        test_dir=folder,
        seed=1,
        extra_env=environment,
        results_xml=str(folder / "results.xml"),
    )
    assert get_results(results) == (1, 0)


@pytest.mark.parametrize(("off", "reset"), [(-0.02, "active"), (0.0, "open"), (0.02, "idle")])
def test_frames(simulator, off, reset):
    """The host's clock is off by as much: each end listens at its own rate. From a reset, and without one."""
    run(*simulator, "frames", off, reset)


@pytest.mark.parametrize("reset", ["active", "idle"])
def test_resets(simulator, reset):
    run(*simulator, "resets", reset=reset)
