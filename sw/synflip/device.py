"""What runs a compiled model. Every device has one interface, and all give equal results."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.result import Result
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel

#: Called with (done, total), in network samples times images.
Progress = Callable[[int, int], None]


class Device(Protocol):
    """Anything that runs a compiled model; a context manager that frees what it holds."""

    name: str

    def load(self, model: CompiledModel) -> None:
        """Make ``model`` the one that runs. Raises SynflipError if it does not fit, saying what is short."""

    def infer(
        self,
        pixels: NDArray[np.uint8],
        samples: int,
        seed: int,
        margins: NDArray[np.integer] | None = None,
        logits: bool = False,
        progress: Progress | None = None,
    ) -> Result:
        """Votes of network samples 0..samples-1 for pixels [N, I].

        margins: [samples] early stopping: an image leaves after the first sample s in which its leader is at
            least
        margins[s] votes ahead of its runner-up. logits: keep the logits of every sample.
        """

    def __enter__(self) -> "Device": ...

    def __exit__(self, *exc: object) -> None: ...


def open_device(name: str, geometry: Geometry | None = None) -> Device:
    """The device called ``name``: ``golden``, ``verilator``, or ``netlist:`` with ``ecp5`` or ``ice40``.

    A netlist without a ``geometry`` is a small one (16x1), the others are 64x8. Raises SynflipError.
    """
    kind, _, family = name.partition(":")
    if kind == "netlist":
        from synflip_sim.netlist import open_netlist

        return open_netlist(family, geometry)
    geometry = geometry or Geometry()
    if name == "golden":
        from synflip.golden import Golden

        return Golden(geometry)
    if name == "verilator":
        from synflip_sim.verilator import open_verilator

        return open_verilator(geometry)
    raise SynflipError(f"no device {name!r}; there are golden, verilator, netlist:ecp5 and netlist:ice40")
