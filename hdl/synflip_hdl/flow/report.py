"""What a build says of itself: resources, clock, critical path, and what to expect of it."""

import json
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synflip import __version__
from synflip.build import PLACED_AS, Build, Resource, reached_clock
from synflip.errors import SynflipError
from synflip.inference.plan import check_fit, most_images
from synflip.spec.cycles import CycleModel
from synflip.spec.model import CompiledModel, Layer

if TYPE_CHECKING:
    from synflip.spec.geometry import Geometry

SAMPLES = 64  # of a predicted run
ACTIVITY = "activity.json"


def make_report(
    job: Build, cells: dict[str, int], placed: dict[str, Any] | None, product: Path | None
) -> dict[str, Any]:
    """The report as a dictionary of numbers and texts. placed: nextpnr's report, if there is one."""
    geometry, board = job.geometry, job.board
    counted = job.resources(cells)
    if placed is not None:
        counted = _placed(board.family, placed, counted)
    reached = reached_clock(placed) if placed is not None else None
    slots = geometry.lanes * geometry.banks
    clock = min(reached, job.clock) if reached is not None else job.clock
    return {
        "synflip": __version__,
        "board": board.name,
        "device": board.device,
        "geometry": geometry.text,
        "lanes": geometry.lanes,
        "banks": geometry.banks,
        "bits": geometry.bits,
        "source": f"mtj, {geometry.devices} devices" if geometry.devices else "lfsr",
        "bitstream": product.name if product is not None else None,
        "resources": {
            name: {"used": item.used, "available": item.available} for name, item in counted.items()
        },
        "resources_from": "nextpnr" if placed is not None else "Yosys, before place and route",
        "parts": job.parts,
        "slots": slots,
        "luts_per_slot": round(counted["LUTs"].used / slots, 1),
        "synapses_on_chip": slots * geometry.weight_depth,
        "clock_asked_hz": job.clock,
        "clock_reached_hz": reached,
        "clock_from": "nextpnr, its slowest corner" if placed is not None else "not placed here",
        "meets_timing": reached >= job.clock if reached is not None else None,
        "critical_path": critical_path(placed) if placed is not None else None,
        "predictions": predict(geometry, clock),
        "cells": cells,
        "seconds": job.watch.seconds,
        "seed": job.seed,
    }


def _placed(family: str, placed: dict[str, Any], counted: dict[str, Resource]) -> dict[str, Resource]:
    """The same resources as nextpnr counts them, where it does."""
    result = dict(counted)
    for name, cell in zip(counted, PLACED_AS[family], strict=True):
        item = placed["utilization"].get(cell)
        if item is not None:
            result[name] = Resource(item["used"], item["available"])
    return result


def critical_path(placed: dict[str, Any]) -> dict[str, Any] | None:
    """Of the accelerator's clock: from where to where, nanoseconds of logic and of wires, and the cells."""
    inside = [
        item
        for item in placed["critical_paths"]
        if item["from"] == item["to"] and not item["from"].startswith("<async>")
    ]
    if not inside:
        return None
    path = max(inside, key=lambda item: sum(hop["delay"] for hop in item["path"]))["path"]
    wires = sum(hop["delay"] for hop in path if hop["type"] == "routing")
    total = sum(hop["delay"] for hop in path)
    return {
        "from": _cell(path[0]["from"]["cell"]),
        "to": _cell(path[-1]["to"]["cell"]),
        "nanoseconds": round(total, 2),
        "logic": round(total - wires, 2),
        "wires": round(wires, 2),
        "levels": sum(hop["type"] == "logic" and hop["delay"] > 0 for hop in path),
    }


def _cell(name: str) -> str:
    """A register's or memory's name without what the tools hung on it."""
    name = re.split(r"_(?:TRELLIS|SB_|DFF|LUT4|CCU2C|PFUMX|L6MUX|MUX2|ALU)", name)[0]
    name = re.sub(r"(\.rows\.rows[.\d]*|\$[A-Z_]+\w*)$", "", name)
    return re.sub(r"^serial\.(accelerator\.)?", "", name)


# What to expect


def activities() -> list[dict[str, Any]]:
    """The README's networks: name, rows, outputs, bits, and for each number of lanes and banks the mean loads
    of each layer (made by ``python -m synflip.activity``)."""
    return json.loads(resources.files("synflip").joinpath(ACTIVITY).read_text())


def shape_only(rows: list[int], outputs: list[int], bits: int) -> CompiledModel:
    """A network of that shape whose coins never come up heads: to ask whether it fits."""
    layers = tuple(
        Layer(np.zeros((j, i), np.uint16), np.zeros((j, i), np.uint8), np.zeros(j, np.int32))
        for i, j in zip(rows, outputs, strict=True)
    )
    names = tuple(str(number) for number in range(outputs[-1]))
    return CompiledModel(layers, bits, 1, (0,) * (len(rows) - 1), names, 1)


def predict(geometry: "Geometry", clock: float) -> list[dict[str, Any]]:
    """For each of the README's networks: whether it fits, and, by the cycle model with its mean events,
    network samples a second (one pass of one image each) at a batch of one image and of as many as there is
    room for."""
    predictions = []
    for item in activities():
        model = shape_only(item["rows"], item["outputs"], min(item["bits"], geometry.bits))
        entry: dict[str, Any] = {"network": item["network"], "bits": model.bits}
        try:
            check_fit(model, geometry)
        except SynflipError as error:
            predictions.append(entry | {"fits": False, "why": str(error).partition(": ")[2]})
            continue
        slots = most_images(model, geometry)
        entry |= {"fits": True, "batch": slots}
        for name, batch in (("samples_per_second_1", 1), ("samples_per_second_batch", slots)):
            cycles = pass_cycles(geometry, item, batch)
            entry[name] = round(clock / cycles)
            entry[name.replace("samples_per_second", "cycles_a_sample")] = round(cycles, 1)
        predictions.append(entry)
    return predictions


def pass_cycles(geometry: "Geometry", activity: dict[str, Any], batch: int) -> float:
    """Cycles of one pass in a run of SAMPLES network samples of ``batch`` images."""
    model = CycleModel(geometry, activity["rows"], activity["outputs"], 1, early=False)
    loads = np.array(activity["loads"][f"{geometry.lanes}x{geometry.banks}"])
    steps = np.broadcast_to(np.rint(loads).astype(np.int64), (batch, 1, *loads.shape))
    for _ in range(SAMPLES):
        model.advance(steps, np.ones((batch, 1), dtype=bool))
    return float(model.cycles()[0]) / (SAMPLES * batch)
