"""The cycles of a run, from the events that the golden model counts."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from synflip.inference.plan import Plan
from synflip.spec.cycles import CycleModel
from synflip.spec.geometry import Geometry
from synflip.spec.maps import programs
from synflip.spec.model import CompiledModel


class RunClock:
    """Feeds the cycle model: images of a block are batches of runs side by side, samples are cut into
    chunks."""

    def __init__(
        self, geometry: Geometry, model: CompiledModel, runs: Plan, count: int, samples: int, early: bool
    ) -> None:
        self.images, self.chunk = runs.images, runs.samples
        self.batches = -(-count // runs.images)
        self.samples = samples
        self.sample = 0
        self.total = np.zeros(self.batches, dtype=np.int64)
        self.programs = programs(model, geometry.banks) if model.convolutional else []
        self._fresh = lambda: CycleModel(
            geometry, model.rows, model.outputs, self.batches, early, programs=self.programs
        )
        self._model = self._fresh()

    def advance(
        self,
        active: NDArray[np.intp],
        loads: NDArray[np.int64],
        segments: Mapping[int, NDArray[np.int64]] | None = None,
    ) -> None:
        """One network sample: ``loads`` [len(active), layers, 3] of the images that are still in; of each
        convolution ``segments`` [len(active), segments]."""
        if self.sample and self.sample % self.chunk == 0:
            self.total += self._model.cycles()
            self._model = self._fresh()
        run, slot = active // self.images, active % self.images
        spread = np.zeros((self.images, self.batches, *loads.shape[1:]), dtype=np.int64)
        spread[slot, run] = loads
        mask = np.zeros((self.images, self.batches), dtype=bool)
        mask[slot, run] = True
        shares = {}
        for index, mine in (segments or {}).items():
            shares[index] = np.zeros((self.images, self.batches, mine.shape[1]), dtype=np.int64)
            shares[index][slot, run] = mine
        self._model.advance(spread, mask, shares)
        self.sample += 1

    def batches_cycles(self) -> NDArray[np.int64]:
        """[batches] cycles of all runs of each batch so far."""
        return self.total + self._model.cycles()

    def cycles(self) -> int:
        """Cycles of all runs so far."""
        return int(self.batches_cycles().sum())
