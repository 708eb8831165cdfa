"""Counts of a netlist's cells: by type, and by the part of the accelerator that a cell's name tells."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from synflip_hdl.flow.resources import takes

#: The file of a netlist's counts.
COUNTS = "cells.json"
#: Parts, by the names of cells: the first pattern that fits.
PARTS = (
    ("weights", r"\barray\.(weights|write)|\barray\.written"),
    ("coins", r"\barray\.(coins|.*\bword_)|\bcoins_"),
    ("lanes", r"\barray\.lane|\blane_\d+"),
    ("array", r"\barray\b"),
    ("keys and source", r"\b(keys|source|host_keys)\b"),
    ("event lists", r"\bevents\b"),
    ("requantizer", r"\brequantizer\b"),
    ("votes", r"\b(soft_)?votes\b"),
    ("sequencer", r"\bsequencer\b"),
    ("registers", r"\b(registers|stage)\b"),
    ("serial line", r"\b(link|receiver|transmitter)\b"),
)
OTHER = "other"
NAMES = (*(part for part, _ in PARTS), OTHER)


def part_of(name: str) -> str:
    """The part that a cell belongs to; OTHER if no pattern fits."""
    return next((part for part, pattern in PARTS if re.search(pattern, name)), OTHER)


def _module(netlist: dict[str, Any]) -> dict[str, Any]:
    """The design of a flattened netlist; the others are cells' models."""
    return next(item for item in netlist["modules"].values() if "top" in item["attributes"])


def count_cells(netlist: dict[str, Any]) -> dict[str, int]:
    """How many cells there are of each type, by name. netlist: Yosys's JSON, flattened."""
    counts = Counter(cell["type"] for cell in _module(netlist)["cells"].values())
    return {name: count for name, count in sorted(counts.items()) if not name.startswith("$")}


def count_parts(netlist: dict[str, Any], costs: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """For each part, in the order of NAMES, how much of each resource its cells take.

    netlist: Yosys's JSON, flattened. costs: resource -> ``kinds`` of ``takes``. A LUT with inputs from two
    parts is counted for the part in its name.
    """
    found = {part: dict.fromkeys(costs, 0) for part in NAMES}
    for name, cell in _module(netlist)["cells"].items():
        for resource, kinds in costs.items():
            found[part_of(name)][resource] += takes(kinds, cell["type"])
    return found
