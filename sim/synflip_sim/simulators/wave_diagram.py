"""A window of a recorded waveform as SVG."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from synflip.errors import SynflipError
from synflip.report.svg import label, line, page
from synflip.util.extras import require
from synflip.util.text import one_line, printable

from synflip_sim.simulators.waves import CYCLE, ROOT

#: What is drawn if nothing else is asked for: the way of an event through the blocks.
USUAL = (
    "busy", "sequencer.lists__open", "sequencer.lists__hidden", "sequencer.lists__index",
    "events.events__payload", "array.sums__capture", "requantizer.appends__valid",
    "requantizer.appends__payload", "logit_valid", "logit", "votes.decisions__valid",
)  # fmt: skip
LEFT, RIGHT, TOP, ROW, HIGH = 215, 20, 34, 30, 18
WIDTH = 1000
MOST = 400  # cycles
MAX_FILE = 1 << 30
LETTER = 6.2  # pixels of a letter of a value
STEPS = (1, 2, 5, 10, 20, 50, 100)


def wave_diagram(file: str | Path, first: int = 0, past: int = 60, names: Sequence[str] = USUAL) -> str:
    """The SVG of clock cycles first..past-1 of an FST file that a simulator recorded.

    names: signals, each by its block and its name in the gateware; values are hexadecimal. Raises
    SynflipError for a file that is none, a signal or cycles that it does not have, and too many cycles.
    """
    if not 0 < past - first <= MOST:
        raise SynflipError(f"a picture shows 1 to {MOST} cycles, not {past - first}")
    waves = _read(file, names, first)
    scale = (WIDTH - LEFT - RIGHT) / (past - first)
    height = TOP + ROW * len(names) + 16
    step = next((step for step in STEPS if step * scale >= 40), STEPS[-1])
    parts = []
    for cycle in range(-(-first // step) * step, past, step):
        x = LEFT + scale * (cycle - first)
        parts.append(line(f"M{x:.1f} {TOP - 8} V{height - 10}", "faint"))
        parts.append(label(x, TOP - 12, f"{cycle:,}", "small"))
    parts.append(label(LEFT - 10, TOP - 12, "clock cycle", "left"))
    for place, (name, (bits, changes)) in enumerate(waves.items()):
        y = TOP + ROW * place
        parts.append(label(LEFT - 10, y + 14, name, "left"))
        spans = _spans(changes, first, past)
        parts += _wave(spans, first, scale, y) if bits == 1 else _bus(spans, first, scale, y)
    shown = ", ".join(names)
    return page(WIDTH, height, f"Signals in cycles {first} to {past - 1}", f"From the top: {shown}.", parts)


def _read(file: str | Path, names: Sequence[str], first: int) -> dict[str, tuple[int, list[tuple[int, Any]]]]:
    """By name, a signal's bits and its changes: times and values."""
    require("pywellen")
    import pywellen

    try:
        if Path(file).stat().st_size > MAX_FILE:
            raise SynflipError(f"{file} is larger than {MAX_FILE} bytes: record a window")
        variables = {variable.full_name: variable for variable in pywellen.Waveform(str(file)).all_vars()}
    except OSError as error:
        raise SynflipError(f"cannot read {file}: {error.strerror or error}") from None
    except (RuntimeError, ValueError) as error:
        raise SynflipError(f"{file} is no waveform: {one_line(printable(str(error)))}") from None
    waves = {}
    for name in names:
        if (variable := variables.get(f"{ROOT}.{name}")) is None:
            raise SynflipError(f"{file} has no signal {one_line(name)!r}; one is sequencer.lists__index")
        changes = list(variable.signal)
        if not changes or changes[0][0] > CYCLE * first:
            raise SynflipError(f"{file} has no cycle {first}")
        if not all(isinstance(value, int) for _, value in changes):
            raise SynflipError(f"{file}: some values of {name} are no numbers")
        waves[name] = (variable.bitwidth, changes)
    return waves


def _spans(changes: list[tuple[int, Any]], first: int, past: int) -> list[tuple[int, int, int]]:
    """Runs of cycles with one value: first, one past the last, value."""
    spans: list[tuple[int, int, int]] = []
    place = 0
    for cycle in range(first, past):
        while place + 1 < len(changes) and changes[place + 1][0] <= CYCLE * cycle:
            place += 1
        value = int(changes[place][1])
        if spans and spans[-1][2] == value:
            spans[-1] = (spans[-1][0], cycle + 1, value)
        else:
            spans.append((cycle, cycle + 1, value))
    return spans


def _wave(spans: list[tuple[int, int, int]], first: int, scale: float, y: int) -> Iterator[str]:
    levels = [(y if value else y + HIGH, LEFT + scale * (end - first)) for _, end, value in spans]
    yield line(f"M{LEFT} {levels[0][0]} " + " ".join(f"V{level} H{end:.1f}" for level, end in levels))


def _bus(spans: list[tuple[int, int, int]], first: int, scale: float, y: int) -> Iterator[str]:
    for start, end, value in spans:
        left, right = LEFT + scale * (start - first), LEFT + scale * (end - first)
        slant = min(2.0, (right - left) / 4)
        middle = y + HIGH / 2
        yield line(
            f"M{left:.1f} {middle:g} L{left + slant:.1f} {y} H{right - slant:.1f} L{right:.1f} {middle:g} "
            f"L{right - slant:.1f} {y + HIGH} H{left + slant:.1f} Z"
        )
        text = f"{value:x}"
        if len(text) * LETTER <= right - left - 4:
            yield label((left + right) / 2 - len(text) * LETTER / 2, middle + 4, text, "small")
