"""Small networks with convolutions that run on the array, and what the contract's reference says of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from synflip.spec.convolution import Convolution
from synflip.spec.cycles import LOADS, CycleModel, bank_load
from synflip.spec.geometry import Geometry
from synflip.spec.maps import programs, segment_loads
from synflip.spec.model import CompiledModel
from synflip.spec.sizes import padded_rows

from tests.golden import reference
from tests.networks import convolution_layer, random_layers

SEED = 7


@dataclass(frozen=True)
class Case:
    """Some images, in batches of at most ``slots``, and network samples. convolutions: where each goes, and
    its outputs; dense: outputs of the layers behind them. compact: see ``Accelerator``."""

    lanes: int
    banks: int
    convolutions: tuple[tuple[Convolution, int], ...]
    dense: tuple[int, ...]
    images: int
    samples: int
    flight: int = 2
    key_halves: int = 2
    slots: int = 4
    compact: bool = False
    margins: tuple[int, ...] | None = None

    @property
    def geometry(self) -> Geometry:
        """The accelerator, with room for the network."""
        return Geometry(
            self.lanes,
            self.banks,
            weight_depth=1024,
            event_depth=512,
            key_depth=512,
            bias_depth=128,
            image_slots=self.slots,
            result_depth=64,
            log_depth=100,
            margin_depth=8,
            layer_depth=5,
            map_depth=128,
            flight=self.flight,
            key_halves=self.key_halves,
        )

    def model(self) -> CompiledModel:
        """A network of random coins."""
        rng = np.random.default_rng(0)
        layers = [convolution_layer(rng, outputs, place, reach=200) for place, outputs in self.convolutions]
        layers += random_layers(rng, (layers[-1].width, *self.dense), reach=200)
        classes = tuple(map(str, range(self.dense[-1])))
        return CompiledModel(tuple(layers), 4, 8, (5,) * (len(layers) - 1), classes, 255)

    def pixels(self) -> NDArray[np.uint8]:
        """uint8 [images, inputs]; a fifth are 0."""
        rng = np.random.default_rng(1)
        shape = (self.images, self.model().inputs)
        return (rng.integers(1, 256, shape) * (rng.random(shape) < 0.8)).astype(np.uint8)


#: One, two and three channels; odd sizes; strides; pads; windows that drop edges; several tiles, the last
#: partial.
CASES = {
    "pixel": Case(
        16,
        2,
        ((Convolution((4, 4, 1), (3, 3), pad=(1, 1), pool=(2, 2)), 4),),
        (3,),
        images=3,
        samples=2,
        slots=2,
    ),
    "pooled": Case(
        16,
        2,
        (
            (Convolution((5, 4, 3), (3, 3), pad=(1, 1), pool=(2, 1)), 4),
            (Convolution((2, 4, 4), (2, 3), pad=(0, 1), pool=(1, 2)), 6),
        ),
        (5, 3),
        images=2,
        samples=2,
        compact=True,
    ),
    "tiles": Case(
        16,
        4,
        (
            (Convolution((5, 5, 1), (2, 2), stride=(1, 2)), 20),
            (Convolution((4, 2, 20), (3, 2), pad=(1, 1), pool=(2, 2)), 36),
        ),
        (20, 4),
        images=2,
        samples=3,
        flight=1,
        margins=(2, 1, 1),
    ),
    "three": Case(
        16,
        1,
        (
            (Convolution((3, 6, 2), (1, 3), pad=(0, 1)), 5),
            (Convolution((3, 6, 5), (3, 1), stride=(2, 2), pad=(1, 0)), 17),
            (Convolution((2, 3, 17), (2, 3), pad=(1, 2), pool=(3, 2)), 2),
        ),
        (3,),
        images=2,
        samples=2,
        flight=4,
        key_halves=1,
    ),
}


def expected(case: Case) -> tuple[list[int], list[int]]:
    """Logits in the order of the log, and cycles of each run."""
    model, geometry = case.model(), case.geometry
    x, tables = model.activations(case.pixels()), programs(model, case.banks)
    outcome = reference.run(
        [(layer.q, layer.sign, layer.bias) for layer in model.layers],
        model.bits, model.activation_bits, model.shifts, x, case.samples, SEED,
        case.margins, [layer.metadata() for layer in model.layers],
    )  # fmt: skip
    batch = case.slots if len(x) <= case.slots else case.slots // 2
    logits, cycles = [], []
    for first in range(0, len(x), batch):
        images = range(first, min(first + batch, len(x)))
        clock = CycleModel(geometry, model.rows, model.outputs, 1, case.margins is not None, programs=tables)
        for sample in range(case.samples):
            loads = np.zeros((len(images), 1, len(model.layers), len(LOADS)), dtype=np.int64)
            segments: dict[int, NDArray[np.int64]] = {}
            there = [outcome.activations[sample][number] for number in images]
            if not any(there):
                break
            for index, layer in enumerate(model.layers):
                place, program = layer.convolution, tables[index]
                for slot, inputs in enumerate(there):
                    if inputs is None:
                        continue
                    row = np.array(inputs[index], dtype=np.uint8)[None]
                    if place is None or program is None:
                        loads[slot, 0, index] = bank_load(row != 0, case.banks, case.lanes)[0]
                        continue
                    mine = segments.setdefault(
                        index, np.zeros((len(images), 1, len(program)), dtype=np.int64)
                    )
                    mine[slot] = padded_rows(layer.rows) // case.banks
                    if index:
                        mine[slot] = segment_loads(row, place, program, case.banks)
            active = np.array([[item is not None] for item in there])
            clock.advance(loads, active, segments)
            for slot, number in enumerate(images):
                logits += outcome.logits[sample][number] if there[slot] is not None else []
        cycles += clock.cycles().tolist()
    return logits, cycles
