"""Tiles of a trace as the sequencer hands them on: when events are issued, where keys and weights are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from synflip.golden.trace import DENSE, Trace
from synflip.spec.cycles import DRAIN_LATENCY, pipeline_depth
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import FIRST_SEGMENT_BIT, LayerField
from synflip.spec.sizes import MAX_SHIFT, address_bits
from synflip_hdl.interfaces import pooled_layout

from synflip_sim.testbenches.ports import unpack
from synflip_sim.testbenches.script import Script


@dataclass(frozen=True)
class Issue:
    """An event of every bank is issued. index: of the open lists. place: what the sequencer says to the
    array, by field. blocks: (bank, row block as the lists have it, value) of each event that is not zero."""

    cycle: int
    index: int
    place: dict[str, int]
    blocks: list[tuple[int, int, int]]


@dataclass(frozen=True)
class Tile:
    """issues: of its events. end: cycle of the last. capture: of its sums. tile: what the sequencer says of
    it to the requantizer, by field. row: the trace's. Of a convolution it is a position."""

    issues: list[Issue]
    end: int
    capture: int
    tile: dict[str, Any]
    row: Any


def append(row: Any, geometry: Geometry) -> dict[str, Any]:
    """Q outputs of a trace on their way to the event lists, by field."""
    return {
        "hidden_set": int(row["set"]),
        "begin": int(row["begin"]),
        "first": int(row["first"]),
        "block": int(row["block"]),
        "values": row["values"].tolist(),
        "some": sum(1 << bank for bank, value in enumerate(row["values"]) if value),
        **_pooled(int(row["window"]), geometry),
    }


def _pooled(window: int, geometry: Geometry) -> dict[str, Any]:
    return {"pooled": unpack(pooled_layout(), window)} if geometry.map_depth else {}


def _up_to(cycles: NDArray[Any], ends: NDArray[Any]) -> list[slice]:
    """Of a sorted column, the part behind the end before and up to each end."""
    past = np.searchsorted(cycles, ends, side="right").tolist()
    return [slice(first, last) for first, last in zip([0, *past], past, strict=False)]


def tiles(trace: Trace, script: Script) -> Iterator[Tile]:
    """Every tile of a run, in order: the sequencer issues one after the other."""
    geometry = trace.geometry
    banks, steps = geometry.banks, geometry.lanes // geometry.banks
    table, segments = script.layer_table(geometry), script.segments(geometry)
    keys, weights = address_bits(geometry.key_depth), address_bits(geometry.weight_depth)
    members = {(int(row["slot"]), int(row["sample"])): int(row["member"]) for row in trace.opens}
    outputs = {int(row["cycle"]): row for row in trace.outputs}
    ends = trace.tiles["cycle"] - pipeline_depth(banks)
    parts = (_up_to(part["cycle"], ends) for part in (trace.issues, trace.events))
    for row, issued, met in zip(trace.tiles, *parts, strict=True):
        slot, sample, layer, number = (int(row[name]) for name in ("slot", "sample", "layer", "tile"))
        field = {item: int(table[layer][item]) for item in LayerField}
        final, capture = layer == len(table) - 1, int(row["cycle"])
        first: Any = {"block": number * steps, "begin": number == 0, "window": DENSE}
        if not final:
            first = outputs[capture + DRAIN_LATENCY]

        def offset(segment: int, base: int = field[LayerField.SHIFT] >> FIRST_SEGMENT_BIT) -> int:
            return segments[base + segment]["offset"] if segment >= 0 else 0

        blocks: dict[int, list[tuple[int, int, int]]] = {}
        for event in trace.events[met]:
            block = int(event["row"]) // banks - offset(int(event["segment"]))
            blocks.setdefault(int(event["cycle"]), []).append((int(event["bank"]), block, int(event["x"])))
        issues = []
        for cycle, index, segment in trace.issues[issued][["cycle", "index", "segment"]].tolist():
            weight = field[LayerField.WEIGHT_BASE] + number * field[LayerField.ROW_BLOCKS]
            place = {
                "half": sample % 2,
                "key": field[LayerField.KEY_BASE] + offset(segment) & (1 << keys) - 1,
                "weight": weight + offset(segment) & (1 << weights) - 1,
                "turn": number * geometry.lanes // 16 % 64,
            }
            issues.append(Issue(cycle, index, place, blocks.get(cycle, [])))
        last = number == field[LayerField.TILES]
        yield Tile(
            issues=issues,
            end=capture - pipeline_depth(banks),
            capture=capture,
            tile={
                "bias": field[LayerField.BIAS_BASE] + number * steps,
                "block": int(first["block"]),
                "steps": field[LayerField.LAST_STEPS] if last else steps - 1,
                "shift": field[LayerField.SHIFT] & MAX_SHIFT,
                "hidden_set": 2 * members[slot, sample] + layer % 2,
                "begin": int(first["begin"]),
                "final": int(final),
                "current": {"slot": slot, "sample": sample},
                **_pooled(int(first["window"]), geometry),
            },
            row=row,
        )
