"""Output registers of block RAMs: which flip-flops go into them, and which have to stay.

tests/simulators/test_netlist.py shows that what is absorbed computes the same: its netlists are made this
way.
"""

import json

import pytest
from synflip_hdl.flow.cell_counts import count_cells
from synflip_hdl.flow.ecp5_output_registers import absorb
from synflip_hdl.flow.toolchain import run

pytestmark = pytest.mark.tools

SOURCE = """
module top(input clock, write, enable, reset, input [8:0] to, from, input [{width} - 1:0] data,
           output reg [{width} - 1:0] result{more});
  (* ram_style = "block" *) reg [{width} - 1:0] memory [0:511];
  reg [{width} - 1:0] answer;
  always @(posedge clock) begin
    if (write) memory[to] <= data;
    answer <= memory[from];
    {register}
  end
  {rest}
endmodule
"""
PLAIN = "result <= answer;"


def synthesized(folder, width=18, register=PLAIN, more="", rest=""):
    source = SOURCE.format(width=width, register=register, more=more, rest=rest)
    (folder / "top.v").write_text(source)
    script = "read_verilog top.v; synth_ecp5 -no-rw-check -top top; write_json top.json"
    run("yosys", ["-p", script], folder)
    return json.loads((folder / "top.json").read_text())


def modes(netlist):
    return [
        (cell["parameters"]["REGMODE_A"], cell["parameters"]["REGMODE_B"])
        for cell in netlist["modules"]["top"]["cells"].values()
        if cell["type"] == "DP16KD"
    ]


@pytest.mark.parametrize(
    ("width", "wanted"),
    [
        (18, [("NOREG", "OUTREG")]),
        (36, [("OUTREG", "OUTREG")]),  # half of it leaves by port A
        (40, [("OUTREG", "OUTREG")] * 2),
    ],
)
def test_a_plain_register_is_absorbed(tmp_path, width, wanted):
    netlist = synthesized(tmp_path, width)
    before = count_cells(netlist)["TRELLIS_FF"]
    results = netlist["modules"]["top"]["ports"]["result"]["bits"]
    assert absorb(netlist) == width
    assert count_cells(netlist).get("TRELLIS_FF", 0) == before - width
    assert sorted(modes(netlist)) == wanted
    cells = netlist["modules"]["top"]["cells"].values()
    driven = [
        bit
        for cell in cells
        if cell["type"] == "DP16KD"
        for pin, bits in cell["connections"].items()
        if pin.startswith("DO")
        for bit in bits
    ]
    assert set(results) <= set(driven)


@pytest.mark.parametrize(
    "other",
    [
        {"register": "if (enable) result <= answer;"},
        {"register": "result <= reset ? 0 : answer;"},
        {"register": "result <= answer ^ data;"},
        {"register": "result[0] <= answer[0]; if (enable) result[17:1] <= answer[17:1];"},
        {"more": ", output [17:0] early", "rest": "assign early = answer;"},
        {"more": ", output reg one", "rest": "always @(posedge clock) one <= ^answer[1:0];"},
        {"register": "", "rest": "always @(negedge clock) result <= answer;"},
        {
            "register": "",
            "more": ", input second",
            "rest": "always @(posedge second) result <= answer;",
        },
    ],
    ids=["enable", "reset", "logic", "part of it", "port", "two readers", "other edge", "other clock"],
)
def test_others_stay(tmp_path, other):
    netlist = synthesized(tmp_path, **other)
    before = count_cells(netlist)
    assert before["TRELLIS_FF"] >= 18
    for _ in range(2):
        assert absorb(netlist) == 0
        assert count_cells(netlist) == before
        assert set(modes(netlist)) == {("NOREG", "NOREG")}
        module = netlist["modules"]["top"]  # in the other order too
        module["cells"] = dict(reversed(module["cells"].items()))
