"""One pass, cycle by cycle, as SVG: what the golden model's trace says of lists, banks, sums and votes."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.golden.trace import Trace
from synflip.report.svg import label, line, page
from synflip.spec.cycles import append_latency

LEFT, RIGHT, TOP, ROW, BAR = 130, 20, 56, 22, 14
WIDTH = 1000
#: Of a layer's tiles, by turns: two shades a layer, so that neighbours differ.
SHADES = (("#1565c0", "#64b5f6"), ("#2e7d32", "#81c784"), ("#6a1b9a", "#ba68c8"), ("#ad1457", "#f06292"))
RANDOM, INK, OTHERS = "#ef6c00", "#37474f", "#cfd8dc"
STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)  # cycles between numbers of the axis
LEGEND = (
    "A colour is a layer, a shade a tile; other passes are grey. A gap in a bank is a cycle without an event."
)
MOST = 20_000  # cycles of a pass


def pass_diagram(trace: Trace, image: int, sample: int) -> str:
    """The SVG of the pass of slot ``image`` through network sample ``sample``, from its pick to its vote.

    Raises SynflipError if the trace has no such pass, or it is too long to draw.
    """
    picks, votes = (_of(table, image, sample) for table in (trace.picks, trace.votes))
    if not len(picks) or not len(votes):
        raise SynflipError(f"image {image} has no sample {sample} in this run")
    first, past = int(picks["cycle"][0]), int(votes["cycle"][0]) + 1
    if past - first > MOST:
        raise SynflipError(f"a pass of {past - first:,} cycles is too long to draw: at most {MOST:,}")
    rows = list(_rows(trace, image, sample, first, past))
    scale = (WIDTH - LEFT - RIGHT) / (past - first)
    height = TOP + ROW * len(rows) + 34
    step = next((step for step in STEPS if step * scale >= 45), STEPS[-1])
    title = f"image {image}, sample {sample}: cycles {first:,} to {past - 1:,} of the run"
    parts = [label(LEFT, 24, title)]
    for cycle in range(-(-first // step) * step, past, step):
        x = LEFT + scale * (cycle - first)
        parts.append(line(f"M{x:.1f} {TOP - 8} V{height - 26}", "faint"))
        parts.append(label(x, TOP - 12, f"{cycle:,}", "small"))
    for place, (name, bars) in enumerate(rows):
        y = TOP + ROW * place
        parts.append(label(LEFT - 10, y + 11, name, "left"))
        for start, end, colour, tip in bars:
            x, width = LEFT + scale * (start - first), max(scale * (end - start), 1)
            shape = f'x="{x:.2f}" y="{y}" width="{width:.2f}" height="{BAR}" fill="{colour}"'
            parts.append(f"<rect {shape}><title>{tip}</title></rect>")
    parts.append(label(LEFT, height - 8, LEGEND))
    size = trace.geometry.name
    counts = "; ".join(f"{name}: {len(bars)}" for name, bars in rows)
    return page(WIDTH, height, f"One pass at {size}, cycle by cycle", f"Bars in each row: {counts}.", parts)


Bar = tuple[int, int, str, str]  # first cycle, one past the last, colour, what it is


def _rows(trace: Trace, image: int, sample: int, first: int, past: int) -> Iterator[tuple[str, list[Bar]]]:
    """Names of rows, and their bars inside the pass."""

    def others(table: NDArray[Any]) -> list[Bar]:
        """Of the passes beside it."""
        table = table[(table["cycle"] >= first) & (table["cycle"] < past)]
        table = table[(table["slot"] != image) | (table["sample"] != sample)]
        return _grey(table["cycle"], table["slot"])

    fills = trace.fills[(trace.fills["cycle"] >= first) & (trace.fills["cycle"] < past)]
    yield (
        "keys are filled",
        [
            (start, end, RANDOM, f"keys, {end - start} cycles")
            for start, end, _ in _runs(fills["cycle"], fills["half"])
        ],
    )
    opens = _of(trace.opens, image, sample)
    yield (
        "lists are opened",
        others(trace.opens)
        + [
            (cycle, cycle + 1, _shade(layer, 0), f"layer {layer}, {load} events")
            for cycle, layer, load in opens[["cycle", "layer", "load"]].tolist()
        ],
    )
    for bank in range(trace.geometry.banks):
        events = trace.events[trace.events["bank"] == bank]
        yield f"bank {bank}: events", others(events) + _by_tile(_of(events, image, sample), "events")
    captures = _of(trace.tiles, image, sample)
    yield "sums are captured", others(trace.tiles) + _by_tile(captures, "sums")
    last = int(captures["layer"].max(initial=0))
    hidden = captures[captures["layer"] < last]
    bars = list(_drained(trace, hidden))
    mine = np.array([cycle for start, end, *_ in bars for cycle in range(start, end)], dtype=np.int64)
    drains = trace.drains[np.isin(trace.drains["cycle"], np.setdiff1d(np.arange(first, past), mine))]
    yield "outputs to the lists", _grey(drains["cycle"], drains["set"]) + bars
    logits = _of(trace.logits, image, sample)
    yield (
        "logits",
        others(trace.logits)
        + [
            (start, end, _shade(last, 0), f"{end - start} logits")
            for start, end, _ in _runs(logits["cycle"], np.zeros(len(logits)))
        ],
    )
    votes = _of(trace.votes, image, sample)
    yield (
        "vote",
        others(trace.votes)
        + [(int(one["cycle"]), int(one["cycle"]) + 1, INK, f"class {one['winner']}") for one in votes],
    )


def _drained(trace: Trace, captures: NDArray[Any]) -> Iterator[Bar]:
    """A bar for each tile of hidden layers; of a convolution for each that ends its pool window."""
    starts = np.append(trace.drains["cycle"][trace.drains["first"] == 1], trace.cycles)
    for captured, layer, tile in captures[["cycle", "layer", "tile"]].tolist():
        start = captured + append_latency(trace.geometry)
        place = np.searchsorted(starts, start)
        if starts[place] != start:
            continue
        mine = (trace.drains["cycle"] >= start) & (trace.drains["cycle"] < starts[place + 1])
        yield start, start + int(mine.sum()), _shade(layer, tile), f"{int(mine.sum())} steps"


def _grey(cycles: NDArray[Any], kinds: NDArray[Any]) -> list[Bar]:
    return [(start, end, OTHERS, "another pass") for start, end, _ in _runs(cycles, kinds)]


def _of(table: NDArray[Any], image: int, sample: int) -> NDArray[Any]:
    return table[(table["slot"] == image) & (table["sample"] == sample)]


def _shade(layer: int, tile: int) -> str:
    return SHADES[int(layer) % len(SHADES)][int(tile) % 2]


def _by_tile(table: NDArray[Any], what: str) -> list[Bar]:
    """Bars of consecutive cycles, each of one tile of one layer."""
    tiles = table["layer"].astype(np.int64) * 256 + table["tile"]
    return [
        (start, end, _shade(*divmod(tile, 256)), f"layer {tile // 256}, tile {tile % 256}: {what}")
        for start, end, tile in _runs(table["cycle"], tiles)
    ]


def _runs(cycles: NDArray[Any], kinds: Iterable[Any]) -> Iterator[tuple[int, int, int]]:
    """Runs of consecutive cycles of one kind: the first, one past the last, the kind."""
    start = end = kind = -1
    for cycle, this in zip(cycles.tolist(), np.asarray(kinds).tolist(), strict=True):
        if cycle != end or this != kind:
            if end > start:
                yield start, end, int(kind)
            start, kind = cycle, this
        end = cycle + 1
    if end > start:
        yield start, end, int(kind)
