"""Functional coverage: which situations of the machine a set of cases reached, by name.

Computed on the golden model's side, from coins, event loads and the cycle model; no device is asked.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from synflip.golden.cpu import Golden
from synflip.inference.parts import Parts
from synflip.inference.plan import plan_of, soft_on_chip
from synflip.inference.result import Result
from synflip.spec.cycles import (
    HEAD,
    LOADS,
    REST,
    CycleModel,
    bank_load,
)
from synflip.spec.geometry import BANKS
from synflip.spec.lfsr import MASK64
from synflip.spec.maps import programs, segment_loads
from synflip.spec.sizes import (
    ACCUMULATOR_BITS,
    LOGIT_BITS,
    MAX_ACTIVATION_BITS,
    MAX_BITS,
    MAX_LAYER_DEPTH,
    MAX_OUTPUTS,
    MAX_SHIFT,
    ceil_div,
)
from synflip.verification.cases import RandomCase, runs_of_case

NEAR = 1 << 10  # how close to the end of a range counts as near

#: Every bin, in the order of the report.
BINS = (
    *(f"banks: {banks}" for banks in BANKS),
    "lanes: 16",
    "lanes: no power of two",
    "lanes: 64 or more",
    "k: 1",
    "k: 16",
    "k: narrower than the hardware's",
    "A: 1",
    "A: 8",
    "A: narrower than the hardware's",
    "layers: 1",
    "layers: 8",
    "layer: one row",
    "layer: one output",
    "layer: 1024 outputs",
    "tiles: 1",
    "tiles: 2 or 3",
    "tiles: 4 or more",
    "tiles: last one full",
    "tiles: last one partial",
    "shift: 0",
    "shift: 31",
    "hidden: clamped at 0",
    "hidden: clamped at the largest",
    "hidden: between",
    "hidden: rounding carries",
    "sum: near the accumulator's top",
    "sum: near the accumulator's bottom",
    "logit: near the top of 32 bits",
    "logit: near the bottom of 32 bits",
    "logits: tie for the largest",
    "logits: largest is negative",
    "events: none in an image",
    "events: none in a hidden layer",
    "events: all banks equally full",
    "events: banks unequally full",
    "events: a bank empty, another not",
    "batch: no images",
    "batch: one image",
    "batch: full",
    "batch: partial",
    "batch: several",
    "flight: one pass at a time",
    "flight: as many as may be",
    "flight: fewer at the end",
    "samples: 1",
    "samples: several runs",
    "seed: 0",
    "seed: 2**64-1",
    "logits: kept",
    "soft votes: on the chip",
    "soft votes: of the log",
    "early: leaves at the first sample",
    "early: leaves later",
    "early: stays to the last sample",
    "early: images of a batch leave at different samples",
    "early: margin 0",
    "wait: for keys",
    "wait: for the drain",
    "wait: for the layer before",
    "head: read while the layer before drains",
    "head: longer than the drain",
    "head: no events in it",
    "head: no events in the rest",
    "head: too late for it",
    "wait: for a decision (queue)",
    "wait: for keys of the next sample",
    "parts: several layers",
    "parts: one layer",
    "parts: some outputs",
    "parts: some rows",
    "parts: a convolution",
    "parts: tiles before their own",
    "parts: keys turned by the host",
    "parts: side by side",
    "parts: early stopping",
    "maps: a convolution",
    "maps: one behind another",
    "maps: several tiles a window",
    "maps: windows of several positions",
    "maps: dropped edges",
    "maps: strides",
    "maps: a kernel that reaches over the border",
    "maps: a segment without events",
    "maps: early stopping",
    "refused: no room",
)


def observe(case: RandomCase, golden: Result) -> Counter[str]:
    """How often ``case`` reached each of ``BINS``. golden: the golden model's result of it."""
    seen: Counter[str] = Counter()
    runs = runs_of_case(case)
    if runs is None:
        seen["refused: no room"] += 1
        return seen
    if isinstance(runs, Parts):
        seen.update({name: int(count) for name, count in _parts(case, runs)})
        return seen
    if case.model.convolutional:
        seen.update({name: int(count) for name, count in _maps(case)})
        return seen
    for name, count in _static(case, golden):
        seen[name] += int(count)
    if len(case.pixels):
        _dynamic(case, golden, seen)
    return seen


def _parts(case: RandomCase, runs: Parts) -> Iterator[tuple[str, int]]:
    """Of a network that runs in parts: their kinds."""
    model = runs.model
    whole = [
        (len(part.rows), len(part.outputs)) == (model.rows[part.layers.start], model.outputs[part.layers[-1]])
        for part in runs.parts
    ]
    yield "parts: several layers", sum(len(part.layers) > 1 for part in runs.parts)
    yield "parts: one layer", sum(map(int, whole)) - sum(len(part.layers) > 1 for part in runs.parts)
    yield "parts: some outputs", sum(len(p.outputs) < model.outputs[p.layers[-1]] for p in runs.parts)
    yield "parts: some rows", sum(len(part.rows) < model.rows[part.layers.start] for part in runs.parts)
    yield (
        "parts: a convolution",
        sum(model.layers[p.layers.start].convolution is not None for p in runs.parts),
    )
    yield "parts: tiles before their own", sum(part.lead > 0 for part in runs.parts)
    yield "parts: keys turned by the host", sum(part.turn > 0 for part in runs.parts)
    yield "parts: side by side", runs.resident
    yield "parts: early stopping", case.margins is not None and case.samples > 1


def _maps(case: RandomCase) -> Iterator[tuple[str, int]]:
    """Of a network whose convolutions run on the array."""
    model, geometry = case.model, case.geometry
    places = [(layer, layer.convolution) for layer in model.layers if layer.convolution is not None]
    yield "maps: a convolution", 1
    yield "maps: one behind another", len(places) > 1
    yield "maps: several tiles a window", any(layer.outputs > geometry.lanes for layer, _ in places)
    yield "maps: windows of several positions", any(place.pool != (1, 1) for _, place in places)
    dropped = [
        positions % window
        for _, place in places
        for positions, window in zip(place.positions, place.pool, strict=True)
    ]
    yield "maps: dropped edges", any(dropped)
    yield "maps: strides", any(place.stride != (1, 1) for _, place in places)
    reaches = [place.pad != (0, 0) for _, place in places]
    yield "maps: a kernel that reaches over the border", any(reaches[1:])
    yield "maps: early stopping", case.margins is not None and case.samples > 1
    if len(case.pixels):
        with Golden(geometry) as device:
            device.load(model)
            x = torch.from_numpy(model.activations(case.pixels))
            layers = enumerate(device.layers(x, device.coins(case.seed, 0)))
            for (index, (inputs, _)), program in zip(layers, programs(model, geometry.banks), strict=True):
                place = model.layers[index].convolution
                if index and place is not None and program is not None:
                    loads = segment_loads(inputs.numpy(), place, program, geometry.banks)
                    yield "maps: a segment without events", (loads == 0).any()


def _static(case: RandomCase, golden: Result) -> Iterator[tuple[str, int]]:
    """What the request itself shows."""
    geometry, model = case.geometry, case.model
    outputs = model.outputs
    yield f"banks: {geometry.banks}", 1
    yield "lanes: 16", geometry.lanes == 16
    yield "lanes: no power of two", geometry.lanes & (geometry.lanes - 1) != 0
    yield "lanes: 64 or more", geometry.lanes >= 64
    yield "k: 1", model.bits == 1
    yield "k: 16", model.bits == MAX_BITS
    yield "k: narrower than the hardware's", model.bits < geometry.bits
    yield "A: 1", model.activation_bits == 1
    yield "A: 8", model.activation_bits == MAX_ACTIVATION_BITS
    yield "A: narrower than the hardware's", model.activation_bits < geometry.activation_bits
    yield "layers: 1", len(outputs) == 1
    yield "layers: 8", len(outputs) == MAX_LAYER_DEPTH
    yield "layer: one row", 1 in model.rows
    yield "layer: one output", 1 in outputs
    yield "layer: 1024 outputs", MAX_OUTPUTS in outputs
    tiles = [ceil_div(count, geometry.lanes) for count in outputs]
    yield "tiles: 1", 1 in tiles
    yield "tiles: 2 or 3", 2 in tiles or 3 in tiles
    yield "tiles: 4 or more", max(tiles) >= 4
    yield "tiles: last one full", any(count % geometry.lanes == 0 for count in outputs)
    yield "tiles: last one partial", any(count % geometry.lanes for count in outputs)
    yield "shift: 0", 0 in model.shifts
    yield "shift: 31", MAX_SHIFT in model.shifts
    runs = plan_of(case.request, geometry)
    count = len(case.pixels)
    yield "batch: no images", count == 0
    yield "batch: one image", count == 1
    yield "batch: full", count >= runs.images
    yield "batch: partial", count % runs.images != 0
    yield "batch: several", count > runs.images
    in_flight = 1 if case.margins is not None else geometry.flight
    yield "flight: one pass at a time", count > 0 and in_flight == 1
    yield "flight: as many as may be", in_flight > 1 and min(count, runs.images) >= in_flight
    yield "flight: fewer at the end", in_flight > 1 and count % runs.images % in_flight != 0
    yield "samples: 1", case.samples == 1
    yield "samples: several runs", case.samples > runs.samples
    yield "seed: 0", case.seed == 0
    yield "seed: 2**64-1", case.seed == MASK64
    yield "logits: kept", case.logits
    yield "soft votes: on the chip", soft_on_chip(case.request, geometry)
    yield "soft votes: of the log", case.soft and not soft_on_chip(case.request, geometry)
    if case.margins is not None and count:
        used = golden.used
        yield "early: leaves at the first sample", (used == 1).sum() if case.samples > 1 else 0
        yield "early: leaves later", ((used > 1) & (used < case.samples)).sum()
        yield "early: stays to the last sample", (used == case.samples).sum()
        first_batch = used[: runs.images]
        yield "early: images of a batch leave at different samples", len(set(first_batch.tolist())) > 1
        yield "early: margin 0", (case.margins == 0).any()


def _dynamic(case: RandomCase, golden: Result, seen: Counter[str]) -> None:
    """What happens inside: every network sample again, layer by layer, and the waits of the cycle model."""
    geometry, model = case.geometry, case.model
    runs = plan_of(case.request, geometry)
    x0 = model.activations(case.pixels).astype(np.int64)
    batches = runs.batches(len(x0))
    early = case.margins is not None

    def clocks_of_a_run() -> list[CycleModel]:
        return [CycleModel(geometry, model.rows, model.outputs, 1, early) for _ in batches]

    clocks = clocks_of_a_run()
    with Golden(geometry) as device:
        device.load(model)
        for sample in range(case.samples):
            active = golden.used > sample
            if not active.any():
                break
            if sample and sample % runs.samples == 0:
                clocks = clocks_of_a_run()
            coins = [flipped.numpy().astype(np.int64) for flipped in device.coins(case.seed, sample)]
            loads = _layers(case, x0, active, coins, seen)
            for (first, past), clock in zip(batches, clocks, strict=True):
                if active[first:past].any():
                    clock.advance(loads[first:past, None], active[first:past, None])
                    count_waits(clock, loads[first:past], seen)


def _layers(
    case: RandomCase,
    x: NDArray[np.int64],
    active: NDArray[np.bool_],
    coins: list[NDArray[np.int64]],
    seen: Counter[str],
) -> NDArray[np.int64]:
    """One network sample of all images: int64 [N, layers, 3] loads."""
    model, banks, lanes = case.model, case.geometry.banks, case.geometry.lanes
    limit, ends = 1 << (ACCUMULATOR_BITS - 1), 1 << (LOGIT_BITS - 1)
    loads = np.zeros((len(x), len(coins), len(LOADS)), dtype=np.int64)
    for index, flipped in enumerate(coins):
        events = np.stack([(x[:, bank::banks] != 0).sum(1) for bank in range(banks)])  # [banks, N]
        loads[:, index] = bank_load(x != 0, banks, lanes)
        here = events[:, active]
        none = here.max(0) == 0
        seen["events: none in a hidden layer" if index else "events: none in an image"] += int(none.sum())
        equal = here.min(0) == here.max(0)
        seen["events: all banks equally full"] += int((equal & ~none).sum()) if banks > 1 else 0
        seen["events: banks unequally full"] += int((~equal).sum())
        seen["events: a bank empty, another not"] += int((~equal & (here.min(0) == 0)).sum())
        sums = x @ flipped.T
        z = sums + model.layers[index].bias
        live = sums[active]
        seen["sum: near the accumulator's top"] += int((live >= limit - NEAR).sum())
        seen["sum: near the accumulator's bottom"] += int((live < NEAR - limit).sum())
        if index == len(model.shifts):
            logits = z[active]
            seen["logit: near the top of 32 bits"] += int((logits >= ends - NEAR).sum())
            seen["logit: near the bottom of 32 bits"] += int((logits < NEAR - ends).sum())
            largest = logits.max(1)
            seen["logits: tie for the largest"] += int(((logits == largest[:, None]).sum(1) > 1).sum())
            seen["logits: largest is negative"] += int((largest < 0).sum())
            break
        shift = model.shifts[index]
        shifted = (z + ((1 << shift) >> 1)) >> shift
        live = shifted[active]
        seen["hidden: clamped at 0"] += int((live < 0).sum())
        seen["hidden: clamped at the largest"] += int((live > model.activation_max).sum())
        seen["hidden: between"] += int(((live > 0) & (live < model.activation_max)).sum())
        seen["hidden: rounding carries"] += int((live != z[active] >> shift).sum())
        x = shifted.clip(0, model.activation_max)
    return loads


def count_waits(clock: CycleModel, loads: NDArray[np.int64], seen: Counter[str]) -> None:
    """Count what the passes that ``clock`` advanced last waited for.

    loads: int [slots, layers, 3], by LOADS, of the network sample.
    """
    first_sample = clock.sample == 1
    for slot, pick, layers, free in clock.passes:
        if clock.early and pick > free:
            seen["wait: for a decision (queue)"] += 1
        for index, time in enumerate(layers):
            if time.keys > time.ready:
                seen["wait: for keys" if first_sample else "wait: for keys of the next sample"] += 1
            elif time.ready > time.begins:
                seen["wait: for the layer before"] += 1
            whole, of_head, of_rest = (max(int(load), 1) for load in loads[slot, index])
            several = index > 0 and clock.tiles[index - 1] > 1
            stream = whole
            if time.head >= 0:
                stream = of_rest
                seen["head: read while the layer before drains"] += 1
                seen["head: longer than the drain"] += int(time.head + of_head + 1 > time.ready)
                seen["head: no events in it"] += int(loads[slot, index, HEAD] == 0)
                seen["head: no events in the rest"] += int(loads[slot, index, REST] == 0)
            else:
                seen["head: too late for it"] += int(several)
            full = clock.full_hold[index]
            if time.free > time.opened + stream or (clock.tiles[index] > 1 and full > whole):
                seen["wait: for the drain"] += 1
