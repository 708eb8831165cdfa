"""From a board's name to a bitstream: gateware, Yosys, nextpnr, packer, report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synflip.spec.geometry import Geometry
from synflip.util.outputs import check_folder, write_text

from synflip_hdl.flow.job import REPORT, BuildJob

if TYPE_CHECKING:
    from synflip_hdl.boards.catalogue import Board


def build(
    board: "Board",
    geometry: Geometry,
    folder: Path,
    clock: float | None = None,
    seed: int | None = None,
    step: Callable[[str], Any] | None = None,
) -> dict[str, Any]:
    """Build a board's bitstream in ``folder``; returns the report, which is written there too, as REPORT.

    clock: in Hz. seed: of the placement. Where these are None, the board's are taken. step: called with the
    name of each step; returns a context manager that gives an ``Advance``. A board without open place and
    route (Arty) gets the sources for Vivado and Yosys's counts, but no bitstream.
    Raises SynflipError if a tool fails or the design does not fit.
    """
    from contextlib import nullcontext

    from synflip_hdl.flow.report import make_report

    show = step or (lambda name: nullcontext(lambda *args: None))
    check_folder(folder)
    job = BuildJob(board, geometry, clock or board.clock_of(geometry), folder, seed or board.seed)
    with show("Gateware"):
        job.write_gateware()
    with show("Yosys") as advance:
        cells = job.synthesize(advance)
    job.check_fit(cells)
    placed, product = None, None
    if board.family != "xilinx":
        with show("nextpnr") as advance:
            placed = job.place_and_route(advance)
        with show("Packing") as advance:
            product = job.pack(advance)
    report = make_report(job, cells, placed, product)
    write_text(folder / REPORT, json.dumps(report, indent=2) + "\n")
    return report
