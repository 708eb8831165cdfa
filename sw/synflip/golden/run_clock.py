"""The cycles of a run, from the events that the golden model counts."""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from synflip.golden.products import Product
from synflip.inference.plan import Plan
from synflip.spec.cycles import LOADS, CycleModel, rest_row
from synflip.spec.geometry import BANKS, Geometry
from synflip.spec.model import CompiledModel


@lru_cache(maxsize=64)
def load_members(rows: int, geometry: Geometry) -> torch.Tensor:
    """int8 [LOADS * most banks, rows]: 1 where a row belongs to a load of a bank."""
    places = torch.arange(rows)
    mine = places % geometry.banks == torch.arange(BANKS[-1])[:, None]
    rest = places >= rest_row(rows, geometry.lanes)
    return torch.cat([mine, mine & ~rest, mine & rest]).to(torch.int8)


def bank_loads(x: torch.Tensor, geometry: Geometry, multiply: Product) -> torch.Tensor:
    """The cycle model's loads, int64 [N, 3], of activations uint8 [N, rows]."""
    events = x.clamp(max=1)  # several times as fast as x != 0
    found = multiply(events, load_members(x.shape[1], geometry))
    return found.view(len(x), len(LOADS), BANKS[-1]).amax(2).to(torch.int64)


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
        self._fresh = lambda: CycleModel(geometry, model.rows, model.outputs, self.batches, early)
        self._model = self._fresh()

    def advance(self, active: NDArray[np.intp], loads: NDArray[np.int64]) -> None:
        """One network sample: ``loads`` [len(active), layers, 3] of the images that are still in."""
        if self.sample and self.sample % self.chunk == 0:
            self.total += self._model.cycles()
            self._model = self._fresh()
        run, slot = active // self.images, active % self.images
        spread = np.zeros((self.images, self.batches, *loads.shape[1:]), dtype=np.int64)
        spread[slot, run] = loads
        mask = np.zeros((self.images, self.batches), dtype=bool)
        mask[slot, run] = True
        self._model.advance(spread, mask)
        self.sample += 1

    def batches_cycles(self) -> NDArray[np.int64]:
        """[batches] cycles of all runs of each batch so far."""
        return self.total + self._model.cycles()

    def cycles(self) -> int:
        """Cycles of all runs so far."""
        return int(self.batches_cycles().sum())
