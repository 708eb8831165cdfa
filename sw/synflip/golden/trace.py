"""The cycle trace: what every stage of an accelerator holds in every cycle of one run, from the golden model.

Values come from the golden model, times from the cycle model and docs/explanation/architecture.md. Benches
compare the gateware with it, cycle by cycle. Loading a trace needs numpy only.

Of a convolution the golden model keeps the largest sum of each pool window; those of every position are added
up here, from the segments of ``synflip.spec.maps``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.inference.plan import plan
from synflip.inference.request import margins_of, whole_samples, whole_seed
from synflip.spec.coins import key_words
from synflip.spec.cycles import (
    DRAIN_LATENCY,
    LOADS,
    LOGIT_TO_DECISION,
    CycleModel,
    LayerTimes,
    append_latency,
    bank_load,
    pipeline_depth,
    rest_row,
)
from synflip.spec.geometry import Geometry
from synflip.spec.lfsr import keys
from synflip.spec.maps import Program, image_taps, programs, segment_loads, with_zeros
from synflip.spec.model import CompiledModel, Layer
from synflip.spec.sizes import ceil_div, key_offsets, padded_rows
from synflip.util.outputs import replacing

# Cycles from the issue of an event until the output of a stage has it: one more than the stage's row in the
# table of docs/explanation/architecture.md.
EVENT = 2  # row and value leave the event lists
ADDRESS = 3  # address of the key
KEY = 5  # the key leaves the key memory
WORDS = 7
COINS = 8  # coins, signs and values enter the leaves

WINDOW_FIRST, WINDOW_LAST, WINDOW_TOP = 1, 2, 4
DENSE = WINDOW_FIRST | WINDOW_LAST  # a window of one position

MAX_FILE = 1 << 30


#: A layer's activations [I] and z [J].
LayerValues = tuple[NDArray[np.uint8], NDArray[np.int64]]
#: Of one bank: indices at which it has events, their rows and their values.
Events = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]


def table_types(geometry: Geometry) -> dict[str, np.dtype[Any]]:
    """Columns of a trace's tables. ``cycle`` is the first column of each; P lanes, Q banks."""
    lanes, banks = geometry.lanes, geometry.banks
    origin = [("slot", "u1"), ("sample", "i4"), ("layer", "u1")]
    group = [("set", "u1"), ("begin", "u1"), ("first", "u1"), ("block", "i4"), ("values", "u1", (banks,))]
    tables: dict[str, list[Any]] = {
        "opens": [*origin, ("member", "u1"), ("load", "i4"), ("rest", "u1"), ("segment", "i4")],
        "issues": [*origin, ("tile", "u1"), ("segment", "i4"), ("index", "i4")],
        "events": [
            ("bank", "u1"),
            *origin,
            ("tile", "u1"),
            ("segment", "i4"),
            ("row", "i4"),
            ("x", "u1"),
            ("key", "u8"),
            ("words", "u2", (lanes,)),
            ("coins", "u1", (lanes,)),
            ("signs", "u1", (lanes,)),
        ],
        "tiles": [*origin, ("tile", "u1"), ("segment", "i4"), ("sums", "i4", (lanes,))],
        "outputs": [*group, ("window", "u1")],
        "drains": [*group, ("window", "u1")],
        "logits": [("slot", "u1"), ("sample", "i4"), ("class_", "i4"), ("z", "i4")],
        "votes": [("slot", "u1"), ("sample", "i4"), ("winner", "i4"), ("leaves", "u1"), ("count", "i4")],
        "fills": [("half", "u1"), ("block", "i4"), ("keys", "u8", (banks,))],
        "picks": [("slot", "u1"), ("sample", "i4")],
        "releases": [("sample", "i4")],
    }
    return {name: np.dtype([("cycle", "i8"), *columns]) for name, columns in tables.items()}


@dataclass(frozen=True, eq=False)
class Trace:
    """One run. Tables are structured arrays in the order of their cycles; cycle 0 is the first busy one.

    geometry: the accelerator. cycles: for which it is busy.
    opens: a layer's event lists are opened, or, ``rest``, only what its last tile added, or ``segment`` of a
        convolution, -1 elsewhere; ``load``: events of the fullest bank; ``member``: which of the passes in
        flight it is of.
    issues: the sequencer issues event ``index`` of the open lists.
    events: issued to the array, one non-zero activation ``x`` of ``row``, with its key, and, for each lane,
        word, coin and sign. Later stages have them EVENT, ADDRESS, KEY, WORDS and COINS cycles later. In a
        convolution over an image also rows that only fill a row block, which meet no weight.
    tiles: sums of each lane, without bias, in the cycle of their capture, ``pipeline_depth`` cycles after the
        issue of the tile's last event. Of a convolution the sums of a position, whose last is ``segment``.
    outputs: Q outputs of a hidden layer leave the requantizer, as rows ``block`` * Q + bank; ``first`` of
        their tile; ``begin``: that is their layer's first; ``window``: bits of the place of a convolution's
        position in its pool window, WINDOW_FIRST, WINDOW_LAST, and WINDOW_TOP for a pixel's first tile.
    drains: they enter event list set ``set``, behind the pooling where there are maps.
    logits: enter the votes. votes: a pass is decided: winner, its votes so far, whether the image leaves.
    fills: Q keys enter half ``half`` of the key memory. picks: the sequencer chooses a pass.
    releases: it gives back the half of the sample before ``sample``.
    """

    geometry: Geometry
    cycles: int
    opens: NDArray[Any]
    issues: NDArray[Any]
    events: NDArray[Any]
    tiles: NDArray[Any]
    outputs: NDArray[Any]
    drains: NDArray[Any]
    logits: NDArray[Any]
    votes: NDArray[Any]
    fills: NDArray[Any]
    picks: NDArray[Any]
    releases: NDArray[Any]

    def save(self, path: Path) -> None:
        """Write a compressed npz file without pickles, whole or not at all. Raises SynflipError."""
        shape = [getattr(self.geometry, item.name) for item in fields(Geometry)]
        tables = {name: getattr(self, name) for name in table_types(self.geometry)}
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez_compressed(
                file, geometry=np.array(shape, dtype=np.int64), cycles=np.int64(self.cycles), **tables
            )

    @classmethod
    def load(cls, path: Path) -> "Trace":
        """Read a file of ``save``. Raises SynflipError if it is anything else."""
        try:
            if path.stat().st_size > MAX_FILE:
                raise ValueError(f"larger than {MAX_FILE} bytes")
            with np.load(path, allow_pickle=False) as file:
                names = [item.name for item in fields(Geometry)]
                geometry = Geometry(**dict(zip(names, file["geometry"].tolist(), strict=True)))
                tables = {name: file[name] for name in table_types(geometry)}
                cycles = int(file["cycles"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SynflipError(f"{path} is not a cycle trace: {error}") from None
        for name, dtype in table_types(geometry).items():
            table = tables[name]
            if table.dtype != dtype or table.ndim != 1:
                raise SynflipError(
                    f"{path}: table {name} is {table.ndim}-dimensional, {table.dtype}, not a list of {dtype}"
                )
            if len(table) and not (table["cycle"].min() >= 0 and table["cycle"].max() < cycles):
                raise SynflipError(f"{path}: table {name} has cycles outside 0..{cycles - 1}")
        return cls(geometry, cycles, **tables)


def cycle_trace(
    model: CompiledModel,
    geometry: Geometry,
    pixels: NDArray[np.uint8],
    samples: int,
    seed: int,
    margins: NDArray[np.integer] | None = None,
) -> Trace:
    """The trace of one run over ``pixels`` [N, I]. Raises SynflipError if it is not one run there."""
    samples, seed = whole_samples(samples), whole_seed(seed)
    limits = margins_of(margins, samples)
    runs = plan(model, geometry, min(len(pixels), 1), samples, limits is not None, logits=False)
    if not 1 <= len(pixels) <= runs.images or samples > runs.samples:
        raise SynflipError(
            f"a trace is of one run: here 1..{runs.images} images and at most {runs.samples} samples, "
            f"not {len(pixels)} images and {samples} samples"
        )
    return _Tracer(model, geometry, pixels, seed).run(samples, limits)


def _listed(rows: NDArray[np.int64], values: NDArray[np.uint8], banks: int) -> list[Events]:
    """Of each bank, what it has of the non-zero activations ``values`` of ``rows``, in their order."""
    mine = [rows % banks == bank for bank in range(banks)]
    return [(np.arange(one.sum()), rows[one], values[one]) for one in mine]


def _met(layer: Layer, x: NDArray[np.uint8], program: Program, banks: int) -> list[list[Events]]:
    """Of each segment of a convolution over a map [H * W * C], its events."""
    place, there = layer.convolution, np.flatnonzero(x)
    assert place is not None
    pixels, found = there // place.input[2], []
    for first, past, offset in zip(program.first, program.past, program.offset, strict=True):
        mine = there[(first <= pixels) & (pixels < past)]
        found.append(_listed(mine + offset * banks, x[mine], banks))
    return found


def _met_in_image(layer: Layer, x: NDArray[np.uint8], program: Program, banks: int) -> list[list[Events]]:
    """The same of one over an image: a segment is a position, and every row block has a cycle."""
    place = layer.convolution
    assert place is not None
    whole, taps = with_zeros(x[None], place)[0], image_taps(place, banks)
    found = []
    for first in program.first:
        blocks = [np.flatnonzero(whole[first + taps[:, bank]]) for bank in range(banks)]
        found.append(
            [
                (there, there * banks + bank, whole[first + taps[there, bank]])
                for bank, there in enumerate(blocks)
            ]
        )
    return found


class _Tracer:
    """Fills the tables, one network sample after the other."""

    def __init__(
        self, model: CompiledModel, geometry: Geometry, pixels: NDArray[np.uint8], seed: int
    ) -> None:
        from synflip.golden.cpu import Golden

        self.model, self.geometry, self.seed = model, geometry, seed
        self.golden = Golden(geometry)
        self.golden.load(model)
        self.x = model.activations(pixels)
        self.programs = programs(model, geometry.banks) if model.convolutional else []
        self.offsets, self.key_rows = key_offsets(model.rows)
        self.tables: dict[str, list[NDArray[Any]]] = {name: [] for name in table_types(geometry)}
        self.votes = np.zeros((len(pixels), len(model.classes)), dtype=np.int64)

    def run(self, samples: int, limits: NDArray[np.int64] | None) -> Trace:
        """All network samples, until every image has left."""
        clock = CycleModel(
            self.geometry,
            self.model.rows,
            self.model.outputs,
            1,
            limits is not None,
            programs=self.programs,
        )
        active = list(range(len(self.x)))
        for sample in range(samples):
            passes = self._forward(sample, active)
            loads = np.zeros((len(self.x), 1, len(self.model.layers), len(LOADS)), dtype=np.int64)
            lanes, banks = self.geometry.lanes, self.geometry.banks
            for slot, layers in passes.items():
                loads[slot, 0] = [bank_load(x[None] != 0, banks, lanes)[0] for x, _ in layers]
            taking_part = np.isin(np.arange(len(self.x)), active)[:, None]
            clock.advance(loads, taking_part, self._segment_loads(passes))
            self._fills(sample, clock.filled)
            self._layer_words(sample)
            if sample:
                self._add("releases", clock.given_back, sample=sample)
            for number, (slot, pick, times, _) in enumerate(clock.passes):
                self._add("picks", pick, slot=slot, sample=sample)
                member = number % clock.most_in_flight
                decided = self._pass(slot, sample, member, loads[slot, 0], times, passes[slot])
                limit = None if limits is None else limits[sample]
                leaves = self._vote(
                    decided, slot, sample, passes[slot][-1][1], limit, last=sample == samples - 1
                )
                if leaves:
                    active = [item for item in active if item != slot]
            if not active:
                break
        if sample + 1 < samples and self.geometry.key_halves > 1:  # of a run that ended early
            self._fills(sample + 1, clock.fill)
        cycles = int(clock.cycles()[0])
        tables = {}
        for name, dtype in table_types(self.geometry).items():
            table = np.concatenate([np.zeros(0, dtype), *self.tables[name]])
            tables[name] = np.sort(table[table["cycle"] < cycles], order="cycle", kind="stable")
        return Trace(self.geometry, cycles, **tables)

    def _segment_loads(self, passes: Mapping[int, Sequence[LayerValues]]) -> dict[int, NDArray[np.int64]]:
        """[slots, 1, segments] of each convolution: events of the fullest bank, of an image all blocks."""
        found = {}
        for index, program in enumerate(self.programs):
            place = self.model.layers[index].convolution
            if place is None or program is None:
                continue
            found[index] = np.zeros((len(self.x), 1, len(program)), dtype=np.int64)
            for slot, layers in passes.items():
                found[index][slot] = padded_rows(place.rows) // self.geometry.banks
                if index:
                    found[index][slot] = segment_loads(
                        layers[index][0][None], place, program, self.geometry.banks
                    )
        return found

    def _add(self, table: str, cycle: Any, **columns: Any) -> None:
        rows = np.zeros(np.size(cycle), dtype=table_types(self.geometry)[table])
        rows["cycle"] = cycle
        for name, column in columns.items():
            rows[name] = column
        self.tables[table].append(rows)

    def _fills(self, sample: int, cycle: int) -> None:
        """The keys of a sample, Q a cycle from ``cycle`` on."""
        banks = self.geometry.banks
        filled = keys(self.seed, sample * self.key_rows, self.key_rows).reshape(-1, banks)
        blocks = np.arange(len(filled))
        self._add("fills", cycle + blocks, half=sample % self.geometry.key_halves, block=blocks, keys=filled)

    def _forward(self, sample: int, active: list[int]) -> dict[int, list[LayerValues]]:
        """slot -> each layer's activations [I] and z [J], of a convolution [H * W * C] and [H' * W' * J]."""
        import torch

        self.coins = self.golden.coins(self.seed, sample)
        passes: dict[int, list[LayerValues]] = {slot: [] for slot in active}
        for x, z in self.golden.layers(torch.from_numpy(self.x[active]), self.coins):
            for row, slot in enumerate(active):
                passes[slot].append((x[row].numpy().copy(), z[row].numpy().astype(np.int64)))
        return passes

    def _layer_words(self, sample: int) -> None:
        """Each layer's keys [I], and words, coins and signs [I, tiles * P], which all images share. I: padded
        to whole row blocks, with rows that have no weights."""
        lanes = self.geometry.lanes
        self.layer_words = []
        for layer, offset, flipped in zip(self.model.layers, self.offsets, self.coins, strict=True):
            rows = padded_rows(layer.rows)
            row_keys = keys(self.seed, sample * self.key_rows + offset, rows)
            width = ceil_div(layer.outputs, lanes) * lanes
            words = key_words(row_keys, width, self.geometry.bits)
            spare = ((0, rows - layer.rows), (0, width - layer.outputs))
            coins = np.pad(flipped.numpy().T != 0, spare)
            self.layer_words.append((row_keys, words, coins, np.pad(layer.sign.T, spare)))

    def _pass(
        self,
        slot: int,
        sample: int,
        member: int,
        loads: NDArray[np.int64],
        times: list[LayerTimes],
        values: list[LayerValues],
    ) -> int:
        """One image through one flipped network, ``member`` of those in flight. Returns the cycle of its last
        logit."""
        lanes, banks = self.geometry.lanes, self.geometry.banks
        cycle = 0
        for index, (layer, time, (x, z)) in enumerate(zip(self.model.layers, times, values, strict=True)):
            origin = {"slot": slot, "sample": sample, "layer": index}
            head, opened, end, period = time.head, time.opened, time.first_end, time.period
            tiles = ceil_div(layer.outputs, lanes)
            if layer.convolution is not None:
                self._convolution(index, origin, x, time)
                continue
            whole, of_head, of_rest = loads[index].tolist()
            if head < 0:
                reads = [(opened, whole, x != 0)]
            else:
                late = np.arange(len(x)) >= rest_row(len(x), lanes)
                reads = [(head, of_head, (x != 0) & ~late), (opened, of_rest, (x != 0) & late)]
            for cycle, load, _ in reads:
                rest = head >= 0 and cycle == opened
                self._add("opens", cycle, **origin, member=member, load=load, rest=rest, segment=-1)
            if head >= 0 and tiles > 1:
                self._add("opens", end, **origin, member=member, load=whole, rest=0, segment=-1)
            sums = np.pad(z - layer.bias, (0, tiles * lanes - layer.outputs))
            final = index == len(times) - 1
            outgoing = np.zeros(tiles * lanes, dtype=np.uint8)
            if not final:
                outgoing[: layer.outputs] = values[index + 1][0]
            for tile in range(tiles):
                for cycle, load, there in reads:
                    last = end if cycle == reads[-1][0] else cycle + max(load, 1)
                    where = origin | {"tile": tile, "segment": -1}
                    self._events(
                        where, _listed(np.flatnonzero(there), x[there], banks), cycle + 1, last, load
                    )
                outputs = slice(tile * lanes, (tile + 1) * lanes)
                capture = end + pipeline_depth(banks)
                self._add("tiles", capture, **origin, tile=tile, segment=-1, sums=sums[None, outputs])
                count = min(layer.outputs - tile * lanes, lanes)
                cycle = capture + DRAIN_LATENCY + count - 1
                if final:
                    order = np.arange(count)
                    self._add(
                        "logits",
                        capture + DRAIN_LATENCY + order,
                        slot=slot,
                        sample=sample,
                        class_=tile * lanes + order,
                        z=z[outputs],
                    )
                else:
                    there, first_block = outgoing[outputs][:count], tile * lanes // banks
                    self._outputs(capture, there, there, 2 * member + index % 2, first_block, not tile)
                reads = [(end, whole, x != 0)]
                end += period
        return cycle

    def _convolution(
        self, index: int, origin: dict[str, int], x: NDArray[np.uint8], time: LayerTimes
    ) -> None:
        """A convolution of a pass, which is alone: the segments of each position, for each tile."""
        layer, program = self.model.layers[index], self.programs[index]
        assert program is not None
        lanes, banks = self.geometry.lanes, self.geometry.banks
        tiles, signed = ceil_div(layer.outputs, lanes), self.coins[index].numpy().T
        added, shift = layer.bias + (1 << self.model.shifts[index] >> 1), self.model.shifts[index]
        met = _met(layer, x, program, banks) if index else _met_in_image(layer, x, program, banks)
        sums = np.zeros(lanes, dtype=np.int64)
        largest: NDArray[Any] = sums
        pixel, first = 0, True  # first: the position is its window's
        for (segment, tile), (opened, end) in zip(program.taken(tiles), time.segments, strict=True):
            events = met[segment]
            load = max(len(rows) for _, rows, _ in events) if index else padded_rows(layer.rows) // banks
            where = origin | {"tile": tile, "segment": segment}
            self._add("opens", opened, **origin, member=0, load=load, rest=0, segment=segment)
            self._events(where, events, opened + 1, end, load)
            outputs = slice(tile * lanes, min((tile + 1) * lanes, layer.outputs))
            count = outputs.stop - outputs.start
            for _, rows, values in events:
                with_weights = rows < layer.rows
                sums[:count] += values[with_weights].astype(np.int64) @ signed[rows[with_weights], outputs]
            if not program.position_end[segment]:
                continue
            capture = end + pipeline_depth(banks)
            self._add("tiles", capture, **where, sums=sums[None])
            values = (sums[:count] + added[outputs] >> shift).clip(0, self.model.activation_max)
            largest = values if first else np.maximum(largest, values)
            last, sums = bool(program.window_end[segment]), np.zeros(lanes, dtype=np.int64)
            window = WINDOW_FIRST * first | WINDOW_LAST * last | WINDOW_TOP * (tile == 0)
            block = (pixel * layer.outputs + outputs.start) // banks
            self._outputs(capture, values, largest, index % 2, block, not pixel and not tile, window)
            pixel, first = pixel + (last and tile == tiles - 1), last

    def _outputs(
        self,
        capture: int,
        values: NDArray[Any],
        pooled: NDArray[Any],
        hidden_set: int,
        block: int,
        begin: bool,
        window: int = DENSE,
    ) -> None:
        """Outputs of a tile of a hidden layer [J], and what the pooling makes of them, if it lets them go on.
        block: of the first; the last Q may be filled up with 0."""
        banks = self.geometry.banks
        steps = np.arange(ceil_div(len(values), banks))
        ways = [("outputs", DRAIN_LATENCY, values), ("drains", append_latency(self.geometry), pooled)]
        for table, latency, there in ways if window & WINDOW_LAST else ways[:1]:
            self._add(
                table,
                capture + latency + steps,
                set=hidden_set,
                begin=begin & (steps == 0),
                first=steps == 0,
                block=block + steps,
                values=np.pad(there, (0, len(steps) * banks - len(there))).reshape(-1, banks),
                window=window,
            )

    def _events(
        self, origin: dict[str, int], events: Sequence[Events], start: int, end: int, load: int
    ) -> None:
        """Events of a tile: one a cycle from ``start`` on, but for the fullest bank's last, at ``end``."""
        row_keys, words, coins, signs = self.layer_words[origin["layer"]]
        lanes, tile = self.geometry.lanes, origin["tile"]
        outputs = slice(tile * lanes, (tile + 1) * lanes)
        index = np.arange(max(load, 1))
        cycles = np.where(index == len(index) - 1, end, start + index)
        self._add("issues", cycles, **origin, index=index)
        for bank, (places, rows, values) in enumerate(events):
            self._add(
                "events",
                cycles[places],
                bank=bank,
                **origin,
                row=rows,
                x=values,
                key=row_keys[rows],
                words=words[rows, outputs],
                coins=coins[rows, outputs],
                signs=signs[rows, outputs],
            )

    def _vote(
        self, logit: int, slot: int, sample: int, z: NDArray[np.int64], limit: int | None, last: bool
    ) -> bool:
        """Counts a pass's vote, LOGIT_TO_DECISION cycles after its last logit. Returns whether the image
        leaves."""
        winner = int(z.argmax())
        votes = self.votes[slot]
        votes[winner] += 1
        top = np.sort(np.append(votes, 0))
        leaves = last or (limit is not None and int(top[-1] - top[-2]) >= limit)
        self._add(
            "votes",
            logit + LOGIT_TO_DECISION,
            slot=slot,
            sample=sample,
            winner=winner,
            leaves=leaves,
            count=votes[winner],
        )
        return leaves
