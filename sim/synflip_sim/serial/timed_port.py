"""A serial port whose line, adapter and device are simulated, and whose time is theirs."""

from collections import deque

from synflip_sim.serial.pty import SerialBench, SerialLine

BITS_PER_BYTE = 10


class TimedPort:
    """Stands where the driver has pyserial's port, and where it has the module ``time``.

    Time goes on only while the driver waits, so the host's program takes none. Bytes need half of ``delay``
    from the host to the line, and as long back: a USB adapter.
    """

    def __init__(self, bench: SerialBench, line: SerialLine, clock: float, delay: float) -> None:
        """clock: Hz of the device. delay: seconds, there and back."""
        self._bench, self._clock = bench, clock
        self._step = round(line.divisor * BITS_PER_BYTE)
        self._delay = round(delay * clock / 2)
        self._cycle = 0
        self._going: deque[tuple[int, bytes]] = deque()
        self._coming: deque[tuple[int, bytes]] = deque()
        self._here = bytearray()
        self._timeout = 0.0

    def __call__(self, *arguments: object, timeout: float, **options: object) -> "TimedPort":
        """Opens the port: in the place of ``serial.Serial``."""
        self._timeout = timeout
        return self

    def _advance(self) -> None:
        """A byte's time."""
        while self._going and self._going[0][0] <= self._cycle:
            self._bench.put(self._going.popleft()[1])
        self._bench.run(self._step)
        self._cycle += self._step
        if received := self._bench.take():
            self._coming.append((self._cycle + self._delay, received))
        while self._coming and self._coming[0][0] <= self._cycle:
            self._here += self._coming.popleft()[1]

    def write(self, content: bytes) -> None:
        """Send bytes."""
        self._going.append((self._cycle + self._delay, content))

    @property
    def in_waiting(self) -> int:
        """Bytes that have come."""
        return len(self._here)

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; waits for the first, as long as the port's timeout says."""
        end = self.monotonic() + self._timeout
        while not self._here and self.monotonic() < end:
            self._advance()
        received = bytes(self._here[:size])
        del self._here[:size]
        return received

    def close(self) -> None:
        """Close the simulator."""
        self._bench.close()

    def set_low_latency_mode(self, _: bool) -> None:
        """Nothing: the delay is the simulation's."""

    def monotonic(self) -> float:
        """Seconds since the port was made."""
        return self._cycle / self._clock

    def sleep(self, seconds: float) -> None:
        """Let time go by."""
        end = self.monotonic() + seconds
        while self.monotonic() < end:
            self._advance()
