"""The accelerator on USB: what a board with a ULPI transceiver needs."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from synflip.spec.frames import BAUD, SILENCE_BITS
from synflip.spec.geometry import Geometry
from synflip.spec.usb import SERIAL_NUMBER

from synflip_hdl.serial.queued_bridge import QueuedBridge
from synflip_hdl.serial.top import glow_of, members_of, serve
from synflip_hdl.usb.link import ULPI, UsbLink


class UsbTop(wiring.Component):
    """Accelerator and bridge in the domain ``sync``, and a USB device in the domain ``usb``.

    The bridge is that of the serial line with requests ahead, and so are frames and rules. A silence that
    ends a frame is as long as on a serial line of BAUD.

    Members
    -------
    ulpi : ULPI
        The transceiver, in ``usb``.
    busy, error, raw, strobe
        As those of ``SerialTop``, in ``sync``.
    """

    def __init__(
        self, geometry: Geometry, clock: float, serial_number: str = SERIAL_NUMBER, compact: bool = False
    ) -> None:
        """clock: Hz of ``sync``. serial_number: by which a host finds the device. compact: see
        ``accelerator.Accelerator``."""
        self.geometry = geometry
        self.compact = compact
        self.serial_number = serial_number
        self.silence = round(SILENCE_BITS * clock / BAUD)
        self.glow = glow_of(clock)
        super().__init__({"ulpi": Out(wiring.Signature(ULPI))} | members_of(geometry))

    def elaborate(self, platform):
        m = Module()
        m.submodules.usb = link = UsbLink(self.serial_number)
        m.d.comb += serve(m, self, link.received, QueuedBridge(self.silence), link.sent)
        wiring.connect(m, wiring.flipped(self.ulpi), link.ulpi)
        return m
