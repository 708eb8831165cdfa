"""The accelerator on USB: what a board with a ULPI transceiver, or with a connector at the FPGA, needs."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from synflip.spec.frames import BAUD, SILENCE_BITS
from synflip.spec.geometry import Geometry
from synflip.spec.usb import SERIAL_NUMBER, Speed

from synflip_hdl.serial.queued_bridge import QueuedBridge
from synflip_hdl.serial.top import glow_of, members_of, serve
from synflip_hdl.usb.link import PINS, UsbLink, pins_of


class UsbTop(wiring.Component):
    """Accelerator and bridge in the domain ``sync``, and a USB device in the domains of ``link.DOMAINS``.

    The bridge is that of the serial line with requests ahead, and so are frames and rules. A silence that
    ends a frame is as long as on a serial line of BAUD.

    Members
    -------
    ulpi : ULPI
        At high speed: the transceiver.
    lines : LINES
        At full speed: the cable.
    busy, error, raw, strobe
        As those of ``SerialTop``, in ``sync``.
    """

    def __init__(
        self,
        geometry: Geometry,
        clock: float,
        serial_number: str = SERIAL_NUMBER,
        compact: bool = False,
        speed: Speed = Speed.high,
    ) -> None:
        """clock: Hz of ``sync``. serial_number: by which a host finds the device. compact: see
        ``accelerator.Accelerator``."""
        self.geometry = geometry
        self.compact = compact
        self.serial_number, self.speed = serial_number, speed
        self.silence = round(SILENCE_BITS * clock / BAUD)
        self.glow = glow_of(clock)
        super().__init__(pins_of(speed) | members_of(geometry))

    def elaborate(self, platform):
        m = Module()
        m.submodules.usb = link = UsbLink(self.serial_number, self.speed)
        m.d.comb += serve(m, self, link.received, QueuedBridge(self.silence), link.sent)
        wiring.connect(m, wiring.flipped(self.pins), link.pins)
        return m

    @property
    def pins(self) -> wiring.PureInterface:
        """``ulpi`` or ``lines``."""
        return getattr(self, PINS[self.speed][0])
