"""What carries words to and from a memory map."""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.spec.geometry import Geometry


class BusError(SynflipError):
    """The device refused an access, or did not answer."""


class NoAccelerator(BusError):
    """Nothing answers there, or what answers is no accelerator of synflip."""

    def __init__(self, name: str, why: str = "") -> None:
        super().__init__(f"no synflip accelerator answers at {name}" + (f": {why}" if why else ""))


class Transport(Protocol):
    """Moves 32-bit words to and from the memory map."""

    def write(self, address: int, words: NDArray[np.uint32]) -> None:
        """Write words to consecutive word addresses. Raises BusError."""

    def read(self, address: int, count: int) -> NDArray[np.uint32]:
        """Read ``count`` words from consecutive word addresses. Raises BusError."""

    def wait(self) -> None:
        """Let the device work for a moment before the next look at its status."""

    def close(self) -> None:
        """Free what the transport holds."""


@runtime_checkable
class SimulatedTransport(Transport, Protocol):
    """A transport whose accelerator is simulated, so that its clock can be read."""

    @property
    def cycles(self) -> int:
        """Clock cycles since reset, bus traffic included."""
        ...


@runtime_checkable
class LineTransport(Transport, Protocol):
    """A transport over a serial line, which counts what goes over it."""

    @property
    def line_bytes(self) -> int:
        """Bytes sent and received since it was opened."""
        ...


class Registers(Protocol):
    """The registers of one accelerator, by name, and the transport under them.

    name: of the device, for errors. timeout: seconds that a wait may take.
    """

    name: str
    geometry: Geometry
    transport: Transport
    timeout: float

    def write_register(self, name: str, value: int) -> None:
        """Write a register of the map. Raises BusError."""

    def read_register(self, name: str) -> int:
        """Read a register of the map. Raises BusError."""
        ...
