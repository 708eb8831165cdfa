"""Pictures of an evaluation: accuracy, entropies, risk against coverage, reliability, second choices."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synflip.evaluation.evaluate import Evaluation
from synflip.report.plotting import FAINT, INK, OUT_OF_DISTRIBUTION, RIGHT, WRONG, new_figure, save
from synflip.uncertainty import entropy
from synflip.uncertainty.metrics import BINS, risk_coverage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Aggregates that have panels of their own.
SHOWN = ("vote", "mean softmax")
COLOURS = (RIGHT, WRONG, OUT_OF_DISTRIBUTION, FAINT, INK)


def draw(evaluation: Evaluation, path: Path) -> None:
    """Write a PNG of six panels."""
    figure = new_figure(11, 7.6)
    grid: Any = figure.subplots(2, 3)
    _accuracy(grid[0, 0], evaluation)
    _risk(grid[0, 1], evaluation)
    _reliability(grid[0, 2], evaluation)
    for axes, name in zip(grid[1, :2], SHOWN, strict=True):
        _entropies(axes, evaluation, name)
    _second(grid[1, 2], evaluation)
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
    numbers = evaluation.numbers
    figure.suptitle(
        f"{numbers['network']} on {numbers['data']}, k = {numbers['k']}: {numbers['images']:,} test "
        f"images, {numbers['samples']} samples"
    )
    save(figure, path)


def _legend(axes: "Axes") -> None:
    """Below the panel: inside it would hide curves."""
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))


def _accuracy(axes: "Axes", evaluation: Evaluation) -> None:
    for (name, by_count), colour in zip(evaluation.numbers["aggregates"].items(), COLOURS, strict=True):
        counts = [int(count) for count in by_count]
        axes.plot(counts, [100 * item["accuracy"] for item in by_count.values()], "o-", ms=3,
                  label=name, color=colour)  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set(title="Accuracy", xlabel="samples", ylabel="% right")
    _legend(axes)


def _risk(axes: "Axes", evaluation: Evaluation) -> None:
    for name, colour in zip(SHOWN, COLOURS, strict=False):
        shares = evaluation.shares[name]
        coverage, risk = risk_coverage(entropy(shares), shares.argmax(1) != evaluation.labels)
        axes.plot(100 * coverage, 100 * risk, label=name, color=colour)
    axes.set(title="Risk and coverage", xlabel="% answered, the surest first", ylabel="% of them wrong")
    _legend(axes)


def _reliability(axes: "Axes", evaluation: Evaluation) -> None:
    axes.plot([0, 1], [0, 1], color=FAINT, lw=1)
    for name, colour in zip(SHOWN, COLOURS, strict=False):
        shares = evaluation.shares[name]
        sure, right = shares.max(1), shares.argmax(1) == evaluation.labels
        place = np.minimum((sure * BINS).astype(int), BINS - 1)
        used = np.unique(place)
        axes.plot(
            [sure[place == b].mean() for b in used], [right[place == b].mean() for b in used], "o-",
            ms=3, label=name, color=colour,
        )  # fmt: skip
    axes.set(title="Reliability", xlabel="largest share", ylabel="share right")
    _legend(axes)


def _entropies(axes: "Axes", evaluation: Evaluation, name: str) -> None:
    shares = evaluation.shares[name]
    right = shares.argmax(1) == evaluation.labels
    bits = entropy(shares)
    edges = np.linspace(0, np.log2(shares.shape[1]), 31).tolist()
    groups = [("right", bits[right], RIGHT), ("wrong", bits[~right], WRONG)]
    if name in evaluation.outside:
        groups.append(
            (evaluation.numbers["outside"]["data"], entropy(evaluation.outside[name]), OUT_OF_DISTRIBUTION)
        )
    for label, values, colour in groups:
        if len(values):
            weights = np.full(len(values), 100 / len(values))
            axes.hist(values, edges, weights=weights, histtype="step", label=label, color=colour)
    axes.set_yscale("log")
    axes.set(title=f"Entropy of the {name}", xlabel="bits", ylabel="% of the group")
    _legend(axes)


def _second(axes: "Axes", evaluation: Evaluation) -> None:
    """Of the wrong answers: rows the label, columns the second choice."""
    shares = evaluation.shares["vote"]
    wrong = shares.argmax(1) != evaluation.labels
    classes = shares.shape[1]
    table = np.zeros((classes, classes), dtype=int)
    np.add.at(table, (evaluation.labels[wrong], evaluation.second["vote"][wrong]), 1)
    axes.imshow(table, cmap="Blues")
    for row, column in np.argwhere(table):
        axes.text(column, row, str(table[row, column]), ha="center", va="center", fontsize=7,
                  color="white" if table[row, column] > table.max() / 2 else INK)  # fmt: skip
    axes.set(title="Second choices of wrong answers", xlabel="second choice", ylabel="label")
    axes.set_xticks(range(classes))
    axes.set_yticks(range(classes))
