"""The cycles of a network in parts, from the events that the golden model counts."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from synflip.golden.kernels import TAP_BYTES, Kernels, convolved
from synflip.inference.parts import NetworkPart, Parts, Stage
from synflip.spec.cycles import LOADS, CycleModel
from synflip.spec.sizes import ceil_div

COUNT_BYTES = 1 << 24  # of counts of events that are made at once
PASSES = 1 << 16  # that the cycle model is given at once


class PartsClock:
    """Feeds the cycle model: each part runs once a network sample for each of its batches.

    Loads of a layer that is alone in its stage are int64 [N, positions, K], of all rows of the K different
    row ranges of its parts. Loads of a layer of several are int64 [N, 3].
    kernels: how events are counted.
    """

    def __init__(self, parts: Parts, kernels: Kernels) -> None:
        self.parts = parts
        self._kernels = kernels
        self._total = 0
        self._alone = {
            stage.layers.start: (stage, _row_cuts(stage)) for stage in parts.stages if len(stage.layers) == 1
        }

    def empty(self, index: int, images: int) -> NDArray[np.int64]:
        """Room for the loads of layer ``index``."""
        if index not in self._alone:
            return np.zeros((images, len(LOADS)), dtype=np.int64)
        stage, cuts = self._alone[index]
        return np.zeros((images, stage.positions, len(cuts)), dtype=np.int64)

    def loads(self, index: int, x: torch.Tensor) -> NDArray[np.int64]:
        """The loads of layer ``index``, of the activations that enter it, uint8 [N, inputs]."""
        model, geometry = self.parts.model, self.parts.geometry
        loads = self.empty(index, len(x))
        if index not in self._alone:
            loads[:] = self._kernels.loads(x, geometry).numpy()
            return loads
        stage, cuts = self._alone[index]
        rows = torch.arange(model.rows[index])
        banks = rows % geometry.banks == torch.arange(geometry.banks)[:, None]
        members = torch.cat([banks & (rows >= cut.start) & (rows < cut.stop) for cut in cuts]).to(torch.int8)
        place = model.layers[index].convolution
        at_once = max(COUNT_BYTES // (4 * stage.positions * len(members)), 1)
        for first in range(0, len(x), at_once):
            events = x[first : first + at_once].clamp(max=1)
            if place is None:
                found = self._kernels.multiply(events, members)
            else:
                (down, across), (high, wide) = place.positions, stage.grid
                every = replace(place, pool=(1, 1))
                found = convolved(events, members, every, self._kernels.multiply, TAP_BYTES)
                found = found.view(len(events), down, across, -1)[:, :high, :wide]
            found = found.reshape(len(events), stage.positions, len(cuts), geometry.banks)
            loads[first : first + at_once] = found.amax(3).numpy()
        return loads

    def advance(self, loads: list[NDArray[np.int64]]) -> None:
        """One network sample: ``loads`` of each layer, of the images that take part."""
        for stage in self.parts.stages:
            of_layers = loads[stage.layers.start : stage.layers.stop]
            cuts = _row_cuts(stage)
            for part in stage.parts:
                if len(of_layers) == 1:
                    whole = of_layers[0][:, :, cuts.index(part.rows)].reshape(-1, 1, 1)
                    self._runs(part, np.broadcast_to(whole, (len(whole), 1, len(LOADS))))
                else:
                    self._runs(part, np.stack(of_layers, axis=1))

    def cycles(self) -> int:
        """Cycles of all runs so far."""
        return self._total

    def _runs(self, part: NetworkPart, loads: NDArray[np.int64]) -> None:
        """Runs of a part, many side by side; loads [passes, layers, 3]."""
        geometry, model = self.parts.geometry, self.parts.model
        rows, outputs = part.row_counts(model), part.output_counts(model)
        at_once = max(PASSES // part.images, 1) * part.images
        for first in range(0, len(loads), at_once):
            mine = loads[first : first + at_once]
            runs = ceil_div(len(mine), part.images)
            spread = np.zeros((runs * part.images, *loads.shape[1:]), dtype=np.int64)
            spread[: len(mine)] = mine
            there = np.arange(len(spread)) < len(mine)
            slots = (runs, part.images)
            clock = CycleModel(geometry, rows, outputs, runs, early=False)
            clock.advance(spread.reshape(*slots, *loads.shape[1:]).swapaxes(0, 1), there.reshape(slots).T)
            self._total += int(clock.cycles().sum())


def _row_cuts(stage: Stage) -> list[range]:
    """The different rows that parts of one layer have."""
    return list(dict.fromkeys(part.rows for part in stage.parts))
