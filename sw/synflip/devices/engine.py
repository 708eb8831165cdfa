"""What a request is carried out with: the pieces of a run, which an accelerator has."""

from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from synflip.devices.transport import Transport
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel


class Engine(Protocol):
    """The pieces of a run that an accelerator has: see ``devices.accelerator``."""

    geometry: Geometry
    transport: Transport
    run_cycles: int

    def write_weights(self, model: CompiledModel, weight_base: int = 0, bias_base: int = 0) -> None:
        """Write weights and biases."""

    def place(self, model: CompiledModel, weight_base: int = 0, bias_base: int = 0, lead: int = 0) -> None:
        """Write the layer table."""

    def write_settings(
        self, model: CompiledModel, early: bool, log: bool, host_keys: bool, classes: int = 0
    ) -> None:
        """Write what all runs of a part share."""

    def write_images(self, first_slot: int, x: NDArray[np.uint8], zeros: bool = False) -> None:
        """Write images into their slots."""

    def run_slots(
        self,
        slot: int,
        images: int,
        samples: int,
        seed: int,
        first_key: int,
        host_keys: bool,
        again: bool = False,
    ) -> AbstractContextManager[None]:
        """One run."""
        ...

    def feed_keys(self, keys: NDArray[np.uint64]) -> None:
        """Give keys to the run."""
