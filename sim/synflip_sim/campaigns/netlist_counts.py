"""Cells of the netlist devices: the accelerator in several geometries, synthesized for each family.

``python -m synflip_sim.campaigns.netlist_counts PAGE`` writes the tables into the page's section ``counts``.
"""

import sys
import tempfile
from pathlib import Path

from synflip.report.sections import find_section, replace_section
from synflip.report.tables import markdown_table
from synflip.spec.geometry import Geometry
from synflip.util.terminal import fails_in_one_line

from synflip_sim.simulators.netlist import Family, small, synthesize

SECTION = "counts"
GEOMETRIES = ("16x1", "16x2", "16x2,soft_classes=10", "32x4")
BITS, ACTIVATION_BITS = 4, 8
#: For each family the columns of its table, and how the names of the cells begin that each counts.
COLUMNS = {
    Family.ecp5: {
        "LUT4": "LUT4",
        "flip-flops": "TRELLIS_FF",
        "CCU2C": "CCU2C",
        "DP16KD": "DP16KD",
        "TRELLIS_DPR16X4": "TRELLIS_DPR16X4",
    },
    Family.ice40: {
        "SB_LUT4": "SB_LUT4",
        "flip-flops": "SB_DFF",
        "SB_CARRY": "SB_CARRY",
        "SB_RAM40_4K": "SB_RAM40_4K",
    },
}


def row(counts: dict[str, int], columns: dict[str, str]) -> list[str]:
    """What each column counts, of the cells that ``counts`` has by name."""
    return [
        f"{sum(count for cell, count in counts.items() if cell.startswith(begin)):,}"
        for begin in columns.values()
    ]


def tables() -> str:
    """The section, in Markdown. Raises SynflipError for a tool that fails."""
    machines = [
        small(Geometry.parse(text, bits=BITS, activation_bits=ACTIVATION_BITS)) for text in GEOMETRIES
    ]
    parts = [f"k = {BITS}, A = {ACTIVATION_BITS}. The memories, by the netlist's geometry:", ""]
    parts += [f"- `{machine.text}`" for machine in machines]
    for family, columns in COLUMNS.items():
        rows = []
        for name, machine in zip(GEOMETRIES, machines, strict=True):
            with tempfile.TemporaryDirectory() as folder:
                rows.append([name, *row(synthesize(machine, family, Path(folder)), columns)])
        parts += ["", markdown_table([family.value, *columns], rows)]
    return "\n".join(parts)


if __name__ == "__main__":
    with fails_in_one_line():
        find_section(sys.argv[1], SECTION)
        replace_section(sys.argv[1], SECTION, tables())
