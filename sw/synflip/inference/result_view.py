"""How a result shows itself in a notebook: as a small HTML table, and as a picture of votes and entropies."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.report.plotting import FAINT, INK, RIGHT, WRONG, new_figure

if TYPE_CHECKING:
    from synflip.report.plotting import Figure

ROWS = 10  # images in the table
NAMED = 3  # classes that are named beside a bar, those with the most votes
COLOURS = (RIGHT, WRONG, FAINT)  # of the class with the most votes, of the second, of all others
ON_COLOURS = ("white", INK, INK)  # text on them
LETTERS = 24  # of a class's name in the table
BAR = "display:inline-block;width:12em;height:0.9em;white-space:nowrap;vertical-align:middle"
CELL = "text-align:left;padding:0.15em 0.8em 0.15em 0"


def html(
    summary: str,
    votes: NDArray[np.int32],
    second: NDArray[np.int64],
    columns: Mapping[str, Sequence[str]],
    names: Sequence[str],
) -> str:
    """A table with a row for each of the first ROWS images. It has no scripts and no ids, and its colours do
    with a light and a dark page.

    summary: lines above it. votes: [N, C]. second: [N], second choices. columns: by head, a text for each of
    those images. names: of the C classes. Names come from files: they are escaped, and cut to LETTERS.
    """
    names = [escape(name if len(name) <= LETTERS else name[: LETTERS - 3] + "...") for name in names]
    heads = ("image", "votes", "", *columns)
    rows = []
    for image, counts in enumerate(votes[:ROWS]):
        order = _ranked(counts, second[image])
        words = ", ".join(f"{names[place]}: {counts[place]:,}" for place in order[:NAMED] if counts[place])
        others = f", {more} more" if (more := int((counts > 0).sum()) - NAMED) > 0 else ""
        cells = [str(image), _bar(counts[order], words + others), words + others]
        rows.append([*cells, *(escape(column[image]) for column in columns.values())])
    if len(votes) > ROWS:
        rows.append([f"... {len(votes) - ROWS:,} more"])
    head = "".join(f'<th style="{CELL}">{escape(head)}</th>' for head in heads)
    body = "".join(
        "<tr>" + "".join(f'<td style="{CELL}">{cell}</td>' for cell in cells) + "</tr>" for cells in rows
    )
    lines = "<br>".join(escape(line) for line in summary.splitlines())
    table = f'<table style="color:inherit"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f"<div><p>{lines}</p>{table}</div>"


def _ranked(counts: NDArray[np.int32], second: np.integer) -> NDArray[np.intp]:
    """Classes by their votes [C], the most first. Of several with equally many the second choice comes first,
    behind the winner."""
    rank = np.full(len(counts), 2)
    rank[second] = 1
    rank[counts.argmax()] = 0
    return np.lexsort((rank, -counts))


def _bar(counts: NDArray[np.int32], words: str) -> str:
    """A bar of parts: the votes of the first class, of the second, of all others."""
    parts = (*counts[:2], counts[2:].sum())
    total = max(int(counts.sum()), 1)
    spans = "".join(
        f'<span style="display:inline-block;height:100%;width:{100 * part / total:.4g}%;background:{colour}">'
        "</span>"
        for part, colour in zip(parts, COLOURS, strict=False)
        if part
    )
    return f'<span role="img" aria-label="{words}" style="{BAR}">{spans}</span>'


def draw(
    votes: NDArray[np.int32],
    second: NDArray[np.int64],
    used: NDArray[np.int32],
    entropy: NDArray[np.float64],
    images: Sequence[int],
    names: Sequence[str],
) -> "Figure":
    """A figure with bars of the votes of ``images``, at most ROWS of them, and a histogram of all entropies.

    votes: [N, C]. second: [N], second choices. used: [N]. entropy: [N], bits. Raises SynflipError without
    matplotlib, for images that are not there, and for none or too many.
    """
    if not 1 <= len(images) <= ROWS:
        raise SynflipError(f"a picture shows 1 to {ROWS} images, not {len(images)}")
    if wrong := [image for image in images if not 0 <= image < len(votes)]:
        raise SynflipError(f"there is no image {wrong[0]}: there are {len(votes)}, numbered from 0")
    figure = new_figure(9.0, 1.4 + 0.42 * len(images))
    bars, histogram = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_votes(bars, votes, second, used, images, names)
    most = float(np.log2(max(votes.shape[1], 2)))
    histogram.hist(entropy, bins=np.linspace(0, most, 21).tolist(), color=RIGHT)
    histogram.set_xlabel("entropy of the votes, bits")
    histogram.set_ylabel(f"images, of {len(votes):,}")
    for axes in (bars, histogram):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK, labelsize=8)
    return figure


def _draw_votes(
    axes: Any,
    votes: NDArray[np.int32],
    second: NDArray[np.int64],
    used: NDArray[np.int32],
    images: Sequence[int],
    names: Sequence[str],
) -> None:
    for place, image in enumerate(images):
        order = _ranked(votes[image], second[image])
        counts = votes[image][order]
        parts = (*counts[:2], counts[2:].sum())
        left = 0
        for rank, (part, colour) in enumerate(zip(parts, COLOURS, strict=False)):
            if part:
                axes.barh(place, part, left=left, color=colour, height=0.7)
                label = names[order[rank]] if rank < 2 else "others"
                if part >= 0.08 * used[image]:
                    colour = ON_COLOURS[rank]
                    axes.text(left + part / 2, place, label, ha="center", va="center", size=8, color=colour)
            left += int(part)
    axes.set_yticks(range(len(images)), [f"image {image}" for image in images])
    axes.invert_yaxis()
    axes.set_xlabel("votes: most, second, all others")
