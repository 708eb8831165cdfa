"""The pins of a USB transceiver (ULPI), and the clock domain that it brings."""

from amaranth.hdl import ClockSignal, Module, ResetSignal, Signal, Value
from amaranth.lib import io, wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In
from synflip.spec.usb import ULPI_CLOCK

from synflip_hdl.usb.link import ULPI

#: Cycles until a transceiver that was reset may be asked for anything: a millisecond.
START = round(1e-3 * ULPI_CLOCK)


class UlpiPins(wiring.Component):
    """A board's transceiver; drives clock and reset of its DOMAINS, which are defined above it.

    ``usb`` has the transceiver's clock. It is reset with the transceiver, and for START cycles more. These
    are counted by the transceiver's clock, in a domain of their own, ``ulpi``: so it does not matter whether
    the clock runs during its reset.

    Members
    -------
    pins : In(ULPI)
        Of the device, in ``usb``. Data pins, ``dir`` and ``nxt`` have no register: the protocol wants an
        answer in the same cycle.
    """

    NAME = "ulpi"  # of the instance, and so of its clock's net
    DOMAINS = ("usb", "ulpi")

    def __init__(self, resource: tuple[str, int], restart: Value) -> None:
        """resource: of the platform. restart: 1 resets the transceiver, at any time."""
        self.resource, self.restart = resource, restart
        super().__init__({"pins": In(wiring.Signature(ULPI))})

    def elaborate(self, platform):
        m = Module()
        names = [item.name for item in platform.lookup(*self.resource).ios]
        port = platform.request(*self.resource, dir=dict.fromkeys(names, "-"))
        ways = {"clk": "i", "dir": "i", "nxt": "i", "stp": "o", "data": "io", "rst": "o"}
        buffers = {name: io.Buffer(ways[name], getattr(port, name)) for name in names}
        for name, buffer in buffers.items():
            m.submodules[name] = buffer
        clock = Signal(attrs={"keep": "true"})  # the net's other names are not those that Amaranth constrains
        data = buffers["data"]
        m.d.comb += [
            self.pins.dir.eq(buffers["dir"].i),
            self.pins.nxt.eq(buffers["nxt"].i),
            self.pins.data_in.eq(data.i),
            data.o.eq(self.pins.data_out),
            data.oe.eq(self.pins.drive),
            buffers["stp"].o.eq(self.pins.stp),
            buffers["rst"].o.eq(self.restart),
        ]

        platform.add_clock_constraint(clock, ULPI_CLOCK)
        m.submodules.reset = ResetSynchronizer(self.restart, domain="ulpi")
        waited = Signal(range(START))
        running = Signal()
        with m.If(waited == START - 1):
            m.d.ulpi += running.eq(1)
        with m.Else():
            m.d.ulpi += waited.eq(waited + 1)
        m.d.comb += [
            clock.eq(buffers["clk"].i),
            ClockSignal("ulpi").eq(clock),
            ClockSignal("usb").eq(clock),
            ResetSignal("usb").eq(~running),
        ]
        return m
