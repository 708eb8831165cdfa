"""ECP5: changes of Yosys's netlist before nextpnr reads it, and the block RAMs that a memory takes."""

from typing import Any

from synflip_hdl.flow.ecp5_carry_chains import open_ends
from synflip_hdl.flow.ecp5_output_registers import absorb

#: Width and rows that one DP16KD can have (Lattice FPGA-TN-02204, table 1).
SHAPES = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))


def finish(netlist: dict[str, Any]) -> None:
    """Change ``netlist``, as Yosys writes it in JSON: fewer slices for carries, fewer flip-flops."""
    open_ends(netlist)
    absorb(netlist)


def blocks(width: int, depth: int) -> int:
    """The fewest block RAMs that hold ``depth`` rows of ``width`` bits. Their shapes may differ: 512 rows of
    40 bits take two, one of 36 and one of 4 bits."""
    best = [0]
    for bits in range(1, width + 1):
        best.append(min(best[max(bits - wide, 0)] - (-depth // rows) for wide, rows in SHAPES))
    return best[width]
