"""Carry chains of an ECP5 netlist, as nextpnr wants them: without ends that nobody needs.

nextpnr puts a slice before every chain whose carry-in is a constant, and one after every chain whose
carry-out is a net, even one without a reader. Neither is needed here: an adder of ours begins with a position
whose operands are equal, so that its carry-out is that operand whatever comes in, and a sum's last carry is
dropped. So both are left open.
"""

from collections import Counter
from typing import Any

#: Yosys's CCU2C of a sum: propagates A xor B xor C while D is 1, generates A.
SUM = "1001011010101010"


def open_ends(netlist: dict[str, Any]) -> tuple[int, int]:
    """Change ``netlist``, as Yosys writes it in JSON: how many carry-ins and how many carry-outs were left
    open."""
    carry_ins = carry_outs = 0
    for module in netlist["modules"].values():
        uses = Counter(bit for port in module["ports"].values() for bit in port["bits"])
        for cell in module["cells"].values():
            uses.update(bit for bits in cell["connections"].values() for bit in bits)
        for cell in module["cells"].values():
            if cell["type"] != "CCU2C":
                continue
            pins = cell["connections"]
            if pins["CIN"] == ["0"] and _ignores_carry(cell, uses):
                pins["CIN"] = ["x"]
                carry_ins += 1
            if pins["COUT"] != ["x"] and uses[pins["COUT"][0]] == 1:
                pins["COUT"] = ["x"]
                carry_outs += 1
    return carry_ins, carry_outs


def _ignores_carry(cell: dict[str, Any], uses: Counter[Any]) -> bool:
    """Whether nothing that anyone reads depends on the cell's carry-in: the first position's operands are
    equal, so it does not propagate, and its sum has no reader."""
    pins = cell["connections"]
    return (
        cell["parameters"]["INIT0"] == SUM
        and cell["parameters"]["INJECT1_0"] == "NO"
        and pins["A0"] == pins["B0"]
        and pins["C0"] == ["0"]
        and pins["D0"] == ["1"]
        and uses[pins["S0"][0]] <= 1
    )
