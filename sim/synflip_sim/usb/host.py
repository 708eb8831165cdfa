"""A USB host, at high and at full speed: reset, enumeration, control and bulk transfers, with bus errors.

Written from the USB 2.0 specification, whose sections the comments name.
"""

import random
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from synflip.errors import SynflipError
from synflip.spec.usb import BULK_PACKET, Speed

from synflip_sim.usb.bench import LinesBench, UlpiBench, UsbBench
from synflip_sim.usb.packets import DATA, Pid, data, payload_of, pid_byte, pid_of, token

TRIES = 20  # of a packet that is not answered, or whose answer is damaged
MOST_NAKS = 4096  # in a row
SE0, J, K = 0, 1, 2  # states of the line
CHIRPS = 3  # pairs of K and J
FUNCTION_CONTROL = 0x04  # register of a ULPI transceiver, and its values for idle lines
FULL_SPEED, HIGH_SPEED, CHIRP = 0x45, 0x40, 0x54
STRING = 3  # type of a descriptor
DEVICE, CONFIGURATION = 1, 2
GET_DESCRIPTOR, SET_ADDRESS, SET_CONFIGURATION, CLEAR_FEATURE = 6, 5, 9, 1
TO_HOST = 0x80  # of a request's type, and of an endpoint's address
ENGLISH = 0x0409


class UsbError(SynflipError):
    """The device broke the rules, or did not answer."""


class Stalled(UsbError):
    """The device answered STALL."""


class BusFaults:
    """Damages packets: one in ``every``, in either direction, is lost or has one bit flipped.

    injected: how many of each kind. The same seed and the same packets give the same faults.
    """

    def __init__(self, seed: int, every: float) -> None:
        self.injected: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._every = every

    def __call__(self, packet: bytes) -> bytes | None:
        """The packet that arrives; None if none does."""
        if self._chance.random() * self._every >= 1:
            return packet
        kind = self._chance.choice(("lost", "flipped"))
        self.injected[f"{kind} {Pid(packet[0] & 0xF).name}"] += 1
        if kind == "lost":
            return None
        place = self._chance.randrange(8 * len(packet))
        return (int.from_bytes(packet, "little") ^ 1 << place).to_bytes(len(packet), "little")


@dataclass
class Enumerated:
    """What a device says of itself: descriptors as they came, and the strings of its device descriptor."""

    device: bytes
    configuration: bytes
    strings: tuple[str, ...]


@dataclass
class Endpoint:
    """A bulk endpoint. toggle: of its next data packet."""

    number: int
    packet: int
    toggle: int = 0


class UsbHost:
    """The host's end of one cable.

    SPEED: of the device. FRAMES: SOF packets a second, and how many have the same number. PATIENCE: cycles in
    which an answer begins. GAP: cycles between two packets of the host. PINGS: whether it asks for room,
    after NAK.
    """

    SPEED: ClassVar[Speed]
    FRAMES: ClassVar[tuple[int, int]]
    PATIENCE: ClassVar[int]
    GAP: ClassVar[int]
    PINGS: ClassVar[bool]

    def __init__(self, bench: UsbBench, faults: BusFaults | None = None) -> None:
        self.bench, self.faults = bench, faults
        self.address = 0
        packet = BULK_PACKET[self.SPEED]
        self.out, self.in_ = Endpoint(1, packet), Endpoint(1, packet)
        self.counters: Counter[str] = Counter()
        self._frame = 0
        self._next_sof = 0

    # The line

    def plug(self) -> None:
        """Wait for the device to connect, and reset the bus. Raises UsbError if it never does."""
        raise NotImplementedError

    def reset(self) -> None:
        """Reset the bus [7.1.7.5]. Raises UsbError if the device does not agree on the speed."""
        raise NotImplementedError

    def suspend(self) -> None:
        """Stop all traffic until the device has suspended [7.1.7.6]. Raises UsbError if it does not."""
        raise NotImplementedError

    def resume(self) -> None:
        """Wake the device [7.1.7.7]. Raises UsbError if it does not come back."""
        raise NotImplementedError

    def seconds(self, seconds: float) -> int:
        """Cycles of so many seconds."""
        return round(seconds * self.bench.USB_CLOCK)

    def _begin(self) -> None:
        """After a reset."""
        self.address = 0
        self.out.toggle = self.in_.toggle = 0
        self._next_sof = self.bench.cycles

    def idle(self, cycles: int) -> None:
        """Let time go by. The frames go on [8.4.3]."""
        end = self.bench.cycles + cycles
        while self.bench.cycles < end:
            self._frames()
            self.bench.idle(max(min(end, self._next_sof) - self.bench.cycles, 1))

    # Packets

    def _frames(self) -> None:
        while self.bench.cycles >= self._next_sof:
            a_second, alike = self.FRAMES
            self._send(token(Pid.SOF, self._frame // alike % 2048))
            self._frame += 1
            self._next_sof += self.seconds(1 / a_second)

    def _send(self, packet: bytes) -> None:
        arrived = self.faults(packet) if self.faults else packet
        if arrived is not None:
            self.bench.send(arrived)
        self.bench.idle(self.GAP)

    def _token(self, pid: Pid, endpoint: int) -> None:
        self._frames()
        self._send(token(pid, self.address, endpoint))

    def _answer(self) -> bytes | None:
        packet = self.bench.receive(self.PATIENCE)
        if packet is None:
            self.counters["silences"] += 1
            return None
        packet = self.faults(packet) if self.faults else packet
        self.bench.idle(self.GAP)
        return packet

    def _handshake(self) -> int | None:
        packet = self._answer()
        return pid_of(packet) if packet is not None and len(packet) == 1 else None

    # Transactions

    def _send_data(self, pid: Pid, endpoint: Endpoint, payload: bytes) -> None:
        """One packet to the device, until it has it [8.5.1, 8.5.2]. Raises UsbError."""
        ping = False
        naks = failures = 0
        while True:
            if ping:
                self._token(Pid.PING, endpoint.number)
            else:
                self._token(pid, endpoint.number)
                self._send(data(endpoint.toggle, payload))
            answer = self._handshake()
            if answer in (Pid.ACK, Pid.NYET) and not ping:
                endpoint.toggle ^= 1
                return
            if answer == Pid.ACK:
                ping = False
            elif answer == Pid.STALL:
                raise Stalled(f"endpoint {endpoint.number} answered STALL")
            elif answer == Pid.NAK:
                self.counters["NAKs out"] += 1
                ping, naks = self.PINGS and pid == Pid.OUT, naks + 1
            else:
                failures += 1
                self.counters["repeats out"] += 1
            if failures >= TRIES or naks >= MOST_NAKS:
                raise UsbError(f"endpoint {endpoint.number} takes no {pid.name}")

    def _take_data(self, endpoint: Endpoint) -> bytes | None:
        """One packet of the device; None if it has none now [8.5.1]. Raises UsbError."""
        for _ in range(TRIES):
            self._token(Pid.IN, endpoint.number)
            packet = self._answer()
            pid = pid_of(packet) if packet is not None else None
            if pid == Pid.NAK and packet is not None and len(packet) == 1:
                self.counters["NAKs in"] += 1
                return None
            if pid == Pid.STALL:
                raise Stalled(f"endpoint {endpoint.number} answered STALL")
            payload = payload_of(packet) if packet is not None and pid in DATA else None
            if payload is None:
                self.counters["repeats in"] += 1
                continue
            if len(payload) > endpoint.packet:
                raise UsbError(f"endpoint {endpoint.number} sent {len(payload)} bytes in a packet")
            self._send(bytes([pid_byte(Pid.ACK)]))
            if pid == DATA[endpoint.toggle]:
                endpoint.toggle ^= 1
                return payload
            self.counters["doubles in"] += 1  # the last ACK was lost
        raise UsbError(f"endpoint {endpoint.number} gives nothing")

    # Transfers

    def control(
        self, request_type: int, request: int, value: int = 0, index: int = 0, length: int = 0
    ) -> bytes:
        """A control transfer without data, or with ``length`` bytes at most to the host [8.5.3]. Raises
        Stalled, UsbError."""
        fields = ((request_type, 1), (request, 1), (value, 2), (index, 2), (length, 2))
        setup = b"".join(number.to_bytes(size, "little") for number, size in fields)
        self._send_data(Pid.SETUP, Endpoint(0, 64), setup)
        endpoint = Endpoint(0, 64, toggle=1)
        content = b""
        while len(content) < length:
            packet = self._take(endpoint)
            content += packet
            if len(packet) < endpoint.packet:
                break
        endpoint.toggle = 1
        if length:
            self._send_data(Pid.OUT, endpoint, b"")
        elif self._take(endpoint):
            raise UsbError("the device sent data in a status stage")
        return content

    def _take(self, endpoint: Endpoint) -> bytes:
        for _ in range(MOST_NAKS):
            packet = self._take_data(endpoint)
            if packet is not None:
                return packet
        raise UsbError(f"endpoint {endpoint.number} answers NAK without end")

    def write(self, content: bytes) -> None:
        """A bulk transfer to the device. Raises UsbError."""
        for first in range(0, len(content), self.out.packet):
            self._send_data(Pid.OUT, self.out, content[first : first + self.out.packet])

    def read(self) -> bytes | None:
        """A packet of the bulk transfer to the host; None if there is none now. Raises UsbError."""
        return self._take_data(self.in_)

    def enumerate(self, address: int = 5) -> Enumerated:
        """Ask for descriptors, give the device its address and its configuration [9.1.2]. Raises UsbError."""
        first = self.control(TO_HOST, GET_DESCRIPTOR, DEVICE << 8, length=8)
        if len(first) != 8 or first[7] != 64:
            raise UsbError(f"a device descriptor begins with {first.hex()}")
        self.control(0, SET_ADDRESS, address)
        self.address = address
        self.idle(self.seconds(50e-6))  # it may take 2 ms [9.2.6.3]; that is simulated in vain
        device = self.control(TO_HOST, GET_DESCRIPTOR, DEVICE << 8, length=18)
        head = self.control(TO_HOST, GET_DESCRIPTOR, CONFIGURATION << 8, length=9)
        total = int.from_bytes(head[2:4], "little")
        configuration = self.control(TO_HOST, GET_DESCRIPTOR, CONFIGURATION << 8, length=total)
        strings = tuple(self._string(index) for index in device[14:17])
        self.configure(configuration[5])
        return Enumerated(device, configuration, strings)

    def _string(self, index: int) -> str:
        content = self.control(TO_HOST, GET_DESCRIPTOR, STRING << 8 | index, ENGLISH, 255)
        return content[2 : content[0]].decode("utf-16-le")

    def configure(self, value: int) -> None:
        """SET_CONFIGURATION: toggles begin anew [9.1.1.5]. Raises UsbError."""
        self.control(0, SET_CONFIGURATION, value)
        self.out.toggle = self.in_.toggle = 0


class HighSpeedHost(UsbHost):
    """At high speed. A byte is a cycle."""

    bench: UlpiBench
    SPEED = Speed.high
    FRAMES = 8000, 8
    PATIENCE = 102  # 816 bit times [7.1.19.2]
    GAP = 12  # 88 bit times, rounded up [7.1.18.2]
    PINGS = True

    def plug(self) -> None:
        """Wait for the device to connect, and reset the bus. Raises UsbError if it never does."""
        self._wait_for(FULL_SPEED, "connect")
        self.bench.line(J)
        self.bench.idle(self.seconds(50e-6))
        self.reset()

    def reset(self) -> None:
        """Reset the bus, and agree on high speed [7.1.7.5]. Raises UsbError if the device does not."""
        self.bench.line(SE0)
        chirp = self.bench.receive(self.seconds(8e-3))
        if chirp is None or self.bench.register(FUNCTION_CONTROL) != CHIRP:
            raise UsbError("the device does not chirp: it is none for high speed, or it missed a reset")
        for _ in range(CHIRPS):
            for state in (K, J):
                self.bench.line(state)
                self.bench.idle(self.seconds(50e-6))
        self.bench.line(SE0)
        self._wait_for(HIGH_SPEED, "go to high speed")
        self._begin()

    def suspend(self) -> None:
        """Stop all traffic until the device has suspended [7.1.7.6]. Raises UsbError if it does not."""
        self.bench.idle(self.seconds(3e-3))
        self._wait_for(FULL_SPEED, "leave high speed")
        self.bench.line(J)
        self.bench.idle(self.seconds(1e-3))

    def resume(self) -> None:
        """Wake the device [7.1.7.7]. Raises UsbError if it does not come back to high speed."""
        self.bench.line(K)
        self.bench.idle(self.seconds(1e-3))
        self.bench.line(SE0)
        self._wait_for(HIGH_SPEED, "come back to high speed")
        self._next_sof = self.bench.cycles

    def _wait_for(self, value: int, what: str) -> None:
        for _ in range(self.seconds(1e-3) // 10):
            if self.bench.register(FUNCTION_CONTROL) == value:
                return
            self.bench.idle(10)
        raise UsbError(f"the device does not {what}")


class FullSpeedHost(UsbHost):
    """At full speed. A bit is four cycles."""

    bench: LinesBench
    SPEED = Speed.full
    FRAMES = 1000, 1
    PATIENCE = 16 * LinesBench.BIT  # [7.1.19.1]
    GAP = 2 * LinesBench.BIT  # [7.1.18.1]
    PINGS = False

    def plug(self) -> None:
        """Wait for the device to connect, and reset the bus. Raises UsbError if it never does."""
        for _ in range(100):
            if self.bench.connected:
                break
            self.bench.idle(10)
        else:
            raise UsbError("the device does not connect")
        self.bench.idle(self.seconds(50e-6))
        self.reset()

    def reset(self) -> None:
        """Reset the bus [7.1.7.5]."""
        self.bench.line(SE0)
        self.bench.idle(self.seconds(100e-6))  # it takes 10 ms; that is simulated in vain
        self.bench.line(J)
        self.bench.idle(self.seconds(50e-6))
        self._begin()

    def suspend(self) -> None:
        """Stop all traffic until the device has suspended; it may take 10 ms, and this one takes 15."""
        self.bench.idle(self.seconds(20e-3))

    def resume(self) -> None:
        """Wake the device [7.1.7.7]."""
        self.bench.line(K)
        self.bench.idle(self.seconds(20e-3))
        self.bench.line(SE0)
        self.bench.idle(8 * LinesBench.BIT)  # two bits of low speed
        self.bench.line(J)
        self._next_sof = self.bench.cycles
