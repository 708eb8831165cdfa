"""Tiles of a trace as the sequencer hands them on: when events are issued, where keys and weights are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from synflip.golden.trace import Trace
from synflip.spec.memory_map import LAYER_WORDS, LayerField, Region

from synflip_sim.testbenches.script import Script


def layer_table(script: Script) -> NDArray[Any]:
    """[layers, fields] as the driver wrote it."""
    words = dict(script.of(Region.LAYERS))
    return np.array([words[offset] for offset in sorted(words)]).reshape(-1, LAYER_WORDS)


@dataclass(frozen=True)
class Tile:
    """issues: (cycle, index of the open lists) of each event. end: cycle of the last. capture: of its sums.
    place, tile: what the sequencer says of it to the array and to the requantizer, by field. row, events: the
    trace's."""

    issues: list[tuple[int, int]]
    end: int
    capture: int
    place: dict[str, int]
    tile: dict[str, Any]
    row: Any
    events: NDArray[Any]


def _by_tile(rows: NDArray[Any]) -> dict[tuple[int, ...], list[int]]:
    """Places of the rows that are equal, by what they are."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, where in enumerate(rows.tolist()):
        groups.setdefault(where, []).append(index)
    return groups


def tiles(trace: Trace, script: Script) -> Iterator[Tile]:
    """Every tile of a run, in order."""
    geometry = trace.geometry
    table = layer_table(script)
    steps = geometry.lanes // geometry.banks
    names = ["slot", "sample", "layer", "tile"]
    groups, issued = (_by_tile(table[names]) for table in (trace.events, trace.issues))
    members = {(int(row["slot"]), int(row["sample"])): int(row["member"]) for row in trace.opens}
    for row in trace.tiles:
        slot, sample, layer, number = (int(row[name]) for name in names)
        field = table[layer]
        final, last = layer == len(table) - 1, number == field[LayerField.TILES]
        events = trace.events[groups.get((slot, sample, layer, number), [])]
        issues = trace.issues[issued[slot, sample, layer, number]]
        yield Tile(
            issues=list(zip(issues["cycle"].tolist(), issues["index"].tolist(), strict=True)),
            end=int(issues["cycle"][-1]),
            capture=int(row["cycle"]),
            place={
                "half": sample % 2,
                "key": int(field[LayerField.KEY_BASE]),
                "weight": int(field[LayerField.WEIGHT_BASE] + number * field[LayerField.ROW_BLOCKS]),
                "turn": number * geometry.lanes // 16 % 64,
            },
            tile={
                "bias": int(field[LayerField.BIAS_BASE]) + number * steps,
                "block": number * steps,
                "steps": int(field[LayerField.LAST_STEPS]) if last else steps - 1,
                "shift": int(field[LayerField.SHIFT]),
                "hidden_set": 2 * members[slot, sample] + layer % 2,
                "begin": int(number == 0),
                "final": int(final),
                "current": {"slot": slot, "sample": sample},
            },
            row=row,
            events=events,
        )
