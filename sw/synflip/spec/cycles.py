"""The cycle model: when the accelerator issues, drains and votes, counted from the first cycle of a run.

The gateware is a state machine and a pipeline; this is arithmetic on the times of a few events. They share
the constants below and nothing else. docs/architecture.md draws the pipeline that the constants come from.
"""

from collections.abc import Sequence
from typing import NamedTuple

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
#: Extra cycles for which the last layer's drain is kept free, so that one pass's vote is done before the
#: next begins.
VOTE_GAP = 5
#: Cycles from a pass's last logit entering the vote unit to its decision.
LOGIT_TO_DECISION = 5
#: Cycles from the choice of a sample's first pass until the previous sample's keys may be overwritten.
KEY_RELEASE = 5
#: Cycles from the last decision to the end of the run, both included.
DECISION_TO_DONE = 2


def pipeline_depth(banks: int) -> int:
    """Cycles from the issue of a tile's last event to the capture of its sums."""
    return ISSUE_TO_LEAF + banks.bit_length() - 1


#: What a layer's time depends on: events of the fullest bank, of all rows (WHOLE), of those that all tiles
#: but the last of the layer before give (HEAD), and of that tile's (REST).
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


class LayerTimes(NamedTuple):
    """Of one layer of a pass, [runs] each: the cycle that opens the head of its lists, or -1 if that is not
    read by itself; the cycle that opens the rest or the whole; the issue of its first tile's last event, and
    the cycles from there to the next tile's last event, and so on."""

    head: NDArray[np.int64]
    opened: NDArray[np.int64]
    first_end: NDArray[np.int64]
    period: NDArray[np.int64]


class PassTimes(NamedTuple):
    """Of one pass: its image's slot, the cycle that picks it, [runs], and its layers."""

    slot: int
    pick: NDArray[np.int64]
    layers: list[LayerTimes]


class CycleModel:
    """Times of many independent runs of one network, advanced one network sample at a time.

    rows, outputs: of each layer. runs: how many runs advance side by side. early: whether images may stop
        early.
    All times are cycles since the first busy cycle of the run, which is 0. ``passes``: of the network sample
    that was advanced last, in their order.
    """

    def __init__(
        self, geometry: Geometry, rows: Sequence[int], outputs: Sequence[int], runs: int, early: bool
    ) -> None:
        lanes, banks = geometry.lanes, geometry.banks
        offsets, total = key_offsets(rows)
        self.early = early
        self.depth = pipeline_depth(banks)
        self.key_blocks = total // banks
        self.key_halves = geometry.key_halves
        self.key_end = [end // banks for end in (*offsets[1:], total)]
        self.tiles = [ceil_div(count, lanes) for count in outputs]
        self.steps = [
            ceil_div(count - (tiles - 1) * lanes, banks)
            for count, tiles in zip(outputs, self.tiles, strict=True)
        ]
        self.full_hold = [lanes // banks] * (len(outputs) - 1) + [lanes + VOTE_GAP]
        self.last_hold = [*self.steps[:-1], self.steps[-1] * banks + VOTE_GAP]
        self.turn = [self.depth + steps + DRAIN_LATENCY for steps in self.steps]
        last_class = outputs[-1] - 1 - (self.tiles[-1] - 1) * lanes
        self.head_turn = self.depth + lanes // banks + DRAIN_LATENCY
        self.decision = self.depth + DRAIN_LATENCY + last_class + LOGIT_TO_DECISION

        self.sample = 0
        self.free = np.zeros(runs, dtype=np.int64)  # when the sequencer may choose its next pass
        self.hold = np.zeros(runs, dtype=np.int64)  # when the drain can take the next tile
        self.fill = np.zeros(runs, dtype=np.int64)  # when the next sample's first key can be written
        self.filled = self.fill  # when that of the sample advanced last was
        self.decided = np.zeros(runs, dtype=np.int64)  # when the latest vote was decided
        self.available: dict[int, NDArray[np.int64]] = {}  # image slot -> when its next pass may be chosen
        self.passes: list[PassTimes] = []

    def advance(self, loads: NDArray[np.integer], active: NDArray[np.bool_]) -> None:
        """One network sample. loads: [slots, runs, layers, 3], by LOADS; active: [slots, runs]."""
        first = np.ones(len(self.free), dtype=bool)
        next_fill = self.fill + self.key_blocks
        self.passes = []
        for slot in range(len(active)):
            on = active[slot]
            if not on.any():
                continue
            pick = self.free
            if self.early and slot in self.available:
                pick = np.maximum(pick, self.available[slot])
            if self.sample and self.key_halves == 1:
                self.fill = np.where(on & first, pick + KEY_RELEASE, self.fill)
            elif self.sample:
                next_fill = np.where(on & first, np.maximum(next_fill, pick + KEY_RELEASE), next_fill)
            first &= ~on
            end, hold, layers = self._pass(pick, loads[slot])
            self.passes.append(PassTimes(slot, pick, layers))
            self.free = np.where(on, end + 1, self.free)
            self.hold = np.where(on, hold, self.hold)
            self.decided = np.where(on, end + self.decision, self.decided)
            self.available[slot] = np.where(on, end + self.decision + 1, 0)
        self.filled, self.fill = self.fill, next_fill
        self.sample += 1

    def _pass(
        self, pick: NDArray[np.int64], loads: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], list[LayerTimes]]:
        """Issue time of a pass's last event, when the drain is free after it, and the times of its layers."""
        ready = pick + PICK_TO_READY
        hold = self.hold
        end = before = pick  # last events of the layer before's last two tiles
        times = []
        for layer, tiles in enumerate(self.tiles):
            keys = self.fill + self.key_end[layer]
            streams = np.maximum(loads[:, layer].astype(np.int64), 1)
            stream, opened, head = streams[:, WHOLE], np.maximum(ready, keys), np.full_like(ready, -1)
            period = np.maximum(stream, self.full_hold[layer])
            if layer and self.tiles[layer - 1] > 1:
                early = np.maximum(np.maximum(end + PICK_TO_READY, before + self.head_turn), keys)
                alone = early <= end + self.depth + DRAIN_LATENCY
                head = np.where(alone, early, -1)
                opened = np.where(alone, np.maximum(ready, early + streams[:, HEAD] + 1), opened)
                stream = np.where(alone, streams[:, REST], stream)
            times.append(LayerTimes(head, opened, np.maximum(opened + stream, hold), period))
            end = times[-1].first_end + (tiles - 1) * period
            before = end - period
            hold = end + self.last_hold[layer]
            ready = end + self.turn[layer]
        return end, hold, times

    def cycles(self) -> NDArray[np.int64]:
        """[runs] length of each run, if it ended with the last sample that was advanced."""
        return self.decided + DECISION_TO_DONE
