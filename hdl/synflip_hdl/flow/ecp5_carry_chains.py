"""Carry chains of an ECP5 netlist: the ends that no sum needs are left open, which saves slices.

nextpnr puts a slice before every chain whose carry-in is a constant, and one after every chain whose
carry-out is a net, even a net without a reader. The gateware needs neither. Its adders begin with a position
whose operands are equal: with a = b = 1 the carry-out is 1, with a = b = 0 it is 0, for any carry-in. And the
last carry of a sum is dropped.
"""

from collections import Counter
from typing import Any

#: Yosys's CCU2C of a sum: propagates A xor B xor C while D is 1, generates A.
SUM = "1001011010101010"


def open_ends(netlist: dict[str, Any]) -> tuple[int, int]:
    """Leave ends open in ``netlist``, Yosys's JSON, in place. Returns how many carry-ins and carry-outs."""
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
