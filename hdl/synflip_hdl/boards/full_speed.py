"""The pins of a USB connector at the FPGA itself, and the clocks of full speed."""

from amaranth.hdl import ClockSignal, Module, Signal, Value
from amaranth.lib import io, wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In
from synflip.spec.usb import BIT_CLOCK, SAMPLE_CLOCK, Speed

from synflip_hdl.boards import pll
from synflip_hdl.usb.link import DOMAINS, LINES

#: A PLL of an ECP5 makes no 48 MHz of 25 MHz exactly. It makes this, in Hz, of which another makes 48 MHz.
BETWEEN = 60e6


class FullSpeedPins(wiring.Component):
    """D+, D- and its resistor; drives clocks and resets of its DOMAINS, which are defined above it.

    Two PLLs of an ECP5, one behind the other, make 48 MHz (``usb_io``) and 12 MHz (``usb``) of the
    oscillator.

    Members
    -------
    pins : In(LINES)
        Of the device. None has a register here.

    Attributes
    ----------
    restart : Value
        1 until the clocks run, too. It is to reset ``sync``.
    """

    NAME = "full_speed"  # of the instance, and so of its clocks' nets
    DOMAINS = DOMAINS[Speed.full]

    def __init__(
        self, resource: tuple[str, int], oscillator: Value, reference: float, restart: Value
    ) -> None:
        """resource: of the platform. oscillator: the buffered pin, with ``reference`` Hz. restart: 1 resets
        the device, at any time."""
        self.resource, self.oscillator, self.reference = resource, oscillator, reference
        self.locked = Signal()
        self.restart = restart | ~self.locked
        super().__init__({"pins": In(wiring.Signature(LINES))})

    def elaborate(self, platform):
        m = Module()
        port = platform.request(*self.resource, dir={"d_p": "-", "d_n": "-", "pullup": "-"})
        m.submodules.dp = dp = io.Buffer("io", port.d_p)
        m.submodules.dn = dn = io.Buffer("io", port.d_n)
        m.submodules.pull_up = pull_up = io.Buffer("o", port.pullup)
        m.d.comb += [
            self.pins.dp_in.eq(dp.i),
            self.pins.dn_in.eq(dn.i),
            dp.o.eq(self.pins.dp_out),
            dn.o.eq(self.pins.dn_out),
            dp.oe.eq(self.pins.drive),
            dn.oe.eq(self.pins.drive),
            pull_up.o.eq(self.pins.pull_up),
        ]

        m.submodules.between, between, between_locked = pll.ecp5(self.oscillator, self.reference, BETWEEN)
        m.submodules.clocks, sample, bit, locked = pll.ecp5_two(
            between,
            BETWEEN,
            SAMPLE_CLOCK,
            round(SAMPLE_CLOCK / BIT_CLOCK),
            reset=~between_locked,
            names=("sample_clock", "bit_clock"),
        )
        m.d.comb += self.locked.eq(between_locked & locked)
        for domain, clock, frequency in (("usb_io", sample, SAMPLE_CLOCK), ("usb", bit, BIT_CLOCK)):
            m.d.comb += ClockSignal(domain).eq(clock)
            platform.add_clock_constraint(clock, frequency)
            m.submodules[f"{domain}_reset"] = ResetSynchronizer(self.restart, domain=domain)
        return m
