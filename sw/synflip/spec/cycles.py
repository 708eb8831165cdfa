"""The cycle model: when the accelerator issues, drains and votes, counted from the first cycle of a run.

The gateware is a state machine and a pipeline; this is arithmetic on the times of a few events. They share
the constants below and nothing else. The pipeline that the constants come from is drawn in
docs/explanation/architecture.md.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synflip.spec.geometry import Geometry
from synflip.spec.maps import Program
from synflip.spec.sizes import ceil_div, key_offsets

#: Cycles from the issue of an event to the adder of its accumulator, before the adder tree's log2(Q) levels:
#: event memory, row register, addresses, key memory, key register, rotation, words, coins.
ISSUE_TO_LEAF = 8
#: Cycles from an accumulator's last addition to the event in the next layer's list, for the first output
#: drained.
DRAIN_LATENCY = 4
#: Least cycles from the opening of a segment of a convolution to that of the next, whose ends are looked up.
SEGMENT_SPACING = 4
#: The same if no layer is issued meanwhile: choose, load the layer table.
PICK_TO_READY = 2
#: Cycles from a pass's last logit entering the vote unit to the write of its winner's count. In a run's first
#: sample the next pass's first logit, which clears a count, comes later.
VOTE_WRITTEN = 3
#: Least cycles from the issue of a pass's last event to that of the next tile's: from one vote to the next.
PASS_SPACING = 4
#: Cycles from the choice of a layer, which is made while the one before is issued, to the earliest opening of
#: its lists.
CHOICE_TO_READY = 2
#: Cycles from a pass's last logit entering the vote unit to its decision.
LOGIT_TO_DECISION = 5
#: Cycles from the begin of a sample's first pass, or from its choice where that waited for a decision, until
#: the previous sample's keys may be overwritten.
KEY_RELEASE = 5
#: Cycles from the last decision to the end of the run, both included.
DECISION_TO_DONE = 2


def append_latency(geometry: Geometry) -> int:
    """Cycles from an accumulator's last addition to the event in the next layer's list, for the first output
    drained. Where there are maps, the pooling takes one."""
    return DRAIN_LATENCY + (geometry.map_depth > 0)


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

    begins: the first cycle in which it may be opened.
    head: the cycle that opens the head of its lists, or -1 if the head is not read by itself.
    opened: the cycle that opens the rest of its lists, or the whole.
    first_end: the issue of its first tile's last event. period: cycles from one tile's last event to the
        next tile's.
    ready: when the layer before is in its lists. keys: when the layer's own keys are there. free: when the
        requantizer can take the sums of its first tile. The layer waited for the last of these.
    segments: of a convolution, (opened, issue of its last event) of each segment, in their order.
    """

    begins: Times
    head: Times
    opened: Times
    first_end: Times
    period: Times
    ready: Times
    keys: Times
    free: Times
    segments: Sequence[tuple[Times, Times]] = ()


class PassTimes(NamedTuple):
    """Times of one pass: its image's slot, the cycle that picks it, and its layers.

    free: when its first layer could have begun, had it been picked in time.
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


class _Member:
    """A pass that is in flight."""

    def __init__(self, slot: int, loads: Any, periods: Any, others: Any, on: Any) -> None:
        self.slot, self.loads, self.periods, self.others, self.on = slot, loads, periods, others, on
        self.choose: Any = None
        self.picked: Times = 0
        self.free: Times = 0
        self.turn: Times = 0
        self.before: Times = 0
        self.times: list[LayerTimes] = []


def _order(program: Program | None, tiles: int, full: int, last: int) -> list[tuple[int, int, bool]]:
    """Of each segment of a convolution, tile by tile of each pool window: (its number in the program, drain
    steps if it ends a position, whether more follow). full, last: drain steps of a tile, of the last tile."""
    if program is None:
        return []
    order = [
        (number, (full if tile < tiles - 1 else last) if program.position_end[number] else 0, True)
        for number, tile in program.taken(tiles)
    ]
    return [*order[:-1], (*order[-1][:2], False)]


class CycleModel:
    """Times of many independent runs of one network, advanced one network sample at a time.

    rows, outputs: of each layer. runs: how many runs advance side by side. early: whether images may stop
        early.
    key_interval: cycles from the arrival of one set of Q keys to the next. 1: an LFSR. More: a source that is
        slower. 0: all keys are always there.
    programs: of each layer, of a network with convolutions; None of a dense one.
    ``passes``: of the network sample that was advanced last, in their order. ``given_back``: the cycle in
        which it gave back the keys of the sample before, of a run that is alone.
    """

    def __init__(
        self,
        geometry: Geometry,
        rows: Sequence[int],
        outputs: Sequence[int],
        runs: int,
        early: bool,
        key_interval: int | Fraction = 1,
        programs: Sequence[Program | None] = (),
    ) -> None:
        lanes, banks = geometry.lanes, geometry.banks
        offsets, total = key_offsets(rows)
        self.early = early
        self.programs = list(programs) or [None] * len(rows)
        self.most_in_flight = 1 if early or any(self.programs) else geometry.flight
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
        self.last_hold = [*self.steps[:-1], max(last_class + 1, PASS_SPACING)]
        self.first_hold = last_class + 1 + VOTE_WRITTEN
        self._latency = append_latency(geometry)
        self.turn = [self.depth + steps + self._latency for steps in self.steps]
        self.head_turn = self.depth + lanes // banks + self._latency
        self._orders = [
            _order(program, tiles, lanes // banks, steps)
            for program, tiles, steps in zip(self.programs, self.tiles, self.steps, strict=True)
        ]
        self.decision = self.depth + DRAIN_LATENCY + last_class + LOGIT_TO_DECISION
        self._later: Any = max if runs == 1 else np.maximum
        self._choose: Any = _choose_one if runs == 1 else np.where

        never: Times = 0 if runs == 1 else np.zeros(runs, dtype=np.int64)
        self.sample = 0
        self.end = never - 1  # issue of the last event so far
        self.chosen = never - 2 * LONG_AGO  # when the sequencer chose what follows the layer that it issues
        self.hold = never  # when the drain can take the next tile
        self._long_ago = never - LONG_AGO
        self.fill = never  # when the next sample's first key can be written
        self.filled = never  # when that of the sample advanced last was
        self.decided = never  # when the latest vote was decided
        self.available: dict[int, Times] = {}  # image slot -> when its next pass may be chosen
        self.given_back = never
        self.passes: list[PassTimes] = []
        self.jobs: list[tuple[int, int, LayerTimes]] = []  # (slot, layer, times) of the same, as issued

    def advance(
        self,
        loads: NDArray[np.integer],
        active: NDArray[np.bool_],
        segments: Mapping[int, NDArray[np.integer]] | None = None,
    ) -> None:
        """One network sample. loads: [slots, runs, layers, 3], by LOADS; active: [slots, runs]. segments: of
        each convolution [slots, runs, segments], events of the fullest bank."""
        self._segments = segments or {}
        # What no pass changes is computed for all at once: numpy takes as long for one run as for many.
        loads = np.maximum(loads.transpose(0, 2, 3, 1), 1, dtype=np.int64)  # [slots, layers, 3, runs]
        period = np.maximum(loads[:, :, WHOLE], np.array(self.full_hold)[:, None])
        others = period * (np.array(self.tiles)[:, None] - 1)
        numbers: Any = zip(loads, period, others, active, strict=True)
        if self.runs == 1:
            arrays = (loads[..., 0], period[..., 0], others[..., 0], active[:, 0])
            numbers = zip(*(array.tolist() for array in arrays), strict=True)
        there: Any = active.any(1).tolist()
        everyone: Any = active.all(1).tolist()
        members = [_Member(slot, *mine) for slot, mine in enumerate(numbers) if there[slot]]
        for member in members:
            member.choose = _choose_then if everyone[member.slot] else self._choose
        if not self.key_interval:
            self.fill = self._long_ago
        self._next_fill = self.fill + self.key_blocks
        self._keys = [self.fill + end for end in self.key_end]
        self._released: Any = False if self.runs == 1 else np.zeros(self.runs, dtype=bool)
        self._all_released = self.sample == 0  # by every run, what it needs no longer
        self.passes = []
        self.jobs = []
        for first in range(0, len(members), self.most_in_flight):
            self._group(members[first : first + self.most_in_flight])
        self.filled, self.fill = self.fill, self._next_fill
        self.sample += 1

    def _group(self, group: list["_Member"]) -> None:
        """The passes that are in flight together: a layer of each of them, and then the next layer."""
        later, head, final = self._later, group[0], len(self.tiles) - 1
        alone: Any = True
        if len(group) > 1:  # only the images at a run's end are missing in some of the runs
            alone = ~group[1].on if self.runs > 1 else not group[1].on
        for index in range(final + 1):
            for member in group:
                ready = later(self.end + 1, self.chosen + CHOICE_TO_READY)
                if not index:
                    member.picked, member.free = self.chosen, ready
                if member is head and not index:
                    there = self.available.get(member.slot, self._long_ago)
                    waits = there > self.chosen
                    late = later(ready, there)
                    member.picked = self._choose(waits, late, self.chosen)
                    self._release(member, self._choose(waits, late, ready))
                    ready = self._choose(waits, late + PICK_TO_READY, ready)
                self._job(member, index, ready, alone)
        self.passes += [PassTimes(member.slot, member.picked, member.times, member.free) for member in group]

    def _release(self, member: "_Member", cycle: Times) -> None:
        """Gives back the keys of the sample before, in the runs whose first pass of the sample this is."""
        if self._all_released:
            return
        first = member.on & ~self._released if self.runs > 1 else True
        self.given_back, released = cycle, cycle + KEY_RELEASE
        if self.key_halves == 1:
            self.fill = self._choose(first, released, self.fill)
            self._keys = [self.fill + end for end in self.key_end]
        else:
            self._next_fill = self._choose(first, self._later(self._next_fill, released), self._next_fill)
        self._released = self._released | member.on
        self._all_released = bool(np.all(self._released))

    def _job(self, member: "_Member", index: int, ready: Times, alone: Any) -> None:
        """A layer of a pass. alone: no other pass is in flight."""
        if self.programs[index] is not None:
            self._convolution(member, index, ready)
            return
        later, choose, on = self._later, member.choose, member.on
        whole, of_head, of_rest = member.loads[index]
        keys, hold = self._keys[index], self.hold
        turn = later(ready, member.turn) if index else ready
        head, opened, stream = -1, later(turn, keys), whole
        heads = index > 0 and self.tiles[index - 1] > 1 and self.programs[index - 1] is None
        if heads and alone is not False:
            early = later(later(ready, member.before + self.head_turn), keys)
            by_head = alone & (early <= self.end + self.depth + self._latency)
            head = self._choose(by_head, early, -1)
            opened = self._choose(by_head, later(turn, early + of_head + 1), opened)
            stream = self._choose(by_head, of_rest, whole)
        first_end = later(opened + stream, hold)
        times = LayerTimes(ready, head, opened, first_end, member.periods[index], turn, keys, hold)
        member.times.append(times)
        self.jobs.append((member.slot, index, times))
        end = first_end + member.others[index]
        member.before = end - member.periods[index]
        member.turn = end + self.turn[index]
        held = self.last_hold[index]
        if index == len(self.tiles) - 1:
            held = held if self.sample else self.first_hold
            self.decided = choose(on, end + self.decision, self.decided)
            if self.early:  # otherwise it is there before the next choice
                self.available[member.slot] = choose(on, self.decided + 1, self._long_ago)
        self.end = choose(on, end, self.end)
        self.hold = choose(on, end + held, self.hold)
        self.chosen = choose(on, opened + 1, self.chosen)

    def _convolution(self, member: "_Member", index: int, ready: Times) -> None:
        """A convolution of a pass that is alone."""
        later, choose, on = self._later, member.choose, member.on
        turn = later(ready, member.turn) if index else ready
        loads = np.maximum(self._segments[index][member.slot], 1).T  # [segments, runs]
        opened = later(turn, self._keys[index]) + SEGMENT_SPACING
        cycle, hold, times = opened, self.hold, []
        order = self._orders[index]
        found: Any = loads.astype(np.int64) if self.runs > 1 else loads[:, 0].tolist()
        for segment, held, more in order:
            end = later(cycle + found[segment], cycle + SEGMENT_SPACING) if more else cycle + found[segment]
            if held:
                end = later(end, hold)
                hold = end + held
            times.append((cycle, end))
            cycle = end
        layer = LayerTimes(ready, -1, opened, times[0][1], 0, turn, self._keys[index], self.hold, times)
        member.times.append(layer)
        self.jobs.append((member.slot, index, layer))
        member.turn = end + self.turn[index]
        self.end = choose(on, end, self.end)
        self.hold = choose(on, hold, self.hold)
        self.chosen = choose(on, end, self.chosen)

    def cycles(self) -> NDArray[np.int64]:
        """[runs] length of each run, if it ended with the last sample that was advanced."""
        return np.atleast_1d(np.asarray(self.decided, dtype=np.int64) + DECISION_TO_DONE)
