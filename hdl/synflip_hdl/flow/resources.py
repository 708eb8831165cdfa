"""What a design takes of a device: lookup tables, flip-flops, block RAMs, carry bits, logic cells.

LUTs, flip-flops, block RAMs and carries are counted in the netlist that nextpnr places; Xilinx's in Yosys's.
Logic cells are nextpnr's count after it has routed. LEGEND defines each number in words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Family -> resource -> the beginning of a cell type's name in Yosys -> how much of it such a cell takes.
COSTS = {
    "ecp5": {
        "LUTs": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
        "flip-flops": {"TRELLIS_FF": 1},
        "block RAMs": {"DP16KD": 1},
    },
    "ice40": {
        "LUTs": {"SB_LUT4": 1},
        "flip-flops": {"SB_DFF": 1},
        "block RAMs": {"SB_RAM40_4K": 1},
    },
    "gowin": {
        "LUTs": {"LUT": 1, "ALU": 1, "RAM16SDP4": 6},
        "flip-flops": {"DFF": 1},
        "block RAMs": {"DP": 1, "SDP": 1, "SP": 1},
    },
    "xilinx": {
        "LUTs": {"LUT": 1, "INV": 1, "SRL": 1, "RAM32M": 4, "RAM64M": 4, "RAM64X1D": 2, "RAM128X1D": 4},
        "flip-flops": {"FD": 1},
        "block RAMs": {"RAMB36E1": 2, "RAMB18E1": 1},
    },
}

#: Family -> the beginning of a cell type's name in Yosys -> how many bits of a carry chain such a cell has.
CARRIES = {
    "ecp5": {"CCU2C": 2},
    "ice40": {"SB_CARRY": 1},
    "gowin": {"ALU": 1},
    "xilinx": {"CARRY4": 4},
}

#: Family -> nextpnr's name of the places that hold lookup tables.
LOGIC_CELLS = {"ecp5": "TRELLIS_COMB", "ice40": "ICESTORM_LC", "gowin": "LUT4"}

#: A column of the table of builds -> what it counts, in words.
LEGEND = {
    "LUTs": (
        "lookup tables that hold a function of the design: logic, the sums of carry chains, small memories. "
        "ECP5: one for a `LUT4`, two for a `CCU2C`, six for a `TRELLIS_DPR16X4`; their sum is *Total LUT4s* "
        "in nextpnr's log. iCE40: `SB_LUT4`; in the log *LCs used as LUT4 only* and *LCs used as LUT4 and "
        "DFF*. Gowin: `LUT1` to `LUT4` and `ALU`. 7-series: `LUT1` to `LUT6`, inverters, `SRL` and the LUTs "
        "of `RAM32M` and the like"
    ),
    "flip-flops": (
        "registers in the logic: `TRELLIS_FF`, `SB_DFF*`, `DFF*`, `FD*`. Registers inside block RAMs are not "
        "counted"
    ),
    "carries": "bits of carry chains: two in a `CCU2C`, one in an `SB_CARRY` or `ALU`, four in a `CARRY4`",
    "block RAMs": (
        "ECP5: `DP16KD` of 18 kbit. iCE40: `SB_RAM40_4K` of 4 kbit; the four SPRAMs of an iCE40UP5K are not "
        "counted. Gowin: `BSRAM` of 18 kbit. 7-series: halves of 18 kbit of a `RAMB36E1`"
    ),
    "logic cells": (
        "places for lookup tables that nextpnr fills, for any reason: how full the device is. iCE40: "
        "`ICESTORM_LC`, a place for a LUT, a flip-flop and a carry bit, filled by one of them or more. ECP5: "
        "`TRELLIS_COMB`, a LUT or half of a `CCU2C`; with the `CCU2C` that nextpnr adds at ends of carry "
        "chains, without the two LUTs of the write port of a `TRELLIS_DPR16X4`. Gowin: `LUT4`, with the "
        "places of `ALU` cells, of those that nextpnr adds at ends of carry chains, and of LUTs that only "
        "pass a signal to a flip-flop. 7-series: not placed here"
    ),
}


@dataclass(frozen=True)
class Resource:
    """A resource of the device: how much of it the design uses, and how much there is."""

    used: int
    available: int

    @property
    def fits(self) -> bool:
        """Whether the device has enough."""
        return self.used <= self.available


def takes(kinds: Mapping[str, int], cell: str) -> int:
    """How much of a resource a cell of type ``cell`` takes: the value of the first key of ``kinds`` that the
    name begins with; 0 if there is none."""
    return next((each for kind, each in kinds.items() if cell.startswith(kind)), 0)


def total(kinds: Mapping[str, int], cells: Mapping[str, int]) -> int:
    """How much of a resource all ``cells`` take. cells: how many there are of each type."""
    return sum(takes(kinds, cell) * count for cell, count in cells.items())


def logic_cells(family: str, utilization: Mapping[str, Any]) -> Resource:
    """The logic cells by ``utilization`` of nextpnr's report."""
    item = utilization[LOGIC_CELLS[family]]
    return Resource(item["used"], item["available"])
