"""What carries words to and from a memory map."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError


class BusError(SynflipError):
    """The device refused an access, or did not answer."""


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
