"""The engine's cycles against the ideal, and where each lost one goes: by the cycle model alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synflip.benchmarks.networks import NETWORKS, SEED, Models
from synflip.golden.cpu import Golden
from synflip.spec.cycles import CycleModel, ideal_cycles
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel

GEOMETRIES = ("16x1", "32x4", "64x8", "128x8")
BATCHES = (1, 16)
#: What cycles go to. The first two are the ideal: events, as many as if all banks were equally full, and what
#: the fullest bank has more than that. The others are lost.
STREAMING, IMBALANCE = "streaming", "bank imbalance"
BUBBLE, LAYER, PASS = "tile bubble", "layer turn-around", "pass turn-around"
KEYS, ENDS = "waiting for keys", "start and end"
CAUSES = (STREAMING, IMBALANCE, BUBBLE, LAYER, PASS, KEYS, ENDS)


def run(models: Models) -> dict[str, Any]:
    """Every network at every geometry and batch size: cycles, ideal, and cycles by cause, over all passes."""
    samples, images = (8, 16) if models.quick else (64, 64)
    found = []
    for name in NETWORKS:
        model, pixels = models.model(name), models.images(name, images)
        for size in GEOMETRIES:
            geometry = Geometry.parse(size, bits=model.bits, activation_bits=model.activation_bits)
            for batch, entry in account(model, geometry, pixels, samples, BATCHES).items():
                models.say(f"engine: {name} at {size}, batch {batch}")
                found.append(
                    {"network": name, "shape": model.shape, "geometry": size, "batch": batch} | entry
                )
    return {"samples": samples, "images": images, "rows": found}


def account(
    model: CompiledModel,
    geometry: Geometry,
    pixels: NDArray[np.uint8],
    samples: int,
    batches: Sequence[int],
) -> dict[int, dict[str, Any]]:
    """For each batch size, which divides the number of images: cycles of all runs, the ideal, passes, and the
    cycles of each of CAUSES, which add up to all cycles."""
    golden = Golden(geometry)
    golden.load(model)
    x = torch.from_numpy(model.activations(pixels))
    clocks = {batch: _Clock(model, geometry, len(x) // batch, batch) for batch in batches}
    ideal = balanced = 0
    for sample in range(samples):
        coins = golden.coins(SEED, sample)
        _, loads = golden.forward(x, coins, True)
        for layer, (inputs, _) in enumerate(golden.layers(x, coins)):
            events = (inputs != 0).sum(1).numpy()
            tiles = -(-model.outputs[layer] // geometry.lanes)
            balanced += tiles * int((-(-events // geometry.banks)).sum())
        ideal += ideal_cycles(loads, model.outputs, geometry.lanes)
        for clock in clocks.values():
            clock.advance(loads)
    return {
        batch: {"passes": samples * len(x), "cycles": clock.cycles(), "ideal": ideal}
        | {"causes": {STREAMING: balanced, IMBALANCE: ideal - balanced} | clock.lost()}
        for batch, clock in clocks.items()
    }


class _Clock:
    """Runs of one batch each, side by side: twice, as they are, and with keys that are always there."""

    def __init__(self, model: CompiledModel, geometry: Geometry, runs: int, batch: int) -> None:
        self.model, self.lanes, self.runs, self.batch = model, geometry.lanes, runs, batch
        self.real, self.fed = (
            CycleModel(geometry, model.rows, model.outputs, runs, early=False, key_interval=interval)
            for interval in (1, 0)
        )
        self.end = np.zeros(runs, dtype=np.int64)
        self.gaps = dict.fromkeys((BUBBLE, LAYER, PASS, ENDS), 0)

    def advance(self, loads: NDArray[np.int64]) -> None:
        """One network sample of all images: ``loads`` [N, layers, ...]."""
        spread = loads.reshape(self.runs, self.batch, *loads.shape[1:]).swapaxes(0, 1)
        on = np.ones((self.batch, self.runs), dtype=bool)
        begins = self.fed.sample == 0
        self.real.advance(spread, on)
        self.fed.advance(spread, on)
        for slot, layer, times in self.fed.jobs:
            tiles = self.fed.tiles[layer]
            streaming = ideal_cycles(
                spread[slot][:, layer : layer + 1], self.model.outputs[layer : layer + 1], self.lanes
            )
            cause = LAYER if layer else (ENDS if begins else PASS)
            self.gaps[cause] += int(np.sum(times.first_end - self.end)) - streaming // tiles
            others = (tiles - 1) * times.period
            self.gaps[BUBBLE] += int(np.sum(others)) - streaming // tiles * (tiles - 1)
            self.end = times.first_end + others
            begins = False

    def cycles(self) -> int:
        """Of all runs."""
        return int(self.real.cycles().sum())

    def lost(self) -> dict[str, int]:
        """Cycles by cause, but for those of the ideal."""
        fed = int(self.fed.cycles().sum())
        return {
            cause: self.gaps.get(cause, 0)
            + {KEYS: self.cycles() - fed, ENDS: fed - int(np.sum(self.end))}.get(cause, 0)
            for cause in CAUSES[2:]
        }
