"""How a network that an accelerator has no room for is cut into parts, and what running them costs.

A part is what the accelerator holds at once: some layers, one layer, some outputs of a layer, or some rows of
one. It is a dense network of its own, whose z the host reads. The host adds the sums of rows, rounds, shifts,
clamps and pools, and sends the activations on. A convolution is a dense layer whose images are positions.

Row i of layer l of network sample s has key s*R + off(l) + i. So a part's run begins at the key of its first
row, where the LFSR can be set to, and takes one network sample: the keys of its next one are R further on.

The taps of a tile turn with its number. Tiles in the middle of a layer therefore run with the tiles before
them (``NetworkPart.lead``), whose sums are not used, and which take no memory. Where an accelerator counts
too few tiles for that, the host sends the keys, turned (``NetworkPart.turn``). That costs 8 bytes a row and
run; setting the LFSR costs 16 bytes a bank.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from synflip.errors import SynflipError
from synflip.inference.plan import Plan, RunLimit, check_words, fits, input_shift, plan_of, shortage
from synflip.inference.request import InferenceRequest
from synflip.inference.throughput import Traffic
from synflip.spec.coins import TAP_LANES
from synflip.spec.cycles import LOADS, CycleModel, bank_load
from synflip.spec.frames import BAUD
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import ACTIVATIONS_PER_WORD, LAYER_WORDS, SEED_WORDS, entry_words, weight_bits
from synflip.spec.model import CompiledModel, Layer, images_at_once
from synflip.spec.sizes import MAX_OUTPUTS, ROW_ALIGN, address_bits, ceil_div, key_offsets, padded_rows

BLOCK_BYTES = 1 << 28  # of activations and z of the images and network samples that are under way
SETTINGS = 7  # registers that all runs of a part share
RUN_SETTINGS = 3  # registers that a run writes if it has another number of images than the one before
CYCLES_WORDS = 2  # which each run reads behind its status


@dataclass(frozen=True)
class NetworkPart:
    """What the accelerator holds at once.

    layers: numbers of its layers. rows: of its first layer. outputs: of its last layer; of the others it has
        all.
    lead: tiles before its own that run too, because taps turn with a tile's number. turn: keys come from the
        host, rotated right by so many bits, because the accelerator counts fewer tiles.
    logged: its z are read from the log; else from the sums of logits, which hold one image's.
    images: most images of a run. weight_base, bias_base: where in the memories it is.
    """

    layers: range
    rows: range
    outputs: range
    lead: int
    turn: int
    logged: bool
    images: int
    weight_base: int = 0
    bias_base: int = 0

    def row_counts(self, model: CompiledModel) -> list[int]:
        """Rows of each of its layers."""
        return [len(self.rows), *model.rows[self.layers.start + 1 : self.layers.stop]]

    def output_counts(self, model: CompiledModel) -> list[int]:
        """Outputs of each of its layers, those of the tiles before its own included."""
        return [*model.outputs[self.layers.start : self.layers.stop - 1], self.classes]

    @property
    def classes(self) -> int:
        """z that a pass makes, those of the tiles before its own included."""
        return self.outputs.stop if self.lead else len(self.outputs)

    def first_key(self, model: CompiledModel) -> int:
        """Number of its first key in a network sample: off(l) and its first row."""
        offsets, _ = key_offsets(model.rows)
        return offsets[self.layers.start] + self.rows.start

    def network(self, model: CompiledModel) -> CompiledModel:
        """The part as a dense network. Of the parts of a layer's rows the first has the biases.

        The bounds of its sums lie within those of the whole, so the accumulators hold them.
        """
        layers = [
            replace(layer, convolution=None) for layer in model.layers[self.layers.start : self.layers.stop]
        ]
        first = layers[0]
        rows = slice(self.rows.start, self.rows.stop)
        layers[0] = Layer(first.q[:, rows], first.sign[:, rows], first.bias * (self.rows.start == 0))
        last, outputs = layers[-1], slice(self.outputs.start, self.outputs.stop)
        layers[-1] = Layer(last.q[outputs], last.sign[outputs], last.bias[outputs])
        return CompiledModel(
            tuple(layers),
            model.bits,
            model.activation_bits,
            model.shifts[self.layers.start : self.layers.stop - 1],
            tuple(map(str, self.outputs)),
            model.activation_max,
        )

    def entries(self, model: CompiledModel, geometry: Geometry) -> tuple[int, int]:
        """Weight entries of a bank, and groups of biases, that it takes."""
        weights = biases = 0
        for rows, outputs in zip(
            self.row_counts(model), [*self.output_counts(model)[:-1], len(self.outputs)], strict=True
        ):
            tiles = ceil_div(outputs, geometry.lanes)
            weights += tiles * padded_rows(rows) // geometry.banks
            biases += tiles * geometry.lanes // geometry.banks
        return weights, biases

    def placing(self, geometry: Geometry) -> Traffic:
        """Of making it the one that runs."""
        settings = SETTINGS + (geometry.map_depth > 0)  # that it has no maps
        return Traffic.of(LAYER_WORDS, len(self.layers)).plus(Traffic.of(1, settings))

    def loading(self, model: CompiledModel, geometry: Geometry) -> Traffic:
        """Of writing its weights and biases."""
        _, room = entry_words(weight_bits(geometry))
        total = Traffic()
        for rows, outputs in zip(
            self.row_counts(model), [*self.output_counts(model)[:-1], len(self.outputs)], strict=True
        ):
            tiles = ceil_div(outputs, geometry.lanes)
            entries = tiles * padded_rows(rows) // geometry.banks
            total = total.plus(
                Traffic.of(entries << room, geometry.banks), Traffic.of(tiles * geometry.lanes)
            )
        return total

    def run(self, model: CompiledModel, geometry: Geometry, images: int, host_keys: bool) -> Traffic:
        """Of a run of ``images`` images, but for the images and their number. host_keys: the request gives
        the keys."""
        keys = key_offsets(self.row_counts(model))[1] if host_keys or self.turn else 0
        if not self.logged:
            z = Traffic.of(2 * len(self.outputs))
        elif self.lead:
            z = Traffic.of(len(self.outputs), images)
        else:
            z = Traffic.of(images * self.classes)
        seeds = 0 if geometry.devices else geometry.banks * SEED_WORDS
        return z.plus(
            Traffic.of(seeds),
            Traffic.of(2 * keys),
            Traffic.of(1, 2),  # the start, the status
            Traffic.of(CYCLES_WORDS),
        )

    def image(self) -> Traffic:
        """Of writing an image."""
        return Traffic.of(ceil_div(len(self.rows), ACTIVATIONS_PER_WORD))


@dataclass(frozen=True)
class Stage:
    """Parts that together make the z of one layer. layers: numbers of the layers from there to here.

    grid: positions down and across of a convolution that its pool windows use; (1, 1) of dense layers.
    """

    layers: range
    parts: tuple[NetworkPart, ...]
    grid: tuple[int, int]

    @property
    def positions(self) -> int:
        """Passes that an image takes."""
        return self.grid[0] * self.grid[1]


@dataclass(frozen=True, eq=False)
class Parts:
    """A network in parts. stages: run one after the other. resident: all parts' weights are in the
    accelerator at once, so that they are written once."""

    model: CompiledModel
    geometry: Geometry
    stages: tuple[Stage, ...]
    resident: bool

    @property
    def parts(self) -> list[NetworkPart]:
        """All of them, in their order."""
        return [part for stage in self.stages for part in stage.parts]

    @property
    def predictable(self) -> bool:
        """Whether the cycles do not depend on how fast keys come from the host."""
        return not any(part.turn for part in self.parts)

    def image_blocks(self, count: int) -> list[range]:
        """Images that are under way together, as memory allows."""
        most = max(min(BLOCK_BYTES // self._pair_bytes, images_at_once(self.model.inputs)), 1)
        return [range(first, min(first + most, count)) for first in range(0, count, most)]

    def sample_blocks(self, images: int, samples: int, early: bool) -> Iterator[range]:
        """Network samples that are under way together for ``images`` images.

        early: images may leave. They run to the end of their block. The blocks double, 1, 2, 4, ... as far as
        memory allows: an image that leaves after t samples has run in less than 2 t.
        """
        most = max(BLOCK_BYTES // (self._pair_bytes * max(images, 1)), 1)
        first, size = 0, 1 if early else most
        while first < samples:
            size = min(size, most)
            yield range(first, min(first + size, samples))
            first, size = first + size, 2 * size

    @property
    def _pair_bytes(self) -> int:
        """Of an image in a network sample, in the widest stage: activations, z, activations, and what the
        golden model counts of it."""
        layers = self.model.layers
        return max(
            layers[stage.layers.start].inputs
            + stage.positions * (4 * last.outputs + 8 * len(stage.parts))
            + last.width
            for stage in self.stages
            for last in [layers[stage.layers[-1]]]
        )

    def work(self, images: int, samples: int, early: bool = False, host_keys: bool = False) -> "Work":
        """What an inference takes; the most that it may, if images leave early. host_keys: the request gives
        the keys."""
        work = Work(self, host_keys)
        if self.resident and images:
            work.loaded.update(self.parts)
        for block in self.image_blocks(images):
            for together in self.sample_blocks(len(block), samples, early):
                for stage in self.stages:
                    whole = len(block) * stage.positions
                    for part in stage.parts:
                        work.placed[part] += 1
                        work.loaded[part] += not self.resident
                        work.images[part] += whole * (len(together) if stage.layers.start else 1)
                        full, rest = divmod(whole, part.images)
                        work.settings += (full > 0) + (rest > 0)
                        work.runs[part, part.images] += full * len(together)
                        work.runs[part, rest] += len(together) if rest else 0
        return work


@dataclass(eq=False)
class Work:
    """How often each part is written, is made the one that runs, and runs; and its images.

    loaded, placed: times. images: that are written. runs: by the images of a run. settings: how often this
    number of images changes.
    """

    of: Parts
    host_keys: bool
    loaded: Counter[NetworkPart] = field(default_factory=Counter)
    placed: Counter[NetworkPart] = field(default_factory=Counter)
    images: Counter[NetworkPart] = field(default_factory=Counter)
    runs: Counter[tuple[NetworkPart, int]] = field(default_factory=Counter)
    settings: int = 0

    def traffic(self) -> Traffic:
        """What goes over the link."""
        model, geometry = self.of.model, self.of.geometry
        return Traffic.of(1, RUN_SETTINGS * self.settings).plus(
            *(part.loading(model, geometry).times(times) for part, times in self.loaded.items()),
            *(part.placing(geometry).times(times) for part, times in self.placed.items()),
            *(part.image().times(count) for part, count in self.images.items()),
            *(
                part.run(model, geometry, images, self.host_keys).times(times)
                for (part, images), times in self.runs.items()
            ),
        )

    def most_cycles(self) -> int:
        """Cycles of all runs if no activation is 0: the most there may be, but for waits for the host's
        keys."""
        model, geometry = self.of.model, self.of.geometry
        total = 0
        for (part, images), times in self.runs.items():
            if not times:
                continue
            rows = part.row_counts(model)
            full = [
                bank_load(np.ones((1, count), dtype=bool), geometry.banks, geometry.lanes) for count in rows
            ]
            clock = CycleModel(geometry, rows, part.output_counts(model), 1, early=False)
            loads = np.broadcast_to(np.stack(full, axis=1)[None], (images, 1, len(rows), len(LOADS)))
            clock.advance(loads, np.ones((images, 1), dtype=bool))
            total += times * int(clock.cycles()[0])
        return total

    def seconds(self, clock: float, baud: int = BAUD) -> float:
        """That it takes at most over a serial line, at a clock of so many Hz."""
        return self.traffic().seconds(baud) + self.most_cycles() / clock

    def text(self, baud: int = BAUD) -> str:
        """For people, in a line. baud: of the serial line."""
        traffic = self.traffic()
        return (
            f"{len(self.of.parts)} parts, {sum(self.runs.values()):,} runs, at most "
            f"{self.most_cycles():,} cycles, and {traffic.bytes / 1e6:,.2f} MB over the link, "
            f"{traffic.seconds(baud):,.1f} s of a serial line at {baud:,} baud"
        )


def runs_of(request: InferenceRequest, geometry: Geometry) -> Plan | Parts:
    """The runs of a request on an accelerator of ``geometry``: of the whole network where it fits, else of
    its parts. Raises SynflipError if there are none.

    A network that fits runs in parts too where one run has no room for the samples of early stopping, or for
    one sample's logits: then the host counts the votes and keeps the logits.
    """
    if fits(request.model, geometry):
        try:
            return plan_of(request, geometry)
        except RunLimit:
            if geometry.devices and request.keys is None:
                raise
    parts = cut(request.model, geometry)
    if geometry.devices and request.keys is None:
        raise SynflipError(
            f"the model ({request.model.shape}) runs in parts, and all of them need the same keys, which "
            "tunnel junctions do not make twice: give the keys (infer with keys=...)"
        )
    return parts


def cut(model: CompiledModel, geometry: Geometry) -> Parts:
    """The parts of ``model`` that bring the fewest bytes over the link. Raises SynflipError for words that
    are longer than the accelerator's, and if not even the smallest part fits.

    784-512-512-10 on 64x8 with 1,024 weight entries, 128 results and 512 logits: layer 0 (784 of 1,024
    entries), and layers 1 and 2 (576).
    """
    check_words(model.bits, model.activation_bits, geometry)
    count = len(model.layers)
    best: list[tuple[float, tuple[Stage, ...]]] = [(0, ())] * (count + 1)
    for first in reversed(range(count)):
        found = [
            (cost + best[stage.layers.stop][0], (stage, *best[stage.layers.stop][1]))
            for stage, cost in _stages(model, geometry, first)
        ]
        if not found:
            layer = model.layers[first]
            raise SynflipError(
                f"the model ({model.shape}) does not fit the {geometry.name} accelerator, not even in parts: "
                f"of layer {first} ({layer.rows} rows, {layer.outputs} outputs) not {ROW_ALIGN} rows and "
                f"{min(layer.outputs, TAP_LANES)} outputs fit"
            )
        best[first] = min(found, key=lambda item: item[0])
    return _placed(model, geometry, best[0][1])


def _placed(model: CompiledModel, geometry: Geometry, stages: tuple[Stage, ...]) -> Parts:
    """Parts side by side in the memories, if there is room for all of them."""
    weight = bias = 0
    side_by_side = []
    for stage in stages:
        parts = []
        for part in stage.parts:
            parts.append(replace(part, weight_base=weight, bias_base=bias))
            weights, biases = part.entries(model, geometry)
            weight, bias = weight + weights, bias + biases
        side_by_side.append(replace(stage, parts=tuple(parts)))
    resident = weight <= geometry.weight_depth and bias <= geometry.bias_depth
    return Parts(model, geometry, tuple(side_by_side) if resident else stages, resident)


def _stages(model: CompiledModel, geometry: Geometry, first: int) -> Iterator[tuple[Stage, float]]:
    """Stages that begin with layer ``first``, and the bytes of each for an image in a network sample."""

    def costed(last: int, parts: list[NetworkPart]) -> tuple[Stage, float]:
        place = model.layers[first].convolution
        grid = (1, 1)
        if place is not None:
            (down, across), (high, wide) = place.output, place.pool
            grid = down * high, across * wide
        stage = Stage(range(first, last + 1), tuple(parts), grid)
        cost = sum(
            part.run(model, geometry, part.images, False).bytes / part.images
            + (part.image().bytes if first else 0)
            for part in parts
        )
        return stage, cost * math.prod(grid)

    # Results of classes beyond their memory are written over others, and none of them is read.
    roomy = replace(geometry, result_depth=max(geometry.result_depth, MAX_OUTPUTS))
    for last in range(first + 1, len(model.layers)):
        if any(layer.convolution is not None for layer in model.layers[first : last + 1]):
            break
        if shortage((model.rows[first], *model.outputs[first : last + 1]), roomy):
            continue
        layers, rows = range(first, last + 1), range(model.rows[first])
        part = _part(model, geometry, layers, rows, range(model.outputs[last]))
        if part is not None:
            yield costed(last, [part])
    for parts in _grids(model, geometry, first):
        yield costed(first, parts)


def _grids(model: CompiledModel, geometry: Geometry, index: int) -> Iterator[list[NetworkPart]]:
    """Ways to cut one layer: for each number of outputs as many rows as there is room for."""
    outputs, rows = model.outputs[index], model.rows[index]
    lanes, banks = geometry.lanes, geometry.banks
    for width in (*range(TAP_LANES, lanes, TAP_LANES), *range(lanes, outputs + lanes, lanes)):
        tiles = ceil_div(width, lanes)
        if tiles * lanes // banks > geometry.bias_depth:
            break
        blocks = min(geometry.weight_depth // tiles, geometry.key_depth, geometry.inputs // banks)
        high = blocks * banks // ROW_ALIGN * ROW_ALIGN
        if not high:
            break
        parts = [
            _part(
                model,
                geometry,
                range(index, index + 1),
                range(row, min(row + high, rows)),
                range(output, min(output + width, outputs)),
            )
            for output in range(0, outputs, width)
            for row in range(0, rows, high)
        ]
        whole = [part for part in parts if part is not None]
        if len(whole) == len(parts):
            yield whole


def _part(
    model: CompiledModel, geometry: Geometry, layers: range, rows: range, outputs: range
) -> NetworkPart | None:
    """The part, if its z can be read."""
    first, past, width = outputs.start, outputs.stop, len(outputs)
    span = 1 << address_bits(geometry.result_depth)
    lead = turn = 0
    if (
        first % geometry.lanes == 0
        and past <= geometry.hidden_depth * geometry.banks
        and (past <= geometry.log_depth or first % span + width <= geometry.result_depth)
    ):
        lead = first // geometry.lanes
    elif width <= max(geometry.log_depth, geometry.result_depth):
        turn = first // TAP_LANES
    else:
        return None
    logits = past if lead else width
    logged = logits <= geometry.log_depth
    images = min(
        geometry.image_slots,
        geometry.event_depth >> input_shift(len(rows), geometry),
        geometry.log_depth // logits if logged else 1,
    )
    return NetworkPart(layers, rows, outputs, lead, turn, logged, images)
