"""UART, 8N1: bytes to and from a line."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out
from synflip.errors import SynflipError

PHASE_BITS = 24
FRAME_BITS = 10  # start, 8 data, stop
MIN_CYCLES = 4  # a bit
MAX_ERROR = 0.002


def phase_step(clock: float, baud: float) -> int:
    """The step by which a phase of PHASE_BITS bits grows each cycle, so that it wraps once a bit.

    This divides the clock by any fraction: 25 MHz and 3 Mbaud give round(3 / 25 * 2^24) = 2013266, and a bit
    lasts 8 or 9 cycles, 8.33 on average. clock, baud: in Hz. Raises SynflipError if a bit has fewer than
    MIN_CYCLES cycles, or if the rate would be off by more than MAX_ERROR.
    """
    if not 0 < baud * MIN_CYCLES <= clock:
        raise SynflipError(f"{baud:g} baud needs a clock of at least {baud * MIN_CYCLES:g} Hz, not {clock:g}")
    step = round(baud / clock * (1 << PHASE_BITS))
    if abs(step / (1 << PHASE_BITS) * clock / baud - 1) > MAX_ERROR:
        raise SynflipError(f"{baud:g} baud cannot be made from {clock:g} Hz: less than one baud in 30,000")
    return step


class Receiver(wiring.Component):
    """Bits to bytes. A falling edge starts a byte; each bit is sampled once, in its middle.

    A start bit that is high again in its middle was a glitch, and a byte whose stop bit is low is damaged:
    both are dropped. A byte is delivered in the middle of its stop bit, 4 cycles late: the synchroniser takes
    two, the detection of the edge one, and ``valid`` is a register, because much follows from it. Reset: the
    receiver waits for a falling edge.

    Members
    -------
    rx : In(1)
        The line, asynchronous, high when idle.
    bytes : Out(stream of 8 bits, always ready)
        The received bytes; ``valid`` is high for one cycle a byte.
    """

    def __init__(self, step: int) -> None:
        """step: from ``phase_step``."""
        self.step = step
        super().__init__(
            {"rx": In(1, init=1), "bytes": Out(stream.Signature(8, always_ready=True))},
        )

    def elaborate(self, platform):
        m = Module()
        line, before = Signal(init=1), Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rx, line, init=1)
        m.d.sync += before.eq(line)

        left = Signal(range(FRAME_BITS + 1))  # bits still to sample
        phase, sum_ = Signal(PHASE_BITS), Signal(PHASE_BITS + 1)
        tick = sum_[-1]
        received = Signal(8)
        m.d.comb += [sum_.eq(phase + self.step), self.bytes.payload.eq(received)]
        m.d.sync += self.bytes.valid.eq(0)
        with m.If(left == 0):
            # Half a bit to the middle of the start bit; the edge was seen a cycle ago.
            m.d.sync += phase.eq((1 << PHASE_BITS - 1) + self.step)
            with m.If(before & ~line):
                m.d.sync += left.eq(FRAME_BITS)
        with m.Else():
            m.d.sync += phase.eq(sum_)
            with m.If(tick):
                m.d.sync += left.eq(left - 1)
                with m.If(left == FRAME_BITS), m.If(line):
                    m.d.sync += left.eq(0)
                with m.Elif(left == 1):
                    m.d.sync += self.bytes.valid.eq(line)
                with m.Else():
                    m.d.sync += received.eq(Cat(received[1:], line))
        return m


class Transmitter(wiring.Component):
    """Bytes to bits, back to back as long as there are bytes: 10 bit times a byte.

    Bit times run on while the line is idle, so the first byte after a pause waits for the end of one, at most
    one bit time. Reset: the line is high.

    Members
    -------
    bytes : In(stream of 8 bits)
        The bytes to send. ``ready`` is high for one cycle, at the end of a stop bit or of an idle bit time.
    tx : Out(1)
        The line, from a register, high when idle.
    """

    def __init__(self, step: int) -> None:
        """step: from ``phase_step``."""
        self.step = step
        super().__init__({"bytes": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        phase, sum_ = Signal(PHASE_BITS), Signal(PHASE_BITS + 1)  # runs on while the line is idle
        tick = sum_[-1]
        left = Signal(range(FRAME_BITS + 1))  # bits of the byte that have not ended
        start = Signal()
        bits = Signal(FRAME_BITS, init=(1 << FRAME_BITS) - 1)
        m.d.comb += [
            sum_.eq(phase + self.step),
            self.tx.eq(bits[0]),
            self.bytes.ready.eq(tick & (left <= 1)),
            start.eq(self.bytes.valid & self.bytes.ready),
        ]
        m.d.sync += phase.eq(sum_)
        with m.If(tick):
            # ``start`` is ORed in, not a second assignment: that one would become a reset of ``left`` which
            # depends on ``left``, and Yosys would report a combinational loop.
            m.d.sync += [
                left.eq((left - (left != 0)) | (start.replicate(len(left)) & FRAME_BITS)),
                bits.eq(Cat(bits[1:], Const(1, 1))),
            ]
        with m.If(start):
            m.d.sync += bits.eq(Cat(Const(0, 1), self.bytes.payload, Const(1, 1)))
        return m
