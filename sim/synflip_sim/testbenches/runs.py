"""The runs that the benches compare: small networks on small accelerators."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from synflip.devices.accelerator import Accelerator
from synflip.golden.trace import cycle_trace
from synflip.spec.convolution import Convolution
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel, Layer
from synflip.uncertainty.soft_votes import SoftTable

from synflip_sim.testbenches.script import Recorder

TRACE, SCRIPT = "trace.npz", "script.npy"
SEED = 0x5EED
SCALE = 300.0  # of the logits, for soft votes: near their spread


@dataclass(frozen=True)
class Run:
    """One run of a bench: sizes of the network, images, samples, and the margins of early stopping, if any.

    sizes: of the dense layers. bits: k of the model. density: of non-zero pixels; the last image has none.
    convolutions: in front of the dense layers: where each goes, and its outputs.
    """

    geometry: Geometry
    sizes: tuple[int, ...]
    bits: int
    images: int
    samples: int
    margins: tuple[int, ...] | None = None
    density: float = 0.6
    convolutions: tuple[tuple[Convolution, int], ...] = ()

    def model(self) -> CompiledModel:
        """A network of random coins; biases let a part of each hidden layer be zero. Classes 1 and 3 are
        constant and tie."""
        rng = np.random.default_rng(SEED)
        largest = (1 << self.geometry.activation_bits) - 1
        layers = []
        shapes: list[tuple[int, int, Convolution | None]] = [
            (place.rows, outputs, place) for place, outputs in self.convolutions
        ]
        shapes += [(*sizes, None) for sizes in pairwise(self.sizes)]
        for rows, outputs, place in shapes:
            q = rng.integers(0, 1 << self.bits, (outputs, rows)).astype(np.uint16)
            q[rng.random(q.shape) < 0.1] = 0
            q[rng.random(q.shape) < 0.1] = (1 << self.bits) - 1
            sign = rng.integers(0, 2, (outputs, rows)).astype(np.uint8)
            bias = rng.integers(-largest, largest + 1, outputs).astype(np.int32)
            if place is not None:  # so that segments of several pixels are empty
                bias -= largest
            layers.append(Layer(q, sign, bias, place))
        layers[-1].q[1:4:2] = 0
        layers[-1].bias[:] //= 4
        layers[-1].bias[1:4:2] = largest // 2
        shifts = tuple(index % 3 for index in range(len(layers) - 1))
        classes = tuple(str(index) for index in range(self.sizes[-1]))
        return CompiledModel(
            tuple(layers), self.bits, self.geometry.activation_bits, shifts, classes, input_max=largest
        )

    def pixels(self) -> NDArray[np.uint8]:
        """[images, rows]; the last image is empty if there are several."""
        rng = np.random.default_rng(SEED + 1)
        shape = (self.images, self.convolutions[0][0].inputs if self.convolutions else self.sizes[0])
        largest = (1 << self.geometry.activation_bits) - 1
        pixels = rng.integers(1, largest + 1, shape) * (rng.random(shape) < self.density)
        if self.images > 1:
            pixels[-1] = 0
        return pixels.astype(np.uint8)

    def prepare(self, folder: Path) -> Path:
        """Write trace and script into ``folder``, which is returned."""
        from synflip.golden.cpu import Golden

        model, pixels = self.model(), self.pixels()
        margins = None if self.margins is None else np.array(self.margins)
        cycle_trace(model, self.geometry, pixels, self.samples, SEED, margins).save(folder / TRACE)
        golden = Golden(self.geometry)
        golden.load(model)
        soft = SoftTable.of(SCALE, len(model.classes)) if self.geometry.soft_classes else None
        request = (pixels, self.samples, SEED, margins, True)
        recorder = Recorder(self.geometry, golden.infer(*request, soft=soft))
        accelerator = Accelerator(recorder)
        accelerator.load(model)
        accelerator.infer(*request, soft=soft)
        recorder.script().save(folder / SCRIPT)
        return folder


def _small(
    lanes: int,
    banks: int,
    bits: int,
    activation_bits: int = 8,
    key_halves: int = 2,
    flight: int = 1,
    soft_classes: int = 0,
    map_depth: int = 0,
) -> Geometry:
    return Geometry(
        lanes,
        banks,
        bits,
        activation_bits,
        weight_depth=256 // banks,
        event_depth=512 if map_depth else 128 // banks,
        key_depth=64 if map_depth else 128 // banks,
        bias_depth=256 // banks,
        image_slots=4,
        result_depth=128,
        log_depth=600,
        margin_depth=16,
        layer_depth=4,
        key_halves=key_halves,
        flight=flight,
        sample_bits=24 if key_halves == 2 else 7,
        soft_classes=soft_classes,
        map_depth=map_depth,
    )


RUNS = {
    # One bank; two tiles of classes; a narrow model on wide words.
    "16x1-k16": Run(_small(16, 1, 16, 5), (10, 18, 19), bits=11, images=2, samples=4),
    # Early stopping; tiles that end in the middle; three layers.
    "16x2-k4": Run(
        _small(16, 2, 4, flight=2, soft_classes=5),
        (12, 20, 33, 5),
        bits=4,
        images=4,
        samples=7,
        margins=(9, 9, 3, 2, 2, 9, 9),
    ),
    # Lanes that are no power of two; keys of one sample; sparse, so that keys and turns are waited for.
    "48x4-k3": Run(
        _small(48, 4, 3, key_halves=1, flight=4, soft_classes=15),
        (24, 50, 7),
        bits=3,
        images=3,
        samples=3,
        density=0.3,
    ),
    # Convolutions on the array: pads, windows of several positions and tiles, dense layers behind a map.
    "16x2-maps": Run(
        _small(16, 2, 4, flight=2, soft_classes=5, map_depth=64),
        (20, 18, 5),
        bits=4,
        images=2,
        samples=3,
        convolutions=(
            (Convolution((4, 4, 1), (3, 3), pad=(1, 1), pool=(2, 2)), 2),
            (Convolution((2, 2, 2), (2, 2), pad=(1, 0), pool=(3, 1)), 20),
        ),
    ),
    # Three channels, a stride, edges that are dropped, long segments, keys of one sample, early stopping.
    "16x4-maps": Run(
        _small(16, 4, 3, key_halves=1, map_depth=128),
        (16, 5),
        bits=3,
        images=3,
        samples=4,
        margins=(9, 2, 1, 9),
        density=0.8,
        convolutions=(
            (Convolution((4, 5, 3), (2, 3), stride=(1, 2), pad=(0, 1)), 20),
            (Convolution((3, 3, 20), (3, 2), pad=(1, 1), pool=(3, 1)), 4),
        ),
    ),
}
