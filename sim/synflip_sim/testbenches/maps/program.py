"""The programs of a run's convolutions: what the driver wrote, and when their segments are opened."""

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from synflip.golden.trace import Trace
from synflip.spec.cycles import SEGMENT_SPACING
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import (
    FIRST_SEGMENT_BIT,
    TAP_BITS,
    TAP_BLOCKS,
    LayerField,
    entry_words,
    segments_offset,
)

from synflip_sim.testbenches.script import Script


def tap_table(script: Script, geometry: Geometry) -> NDArray[np.int64]:
    """[row blocks, banks]: where the rows of a kernel over images are, from a position's first."""
    place = 2 * segments_offset(geometry)
    _, room = entry_words(TAP_BITS * geometry.banks)
    words = script.layer_words(place, place + (TAP_BLOCKS << room)).reshape(-1, 1 << room).astype("<u4")
    return words.view("<u2")[:, : geometry.banks].astype(np.int64)


@dataclass(frozen=True)
class Opening:
    """A segment of a convolution is opened.

    row: the trace's. number, segment: of its entry. since: the cycle of the opening before, or, if it
    ``restarts``, the last one in which the layer waited: so long it is being looked up. last: of its layer.
    again: the window's first segment follows, for another tile.
    """

    row: Any
    cycle: int
    since: int
    restarts: bool
    number: int
    segment: dict[str, int]
    last: bool
    again: bool


@dataclass(frozen=True)
class ImageRow:
    """A row block of a kernel over an image.

    index: its number. step: 1 if the position has another one.
    """

    index: int
    step: int


def image_rows(trace: Trace) -> dict[int, ImageRow]:
    """The row block of each cycle in which one waits or is issued; the last one of a position may wait."""
    rows, opens = trace.issues, trace.opens
    rows = rows[(rows["segment"] >= 0) & (rows["layer"] == 0)]
    opened = opens[np.searchsorted(opens["cycle"], rows["cycle"]) - 1]
    steps = rows["index"] + 1 < opened["load"]
    found: dict[int, ImageRow] = {}
    since = -1
    for (issued, index), opening, step in zip(
        rows[["cycle", "index"]].tolist(), opened["cycle"].tolist(), steps.tolist(), strict=True
    ):
        row = ImageRow(index, int(step))
        found |= {cycle: row for cycle in range(max(since, opening) + 1, issued + 1)}
        since = issued
    return found


def openings(trace: Trace, script: Script) -> list[Opening]:
    """Every opening of a segment of a run, in order."""
    entries, table = script.segments(trace.geometry), script.layer_table(trace.geometry)
    found = []
    rows = trace.opens[trace.opens["segment"] >= 0]
    for (_, _, layer), group in groupby(rows, lambda row: row[["slot", "sample", "layer"]].tolist()):
        opens = list(group)
        base = int(table[layer][LayerField.SHIFT]) >> FIRST_SEGMENT_BIT
        since, restarts = int(opens[0]["cycle"]) - SEGMENT_SPACING, True
        for row, following in zip(opens, [*opens[1:], None], strict=True):
            again = following is not None and following["segment"] <= row["segment"]
            number, cycle = base + int(row["segment"]), int(row["cycle"])
            found.append(
                Opening(row, cycle, since, restarts, number, entries[number], following is None, again)
            )
            since, restarts = cycle, False
    return found
