"""A USB host at high speed: reset, enumeration, control and bulk transfers, with every error it may meet.

Written from the USB 2.0 specification, whose sections the comments name.
"""

import random
from collections import Counter
from dataclasses import dataclass

from synflip.errors import SynflipError

from synflip_sim.usb.bench import USB_CLOCK, UsbBench
from synflip_sim.usb.packets import DATA, Pid, data, payload_of, pid_byte, pid_of, token

MICROFRAME = round(125e-6 * USB_CLOCK)  # cycles between two SOF packets
PATIENCE = 102  # cycles in which an answer begins: 816 bit times, and a byte is a cycle [7.1.19.2]
GAP = 12  # cycles between two packets of the host: 88 bit times, rounded up [7.1.18.2]
TRIES = 20  # of a packet that is not answered, or whose answer is damaged
MOST_NAKS = 4096  # in a row
SE0, J, K = 0, 1, 2  # states of the line
CHIRPS = 3  # pairs of K and J
MILLISECOND = round(1e-3 * USB_CLOCK)
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
    packet: int = 512
    toggle: int = 0


class UsbHost:
    """The host's end of one cable."""

    def __init__(self, bench: UsbBench, faults: BusFaults | None = None) -> None:
        self.bench, self.faults = bench, faults
        self.address = 0
        self.out, self.in_ = Endpoint(1), Endpoint(1)
        self.counters: Counter[str] = Counter()
        self._frame = 0
        self._next_sof = 0

    # The line

    def plug(self) -> None:
        """Wait for the device to connect, and reset the bus. Raises UsbError if it never does."""
        self._wait_for(FULL_SPEED, "connect")
        self.bench.line(J)
        self.bench.idle(MILLISECOND // 20)
        self.reset()

    def reset(self) -> None:
        """Reset the bus, and agree on high speed [7.1.7.5]. Raises UsbError if the device does not."""
        self.bench.line(SE0)
        chirp = self.bench.receive(8 * MILLISECOND)
        if chirp is None or self.bench.register(FUNCTION_CONTROL) != CHIRP:
            raise UsbError("the device does not chirp: it is none for high speed, or it missed a reset")
        for _ in range(CHIRPS):
            for state in (K, J):
                self.bench.line(state)
                self.bench.idle(round(50e-6 * USB_CLOCK))
        self.bench.line(SE0)
        self._wait_for(HIGH_SPEED, "go to high speed")
        self.address = 0
        self.out.toggle = self.in_.toggle = 0
        self._next_sof = self.bench.cycles

    def suspend(self) -> None:
        """Stop all traffic until the device has suspended [7.1.7.6]. Raises UsbError if it does not."""
        self.bench.idle(3 * MILLISECOND)
        self._wait_for(FULL_SPEED, "leave high speed")
        self.bench.line(J)
        self.bench.idle(MILLISECOND)

    def resume(self) -> None:
        """Wake the device [7.1.7.7]. Raises UsbError if it does not come back to high speed."""
        self.bench.line(K)
        self.bench.idle(MILLISECOND)
        self.bench.line(SE0)
        self._wait_for(HIGH_SPEED, "come back to high speed")
        self._next_sof = self.bench.cycles

    def _wait_for(self, value: int, what: str) -> None:
        for _ in range(MILLISECOND // 10):
            if self.bench.register(FUNCTION_CONTROL) == value:
                return
            self.bench.idle(10)
        raise UsbError(f"the device does not {what}")

    def idle(self, cycles: int) -> None:
        """Let time go by. The frames go on [8.4.3]."""
        end = self.bench.cycles + cycles
        while self.bench.cycles < end:
            self._frames()
            self.bench.idle(max(min(end, self._next_sof) - self.bench.cycles, 1))

    # Packets

    def _frames(self) -> None:
        while self.bench.cycles >= self._next_sof:
            self._send(token(Pid.SOF, self._frame // 8 % 2048))
            self._frame += 1
            self._next_sof += MICROFRAME

    def _send(self, packet: bytes) -> None:
        arrived = self.faults(packet) if self.faults else packet
        if arrived is not None:
            self.bench.send(arrived)
        self.bench.idle(GAP)

    def _token(self, pid: Pid, endpoint: int) -> None:
        self._frames()
        self._send(token(pid, self.address, endpoint))

    def _answer(self) -> bytes | None:
        packet = self.bench.receive(PATIENCE)
        if packet is None:
            self.counters["silences"] += 1
            return None
        packet = self.faults(packet) if self.faults else packet
        self.bench.idle(GAP)
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
                ping, naks = pid == Pid.OUT, naks + 1
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
        self._send_data(Pid.SETUP, Endpoint(0), setup)
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
        self.idle(MILLISECOND // 20)  # it may take 2 ms [9.2.6.3]; that is simulated in vain
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
