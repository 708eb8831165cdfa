"""The driver's port over a simulated USB host and cable, whose time is theirs."""

from collections import deque

from synflip_sim.usb.host import UsbHost

PAUSE = 1e-6  # seconds between two questions to an endpoint that has nothing


class SimulatedPort:
    """Stands where the driver has a port, and where it has the module ``time``.

    Time goes on only while the driver writes or waits, so the host's program takes none, and the host
    controller begins each packet as soon as the bus is free. The driver sees a packet ``turn`` after it came.
    """

    def __init__(self, host: UsbHost, timeout: float, turn: float = 0.0) -> None:
        """host: enumerated. timeout: seconds that ``read`` waits. turn: seconds."""
        self._host, self._timeout, self._turn = host, timeout, turn
        self._coming: deque[tuple[float, bytes]] = deque()

    def write(self, content: bytes) -> None:
        """Send bytes."""
        self._host.write(content)

    @property
    def in_waiting(self) -> int:
        """Bytes that one ``read`` may bring."""
        return self._host.in_.packet

    def read(self, size: int) -> bytes:
        """A packet; empty if none comes in time."""
        end = self.monotonic() + self._timeout
        while not self._coming or self._coming[0][0] > self.monotonic():
            if self.monotonic() >= end:
                return b""
            if packet := self._host.read():
                self._coming.append((self.monotonic() + self._turn, packet))
            else:
                self._host.idle(self._host.seconds(PAUSE))
        return self._coming.popleft()[1]

    def close(self) -> None:
        """Nothing: the host stays."""

    def monotonic(self) -> float:
        """Seconds since the simulator was started."""
        return self._host.bench.cycles / self._host.bench.USB_CLOCK

    def sleep(self, seconds: float) -> None:
        """Let time go by."""
        self._host.idle(self._host.seconds(seconds))
