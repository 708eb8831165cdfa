"""The demo's picture: the images with the most and the least certain votes, and bars of the votes."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synflip.data.dataset import Dataset
from synflip.inference.result import Result
from synflip.report.plotting import FAINT, INK, RIGHT, WRONG, new_figure, save
from synflip.util.extras import require


def by_certainty(result: Result) -> NDArray[np.int64]:
    """Image numbers, the most certain first: by entropy of the votes, then by lead in logits per sample."""
    if result.logit_sums.shape[1] > 1:
        top = np.sort(result.logit_sums, axis=1)
        lead = (top[:, -1] - top[:, -2]) / np.maximum(result.used, 1)
    else:
        lead = np.zeros(len(result.used))
    return np.lexsort((-lead, result.entropy))


def chosen(result: Result, each: int) -> tuple[list[int], list[int]]:
    """``each`` most certain images, of different classes if possible, and ``each`` least certain ones."""
    order = by_certainty(result).tolist()
    winners = result.winner
    fresh: list[int] = []
    again: list[int] = []
    for image in order:
        seen = {int(winners[other]) for other in fresh}
        (again if int(winners[image]) in seen else fresh).append(image)
    return (fresh + again)[:each], order[::-1][:each]


def draw_votes(result: Result, data: Dataset, path: Path, each: int = 5) -> None:
    """Write a PNG: the most certain test images of ``data``, the least certain ones, and their votes.

    result: the votes of ``data.test_images``, in the same order. Raises SynflipError without matplotlib.
    """
    require("matplotlib")
    from matplotlib.patches import Patch

    rows = chosen(result, each)
    figure = new_figure(2.3 * each, 6.1, layout=None)
    bands: Any = figure.subfigures(2, 1)  # an array of two
    for band, title, images in zip(bands, ("Most certain", "Least certain"), rows, strict=True):
        band.suptitle(title, x=0.02, y=0.97, ha="left", fontsize=13, fontweight="bold", color=INK)
        grid = band.add_gridspec(
            2,
            each,
            height_ratios=(1, 1.35),
            left=0.07,
            right=0.985,
            top=0.80,
            bottom=0.12,
            hspace=0.14,
            wspace=0.35,
        )
        for column, image in enumerate(images):
            _draw_image(band.add_subplot(grid[0, column]), result, data, image)
            _draw_bars(band.add_subplot(grid[1, column]), result, data, image)
    figure.legend(
        handles=[
            Patch(color=RIGHT, label="votes for the right class"),
            Patch(color=WRONG, label="for another"),
        ],
        loc="upper right",
        ncols=2,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )
    save(figure, path)


def _draw_image(axes, result: Result, data: Dataset, image: int) -> None:  # type: ignore[no-untyped-def]
    picture = data.test_pixels[image].reshape(data.shape)
    if picture.ndim == 3:
        picture = picture.transpose(1, 2, 0)  # colour comes last
    axes.imshow(picture, cmap="gray_r", vmin=0, vmax=data.input_max)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_color(FAINT)
    label, winner = int(data.test_labels[image]), int(result.winner[image])
    verdict = (
        f"{data.classes[label]}"
        if winner == label
        else f"{data.classes[label]}, taken for {data.classes[winner]}"
    )
    axes.set_title(verdict, fontsize=10, color=INK, pad=4)


def _draw_bars(axes, result: Result, data: Dataset, image: int) -> None:  # type: ignore[no-untyped-def]
    votes = result.votes[image]
    label = int(data.test_labels[image])
    places = np.arange(len(votes))
    axes.barh(places, votes, height=0.78, color=[RIGHT if place == label else WRONG for place in places])
    for place, count in zip(places, votes, strict=True):
        if count:
            axes.annotate(
                str(count),
                (count, place),
                xytext=(2, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
                color=INK,
            )
    axes.set_yticks(places, data.classes, fontsize=7.5, color=INK)
    axes.tick_params(length=0)
    axes.set_xlim(0, max(int(result.used.max()) * 1.15, 1))
    axes.set_xticks([])
    axes.invert_yaxis()
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    axes.spines["left"].set_color(FAINT)
    axes.set_xlabel(f"votes of {result.used[image]} samples", fontsize=7.5, color=INK)
