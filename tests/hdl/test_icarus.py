"""The exported Verilog in Icarus, under the bus models of cocotbext-axi and cocotbext-uart, by the rules of
Verilog and of SystemVerilog: from a reset, without one, and with one in the middle of a run."""

import json
import os
import shutil

import numpy as np
import pytest
from synflip.spec.memory_map import register
from synflip_hdl.export.verilog import SERIAL_TOP, convert_axi, convert_serial
from synflip_sim.simulators import icarus

from tests.hdl.axi import test_top as axi
from tests.hdl.axi.page import example
from tests.hdl.front_end import build_icarus
from tests.hdl.serial import test_top as serial

pytestmark = pytest.mark.simulator


@pytest.fixture(autouse=True)
def tools():
    if any(shutil.which(tool) is None for tool in icarus.TOOLS):
        assert not os.environ.get("SYNFLIP_REQUIRE_ICARUS"), "Icarus is missing"
        pytest.skip("Icarus Verilog is missing (Debian: apt install iverilog)")


@pytest.fixture(autouse=True)
def no_test_of_pytest(monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)  # cocotb would end the process


#: Rules -> benches, and the reset that each begins with (``begin_reset``); `resets` has one in its middle.
AXI = {
    "2005": [("inference", "active"), ("resets", "idle")],
    "2012": [("inference", "idle"), ("inference", "open"), ("resets", "active")],
}
SERIAL = {
    "2005": [("resets", "active")],
    "2012": [("resets", "idle"), ("frames", "open")],
}


def plan_of_the_page() -> dict:
    """The writes and answers of docs/reference/axi.md, for the bench ``inference``."""
    page = example()
    calls = [("write", place, words) for place, words in page.names["writes"]]
    calls.append(("poll", register("STATUS"), [0]))
    calls += [("read", place, words) for place, words in page.answers]
    logits = page.golden().logits
    assert logits is not None
    return {"calls": calls, "packets": [axi.words_of(row) for row in logits[:, 0]]}


@pytest.mark.nightly
@pytest.mark.parametrize("generation", AXI)
def test_axi(generation, tmp_path, subtests):
    runner = build_icarus(tmp_path, convert_axi(axi.GEOMETRY), "synflip_axi", generation)
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(axi.plan_of_an_inference(2, np.full(axi.SAMPLES, 2), True, True)))
    for name, reset in AXI[generation]:
        with subtests.test(name, reset=reset):
            axi.run(runner, tmp_path, name, plan=plan, reset=reset)
    if generation == "2012":
        with subtests.test("the page's example"):
            plan.write_text(json.dumps(plan_of_the_page()))
            axi.run(runner, tmp_path, "inference", plan=plan)


@pytest.mark.parametrize("generation", ["2012", pytest.param("2005", marks=pytest.mark.nightly)])
def test_serial(generation, tmp_path, subtests):
    text = convert_serial(serial.GEOMETRY, 1e9 / serial.CLOCK_NS, serial.BAUD, serial.SILENCE_BITS)
    runner = build_icarus(tmp_path, text, SERIAL_TOP, generation)
    for name, reset in SERIAL[generation]:
        with subtests.test(name, reset=reset):
            serial.run(runner, tmp_path, name, reset=reset)
