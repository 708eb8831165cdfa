"""What is done to Yosys's netlist of an ECP5 before nextpnr gets it."""

from typing import Any

from synflip_hdl.flow.ecp5_carry_chains import open_ends
from synflip_hdl.flow.ecp5_output_registers import absorb


def finish(netlist: dict[str, Any]) -> None:
    """Change ``netlist``, as Yosys writes it in JSON: fewer slices for carries, fewer flip-flops."""
    open_ends(netlist)
    absorb(netlist)
