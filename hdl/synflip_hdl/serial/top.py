"""The accelerator on a serial line: what a board with nothing but a UART needs."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, Out
from synflip.spec.frames import BAUD, SILENCE_BITS
from synflip.spec.geometry import Geometry

from synflip_hdl.accelerator import Accelerator
from synflip_hdl.serial.bridge import SerialBridge
from synflip_hdl.serial.queued_bridge import QueuedBridge
from synflip_hdl.serial.uart import Receiver, Transmitter, phase_step


class SerialTop(wiring.Component):
    """Accelerator, serial bridge and UART in one clock domain, ``sync``. The line is the slowest of them: ten
    bit times a byte, see ``uart``; latency and throughput of accesses are the bridge's.

    Members
    -------
    rx : In(1)
        The line to the device, asynchronous, high when idle.
    tx : Out(1)
        The line from the device.
    busy : Out(1)
        A run is under way.
    error : Out(1)
        High for a tenth of a second after a reply with another status than OK, long enough to see an LED.
    raw : In(geometry.devices)
        Bits of the tunnel junctions, see ``sources.mtj.MtjSource``. Only if the geometry has some.
    strobe : In(1)
        Its rising edge says that ``raw`` has new bits. Only if the geometry has tunnel junctions.
    """

    def __init__(
        self,
        geometry: Geometry,
        clock: float,
        baud: float = BAUD,
        silence_bits: int = SILENCE_BITS,
        compact: bool = False,
        queued: bool = False,
    ) -> None:
        """clock: Hz. silence_bits: bit times of silence that end a frame. compact: see
        ``accelerator.Accelerator``. queued: with a ``QueuedBridge``, which takes requests ahead and images as
        they are shortest, instead of a ``SerialBridge``. Raises SynflipError if the baud rate cannot be made
        from the clock."""
        self.geometry = geometry
        self.compact = compact
        self.queued = queued
        self.step = phase_step(clock, baud)
        self.silence = round(silence_bits * clock / baud)
        self.glow = glow_of(clock)
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)} | members_of(geometry))

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = Receiver(self.step)
        m.submodules.transmitter = transmitter = Transmitter(self.step)
        bridge = (QueuedBridge if self.queued else SerialBridge)(self.silence)
        wires = serve(m, self, receiver.bytes, bridge, transmitter.bytes)
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx), *wires]
        return m


def glow_of(clock: float) -> int:
    """Cycles of a tenth of a second."""
    return max(round(clock / 10), 1)


def members_of(geometry: Geometry) -> dict[str, Member]:
    """Members of every top with a bridge: ``busy``, ``error``, and ``raw`` and ``strobe`` of junctions."""
    members = {"busy": Out(1), "error": Out(1)}
    if geometry.devices:
        members |= {"raw": In(geometry.devices), "strobe": In(1)}
    return members


def serve(m, top, received, bridge, sent):
    """Put a bridge and an accelerator into ``m``, between two streams of bytes. Returns the statements that
    connect the members of ``members_of``.

    top: a component with these members, ``geometry``, ``compact``, and ``glow``, the cycles for which
    ``error`` lasts. received: bytes of the host. sent: bytes to it.
    """
    # The instance is called ``link``: cell names, and with them nextpnr's placement, depend on it.
    m.submodules.link = bridge
    m.submodules.accelerator = accelerator = Accelerator(top.geometry, top.compact)
    wiring.connect(m, received, bridge.received)
    wiring.connect(m, bridge.sent, sent)
    wiring.connect(m, bridge.request, accelerator.request)
    wiring.connect(m, accelerator.response, bridge.response)

    glow = Signal(range(top.glow + 1))
    failed = Signal()  # ``error`` a cycle later: the LED's counter may be placed far from the bridge
    m.d.sync += failed.eq(bridge.error)
    with m.If(failed):
        m.d.sync += glow.eq(top.glow)
    with m.Elif(glow != 0):
        m.d.sync += glow.eq(glow - 1)
    wires = [top.busy.eq(accelerator.busy), top.error.eq(glow != 0)]
    if top.geometry.devices:
        wires += [accelerator.raw.eq(top.raw), accelerator.strobe.eq(top.strobe)]
    return wires
