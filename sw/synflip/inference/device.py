"""What runs a compiled model. Every device has one interface, and all give equal results."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.result import Result
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel, Images

#: Called with (done, total), in network samples times images.
Progress = Callable[[int, int], None]
#: The least lead, in votes, with which an image leaves: the same after every network sample, or [samples].
Margin = int | NDArray[np.integer]


class Device(Protocol):
    """Anything that runs a compiled model; a context manager that frees what it holds.

    geometry: of the accelerator; that whose cycles are predicted, if there is none.
    """

    name: str
    geometry: Geometry

    def load(self, model: CompiledModel) -> None:
        """Make ``model`` the one that runs. Raises SynflipError if it does not fit, saying what is short."""

    def infer(
        self,
        pixels: Images,
        samples: int,
        seed: int,
        margin: Margin | None = None,
        logits: bool = False,
        progress: Progress | None = None,
        keys: NDArray[np.uint64] | None = None,
        keep_keys: bool = False,
        first: int = 0,
    ) -> Result:
        """Votes of network samples first..first+samples-1 for pixels [N, I], which are read block by block.

        margin: early stopping: an image leaves after the first sample s in which its leader is at least
            margin (margin[s]) votes ahead of its runner-up. logits: keep the logits of every sample.
        keys: [samples, R], the contract's keys of each network sample, to be used instead of the source's, so
            that a run can be replayed. keep_keys: keep the keys that were used; for at most one batch of
            images. seed: of the LFSR; tunnel junctions have none.
        first: not 0 for a part of an inference; then images cannot stop early, nor keys be given.
        Raises SynflipError for a request or pixels that make no sense. Ctrl-C leaves the device usable.
        """
        ...

    def stream(
        self,
        blocks: Iterable[NDArray[np.uint8]],
        samples: int,
        seed: int,
        margin: Margin | None = None,
        logits: bool = False,
    ) -> Iterator[Result]:
        """A result for each block of images, as they come. A block is taken when its result is asked for.

        The engine is kept busy from batch to batch of a block, not from block to block: take blocks of many
        images.
        """
        for pixels in blocks:
            yield self.infer(pixels, samples, seed, margin, logits)

    def __enter__(self) -> "Device": ...

    def __exit__(self, *exc: object) -> None: ...


def is_port(name: str) -> bool:
    """Whether ``name`` is a serial port: a path, or COM and a number; perhaps with @ and a baud rate."""
    return "/" in name or re.fullmatch(r"COM\d+(@.*)?", name) is not None


def open_device(name: str, geometry: Geometry | None = None) -> Device:
    """The device called ``name``: ``golden``, ``cuda``, ``verilator``, ``icarus``, ``netlist:ecp5`` or
    ``netlist:ice40``, or one of them with a geometry of its own: ``verilator:64x8``; or a serial port,
    perhaps with its baud rate: ``/dev/ttyUSB0``, ``COM3@1000000``.

    Without a geometry a netlist is a small one (16x1), other simulations are 64x8. Raises SynflipError.
    """
    if is_port(name):
        from synflip.serial_port import BAUD, open_serial

        path, _, baud = name.partition("@")
        if baud and not baud.isdecimal():
            raise SynflipError(f"{baud!r} in {name!r} is not a baud rate, such as 1000000")
        return open_serial(path, int(baud) if baud else BAUD)
    kind, _, size = name.partition(":")
    if kind == "netlist":
        from synflip_sim.netlist import open_netlist

        family, _, size = size.partition(":")
        return open_netlist(family, Geometry.parse(size) if size else geometry)
    geometry = Geometry.parse(size) if size else geometry or Geometry()
    if kind == "golden":
        from synflip.golden import Golden

        return Golden(geometry)
    if kind == "cuda":
        from synflip.golden_cuda import TorchGolden

        return TorchGolden(geometry)
    if kind == "verilator":
        from synflip_sim.verilator import open_verilator

        return open_verilator(geometry)
    if kind == "icarus":
        from synflip_sim.icarus import open_icarus

        return open_icarus(geometry)
    raise SynflipError(
        f"no device {name!r}; there are golden, cuda, verilator, icarus, netlist:ecp5 and netlist:ice40"
    )
