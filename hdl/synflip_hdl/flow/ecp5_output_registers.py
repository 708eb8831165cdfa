"""Registers behind the block RAMs of an ECP5 netlist, moved into the block RAMs' own output registers.

Yosys does not use these output registers. It leaves flip-flops, which in a large design lie half a chip away,
and a block RAM's output comes late in its cycle; the output of its register comes early. The number of cycles
is the same.
"""

from collections import defaultdict
from typing import Any

#: Outputs of a port of 36 bits: the lower half is port A's, which then only writes.
WIDE = 36


def absorb(netlist: dict[str, Any]) -> int:
    """Move flip-flops into block RAMs in ``netlist``, Yosys's JSON, in place. Returns how many.

    A port's register is used if each output that is read goes to a flip-flop without enable and reset of the
    same clock, and nowhere else.
    """
    gone = 0
    for module in netlist["modules"].values():
        cells = module["cells"]
        readers: dict[Any, list[str]] = defaultdict(list)  # of a bit: cells, and "" for a port
        for port in module["ports"].values():
            for bit in port["bits"]:
                readers[bit].append("")
        for name, cell in cells.items():
            for pin, bits in cell["connections"].items():
                if cell["port_directions"][pin] == "input":
                    for bit in bits:
                        readers[bit].append(name)
        for cell in list(cells.values()):
            if cell["type"] != "DP16KD":
                continue
            wide = int(cell["parameters"]["DATA_WIDTH_B"], 2) == WIDE
            for sides in ["AB"] if wide else ["A", "B"]:
                found = _registers(cell, sides, cells, readers)
                for pin, register in found.items():
                    cell["connections"][pin] = cells.pop(register)["connections"]["Q"]
                gone += len(found)
                for side in sides if found else "":
                    cell["parameters"][f"REGMODE_{side}"] = "OUTREG"
                    cell["connections"][f"OCE{side}"] = ["1"]
                    cell["port_directions"][f"OCE{side}"] = "input"
    return gone


def _registers(
    ram: dict[str, Any],
    sides: str,
    cells: dict[str, Any],
    readers: dict[Any, list[str]],
) -> dict[str, str]:
    """The flip-flop behind each output pin of ``sides`` that is read; none if one of them has to stay."""
    found = {}
    for side in sides:
        pins = ram["connections"]
        for pin in [pin for pin in pins if pin.startswith(f"DO{side}") and readers[pins[pin][0]]]:
            name, *others = readers[pins[pin][0]]
            cell = cells.get(name)
            if others or cell is None or cell["type"] != "TRELLIS_FF":
                return {}
            nets = cell["connections"]
            plain = not nets.get("CE") and nets.get("LSR", ["0"]) == ["0"]
            edges = cell["parameters"]["CLKMUX"], ram["parameters"][f"CLK{side}MUX"]
            if not plain or nets["CLK"] != pins[f"CLK{side}"] or edges != ("CLK", f"CLK{side}"):
                return {}
            found[pin] = name
    return found
