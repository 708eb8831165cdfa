"""A picture of where the parts of the accelerator lie on the chip, from nextpnr's placed netlist."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from synflip.errors import SynflipError
from synflip.report.plotting import new_figure, save
from synflip.util.extras import require

from synflip_hdl.flow.cell_counts import NAMES, part_of


def placed_cells(path: Path) -> Iterator[tuple[str, int, int]]:
    """(part, x, y) of every cell in nextpnr's netlist. Raises SynflipError if it has no places."""
    module = max(json.loads(path.read_text())["modules"].values(), key=lambda item: len(item["cells"]))
    found = False
    for name, cell in module["cells"].items():
        place = re.match(r"X(\d+)/?Y(\d+)", cell.get("attributes", {}).get("NEXTPNR_BEL", ""))
        if place:
            found = True
            yield part_of(name), int(place[1]), int(place[2])
    if not found:
        raise SynflipError(f"{path} has no placed cells: nextpnr writes it with --write")


def draw(netlist: Path, picture: Path, title: str) -> None:
    """Draw every cell of ``netlist`` as a dot in the colour of its part. Raises SynflipError."""
    require("matplotlib")
    from matplotlib import colormaps

    cells: dict[str, list[tuple[int, int]]] = {}
    for part, x, y in placed_cells(netlist):
        cells.setdefault(part, []).append((x, y))
    figure = new_figure(8, 7)
    axes = figure.subplots()
    colours = colormaps["tab20"].colors  # type: ignore[attr-defined]
    for number, part in enumerate(NAMES):
        if part in cells:
            places = cells[part]
            columns, rows = zip(*places, strict=True)
            label = f"{part} ({len(places):,})"
            axes.scatter(columns, rows, s=4, color=colours[number], label=label, linewidths=0)
    axes.set(title=title, xlabel="column", ylabel="row", aspect="equal")
    axes.invert_yaxis()
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=4, fontsize=8)
    save(figure, picture)
