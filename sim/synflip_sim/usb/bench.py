"""The accelerator behind USB in Verilator, with a ULPI transceiver or at a cable: packets in, packets out."""

import ctypes
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

from synflip.spec.geometry import Geometry
from synflip.spec.usb import Speed
from synflip.util.libraries import cached, load_library

from synflip_sim.simulators.verilate import GATEWARE, Say, compile_library, content_key

HARNESSES = {
    Speed.full: Path(__file__).with_name("lines.cpp"),
    Speed.high: Path(__file__).with_name("ulpi.cpp"),
}
FUNCTIONS = Path(__file__).with_name("functions.h")  # of both
SERIAL_NUMBER = "simulated"
ROOM = 2048  # bytes of a packet that are kept
#: The parts of synflip_hdl that decide the Verilog.
ROOMS = (*GATEWARE, "usb")


def build(geometry: Geometry, clock: float, speed: Speed = Speed.high, say: Say = lambda text: None) -> Path:
    """Path of the library for ``geometry`` behind USB, built if it is not cached.

    clock: of the accelerator, in Hz. Raises SynflipError.
    """
    harness = HARNESSES[speed]
    files = (harness, FUNCTIONS, Path(__file__))

    def make(folder: Path) -> None:
        from synflip_hdl.export.verilog import to_verilog
        from synflip_hdl.usb.link import DOMAINS
        from synflip_hdl.usb.top import UsbTop

        say(f"Verilog of {geometry.name}, k = {geometry.bits}, behind USB, {speed} speed")
        text = to_verilog(UsbTop(geometry, clock, SERIAL_NUMBER, speed=speed), clocks=DOMAINS[speed])
        (folder / "synflip.v").write_text(text)
        shutil.copy(FUNCTIONS, folder)
        compile_library(folder, ["synflip.v"], say, harness=harness)

    name = f"{geometry.name}-k{geometry.bits}-usb-{speed}-{clock:g}-luna-{version('luna-usb')}"
    return cached("verilator", name, content_key(geometry, files, (), ROOMS), make)


class UsbBench:
    """The simulator: the device, what is at its pins, and all clocks.

    USB_CLOCK: Hz of the cycles that it counts.
    """

    USB_CLOCK: ClassVar[float]
    FUNCTIONS: ClassVar[dict[str, tuple[type, ...]]] = {
        "close": (),
        "line": (ctypes.c_int,),
        "send": (ctypes.c_char_p, ctypes.c_int64),
        "receive": (ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64),
        "idle": (ctypes.c_int64,),
        "cycles": (),
        "leds": (),
    }

    def __init__(self, library: Path, *numbers: float) -> None:
        """library: of ``build``. numbers: what its harness is opened with."""
        self._library = load_library(library)
        self._library.synflip_open.restype = ctypes.c_void_p
        self._library.synflip_open.argtypes = [ctypes.c_double] * len(numbers)
        for name, arguments in self.FUNCTIONS.items():
            function = getattr(self._library, f"synflip_{name}")
            function.argtypes = [ctypes.c_void_p, *arguments]
            function.restype = ctypes.c_int64
        self._bench = self._library.synflip_open(*numbers)

    def line(self, state: int) -> None:
        """The host's lines change to ``state``: bit 0 is D+, bit 1 D-; 0 is also a silent line at high
        speed."""
        self._library.synflip_line(self._bench, state)

    def send(self, packet: bytes) -> None:
        """Send a packet to the device."""
        self._library.synflip_send(self._bench, packet, len(packet))

    def receive(self, patience: int) -> bytes | None:
        """The packet that the device begins within ``patience`` cycles, the first ROOM bytes of it; None
        without one."""
        room = ctypes.create_string_buffer(ROOM)
        count = self._library.synflip_receive(self._bench, room, ROOM, patience)
        return None if count < 0 else room.raw[:count]

    def idle(self, cycles: int) -> None:
        """Let ``cycles`` go by. What the device sends waits for ``receive``."""
        self._library.synflip_idle(self._bench, cycles)

    @property
    def cycles(self) -> int:
        """Cycles since the start."""
        return self._library.synflip_cycles(self._bench)

    def leds(self) -> tuple[bool, bool]:
        """Whether the LEDs ``busy`` and ``error`` are lit."""
        lit = self._library.synflip_leds(self._bench)
        return bool(lit & 1), bool(lit & 2)

    def close(self) -> None:
        """Free the simulator."""
        self._library.synflip_close(self._bench)


class UlpiBench(UsbBench):
    """High speed, with a ULPI transceiver, whose clock counts."""

    USB_CLOCK = 60e6
    FUNCTIONS: ClassVar = UsbBench.FUNCTIONS | {"register": (ctypes.c_int,)}

    def __init__(self, library: Path, clock: float) -> None:
        """library: of ``build``. clock: of the accelerator, in Hz; it may be another one than it was built
        for, only the times of LED and silence differ."""
        super().__init__(library, self.USB_CLOCK / clock)

    def register(self, address: int) -> int:
        """What the device wrote last to a register of the transceiver."""
        return self._library.synflip_register(self._bench, address)


class LinesBench(UsbBench):
    """Full speed, over D+ and D-, sampled by the device with the clock that counts."""

    USB_CLOCK = 48e6
    BIT = 4  # cycles of the device
    FUNCTIONS: ClassVar = UsbBench.FUNCTIONS | dict.fromkeys(("connected", "broken", "longest_turn"), ())

    def __init__(self, library: Path, clock: float, bit: float = BIT) -> None:
        """library, clock: as of UlpiBench. bit: of the host, in cycles."""
        super().__init__(library, self.USB_CLOCK / clock, bit)

    @property
    def connected(self) -> bool:
        """Whether the device pulls D+ up."""
        return bool(self._library.synflip_connected(self._bench))

    @property
    def broken(self) -> int:
        """Packets of the device against the rules of the lines, and cycles in which both drove them."""
        return self._library.synflip_broken(self._bench)

    @property
    def longest_turn(self) -> int:
        """Cycles from the end of a packet (its second SE0) to the device's answer, at most so far."""
        return self._library.synflip_longest_turn(self._bench)
