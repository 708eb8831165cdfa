"""Counts of the netlist devices: what a column counts."""

from synflip_sim.campaigns.netlist_counts import COLUMNS, row
from synflip_sim.simulators.netlist import Family


def test_a_column_counts_every_cell_of_its_kind() -> None:
    counts = {"SB_LUT4": 1200, "SB_DFF": 3, "SB_DFFESR": 40, "SB_CARRY": 7, "SB_RAM40_4K": 5, "SB_IO": 1}
    assert row(counts, COLUMNS[Family.ice40]) == ["1,200", "43", "7", "5"]
    assert row({"LUT4": 2}, COLUMNS[Family.ecp5]) == ["2", "0", "0", "0", "0"]
