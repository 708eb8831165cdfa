"""The cycle model: when the accelerator issues, drains and votes, counted from the first cycle of a run.

The gateware is a state machine and a pipeline; this is arithmetic on the times of a few events. They share
the constants below and nothing else. The pipeline that the constants come from is drawn in
docs/explanation/architecture.md.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synflip.spec.geometry import Geometry
from synflip.spec.sizes import ceil_div, key_offsets

#: Cycles from the issue of an event to the adder of its accumulator, before the adder tree's log2(Q) levels:
#: event memory, row register, addresses, key memory, key register, rotation, words, coins.
ISSUE_TO_LEAF = 8
#: Cycles from an accumulator's last addition to the event in the next layer's list, for the first output
#: drained.
DRAIN_LATENCY = 4
#: Cycles from the sequencer's choice of a pass to the earliest ready layer: choose, load the layer table.
PICK_TO_READY = 2
#: Cycles from a pass's last logit entering the vote unit to the write of its winner's count. In a run's first
#: sample the next pass's first logit, which clears a count, comes later.
VOTE_WRITTEN = 3
#: Least cycles from the issue of a pass's last event to that of the next pass's: after the end, choose, load
#: the layer table, open, issue.
PASS_SPACING = PICK_TO_READY + 2
#: Cycles from a pass's last logit entering the vote unit to its decision.
LOGIT_TO_DECISION = 5
#: Cycles from the choice of a sample's first pass until the previous sample's keys may be overwritten.
KEY_RELEASE = 5
#: Cycles from the last decision to the end of the run, both included.
DECISION_TO_DONE = 2


def pipeline_depth(banks: int) -> int:
    """Cycles from the issue of a tile's last event to the capture of its sums."""
    return ISSUE_TO_LEAF + banks.bit_length() - 1


#: The loads that a layer's time depends on, in events of the fullest bank: of all rows (WHOLE), of the rows
#: from all tiles but the last of the layer before (HEAD), and of the rows from that last tile (REST).
WHOLE, HEAD, REST = LOADS = range(3)


def rest_row(rows: int, lanes: int) -> int:
    """The first row that the last tile of the layer before gives."""
    return (ceil_div(rows, lanes) - 1) * lanes


def bank_load(nonzero: NDArray[np.bool_], banks: int, lanes: int) -> NDArray[np.int64]:
    """[N, 3] loads, by LOADS, of activations that are non-zero where ``nonzero`` [N, rows] says so."""
    rest = np.arange(nonzero.shape[1]) >= rest_row(nonzero.shape[1], lanes)
    parts = [nonzero, nonzero & ~rest, nonzero & rest]
    return np.stack(
        [np.stack([part[:, bank::banks].sum(1) for bank in range(banks)]).max(0) for part in parts], axis=1
    )


def ideal_cycles(loads: NDArray[np.integer], outputs: Sequence[int], lanes: int) -> int:
    """Sum over layers of tiles times the fullest bank's events, over all passes. ``loads``: [..., layers,
    3]."""
    tiles = np.array([ceil_div(count, lanes) for count in outputs])
    return int((loads[..., WHOLE].astype(np.int64) * tiles).sum())


#: Before any run.
LONG_AGO = 1 << 40
#: Cycles since the first busy cycle of a run: int64 [runs], or an int of the only run, which is many times
#: as fast as an array of one.
Times = Any


class LayerTimes(NamedTuple):
    """Times of one layer of a pass.

    head: the cycle that opens the head of its lists, or -1 if the head is not read by itself.
    opened: the cycle that opens the rest of its lists, or the whole.
    first_end: the issue of its first tile's last event. period: cycles from one tile's last event to the
        next tile's.
    ready: when the layer before is in its lists. keys: when the layer's own keys are there. free: when the
        requantizer can take the sums of its first tile. The layer waited for the last of these.
    """

    head: Times
    opened: Times
    first_end: Times
    period: Times
    ready: Times
    keys: Times
    free: Times


class PassTimes(NamedTuple):
    """Times of one pass: its image's slot, the cycle that picks it, and its layers.

    free: when the sequencer could have picked it, had its last vote been decided.
    """

    slot: int
    pick: Times
    layers: list[LayerTimes]
    free: Times


def _choose_one(condition: bool, then: int, otherwise: int) -> int:
    return then if condition else otherwise


def _choose_then(condition: Times, then: Times, otherwise: Times) -> Times:
    """What is chosen where the condition holds everywhere."""
    return then


class CycleModel:
    """Times of many independent runs of one network, advanced one network sample at a time.

    rows, outputs: of each layer. runs: how many runs advance side by side. early: whether images may stop
        early.
    key_interval: cycles from the arrival of one set of Q keys to the next. 1: an LFSR. More: a source that is
        slower. 0: all keys are always there.
    ``passes``: of the network sample that was advanced last, in their order.
    """

    def __init__(
        self,
        geometry: Geometry,
        rows: Sequence[int],
        outputs: Sequence[int],
        runs: int,
        early: bool,
        key_interval: int | Fraction = 1,
    ) -> None:
        lanes, banks = geometry.lanes, geometry.banks
        offsets, total = key_offsets(rows)
        self.early = early
        self.runs = runs
        self.depth = pipeline_depth(banks)
        self.key_blocks = ceil(total // banks * key_interval)
        self.key_halves = geometry.key_halves
        self.key_end = [ceil(end // banks * key_interval) for end in (*offsets[1:], total)]
        self.key_interval = key_interval
        self.tiles = [ceil_div(count, lanes) for count in outputs]
        self.steps = [
            ceil_div(count - (tiles - 1) * lanes, banks)
            for count, tiles in zip(outputs, self.tiles, strict=True)
        ]
        self.full_hold = [lanes // banks] * (len(outputs) - 1) + [lanes]
        last_class = outputs[-1] - 1 - (self.tiles[-1] - 1) * lanes
        self.last_hold = [*self.steps[:-1], last_class + 1]
        self.turn = [self.depth + steps + DRAIN_LATENCY for steps in self.steps]
        self.head_turn = self.depth + lanes // banks + DRAIN_LATENCY
        self.decision = self.depth + DRAIN_LATENCY + last_class + LOGIT_TO_DECISION
        self._later: Any = max if runs == 1 else np.maximum
        self._choose: Any = _choose_one if runs == 1 else np.where

        never: Times = 0 if runs == 1 else np.zeros(runs, dtype=np.int64)
        self.sample = 0
        self.free = never  # when the sequencer may choose its next pass
        self.hold = never  # when the drain can take the next tile
        self._long_ago = never - LONG_AGO
        self.fill = never  # when the next sample's first key can be written
        self.filled = never  # when that of the sample advanced last was
        self.decided = never  # when the latest vote was decided
        self.available: dict[int, Times] = {}  # image slot -> when its next pass may be chosen
        self.passes: list[PassTimes] = []

    def advance(self, loads: NDArray[np.integer], active: NDArray[np.bool_]) -> None:
        """One network sample. loads: [slots, runs, layers, 3], by LOADS; active: [slots, runs]."""
        # What no pass changes is computed for all at once: numpy takes as long for one run as for many.
        loads = np.maximum(loads.transpose(0, 2, 3, 1), 1, dtype=np.int64)  # [slots, layers, 3, runs]
        period = np.maximum(loads[:, :, WHOLE], np.array(self.full_hold)[:, None])
        others = period * (np.array(self.tiles)[:, None] - 1)
        by_slot: Any = zip(loads, period, others, active, strict=True)
        first: Any = np.ones(self.runs, dtype=bool)
        if self.runs == 1:
            arrays = (loads[..., 0], period[..., 0], others[..., 0], active[:, 0])
            first, by_slot = True, zip(*(array.tolist() for array in arrays), strict=True)
        if not self.key_interval:
            self.fill = self._long_ago
        next_fill = self.fill + self.key_blocks
        keys = [self.fill + end for end in self.key_end]
        self.passes = []
        anyone: Any = active.any(1).tolist()
        everyone: Any = active.all(1).tolist()
        waits = bool(self.sample)  # a run, for its first pass
        for slot, (*mine, on) in enumerate(by_slot):
            if not anyone[slot]:
                continue
            choose = _choose_then if everyone[slot] else self._choose
            pick = self.free
            if self.early and slot in self.available:
                pick = self._later(pick, self.available[slot])
            if waits:
                released = pick + KEY_RELEASE
                if self.key_halves == 1:
                    self.fill = self._choose(on & first, released, self.fill)
                    keys = [self.fill + end for end in self.key_end]
                else:
                    next_fill = self._choose(on & first, self._later(next_fill, released), next_fill)
                first = choose(on, False, first)
                waits = bool(np.any(first))
            end, hold, layers = self._pass(pick, keys, *mine)
            self.passes.append(PassTimes(slot, pick, layers, self.free))
            decided = end + self.decision
            self.free = choose(on, end + 1, self.free)
            self.hold = choose(on, hold, self.hold)
            self.decided = choose(on, decided, self.decided)
            self.available[slot] = choose(on, decided + 1, 0)
        self.filled, self.fill = self.fill, next_fill
        self.sample += 1

    def _pass(
        self, pick: Times, keys: Sequence[Times], loads: Any, periods: Any, others: Any
    ) -> tuple[Times, Times, list[LayerTimes]]:
        """Issue time of a pass's last event, when the drain is free after it, and the times of its layers.
        loads: by layer and LOADS, each of an int or [runs]. keys, periods, and others, the cycles from the
        last event of a layer's first tile to that of its last: by layer."""
        later, choose = self._later, self._choose
        ready = pick + PICK_TO_READY
        hold = self.hold
        end = before = pick  # last events of the layer before's last two tiles
        times = []
        for layer, (whole, of_head, of_rest) in enumerate(loads):
            stream, opened, head = whole, later(ready, keys[layer]), -1
            if layer and self.tiles[layer - 1] > 1:
                early = later(later(end + PICK_TO_READY, before + self.head_turn), keys[layer])
                alone = early <= end + self.depth + DRAIN_LATENCY
                head = choose(alone, early, -1)
                opened = choose(alone, later(ready, early + of_head + 1), opened)
                stream = choose(alone, of_rest, whole)
            first_end = later(opened + stream, hold)
            times.append(LayerTimes(head, opened, first_end, periods[layer], ready, keys[layer], hold))
            end = first_end + others[layer]
            before = end - periods[layer]
            hold = end + self.last_hold[layer]
            ready = end + self.turn[layer]
        if self.sample == 0:
            hold = hold + VOTE_WRITTEN
        return end, hold, times

    def cycles(self) -> NDArray[np.int64]:
        """[runs] length of each run, if it ended with the last sample that was advanced."""
        return np.atleast_1d(np.asarray(self.decided, dtype=np.int64) + DECISION_TO_DONE)
