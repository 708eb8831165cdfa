"""Open ends of carry chains: what is left open changes no sum, and what is needed stays."""

import copy
import json
import random

import pytest
from synflip_hdl.flow.ecp5_carry_chains import open_ends
from synflip_hdl.flow.toolchain import run

pytestmark = pytest.mark.tools

WIDTH = 9
#: Sums with and without a carry below them, one whose last carry is read.
SOURCE = f"""
module top(input [{WIDTH - 1}:0] a, b, input c, output [{WIDTH}:0] carried, output [{WIDTH - 1}:0] plain,
           output [{WIDTH}:0] whole);
  wire [{WIDTH + 1}:0] wide = {{a, c}} + {{b, c}};
  assign carried = wide[{WIDTH + 1}:1];
  assign plain = a + b;
  assign whole = a - b;
endmodule
"""


@pytest.fixture(scope="module")
def netlist(tmp_path_factory):
    """Cells of SOURCE, as ``synflip build`` makes them."""
    folder = tmp_path_factory.mktemp("carry")
    (folder / "top.v").write_text(SOURCE)
    run("yosys", ["-p", "read_verilog top.v; synth_ecp5 -top top; write_json top.json"], folder)
    return json.loads((folder / "top.json").read_text())


def evaluate(netlist, inputs, opened):
    """The outputs of module top by name: cell by cell, a constant x is ``opened``."""
    module = netlist["modules"]["top"]
    values = {"0": 0, "1": 1, "x": opened}
    drivers = {}
    for cell in module["cells"].values():
        for pin in ("S0", "S1", "COUT"):
            for bit in cell["connections"].get(pin, []):
                drivers[bit] = (cell, pin)
    for name, value in inputs.items():
        for place, bit in enumerate(module["ports"][name]["bits"]):
            values[bit] = value >> place & 1

    def look(bit):
        if bit not in values:
            cell, pin = drivers[bit]
            values[bit] = output(cell, pin)
        return values[bit]

    def output(cell, pin):
        inputs = ("CIN", *(f"{name}{half}" for name in "ABCD" for half in "01"))
        pins = {name: look(cell["connections"][name][0]) for name in inputs}
        assert cell["type"] == "CCU2C"
        carry = pins["CIN"]
        for half in "01":
            assert cell["parameters"][f"INJECT1_{half}"] == "NO"
            init = cell["parameters"][f"INIT{half}"]
            propagate = table(init, [pins[f"{name}{half}"] for name in "ABCD"])
            generate = table(init, [pins[f"A{half}"], pins[f"B{half}"], 0, 0])
            if pin == f"S{half}":
                return propagate ^ carry
            carry = carry if propagate else generate
        return carry

    def table(init, bits):
        return int(init[::-1][sum(bit << place for place, bit in enumerate(bits))])

    return {
        name: sum(look(bit) << place for place, bit in enumerate(port["bits"]))
        for name, port in module["ports"].items()
        if port["direction"] == "output"
    }


def test_sums_stay(netlist):
    trimmed = copy.deepcopy(netlist)
    carry_ins, carry_outs = open_ends(trimmed)
    assert carry_ins >= 1 and carry_outs >= 1
    numbers = random.Random(1)
    for _ in range(300):
        a, b, c = numbers.getrandbits(WIDTH), numbers.getrandbits(WIDTH), numbers.getrandbits(1)
        want = {"carried": a + b + c, "plain": (a + b) % 2**WIDTH, "whole": (a - b) % 2 ** (WIDTH + 1)}
        for opened in (0, 1):
            assert evaluate(trimmed, {"a": a, "b": b, "c": c}, opened) == want


def test_only_ends_are_opened(netlist):
    trimmed = copy.deepcopy(netlist)
    open_ends(trimmed)
    before, after = (
        {name: cell["connections"] for name, cell in item["modules"]["top"]["cells"].items()}
        for item in (netlist, trimmed)
    )
    changed = {
        (name, pin) for name in before for pin in before[name] if before[name][pin] != after[name][pin]
    }
    assert {pin for _, pin in changed} == {"CIN", "COUT"}
    assert all(after[name][pin] == ["x"] for name, pin in changed)
    assert all(before[name][pin] == ["0"] for name, pin in changed if pin == "CIN")
    assert open_ends(trimmed) == (0, 0)
