"""Health tests of raw random bits: NIST SP 800-90B, section 4.4, for n junctions side by side."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from synflip.spec.health import WINDOW
from synflip.spec.memory_map import REGISTERS


class HealthTests(wiring.Component):
    """The repetition count test and the adaptive proportion test of each junction.

    The first fails a junction that repeats one bit too often, such as 1, 1, 1, ... of a stuck latch; the
    second one whose bits are too often equal to the first bit of a window of WINDOW bits. A junction's bits
    may be used once every test of one whole window has passed, and no longer once a test has failed, until
    ``restart``.

    Throughput: a bit of each junction a cycle. Latency: ``working`` and ``failing`` take the bits of the same
    cycle into account, so that no bit of a failing junction gets through. Reset: nothing is tested yet.

    Members
    -------
    take : In(1)
        Strobe: ``bits`` holds new bits.
    bits : In(devices)
        One raw bit of each junction.
    restart : In(1)
        Strobe: forget all bits and all failures.
    repetition_cutoff : In(10)
        A run of so many equal bits fails a junction, see ``synflip.spec.health``. 0 fails every junction.
    proportion_cutoff : In(11)
        So many bits equal to the window's first fail a junction. 0 fails every junction.
    working : Out(devices)
        Junctions whose bits may be used, the bits of this cycle included.
    failing : Out(1)
        A junction fails with the bits of this cycle.
    repetition_failed : Out(devices)
        Junctions that failed the repetition count test since ``restart``.
    proportion_failed : Out(devices)
        Junctions that failed the adaptive proportion test since ``restart``.
    tested : Out(1)
        A whole window has been taken since ``restart``.
    """

    def __init__(self, devices: int) -> None:
        self.devices = devices
        super().__init__(
            {
                "take": In(1),
                "bits": In(devices),
                "restart": In(1),
                "repetition_cutoff": In(REGISTERS["REPETITION_CUTOFF"].bits),
                "proportion_cutoff": In(REGISTERS["PROPORTION_CUTOFF"].bits),
                "working": Out(devices),
                "failing": Out(1),
                "repetition_failed": Out(devices),
                "proportion_failed": Out(devices),
                "tested": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        place = Signal(range(WINDOW))  # of the next bit in its window
        fresh = Signal(init=1)  # no bit has been taken since ``restart``
        failing = []
        with m.If(self.take):
            m.d.sync += [place.eq(place + 1), fresh.eq(0)]
            with m.If(place == WINDOW - 1):
                m.d.sync += self.tested.eq(1)

        for device in range(self.devices):
            bit = self.bits[device]
            last, first = Signal(name=f"last_{device}"), Signal(name=f"first_{device}")
            run = Signal.like(self.repetition_cutoff, name=f"run_{device}")
            count = Signal(range(WINDOW + 1), name=f"count_{device}")
            run_now, count_now = Signal.like(run), Signal.like(count)
            repeats, leans = Signal(name=f"repeats_{device}"), Signal(name=f"leans_{device}")
            m.d.comb += [
                run_now.eq(Mux(fresh | (bit != last), 1, run + ~run.all())),
                count_now.eq(Mux(place == 0, 1, count + (bit == first))),
                repeats.eq(self.take & (run_now >= self.repetition_cutoff)),
                leans.eq(self.take & (count_now >= self.proportion_cutoff)),
            ]
            with m.If(self.take):
                m.d.sync += [last.eq(bit), run.eq(run_now), count.eq(count_now)]
                with m.If(place == 0):
                    m.d.sync += first.eq(bit)
            with m.If(repeats):
                m.d.sync += self.repetition_failed[device].eq(1)
            with m.If(leans):
                m.d.sync += self.proportion_failed[device].eq(1)
            failed = self.repetition_failed[device] | self.proportion_failed[device]
            m.d.comb += self.working[device].eq(self.tested & ~failed & ~repeats & ~leans)
            failing.append((repeats | leans) & ~failed)

        m.d.comb += self.failing.eq(Cat(failing).any())
        with m.If(self.restart):
            m.d.sync += [
                place.eq(0),
                fresh.eq(1),
                self.tested.eq(0),
                self.repetition_failed.eq(0),
                self.proportion_failed.eq(0),
            ]
        return m
