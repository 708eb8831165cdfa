"""What carries words to and from a memory map."""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from synflip.errors import DeviceError
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import ACTIVATIONS_PER_WORD, register
from synflip.spec.sizes import ceil_div


class BusError(DeviceError):
    """The device refused an access, or did not answer."""


class NoAccelerator(BusError):
    """Nothing answers there, or what answers is no accelerator of synflip."""

    def __init__(self, name: str, why: str = "") -> None:
        super().__init__(f"no synflip accelerator answers at {name}" + (f": {why}" if why else ""))


@dataclass(eq=False)
class Read:
    """Reads ``count`` words from consecutive addresses; ``words``, uint32 [count], is filled in."""

    address: int
    count: int
    words: NDArray[np.uint32] = field(init=False)

    def __post_init__(self) -> None:
        self.words = np.zeros(self.count, dtype=np.uint32)

    def take(self, place: int, words: NDArray[np.uint32]) -> None:
        """``words`` came, which begin at ``place``."""
        self.words[place : place + len(words)] = words


@dataclass(eq=False)
class Poll(Read):
    """A Read that waits until the lowest bit of its first word is 0. timeout: seconds that this may take."""

    timeout: float
    _deadline: float = field(default=0.0, init=False)

    def still_busy(self, name: str) -> None:
        """The bit is 1 yet. Raises BusError if it was so for ``timeout``. name: of the device."""
        now = time.monotonic()
        self._deadline = self._deadline or now + self.timeout
        if now >= self._deadline:
            raise BusError(f"{name}: a run did not end in {self.timeout:g} s")


@dataclass(eq=False)
class Write:
    """Writes words to consecutive addresses.

    after: reads whose words it would change: they have to be there before it is sent. None: all that were
    asked for.
    """

    address: int
    words: NDArray[np.uint32]
    after: Collection[Read] | None = None

    @classmethod
    def of(cls, name: str, value: int, after: Collection[Read] | None = None) -> "Write":
        """The word ``value`` to the register ``name``."""
        return cls(register(name), np.array([value], dtype=np.uint32), after)


@dataclass(eq=False)
class ImageWrite:
    """Writes an image to its slot, in whatever form. It changes nothing that can be read.

    x: activations, uint8 [I]. zeros: whether words of zeros must be written too, as where banks hold whole
        images, and not lists of what is not zero.
    """

    address: int
    x: NDArray[np.uint8]
    zeros: bool = False

    @property
    def words(self) -> NDArray[np.uint32]:
        """As the memory map has them: four activations a word."""
        padded = np.zeros(ceil_div(len(self.x), ACTIVATIONS_PER_WORD) * ACTIVATIONS_PER_WORD, dtype=np.uint8)
        padded[: len(self.x)] = self.x
        return padded.view("<u4")


Access = Read | Write | ImageWrite


@runtime_checkable
class QueuedTransport(Protocol):
    """A transport that may carry out accesses while others are on their way."""

    @property
    def queued(self) -> bool:
        """Whether this device can."""
        ...

    def exchange(self, accesses: Iterable[Access]) -> None:
        """Carry out accesses in their order. The next is asked for once the one before was sent. Raises
        BusError for the first that is refused; none behind it is carried out."""


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
