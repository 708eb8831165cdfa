"""A board that synflip does not know: the Acorn, which does not exist, with an iCE40UP5K.

    python examples/add_a_board/acorn.py [FOLDER]

writes the gateware and the pins into FOLDER (acorn-build), ready for synthesis. pyproject.toml beside this
file makes it a package; once that is installed, `synflip build acorn --out out/acorn` makes the bitstream.
"""

import sys
from pathlib import Path

from amaranth.build import Attrs, Clock, Pins, PinsN, Resource
from amaranth.vendor import LatticeICE40Platform
from amaranth_boards.resources import UARTResource
from synflip_hdl.boards.catalogue import Board, find_board
from synflip_hdl.flow.job import BuildJob

LVCMOS = Attrs(IO_STANDARD="SB_LVCMOS")
TWIN = find_board("icebreaker")  # the same FPGA, so the same accelerator fits


class AcornPlatform(LatticeICE40Platform):
    """The pins: an oscillator, a UART, two LEDs that are lit by 0, a button that is 0 when pressed."""

    device, package, default_clk = "iCE40UP5K", "SG48", "clk12"
    resources = (
        Resource("clk12", 0, Pins("35", dir="i"), Clock(12e6), Attrs(GLOBAL=True, IO_STANDARD="SB_LVCMOS")),
        UARTResource(0, rx="6", tx="9", attrs=Attrs(IO_STANDARD="SB_LVCMOS", PULLUP=1)),
        Resource("led", 0, PinsN("41", dir="o"), LVCMOS),
        Resource("led", 1, PinsN("40", dir="o"), LVCMOS),
        Resource("button", 0, PinsN("10", dir="i"), LVCMOS),
    )
    connectors = ()


BOARD = Board(
    name="acorn",
    title="Acorn, an imaginary board",
    device=AcornPlatform.device,
    family=TWIN.family,
    platform="acorn.AcornPlatform",
    clock=12e6,
    geometry=TWIN.geometry,
    leds=(("led", 0), ("led", 1)),  # busy, error
    reset=("button", 0),
    constraints=None,
    nextpnr=("--up5k", "--package", "sg48"),
    loader="ice40_generic",
    capacity=TWIN.capacity,
    compact=True,
)

if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "acorn-build")
    folder.mkdir(parents=True, exist_ok=True)
    BuildJob(BOARD, BOARD.geometry, BOARD.clock, folder).write_gateware()
    print(f"{BOARD.title}: {BOARD.geometry.name}, k = {BOARD.geometry.bits}, {BOARD.clock / 1e6:g} MHz")
    print((folder / "synflip.pcf").read_text())
    print(f"wrote {', '.join(sorted(path.name for path in folder.iterdir()))} into {folder}")
