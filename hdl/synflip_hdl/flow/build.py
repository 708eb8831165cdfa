"""From a board's name to a bitstream: gateware, Yosys, nextpnr, packer, report."""

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synflip.spec.fronts import Front
from synflip.spec.geometry import Geometry
from synflip.spec.usb import SERIAL_NUMBER
from synflip.util.outputs import make_folder, write_text

from synflip_hdl.flow.job import REPORT, BuildJob
from synflip_hdl.flow.toolchain import Advance

if TYPE_CHECKING:
    from synflip_hdl.boards.catalogue import Board


def build(
    board: "Board",
    geometry: Geometry,
    folder: Path,
    clock: float | None = None,
    seeds: Sequence[int] = (),
    step: Callable[[str], AbstractContextManager[Advance]] | None = None,
    front: Front | None = None,
    serial_number: str = SERIAL_NUMBER,
) -> dict[str, Any]:
    """Build a board's bitstream in ``folder``; returns the report, which is written there too, as REPORT.

    clock, front: the board's if None, the clock in Hz. seeds: of the placement, tried in this order until one
    reaches the clock; the best is kept; the board's own if there are none. step: called with the name of each
    step; returns a context manager that gives an ``Advance``. serial_number: of a USB device.

    A board without open place and route (Arty) gets the sources for Vivado and Yosys's counts, but no
    bitstream. Yosys does not run if ``folder`` has the netlist already, made by an earlier build of the same
    gateware with the same Yosys.
    Raises SynflipError if a tool fails, the design does not fit, or the board has no such front.
    """
    from contextlib import nullcontext

    from synflip_hdl.flow.report import make_report
    from synflip_hdl.flow.seeds import place_with_seeds

    show = step or (lambda name: nullcontext(lambda *args: None))
    front = board.front(front)
    asked = clock or board.clock_of(geometry)
    job = BuildJob(board, geometry, asked, folder, board.seed, front, serial_number)
    with show("Gateware"):
        make_folder(folder)
        job.write_gateware()
    kept = job.kept_seconds is not None
    with show("Yosys: the netlist is that of the last build" if kept else "Yosys") as advance:
        cells = job.synthesize(advance)
    job.check_fit(cells)
    placed, product = None, None
    if board.family != "xilinx":
        placed = place_with_seeds(job, seeds or (board.seed,), show)
        with show("Packing") as advance:
            product = job.pack(advance)
    report = make_report(job, cells, placed, product)
    write_text(folder / REPORT, json.dumps(report, indent=2) + "\n")
    return report
