"""The cycle trace: what every stage of an accelerator holds in every cycle of one run, from the golden model.

Values come from the golden model, times from the cycle model and docs/explanation/architecture.md. Benches
compare the gateware with it, cycle by cycle. Loading a trace needs numpy only.
"""

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
from synflip.spec.model import CompiledModel
from synflip.spec.sizes import ceil_div, key_offsets
from synflip.util.outputs import replacing

# Cycles from the issue of an event until the output of a stage has it: one more than the stage's row in the
# table of docs/explanation/architecture.md.
EVENT = 2  # row and value leave the event lists
ADDRESS = 3  # address of the key
KEY = 5  # the key leaves the key memory
WORDS = 7
COINS = 8  # coins, signs and values enter the leaves

MAX_FILE = 1 << 30


def table_types(geometry: Geometry) -> dict[str, np.dtype[Any]]:
    """Columns of a trace's tables. ``cycle`` is the first column of each; P lanes, Q banks."""
    lanes, banks = geometry.lanes, geometry.banks
    origin = [("slot", "u1"), ("sample", "i4"), ("layer", "u1")]
    tables: dict[str, list[Any]] = {
        "opens": [*origin, ("member", "u1"), ("load", "i4"), ("rest", "u1")],
        "issues": [*origin, ("tile", "u1"), ("index", "i4")],
        "events": [
            ("bank", "u1"),
            *origin,
            ("tile", "u1"),
            ("row", "i4"),
            ("x", "u1"),
            ("key", "u8"),
            ("words", "u2", (lanes,)),
            ("coins", "u1", (lanes,)),
            ("signs", "u1", (lanes,)),
        ],
        "tiles": [*origin, ("tile", "u1"), ("sums", "i4", (lanes,))],
        "drains": [("set", "u1"), ("block", "i4"), ("values", "u1", (banks,))],
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
    opens: a layer's event lists are opened, or, ``rest``, only what its last tile added; ``load``: events of
        the fullest bank; ``member``: which of the passes in flight it is of.
    issues: the sequencer issues event ``index`` of the open lists.
    events: issued to the array, one non-zero activation ``x`` of ``row``, with its key, and, for each lane,
        word, coin and sign. Later stages have them EVENT, ADDRESS, KEY, WORDS and COINS cycles later.
    tiles: sums of each lane, without bias, in the cycle of their capture, ``pipeline_depth`` cycles after the
        issue of the tile's last event.
    drains: Q outputs of a hidden layer enter event list set ``set`` as rows ``block`` * Q + bank.
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
    if model.convolutional:
        raise SynflipError("a trace is of dense layers; this model has convolutions")
    limits = margins_of(margins, samples)
    runs = plan(model, geometry, min(len(pixels), 1), samples, limits is not None, logits=False)
    if not 1 <= len(pixels) <= runs.images or samples > runs.samples:
        raise SynflipError(
            f"a trace is of one run: here 1..{runs.images} images and at most {runs.samples} samples, "
            f"not {len(pixels)} images and {samples} samples"
        )
    return _Tracer(model, geometry, pixels, seed).run(samples, limits)


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
        self.offsets, self.key_rows = key_offsets(model.rows)
        self.tables: dict[str, list[NDArray[Any]]] = {name: [] for name in table_types(geometry)}
        self.votes = np.zeros((len(pixels), len(model.classes)), dtype=np.int64)

    def run(self, samples: int, limits: NDArray[np.int64] | None) -> Trace:
        """All network samples, until every image has left."""
        clock = CycleModel(self.geometry, self.model.rows, self.model.outputs, 1, limits is not None)
        active = list(range(len(self.x)))
        for sample in range(samples):
            passes = self._forward(sample, active)
            loads = np.zeros((len(self.x), 1, len(self.model.layers), len(LOADS)), dtype=np.int64)
            lanes, banks = self.geometry.lanes, self.geometry.banks
            for slot, layers in passes.items():
                loads[slot, 0] = [bank_load(x[None] != 0, banks, lanes)[0] for x, _ in layers]
            taking_part = np.isin(np.arange(len(self.x)), active)[:, None]
            clock.advance(loads, taking_part)
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

    def _forward(
        self, sample: int, active: list[int]
    ) -> dict[int, list[tuple[NDArray[np.uint8], NDArray[np.int64]]]]:
        """slot -> each layer's activations [I] and z [J]."""
        import torch

        self.coins = self.golden.coins(self.seed, sample)
        passes: dict[int, list[tuple[NDArray[np.uint8], NDArray[np.int64]]]] = {slot: [] for slot in active}
        for x, z in self.golden.layers(torch.from_numpy(self.x[active]), self.coins):
            for row, slot in enumerate(active):
                passes[slot].append((x[row].numpy().copy(), z[row].numpy().astype(np.int64)))
        return passes

    def _layer_words(self, sample: int) -> None:
        """Each layer's keys [I], and words, coins and signs [I, tiles * P], which all images share."""
        lanes = self.geometry.lanes
        self.layer_words = []
        for layer, offset, flipped in zip(self.model.layers, self.offsets, self.coins, strict=True):
            row_keys = keys(self.seed, sample * self.key_rows + offset, layer.rows)
            width = ceil_div(layer.outputs, lanes) * lanes
            words = key_words(row_keys, width, self.geometry.bits)
            spare = ((0, 0), (0, width - layer.outputs))
            coins = np.pad(flipped.numpy().T != 0, spare)
            self.layer_words.append((row_keys, words, coins, np.pad(layer.sign.T, spare)))

    def _pass(
        self,
        slot: int,
        sample: int,
        member: int,
        loads: NDArray[np.int64],
        times: list[LayerTimes],
        values: list[tuple[NDArray[np.uint8], NDArray[np.int64]]],
    ) -> int:
        """One image through one flipped network, ``member`` of those in flight. Returns the cycle of its last
        logit."""
        lanes, banks = self.geometry.lanes, self.geometry.banks
        cycle = 0
        for index, (layer, time, (x, z)) in enumerate(zip(self.model.layers, times, values, strict=True)):
            origin = {"slot": slot, "sample": sample, "layer": index}
            head, opened, end, period = time.head, time.opened, time.first_end, time.period
            tiles = ceil_div(layer.outputs, lanes)
            whole, of_head, of_rest = loads[index].tolist()
            if head < 0:
                reads = [(opened, whole, x != 0)]
            else:
                late = np.arange(len(x)) >= rest_row(len(x), lanes)
                reads = [(head, of_head, (x != 0) & ~late), (opened, of_rest, (x != 0) & late)]
            for cycle, load, _ in reads:
                rest = head >= 0 and cycle == opened
                self._add("opens", cycle, **origin, member=member, load=load, rest=rest)
            if head >= 0 and tiles > 1:
                self._add("opens", end, **origin, member=member, load=whole, rest=0)
            sums = np.pad(z - layer.bias, (0, tiles * lanes - layer.outputs))
            final = index == len(times) - 1
            outgoing = np.zeros(tiles * lanes, dtype=np.uint8)
            if not final:
                outgoing[: layer.outputs] = values[index + 1][0]
            for tile in range(tiles):
                for cycle, load, there in reads:
                    last = end if cycle == reads[-1][0] else cycle + max(load, 1)
                    self._events(index, tile, origin, x, there, cycle + 1, last, load)
                outputs = slice(tile * lanes, (tile + 1) * lanes)
                capture = end + pipeline_depth(banks)
                self._add("tiles", capture, **origin, tile=tile, sums=sums[None, outputs])
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
                    steps = np.arange(ceil_div(count, banks))
                    self._add(
                        "drains",
                        capture + append_latency(self.geometry) + steps,
                        set=2 * member + index % 2,
                        block=tile * lanes // banks + steps,
                        values=outgoing[outputs].reshape(-1, banks)[: len(steps)],
                    )
                reads = [(end, whole, x != 0)]
                end += period
        return cycle

    def _events(
        self,
        layer: int,
        tile: int,
        origin: dict[str, int],
        x: NDArray[np.uint8],
        there: NDArray[np.bool_],
        start: int,
        end: int,
        load: int,
    ) -> None:
        """A tile's events of the rows ``there``: one a cycle from ``start`` on, but for the fullest bank's
        last, at ``end``."""
        row_keys, words, coins, signs = self.layer_words[layer]
        lanes, banks = self.geometry.lanes, self.geometry.banks
        outputs = slice(tile * lanes, (tile + 1) * lanes)
        index = np.arange(max(load, 1))
        cycles = np.where(index == len(index) - 1, end, start + index)
        self._add("issues", cycles, **origin, tile=tile, index=index)
        for bank in range(banks):
            rows = np.flatnonzero(there[bank::banks]) * banks + bank
            self._add(
                "events",
                cycles[: len(rows)],
                bank=bank,
                **origin,
                tile=tile,
                row=rows,
                x=x[rows],
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
