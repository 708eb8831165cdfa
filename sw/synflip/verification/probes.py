"""What a self-test runs: probes at the edges of the memories, and a deep model.

What a fault would do, place by place:

- a bit of a weight entry (k bits of a probability word or a sign, of a lane, in a bank): the keys of
  ``Probe`` are made so that a coin's random word u is T - 1, the last that is heads, and then T, the first
  that is tails. Any bit of q that is 0 instead of 1 makes T smaller, and the one coin falls to tails; any
  that is 1 instead of 0 makes T larger, and the other to heads. A wrong sign turns a coin that is heads
  around. A row's activation is a bit of its own, if there are so many, so a logit says of which coins it is.
- an address bit of weights or biases: probes lie at the first entry, at every power of two, and in the last
  entries; all are written before the first is run, so that two that share a place are seen.
- an address bit of the keys: keys are read at the same places, after a run that has filled the memory.
- a tap, the rotation, a comparator, the adder tree: each is between keys and logits of the probes.
- the layer table, hidden events, shift and clamp, several tiles: the runs of a deep model.
- a base of weights or biases that lies before its memory and wraps around, the LFSR set to a key in the
  middle of a sample: the runs of a model in parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.inference.plan import check_fit
from synflip.spec.coins import threshold, word_taps
from synflip.spec.convolution import Convolution
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel, Layer
from synflip.spec.sizes import KEY_BITS, MAX_LAYER_DEPTH, ROW_ALIGN, log2_ceil

SEED = 20_231_103


@dataclass(frozen=True, eq=False)
class Probe:
    """A layer of ROW_ALIGN rows at an edge of the memories, with keys that put its coins at edges of heads.

    weight_base, bias_base: where it is. slot: of its image. keys: uint64 [samples, ROW_ALIGN].
    """

    model: CompiledModel
    weight_base: int
    bias_base: int
    slot: int
    keys: NDArray[np.uint64]


def edges(depth: int, size: int) -> list[int]:
    """The first place, every power of two, and the last of ``size`` items in a memory that holds ``depth``:
    far enough from each other not to overlap."""
    places = [0]
    while (following := max(2 * places[-1], size)) + size <= depth:
        places.append(1 << log2_ceil(following))
    places = [place for place in places if place + size <= depth]
    last = depth - size
    return places if last < places[-1] + size else [*places, last]


def edge_keys(layer: Layer, bits: int, heads: bool, rng: np.random.Generator) -> NDArray[np.uint64]:
    """A key for each row, uint64 [rows], that brings as many of its coins as it can to u = T - 1 (``heads``)
    or u = T; the lanes that it cannot serve change from row to row.

    Each bit of u is the XOR of three bits of the key: linear equations over GF(2).
    """
    levels = threshold(layer.q, bits)
    return np.array(
        [_edge_key(levels[:, row], bits, heads, rng) for row in range(layer.rows)], dtype=np.uint64
    )


def _edge_key(levels: NDArray[np.int64], bits: int, heads: bool, rng: np.random.Generator) -> int:
    # Highest key bit -> the bits that an equation sums, and their sum.
    solved: dict[int, tuple[int, int]] = {}
    for output in rng.permutation(len(levels)).tolist():
        if len(solved) == KEY_BITS:
            break
        level = int(levels[output])
        word = level - 1 if (heads and level) or level >> bits else level
        added: list[int] = []
        for bit in range(bits):
            mask, value = 0, word >> (bits - 1 - bit) & 1
            for tap in word_taps(output, bit):
                mask ^= 1 << tap
            while mask and mask.bit_length() in solved:
                other, sum_ = solved[mask.bit_length()]
                mask, value = mask ^ other, value ^ sum_
            if mask:
                solved[mask.bit_length()] = mask, value
                added.append(mask.bit_length())
            elif value:  # it contradicts the lanes before: without this lane, then
                for top in added:
                    del solved[top]
                break
    key = int(rng.integers(0, 1 << KEY_BITS, dtype=np.uint64))
    for top in sorted(solved):
        mask, value = solved[top]
        if (key & mask).bit_count() & 1 != value:
            key ^= 1 << (top - 1)
    return key


def make_probes(geometry: Geometry) -> list[Probe]:
    """One for each edge of the weight memory; biases and image slots take turns. Raises SynflipError if the
    memories are too small."""
    rng = np.random.default_rng(SEED)
    banks, lanes, bits = geometry.banks, geometry.lanes, geometry.bits
    # An image takes a power of two of results.
    classes = min(lanes, 1 << (geometry.result_depth.bit_length() - 1), geometry.log_depth)
    bias_places = edges(geometry.bias_depth, lanes // banks)
    biases = [rng.integers(-(1 << 30), 1 << 30, classes).astype(np.int32) for _ in bias_places]
    slots = probe_slots(geometry)
    probes = []
    for number, weight_base in enumerate(edges(geometry.weight_depth, ROW_ALIGN // banks)):
        shape = classes, ROW_ALIGN
        turn = number % len(bias_places)
        layer = Layer(
            rng.integers(0, 1 << bits, shape).astype(np.uint16),
            rng.integers(0, 2, shape).astype(np.uint8),
            biases[turn],
        )
        model = CompiledModel(
            (layer,), bits, geometry.activation_bits, (), tuple(map(str, range(classes))), 255
        )
        check_fit(model, geometry)
        keys = np.stack([edge_keys(layer, bits, heads, rng) for heads in (True, False)])
        probes.append(Probe(model, weight_base, bias_places[turn], slots[number % len(slots)], keys))
    return probes


def probe_slots(geometry: Geometry) -> list[int]:
    """Slots of the probes' images."""
    return edges(min(geometry.image_slots, geometry.event_depth * geometry.banks // ROW_ALIGN), 1)


def probe_image(slot: int, activation_bits: int) -> NDArray[np.uint8]:
    """Activations uint8 [ROW_ALIGN], a bit each, in an order of the slot's own."""
    order = np.random.default_rng((SEED, slot)).permutation(ROW_ALIGN)
    return (1 << (order % activation_bits)).astype(np.uint8)


def deep_model(geometry: Geometry) -> CompiledModel:
    """As many layers as the accelerator holds, the first of them of several tiles if there is room. Raises
    SynflipError if not even one layer fits."""
    rng = np.random.default_rng(SEED + 1)
    classes = min(10, geometry.lanes, geometry.result_depth, geometry.log_depth)
    most = min(geometry.layer_depth, MAX_LAYER_DEPTH)
    for depth in range(most, 0, -1):
        for rows, wide in ((24, geometry.lanes + 5), (24, 12), (8, 6)):
            sizes = (rows, *((wide,) if depth > 1 else ()), *(8,) * (depth - 2), classes)
            model = _random_model(list(pairwise(sizes)), geometry, rng)
            try:
                check_fit(model, geometry)
            except SynflipError:
                if depth == 1 and rows == 8:
                    raise
            else:
                return model
    raise AssertionError


def parted_model(geometry: Geometry) -> CompiledModel:
    """Four kernels at four positions, and a layer of 16 rows and two tiles."""
    place = Convolution((3, 3, 1), (2, 2))
    sizes = [(place.rows, 4), (16, geometry.lanes + 4)]
    return _random_model(sizes, geometry, np.random.default_rng(SEED + 5), place)


def small_part(geometry: Geometry) -> Geometry:
    """The accelerator as if it had weights for one tile of ROW_ALIGN rows."""
    return replace(geometry, weight_depth=ROW_ALIGN // geometry.banks)


def _random_model(
    sizes: Sequence[tuple[int, int]],
    geometry: Geometry,
    rng: np.random.Generator,
    place: Convolution | None = None,
) -> CompiledModel:
    """Layers of these rows and outputs; place: where the weights of the first go, if it is a convolution."""
    largest = (1 << geometry.activation_bits) - 1
    layers: list[Layer] = []
    shifts = []
    for rows, outputs in sizes:
        shift = max((rows // 8).bit_length() - 1, 0)
        layers.append(
            Layer(
                rng.integers(0, 1 << geometry.bits, (outputs, rows)).astype(np.uint16),
                rng.integers(0, 2, (outputs, rows)).astype(np.uint8),
                # Most sums end above zero, so that no layer falls silent.
                rng.integers(-largest // 4, largest, outputs).astype(np.int32) << shift,
                None if layers else place,
            )
        )
        shifts.append(shift)
    names = tuple(map(str, range(sizes[-1][1])))
    return CompiledModel(
        tuple(layers), geometry.bits, geometry.activation_bits, tuple(shifts[:-1]), names, 255
    )


def deep_images(model: CompiledModel, count: int) -> NDArray[np.uint8]:
    """Pixels uint8 [count, I], some of them zero."""
    rng = np.random.default_rng(SEED + 2)
    shape = count, model.inputs
    return (rng.integers(1, 256, shape) * (rng.random(shape) < 0.8)).astype(np.uint8)
