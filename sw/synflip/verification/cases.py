"""Random work for a device, fond of edges: accelerators, models, images and requests.

Everything is a function of the random generator that is given: the same generator, the same case.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.inference.parts import Parts, runs_of
from synflip.inference.plan import Plan, input_shift, plan
from synflip.inference.request import InferenceRequest
from synflip.spec.coins import threshold
from synflip.spec.convolution import Convolution
from synflip.spec.geometry import BANKS, Geometry
from synflip.spec.lfsr import MASK64
from synflip.spec.model import CompiledModel, Layer, sum_bounds
from synflip.spec.sizes import (
    ACCUMULATOR_BITS,
    LOGIT_BITS,
    MAX_ACTIVATION_BITS,
    MAX_BITS,
    MAX_KERNEL,
    MAX_LAYER_DEPTH,
    MAX_LAYERS,
    MAX_OUTPUTS,
    MAX_POOL,
    MAX_SHIFT,
    ceil_div,
    log2_ceil,
    padded_rows,
)

SMALL, LARGE = 256, 1024  # lanes * banks: what the simulator compiles in seconds, and in a minute or two
MAX_CYCLES = 30_000  # of a case, about: a fraction of a second in the simulator
UNREACHABLE = 1 << 40  # a margin
TRIES = 20  # at a model that fits; after that, one that does not has to do


@dataclass(frozen=True, eq=False)
class RandomCase:
    """One inference on one accelerator. pixels: uint8 [N, I]. margins: int64 [samples], or None. soft:
    whether soft votes are asked for, with the tables of the model's logit scale."""

    geometry: Geometry
    model: CompiledModel
    pixels: NDArray[np.uint8]
    samples: int
    seed: int
    margins: NDArray[np.int64] | None
    logits: bool
    soft: bool = False

    @property
    def request(self) -> InferenceRequest:
        """What is asked of a device."""
        return InferenceRequest(
            self.model, self.pixels, self.samples, self.seed, self.margins, self.logits, soft=self.soft
        )


def runs_of_case(case: RandomCase) -> Plan | Parts | None:
    """The runs of a case; None if its accelerator has no room for it."""
    try:
        return runs_of(case.request, case.geometry)
    except SynflipError:
        return None


def network(
    layers: Sequence[Layer], bits: int, activation_bits: int, shifts: Sequence[int], input_max: int
) -> CompiledModel:
    """A model whose classes are called by their numbers. Raises SynflipError."""
    classes = tuple(str(index) for index in range(layers[-1].outputs))
    return CompiledModel(tuple(layers), bits, activation_bits, tuple(shifts), classes, input_max)


# Accelerators


def draw_geometry(rng: Generator) -> Geometry:
    """An accelerator: mostly small, with memories that are small and odd, of default size, or deep enough for
    the largest sums."""
    most = _pick(rng, *[SMALL] * 9, LARGE)
    while True:
        lanes = _pick(rng, 16, 16, 32, 48, 64, 16 * int(rng.integers(1, 9)))
        banks = _pick(rng, *BANKS)
        bits = _pick(rng, 1, 4, MAX_BITS, int(rng.integers(1, MAX_BITS + 1)))
        if lanes * banks <= most and lanes * banks * bits <= 8 * most:
            break
    activation_bits = _pick(
        rng, 1, MAX_ACTIVATION_BITS, MAX_ACTIVATION_BITS, int(rng.integers(1, MAX_ACTIVATION_BITS + 1))
    )
    kind = _pick(rng, *["small"] * 5, "default", "default", "deep")
    if kind == "default":
        return Geometry(lanes, banks, bits, activation_bits, image_slots=int(rng.integers(1, 20)))
    if kind == "deep":
        blocks = ceil_div(1 << (ACCUMULATOR_BITS - MAX_ACTIVATION_BITS), 2 * banks) + 200
        return Geometry(
            lanes,
            banks,
            bits,
            MAX_ACTIVATION_BITS,
            weight_depth=blocks + int(rng.integers(1, 100)),
            event_depth=1 << log2_ceil(blocks),
            key_depth=blocks + int(rng.integers(1, 100)),
            image_slots=2,
        )
    rows = int(rng.integers(8, 400))
    return Geometry(
        lanes,
        banks,
        bits,
        activation_bits,
        weight_depth=ceil_div(rows * _pick(rng, 1, 2, 5), banks) + 1,
        event_depth=ceil_div(rows * _pick(rng, 1, 2, 3), banks) + 1,
        key_depth=ceil_div(rows, banks) + 1,
        bias_depth=int(rng.integers(1, 12)) * lanes // banks,
        image_slots=int(rng.integers(1, 8)),
        result_depth=int(rng.integers(1, 300)),
        log_depth=int(rng.integers(1, 300)),
        margin_depth=int(rng.integers(1, 40)),
        layer_depth=int(rng.integers(1, MAX_LAYER_DEPTH + 1)),
        key_halves=_pick(rng, 1, 2),
        sample_bits=_pick(rng, 6, 24, int(rng.integers(4, 25))),
        soft_classes=_pick(rng, 0, 1, 16, int(rng.integers(1, 65))),
        flight=_pick(rng, 1, 2, 4),
        map_depth=_pick(rng, 0, 0, 64, int(rng.integers(1, 200))),
    )


# Cases


def draw_case(geometry: Geometry, rng: Generator) -> RandomCase:
    """A case for ``geometry``; one in ten may ask for more than it has room for at once: it runs in parts, or
    not at all."""
    fitting = rng.random() < 0.9
    convolutions = 0  # on the array; drawn once, for most that are drawn have no room
    if fitting and geometry.map_depth and rng.random() < 0.5:
        convolutions = _pick(rng, 1, 2, 3)
    undecided = fitting and not convolutions and rng.random() < 0.2
    for _ in range(TRIES):
        large = _large_sums(geometry, rng) if _is_deep(geometry) and rng.random() < 0.1 else None
        if convolutions:
            model = convolutional_model(
                geometry.bits, geometry.activation_bits, rng, convolutions, geometry.banks
            )
        elif undecided:
            model = _undecided(geometry, rng)
        elif not fitting and rng.random() < 0.3:  # convolutions run in parts
            model = convolutional_model(geometry.bits, geometry.activation_bits, rng)
        else:
            model = large or _model(geometry, rng)
        samples = int(rng.integers(6, 24)) if undecided else _pick(rng, 1, 2, 3, int(rng.integers(1, 41)))
        early = undecided or rng.random() < 0.5
        logits = rng.random() < 0.5
        try:
            slots = plan(model, geometry, 0, samples, early, logits).images
        except SynflipError:
            slots = 1
            if fitting:
                continue
        break
    count = _pick(rng, 0, 1, slots, slots, slots + 1, 2 * slots + 1, int(rng.integers(1, slots + 1)))
    a_pass = sum(map(partial(_most_cycles, geometry), model.layers))
    count = min(count, max(1, MAX_CYCLES // a_pass))
    samples = max(1, min(samples, MAX_CYCLES // (a_pass * max(count, 1))))
    case = RandomCase(
        geometry=geometry,
        model=model,
        pixels=_pixels(count, model, rng),
        samples=samples,
        seed=_pick(rng, 0, MASK64, 1, int(rng.integers(0, MASK64, dtype=np.uint64, endpoint=True))),
        margins=_margins(samples, rng, undecided) if early else None,
        logits=logits,
    )
    if rng.random() < 0.4:
        scale = _pick(rng, 1.0, 100.0, float(2 ** int(rng.integers(-2, 26))))
        case = replace(case, model=replace(model, source={"logit_scale": scale}), soft=True)
    return case


def _most_cycles(geometry: Geometry, layer: Layer) -> int:
    """About as many as a layer takes."""
    positions = 1 if layer.convolution is None else math.prod(layer.convolution.positions)
    return positions * (padded_rows(layer.rows) // geometry.banks) * ceil_div(layer.outputs, geometry.lanes)


def _is_deep(geometry: Geometry) -> bool:
    return geometry.key_depth * geometry.banks * (2 << MAX_ACTIVATION_BITS) > 1 << ACCUMULATOR_BITS


def _model(geometry: Geometry, rng: Generator) -> CompiledModel:
    lanes = geometry.lanes
    depth = _pick(rng, 1, 1, 2, 2, 3, int(rng.integers(1, MAX_LAYER_DEPTH + 1)), MAX_LAYER_DEPTH)
    sizes = [
        _pick(
            rng,
            1,
            int(rng.integers(1, 20)),
            int(rng.integers(1, 150)),
            _pick(rng, lanes - 1, lanes, lanes + 1, 2 * lanes),
            8 * int(rng.integers(1, 10)) + int(rng.integers(-1, 2)),
        )
        for _ in range(depth + 1)
    ]
    if rng.random() < 0.03:
        sizes[int(rng.integers(1, depth + 1))] = MAX_OUTPUTS
    bits = _pick(rng, 1, geometry.bits, geometry.bits, int(rng.integers(1, geometry.bits + 1)))
    activation_bits = _pick(
        rng, 1, geometry.activation_bits, int(rng.integers(1, geometry.activation_bits + 1))
    )
    return _drawn([(*sizes, None) for sizes in itertools.pairwise(sizes)], bits, activation_bits, rng)


def convolutional_model(
    bits: int, activation_bits: int, rng: Generator, convolutions: int = 0, multiple: int = 1
) -> CompiledModel:
    """1 to 15 small convolutions and a dense layer: strides, pads, odd sizes, maps of one pixel, windows that
    drop edges. bits, activation_bits: the most; what is drawn may have less. convolutions: how many; 0: any.
    multiple: of which their outputs are one."""
    bits = _pick(rng, 1, bits, int(rng.integers(1, bits + 1)))
    activation_bits = _pick(rng, 1, activation_bits, int(rng.integers(1, activation_bits + 1)))
    depth = convolutions or _pick(rng, 1, 1, 2, 3, int(rng.integers(1, MAX_LAYERS)))
    most = 9 if depth < 4 else 4
    height, width = (_pick(rng, 1, most, int(rng.integers(1, most + 1))) for _ in range(2))
    channels = _pick(rng, 1, 3, 8)
    sizes: list[_Sizes] = []
    while len(sizes) < depth:
        kernel, stride, pad, pool = (
            (_pick(rng, *few), _pick(rng, *few))
            for few in (
                (1, 2, 3, 3, MAX_KERNEL),
                (1, 1, 1, 2, 3),
                (0, 1, 1, 2, MAX_KERNEL),
                (1, 1, 2, MAX_POOL),
            )
        )
        try:
            place = Convolution((height, width, channels), kernel, stride, pad, pool)
        except SynflipError:
            continue
        if place.output[0] > most or place.output[1] > most:  # a pad larger than the kernel makes it grow
            continue
        height, width = place.output
        some = (1, 2, 3, 8, 20, 36) if convolutions else (1, 2, 3, 8)
        channels = ceil_div(_pick(rng, *some), multiple) * multiple
        sizes.append((place.rows, channels, place))
    sizes.append((height * width * channels, int(rng.integers(1, 6)), None))
    return _drawn(sizes, bits, activation_bits, rng)


#: Rows and outputs of a layer, and of a convolution where it goes.
_Sizes = tuple[int, int, Convolution | None]


def _drawn(sizes: Sequence[_Sizes], bits: int, activation_bits: int, rng: Generator) -> CompiledModel:
    """Layers of these sizes."""
    largest = (1 << activation_bits) - 1
    shifts = [_shift(rows, largest, rng) for rows, _, _ in sizes[:-1]]
    style = _pick(rng, *_STYLES)
    layers = []
    for index, (rows, outputs, place) in enumerate(sizes):
        q = _STYLES[style](rng, bits, (outputs, rows)).astype(np.uint16)
        sign = _pick(rng, rng.integers(0, 2, q.shape), rng.integers(0, 2, q.shape), np.zeros(q.shape), 1)
        sign = np.broadcast_to(sign, q.shape).astype(np.uint8)
        layer = Layer(q, sign, np.zeros(outputs, dtype=np.int32), place)
        final = index == len(sizes) - 1
        rounding = 0 if final else (1 << shifts[index]) >> 1
        layers.append(replace(layer, bias=_bias(layer, largest, rounding, final, rng)))
    input_max = _pick(rng, largest, largest, 255, 1, 65535)
    return network(layers, bits, activation_bits, shifts, input_max)


#: Ways to draw probability words of ``bits`` bits: (generator, bits, shape) -> integers.
_STYLES = {
    "any": lambda rng, bits, shape: rng.integers(0, 1 << bits, shape),
    "never": lambda rng, bits, shape: np.zeros(shape, dtype=np.int64),
    "always": lambda rng, bits, shape: np.full(shape, (1 << bits) - 1),
    "edges": lambda rng, bits, shape: rng.choice(
        [0, (1 << bits) - 1, (1 << bits) >> 1, ((1 << bits) >> 1) - 1, 1 << bits >> bits], shape
    ),
    "sparse": lambda rng, bits, shape: rng.integers(0, 1 << bits, shape) * (rng.random(shape) < 0.1),
    "certain": lambda rng, bits, shape: rng.integers(0, 2, shape) * ((1 << bits) - 1),
}


def _undecided(geometry: Geometry, rng: Generator) -> CompiledModel:
    """One layer whose classes are equally likely for a middling or a bright image: coins decide, so images
    leave early, and at different samples."""
    bits, largest = geometry.bits, (1 << geometry.activation_bits) - 1
    q = rng.integers(0, 1 << bits, (int(rng.integers(2, 6)), int(rng.integers(4, 60)))).astype(np.uint16)
    sign = rng.integers(0, 2, q.shape).astype(np.uint8)
    mean = ((1 - 2 * sign.astype(np.int64)) * threshold(q, bits)).sum(1) / (1 << bits)
    bias = -np.rint(mean * largest * _pick(rng, 0.5, 1.0)).astype(np.int32)
    return network([Layer(q, sign, bias)], bits, geometry.activation_bits, [], largest)


def _large_sums(geometry: Geometry, rng: Generator) -> CompiledModel | None:
    """One layer that comes as close to the ends of the accumulator as a model may, if it fits."""
    largest = (1 << MAX_ACTIVATION_BITS) - 1
    rows = ((1 << (ACCUMULATOR_BITS - 1)) - 1) // largest
    outputs = int(rng.integers(1, geometry.lanes + 1))
    q = np.full((outputs, rows), (1 << geometry.bits) - 1, dtype=np.uint16)
    sign = np.broadcast_to(rng.integers(0, 2, (outputs, 1)), q.shape).astype(np.uint8)
    layer = Layer(q, sign, np.zeros(outputs, dtype=np.int32))
    layer = Layer(q, sign, _bias(layer, largest, 0, True, rng))
    model = network([layer], geometry.bits, MAX_ACTIVATION_BITS, [], 1)
    if (
        geometry.activation_bits < MAX_ACTIVATION_BITS
        or 1 << input_shift(rows, geometry) > geometry.event_depth
    ):
        return None
    return model


def _shift(rows: int, largest: int, rng: Generator) -> int:
    """One that brings sums of ``rows`` coins back to 0..largest, or one of the ends."""
    useful = max(int(rows**0.5 * largest).bit_length() - largest.bit_length(), 0)
    return _pick(rng, 0, useful, useful, useful + 1, int(rng.integers(0, MAX_SHIFT + 1)), MAX_SHIFT)


def _bias(layer: Layer, largest: int, rounding: int, final: bool, rng: Generator) -> NDArray[np.int32]:
    """None (so that logits tie), small, or at the ends of what can be run exactly."""
    limit = 1 << (LOGIT_BITS - 1)
    lowest, highest = sum_bounds(layer, largest)
    least, most = -limit - lowest, limit - 1 - highest - rounding
    ends = np.where(rng.integers(0, 2, layer.outputs) == 1, least, most)
    small = rng.integers(-300, 300, layer.outputs)
    near = np.minimum(small + rounding, most)
    style = _pick(rng, "none", "small", "small", "near", "ends", "mixed")
    bias = {
        "none": np.zeros(layer.outputs, dtype=np.int64),
        "small": small,
        "near": small if final else near,
        "ends": ends,
        "mixed": np.where(rng.random(layer.outputs) < 0.2, ends, small),
    }[style]
    return np.clip(bias, least, most).astype(np.int32)


def _pixels(count: int, model: CompiledModel, rng: Generator) -> NDArray[np.uint8]:
    """Images: full, sparse, dark, at their largest, or with events in one bank only."""
    rows = model.inputs
    largest = min(model.input_max, 255)
    pixels = rng.integers(0, largest + 1, (count, rows))
    style = _pick(rng, "any", "sparse", "dark", "largest", "largest", "one bank", "mixed")
    if style == "sparse":
        pixels *= rng.random((count, rows)) < 0.1
    elif style == "dark":
        pixels[:] = 0
    elif style == "largest":
        pixels[:] = largest
    elif style == "one bank":
        pixels *= np.arange(rows) % BANKS[-1] == int(rng.integers(0, BANKS[-1]))
    elif style == "mixed":
        pixels *= rng.random((count, rows)) < rng.random((count, 1))
    return pixels.astype(np.uint8)


def _margins(samples: int, rng: Generator, undecided: bool = False) -> NDArray[np.int64]:
    style = _pick(rng, "some", "some", *([] if undecided else ["zero", "one", "never", "last"]), "any")
    return {
        "some": np.full(samples, int(rng.integers(1, 5))),
        "zero": np.zeros(samples),
        "one": np.ones(samples),
        "never": np.full(samples, UNREACHABLE),
        "last": np.where(np.arange(samples) < samples - 1, UNREACHABLE, 0),
        "any": rng.integers(0, samples + 2, samples),
    }[style].astype(np.int64)


def _pick(rng: Generator, *items: Any) -> Any:
    """One of ``items``."""
    return items[int(rng.integers(len(items)))]
