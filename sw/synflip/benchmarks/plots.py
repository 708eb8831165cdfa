"""Pictures of a bench's findings."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from synflip.benchmarks.engine_cycles import CAUSES
from synflip.report.plotting import FAINT, INK, OUT_OF_DISTRIBUTION, RIGHT, WRONG, new_figure, save

_COLOURS = dict(
    zip(CAUSES, (RIGHT, "#56B4E9", WRONG, "#D55E00", "#CC79A7", OUT_OF_DISTRIBUTION, FAINT), strict=True)
)


def engine(part: dict[str, Any], path: Path) -> None:
    """Stacked bars: where the cycles of a pass go, as a share of the ideal."""
    networks = list(dict.fromkeys(item["network"] for item in part["rows"]))
    figure = new_figure(3.1 * len(networks), 4.4)
    grid = np.atleast_1d(np.asarray(figure.subplots(1, len(networks), sharey=True)))
    for axes, network in zip(grid, networks, strict=True):
        items = [item for item in part["rows"] if item["network"] == network]
        bottom = np.zeros(len(items))
        for cause in CAUSES:
            height = np.array([item["causes"][cause] / item["ideal"] for item in items])
            axes.bar(range(len(items)), height, bottom=bottom, color=_COLOURS[cause], label=cause, width=0.8)
            bottom += height
        axes.axhline(1, color=INK, lw=0.8)
        names = [f"{item['geometry']}, {item['batch']}" for item in items]
        axes.set_xticks(range(len(items)), names, rotation=90, fontsize=8)
        axes.set_title(f"{network} {items[0]['shape']}", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    grid[0].set_ylabel("cycles over ideal")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(CAUSES), frameon=False, fontsize=8)
    save(figure, path)


def golden(part: dict[str, Any], path: Path) -> None:
    """Time of a network sample against images, multiplied in the way that is taken on the machine."""
    threads = list(dict.fromkeys(item["threads"] for item in part["rows"]))
    figure = new_figure(1.3 + 4.5 * len(threads), 3.8)
    grid = np.atleast_1d(np.asarray(figure.subplots(1, len(threads), sharey=True)))
    for axes, count in zip(grid, threads, strict=True):
        rows = [item for item in part["rows"] if (item["threads"], item["way"]) == (count, part["ways"][0])]
        for name, label, colour in (
            ("plain", "plain torch loop", WRONG),
            ("golden", "golden model", RIGHT),
            ("products", "its products alone", FAINT),
        ):
            times = [1000 * item[name] for item in rows]
            axes.plot([item["images"] for item in rows], times, "o-", ms=3, color=colour, label=label)
        title = (
            f"{part['network']} {part['shape']}, {part['ways'][0]}, {count} thread{'s' if count > 1 else ''}"
        )
        axes.set(xscale="log", yscale="log", xlabel="images", title=title)
        axes.spines[["top", "right"]].set_visible(False)
    grid[0].set_ylabel("ms a network sample")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    save(figure, path)


def scale(part: dict[str, Any], path: Path) -> None:
    """A panel for each line of the part ``scale``: its points and the fit."""
    figure = new_figure(11, 5.2)
    grid: Any = figure.subplots(2, 4)
    for axes, (name, line) in zip(grid.flat, part["lines"].items(), strict=False):
        x, y = np.array(line["points"]).T
        axes.plot(x, line["slope"] * x + line["intercept"], color=FAINT, lw=1)
        axes.plot(x, y, "o", ms=3, color=RIGHT)
        axes.set_title(f"{name}\nresidual {line['residual']:.1%}", fontsize=8)
        axes.set_xlabel(line["x"], fontsize=8)
        axes.set_ylabel(line["y"], fontsize=8)
        axes.tick_params(labelsize=7)
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_visible(bool(axes.lines))
    figure.suptitle(f"{part['network']}, and dense networks of other sizes; 64x8 unless said", fontsize=9)
    save(figure, path)


PLOTS: Mapping[str, Callable[[dict[str, Any], Path], None]] = {
    "engine": engine,
    "golden": golden,
    "scale": scale,
}
