"""What a run will take: cycles a pass by the cycle model, from measured activity."""

import json
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from synflip.errors import SynflipError
from synflip.inference.plan import check_fit, most_images
from synflip.spec.cycles import CycleModel
from synflip.spec.model import CompiledModel, Layer

if TYPE_CHECKING:
    from synflip.spec.geometry import Geometry

SAMPLES = 64  # of a predicted run

ACTIVITY = "activity.json"


def activities() -> list[dict[str, Any]]:
    """The README's networks: name, rows, outputs, bits, and for each number of lanes and banks the mean loads
    of each layer (made by ``python -m synflip.benchmarks.activity``)."""
    return json.loads(resources.files("synflip.inference").joinpath(ACTIVITY).read_text())


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
