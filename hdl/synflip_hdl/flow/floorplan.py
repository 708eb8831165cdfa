"""A picture of where the parts of the accelerator lie on the chip, from nextpnr's placed netlist."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from synflip.errors import SynflipError
from synflip.report.plotting import new_figure, save
from synflip.util.extras import require

from synflip_hdl.flow.cell_counts import NAMES, part_of

STRIPES = 8  # of a tile, for its parts


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


def tiles(cells: Iterable[tuple[str, int, int]]) -> NDArray[np.int8]:
    """[rows * STRIPES, columns]: the number of a part in NAMES, -1 where no cell is.

    Each tile of the device is STRIPES stripes, which its parts share by their cells: of 3 cells of one part
    and 1 of another, 6 and 2 of 8 stripes. So a tile with any cell is full, whatever it has room for.
    """
    found: dict[tuple[int, int], Counter[int]] = {}
    for part, x, y in cells:
        found.setdefault((x, y), Counter())[NAMES.index(part)] += 1
    columns, rows = (1 + max(place[axis] for place in found) for axis in (0, 1))
    drawn = np.full((rows, STRIPES, columns), -1, dtype=np.int8)
    for (x, y), counts in found.items():
        inside = np.sort(np.array(list(counts.elements())))
        drawn[y, :, x] = inside[(2 * np.arange(STRIPES) + 1) * len(inside) // (2 * STRIPES)]
    return drawn.reshape(rows * STRIPES, columns)


def draw(netlist: Path, picture: Path, title: str) -> None:
    """Draw every tile of ``netlist`` that has a cell, in the colours of its parts. Raises SynflipError."""
    require("matplotlib")
    from matplotlib import colormaps
    from matplotlib.patches import Patch

    cells = list(placed_cells(netlist))
    counts = Counter(part for part, _, _ in cells)
    drawn = tiles(cells)
    rows, columns = len(drawn) // STRIPES, drawn.shape[1]
    colours = np.array(colormaps["tab20"].colors)  # type: ignore[attr-defined]
    shades = np.where(drawn[:, :, None] < 0, 1.0, colours[drawn])
    figure = new_figure(8, 7)
    axes = figure.subplots()
    axes.imshow(shades, extent=(-0.5, columns - 0.5, rows - 0.5, -0.5), interpolation="none")
    used = int((drawn[::STRIPES] >= 0).sum())
    axes.set(title=f"{title}: {used:,} tiles with {len(cells):,} cells", xlabel="column", ylabel="row")
    axes.set_xticks(np.arange(-0.5, columns), minor=True)
    axes.set_yticks(np.arange(-0.5, rows), minor=True)
    axes.grid(which="minor", color="white", linewidth=20 / max(rows, columns))
    axes.tick_params(which="minor", length=0)
    patches = [
        Patch(color=colours[number], label=f"{part} ({counts[part]:,})")
        for number, part in enumerate(NAMES)
        if counts[part]
    ]
    axes.legend(handles=patches, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9, title="cells of")
    save(figure, picture)
