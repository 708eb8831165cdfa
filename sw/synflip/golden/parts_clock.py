"""The cycles of a network in parts, from the events that the golden model counts."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from synflip.golden.kernels import TAP_BYTES, convolved
from synflip.golden.products import Product
from synflip.golden.run_clock import bank_loads
from synflip.inference.parts import NetworkPart, Parts, Stage
from synflip.spec.cycles import LOADS, CycleModel
from synflip.spec.sizes import ceil_div


class PartsClock:
    """Feeds the cycle model: each part runs once a network sample for each of its batches.

    Loads of a layer are int64 [N, K, 3]: of the first layer of a stage K is positions times different rows of
    its parts, of the layers behind it 1. multiply: how events are counted.
    """

    def __init__(self, parts: Parts, multiply: Product) -> None:
        self.parts = parts
        self._multiply = multiply
        self._total = 0
        self._stage_of = {stage.layers.start: stage for stage in parts.stages}

    def columns(self, index: int) -> int:
        """K of layer ``index``."""
        stage = self._stage_of.get(index)
        return 1 if stage is None else stage.positions * len(_row_cuts(stage))

    def loads(self, index: int, x: torch.Tensor) -> NDArray[np.int64]:
        """The loads of layer ``index``, of the activations that enter it, uint8 [N, inputs]."""
        geometry = self.parts.geometry
        stage = self._stage_of.get(index)
        if stage is None or len(stage.layers) > 1:
            return bank_loads(x, geometry, self._multiply).numpy()[:, None]
        cuts = _row_cuts(stage)
        rows = torch.arange(self.parts.model.rows[index])
        banks = rows % geometry.banks == torch.arange(geometry.banks)[:, None]
        members = torch.cat([banks & (rows >= cut.start) & (rows < cut.stop) for cut in cuts]).to(torch.int8)
        events, place = x.clamp(max=1), self.parts.model.layers[index].convolution
        if place is None:
            found = self._multiply(events, members)[:, None]
        else:
            (down, across), (high, wide) = place.positions, stage.grid
            found = convolved(events, members, replace(place, pool=(1, 1)), self._multiply, TAP_BYTES)
            found = found.view(len(x), down, across, -1)[:, :high, :wide].flatten(1, 2)
        most = found.reshape(len(x), stage.positions * len(cuts), geometry.banks).amax(2)
        return most[:, :, None].expand(-1, -1, len(LOADS)).numpy().astype(np.int64)

    def advance(self, loads: list[NDArray[np.int64]]) -> None:
        """One network sample: ``loads`` of each layer, of the images that take part."""
        for stage in self.parts.stages:
            cuts, of_layers = _row_cuts(stage), loads[stage.layers.start : stage.layers.stop]
            images = len(of_layers[0])
            first = of_layers[0].reshape(images, stage.positions, -1, len(LOADS))
            for part in stage.parts:
                mine = first[:, :, cuts.index(part.rows) if len(stage.layers) == 1 else 0]
                layers = [mine.reshape(-1, len(LOADS)), *(later[:, 0] for later in of_layers[1:])]
                self._runs(part, np.stack(layers, axis=1))

    def cycles(self) -> int:
        """Cycles of all runs so far."""
        return self._total

    def _runs(self, part: NetworkPart, loads: NDArray[np.int64]) -> None:
        """Runs of a part, side by side; loads [passes, layers, 3]."""
        parts = self.parts
        runs = ceil_div(len(loads), part.images)
        if not runs:
            return
        spread = np.zeros((runs * part.images, *loads.shape[1:]), dtype=np.int64)
        spread[: len(loads)] = loads
        there = np.arange(len(spread)) < len(loads)
        slots = (runs, part.images)
        clock = CycleModel(
            parts.geometry, part.row_counts(parts.model), part.output_counts(parts.model), runs, early=False
        )
        clock.advance(spread.reshape(*slots, *loads.shape[1:]).swapaxes(0, 1), there.reshape(slots).T)
        self._total += int(clock.cycles().sum())


def _row_cuts(stage: Stage) -> list[range]:
    """The different rows that parts of one layer have."""
    return list(dict.fromkeys(part.rows for part in stage.parts))
