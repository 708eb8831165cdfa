"""What a run will take: cycles a pass by the cycle model, from measured activity."""

import json
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from synflip.errors import SynflipError
from synflip.inference.plan import check_fit, most_images
from synflip.spec.cycles import CycleModel
from synflip.spec.frames import BAUD, MAX_WORDS, REPLY_WORDS, REQUEST_WORDS
from synflip.spec.memory_map import ACTIVATIONS_PER_WORD
from synflip.spec.model import CompiledModel, Layer
from synflip.spec.sizes import ceil_div

if TYPE_CHECKING:
    from synflip.spec.geometry import Geometry

SAMPLES = 64  # of a predicted run

#: Seconds that a USB adapter adds to each frame and its answer, there and back, in a prediction.
ADAPTER = 0.002
FLAGS, BITS_PER_BYTE = 4, 10  # flag bytes of a request and its answer; bits of a byte on the line, 8N1

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
    room for. The images are in the accelerator already; ``line_images_per_second`` says how many of them its
    serial line brings at most."""
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
        entry |= {"fits": True, "batch": slots, "line_images_per_second": line_images(item["rows"][0])}
        for name, batch in (("samples_per_second_1", 1), ("samples_per_second_batch", slots)):
            cycles = pass_cycles(geometry, item, batch)
            entry[name] = round(clock / cycles)
            entry[name.replace("samples_per_second", "cycles_a_sample")] = round(cycles, 1)
        predictions.append(entry)
    return predictions


def line_images(pixels: int, baud: int = BAUD) -> int:
    """Images a second that a board's serial line brings at most: frames of images of ``pixels`` bytes, their
    answers, and ADAPTER for each frame. Escaped bytes and the reading of results come on top.

    784 pixels are 196 words in one frame: 4 * (196 + 4 + 3) + 4 = 816 bytes, 2.72 ms at 3 Mbaud; with 2 ms of
    the adapter 4.72 ms, so 211 images a second.
    """
    words = ceil_div(pixels, ACTIVATIONS_PER_WORD)
    frames = ceil_div(words, MAX_WORDS)
    line = 4 * words + frames * (4 * (REQUEST_WORDS + REPLY_WORDS) + FLAGS)
    return int(1 / (line * BITS_PER_BYTE / baud + frames * ADAPTER))


def pass_cycles(geometry: "Geometry", activity: dict[str, Any], batch: int) -> float:
    """Cycles of one pass in a run of SAMPLES network samples of ``batch`` images."""
    model = CycleModel(geometry, activity["rows"], activity["outputs"], 1, early=False)
    loads = np.array(activity["loads"][f"{geometry.lanes}x{geometry.banks}"])
    steps = np.broadcast_to(np.rint(loads).astype(np.int64), (batch, 1, *loads.shape))
    for _ in range(SAMPLES):
        model.advance(steps, np.ones((batch, 1), dtype=bool))
    return float(model.cycles()[0]) / (SAMPLES * batch)
