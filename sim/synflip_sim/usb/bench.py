"""The accelerator behind USB in Verilator, with a ULPI transceiver: packets in, packets out."""

import ctypes
from importlib.metadata import version
from pathlib import Path

from synflip.spec.geometry import Geometry
from synflip.util.libraries import cached, load_library

from synflip_sim.simulators.verilate import GATEWARE, Say, compile_library, content_key

HARNESS = Path(__file__).with_name("ulpi.cpp")
USB_CLOCK = 60e6  # of the transceiver, in Hz
SERIAL_NUMBER = "simulated"
ROOM = 2048  # bytes of a packet that are kept
#: The parts of synflip_hdl that decide the Verilog.
ROOMS = (*GATEWARE, "usb")


def build(geometry: Geometry, clock: float, say: Say = lambda text: None) -> Path:
    """Path of the library for ``geometry`` behind USB, built if it is not cached.

    clock: of the accelerator, in Hz. Raises SynflipError.
    """

    def make(folder: Path) -> None:
        from synflip_hdl.export.verilog import to_verilog
        from synflip_hdl.usb.top import UsbTop

        say(f"Verilog of {geometry.name}, k = {geometry.bits}, behind USB")
        text = to_verilog(UsbTop(geometry, clock, SERIAL_NUMBER), clocks=("usb",))
        (folder / "synflip.v").write_text(text)
        compile_library(folder, ["synflip.v"], say, harness=HARNESS)

    name = f"{geometry.name}-k{geometry.bits}-usb-{clock:g}-luna-{version('luna-usb')}"
    return cached("verilator", name, content_key(geometry, [HARNESS, Path(__file__)], (), ROOMS), make)


class UsbBench:
    """The simulator: the device, its transceiver, and both clocks."""

    def __init__(self, library: Path, clock: float) -> None:
        """library: of ``build``. clock: of the accelerator, in Hz; it may be another one than it was built
        for, only the times of LED and silence differ."""
        self._library = load_library(library)
        self._library.synflip_open.restype = ctypes.c_void_p
        self._library.synflip_open.argtypes = [ctypes.c_double]
        for name, *arguments in (
            ("close",),
            ("line", ctypes.c_int),
            ("send", ctypes.c_char_p, ctypes.c_int64),
            ("receive", ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64),
            ("idle", ctypes.c_int64),
            ("register", ctypes.c_int),
            ("cycles",),
            ("leds",),
        ):
            getattr(self._library, f"synflip_{name}").argtypes = [ctypes.c_void_p, *arguments]
        for name in ("receive", "cycles"):
            getattr(self._library, f"synflip_{name}").restype = ctypes.c_int64
        self._bench = self._library.synflip_open(USB_CLOCK / clock)

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
        """Let ``cycles`` of the transceiver's clock go by. What the device sends waits for ``receive``."""
        self._library.synflip_idle(self._bench, cycles)

    def register(self, address: int) -> int:
        """What the device wrote last to a register of the transceiver."""
        return self._library.synflip_register(self._bench, address)

    @property
    def cycles(self) -> int:
        """Cycles of the transceiver's clock since the start."""
        return self._library.synflip_cycles(self._bench)

    def leds(self) -> tuple[bool, bool]:
        """Whether the LEDs ``busy`` and ``error`` are lit."""
        lit = self._library.synflip_leds(self._bench)
        return bool(lit & 1), bool(lit & 2)

    def close(self) -> None:
        """Free the simulator."""
        self._library.synflip_close(self._bench)
