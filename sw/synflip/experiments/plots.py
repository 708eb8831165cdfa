"""Pictures of a report, as PNG bytes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from synflip.data.dataset import Dataset
from synflip.experiments.predictions import Answer
from synflip.modelfile.extractor import image_shape
from synflip.report.plotting import FAINT, INK, OUT_OF_DISTRIBUTION, RIGHT, WRONG, new_figure, png
from synflip.uncertainty import entropy
from synflip.uncertainty.metrics import BINS, risk_coverage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (RIGHT, WRONG, OUT_OF_DISTRIBUTION, INK, "#CC79A7", "#56B4E9", FAINT)
WIDTH = 5.2  # inches: letters are still large enough on a phone
#: A curve: its name, x values, y values.
Line = tuple[str, Sequence[float], Sequence[float]]


def lines(
    data: Sequence[Line], x: str, y: str, log: bool = False, percent: bool = True, diagonal: bool = False
) -> bytes:
    """Curves with marked points. x, y: labels. log: x in powers of two. percent: y, 0..1, in percent."""
    figure, axes = _panel()
    if diagonal:
        axes.plot([0, 1], [0, 1], color=FAINT, lw=1)
    for (name, places, values), colour in zip(data, COLOURS, strict=False):
        shown = [100 * value if percent else value for value in values]
        axes.plot(places, shown, "o-" if len(places) < 40 else "-", ms=3, label=name, color=colour)
    if log:
        axes.set_xscale("log", base=2)
    axes.set(xlabel=x, ylabel=y)
    axes.legend(frameon=False, fontsize=8)
    return png(figure)


def risk(answers: dict[str, Answer]) -> bytes:
    """Share of wrong answers against the share of images answered, the least uncertain first."""
    curves = []
    for name, answer in answers.items():
        coverage, wrong = risk_coverage(entropy(answer.shares), ~answer.right)
        places = np.unique(np.linspace(0, len(coverage) - 1, 200).astype(int))
        curves.append((name, 100 * coverage[places], wrong[places]))
    return lines(curves, "% answered, the surest first", "% of them wrong")


def reliability(answers: dict[str, Answer]) -> bytes:
    """Share right against the largest share, in bins."""
    curves = []
    for name, answer in answers.items():
        sure = answer.shares.max(1)
        place = np.minimum((sure * BINS).astype(int), BINS - 1)
        used = [b for b in np.unique(place) if (place == b).sum() >= 5]
        curves.append(
            (name, [sure[place == b].mean() for b in used], [answer.right[place == b].mean() for b in used])
        )
    return lines(curves, "largest share", "share right", percent=False, diagonal=True)


def entropies(answer: Answer) -> bytes:
    """Histograms of right, wrong and out-of-distribution images."""
    figure, axes = _panel()
    bits = entropy(answer.shares)
    groups = {"right": bits[answer.right], "wrong": bits[~answer.right]}
    groups |= {name: entropy(shares) for name, shares in answer.outside.items()}
    edges = np.linspace(0, np.log2(answer.shares.shape[1]), 31).tolist()
    for (name, values), colour in zip(groups.items(), COLOURS, strict=False):
        if len(values):
            weights = np.full(len(values), 100 / len(values))
            axes.hist(values, edges, weights=weights, histtype="step", label=name, color=colour)
    axes.set_yscale("log")
    axes.set(xlabel="entropy, bits", ylabel="% of the group")
    axes.legend(frameon=False, fontsize=8)
    return png(figure)


def second_choices(answer: Answer, classes: Sequence[str]) -> bytes:
    """Counts of wrong answers: a row for each label, a column for each second choice."""
    wrong = ~answer.right
    table = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(table, (answer.labels[wrong], answer.second[wrong]), 1)
    figure, axes = _panel(5.2)
    axes.imshow(table, cmap="Blues")
    for row, column in np.argwhere(table):
        dark = table[row, column] > table.max() / 2
        axes.text(column, row, str(table[row, column]), ha="center", va="center", fontsize=8,
                  color="white" if dark else INK)  # fmt: skip
    axes.set(xlabel="second choice", ylabel="label")
    axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=8)
    axes.set_yticks(range(len(classes)), classes, fontsize=8)
    return png(figure)


def gallery(dataset: Dataset, chosen: NDArray[np.int64], votes: NDArray[np.int64]) -> bytes:
    """Test images, each above bars of its votes; the label's bar has a colour of its own.

    chosen: numbers of the images. votes: [N, C] of all test images.
    """
    columns = 4
    rows = -(-len(chosen) // columns)
    figure = new_figure(WIDTH, 1.9 * rows)
    grid: Any = figure.subplots(2 * rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for place, index in enumerate(chosen):
        row, column = divmod(place, columns)
        label = int(dataset.test_labels[index])
        picture = dataset.test_images[index].reshape(image_shape(dataset.shape)).transpose(1, 2, 0)
        axes = grid[2 * row, column]
        axes.imshow(picture if picture.shape[2] == 3 else dataset.input_max - picture[:, :, 0],
                    cmap="gray", vmin=0, vmax=dataset.input_max)  # fmt: skip
        axes.set_title(f"{dataset.classes[label]}", fontsize=8)
        axes = grid[2 * row + 1, column]
        axes.axis("on")
        counts = votes[index]
        colours = [RIGHT if c == label else WRONG for c in range(len(counts))]
        axes.bar(range(len(counts)), counts, color=colours)
        axes.set(ylim=(0, max(int(votes[chosen].sum(1).max()), 1)), yticks=[])
        axes.set_xticks(range(len(counts)), [str(c) for c in range(len(counts))], fontsize=6)
        axes.spines[["top", "right", "left"]].set_visible(False)
    return png(figure)


def _panel(height: float = 3.4) -> tuple["Figure", "Axes"]:
    figure = new_figure(WIDTH, height)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
