"""Health tests of raw random bits: NIST SP 800-90B, section 4.4, for n devices side by side."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from synflip.spec.health import WINDOW
from synflip.spec.memory_map import REGISTERS


class HealthTests(wiring.Component):
    """Repetition count and adaptive proportion of each device. A device's bits may be used once it has passed
    a whole window, and no more once it has failed, until ``restart``. One bit of each device a cycle.

    Members
    -------
    take, bits: one raw bit of each device. restart: forget everything.
    repetition_cutoff, proportion_cutoff: see ``synflip.spec.health``; 0 fails every device.
    working: devices whose bits may be used, the ones of this cycle included. failing: a device fails with the
        bits of this cycle. repetition_failed, proportion_failed: which test, kept. tested: a window is over.
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
        fresh = Signal(init=1)  # no bit was taken yet
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
