"""What a run will take: cycles a pass by the cycle model, from measured activity."""

import json
from collections.abc import Sequence
from importlib import resources
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from synflip.errors import SynflipError
from synflip.inference.plan import check_fit, most_images
from synflip.spec.convolution import Convolution
from synflip.spec.cycles import CycleModel
from synflip.spec.frames import BAUD, MAX_WORDS, REPLY_WORDS, REQUEST_WORDS
from synflip.spec.model import CompiledModel, Layer
from synflip.spec.sizes import ceil_div

if TYPE_CHECKING:
    from synflip.spec.geometry import Geometry

SAMPLES = 64  # of a predicted run

#: Seconds that a USB adapter adds to each frame and its answer, there and back, in a prediction.
ADAPTER = 0.002
FLAGS, BITS_PER_BYTE = 2, 10  # flag bytes of a frame; bits of a byte on the line, 8N1
#: Bytes of a request and of an answer without data, but for escaped bytes.
REQUEST_BYTES, REPLY_BYTES = 4 * REQUEST_WORDS + FLAGS, 4 * REPLY_WORDS + FLAGS

ACTIVITY = "activity.json"


def line_seconds(count: int, baud: int = BAUD) -> float:
    """That ``count`` bytes take on the serial line."""
    return count * BITS_PER_BYTE / baud


class Traffic(NamedTuple):
    """What goes over the link: words, and the frames of the serial line that carry them."""

    words: int = 0
    frames: int = 0

    @classmethod
    def of(cls, words: int, times: int = 1) -> "Traffic":
        """``times`` accesses of ``words`` words each."""
        return cls(words * times, ceil_div(words, MAX_WORDS) * times)

    def plus(self, *others: "Traffic") -> "Traffic":
        """The sum of all."""
        return Traffic(*map(sum, zip(self, *others, strict=True)))

    def times(self, count: int) -> "Traffic":
        """So many times as much."""
        return Traffic(self.words * count, self.frames * count)

    @property
    def bytes(self) -> int:
        """On the serial line, but for escaped bytes: of words, frames and answers."""
        return 4 * self.words + self.frames * (REQUEST_BYTES + REPLY_BYTES)

    def seconds(self, baud: int = BAUD) -> float:
        """That the serial line takes, with ADAPTER for each frame."""
        return line_seconds(self.bytes, baud) + self.frames * ADAPTER


def activities() -> list[dict[str, Any]]:
    """The README's networks: name, rows, outputs, bits, and for each number of lanes and banks the mean loads
    of each layer (made by ``python -m synflip.benchmarks.activity``)."""
    return json.loads(resources.files("synflip.inference").joinpath(ACTIVITY).read_text())


def shape_only(
    rows: list[int], outputs: list[int], bits: int, places: Sequence[Convolution] = ()
) -> CompiledModel:
    """A network of that shape whose coins never come up heads: to ask whether it fits.

    places: where its first layers go, if these are convolutions.
    """
    layers = tuple(
        Layer(np.zeros((j, i), np.uint16), np.zeros((j, i), np.uint8), np.zeros(j, np.int32), place)
        for i, j, place in zip_longest(rows, outputs, places)
    )
    names = tuple(str(number) for number in range(outputs[-1]))
    return CompiledModel(layers, bits, 1, (0,) * (len(rows) - 1), names, 1)


def predict(geometry: "Geometry", clock: float) -> list[dict[str, Any]]:
    """For each of the README's networks: whether it fits, and, by the cycle model with its mean events,
    network samples a second (one pass of one image each) at a batch of one image and of as many as there is
    room for. The images are in the accelerator already."""
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
    return run_cycles(geometry, activity, batch, SAMPLES) / (SAMPLES * batch)


def run_cycles(
    geometry: "Geometry", activity: dict[str, Any], batch: int, samples: int, early: bool = False
) -> int:
    """Cycles of a run of ``samples`` network samples of ``batch`` images. early: each image's next pass waits
    until its vote is decided, as where images may leave; none leaves."""
    model = CycleModel(geometry, activity["rows"], activity["outputs"], 1, early)
    loads = np.array(activity["loads"][f"{geometry.lanes}x{geometry.banks}"])
    steps = np.broadcast_to(np.rint(loads).astype(np.int64), (batch, 1, *loads.shape))
    for _ in range(samples):
        model.advance(steps, np.ones((batch, 1), dtype=bool))
    return int(model.cycles()[0])
