"""What the gateware tests share."""

import numpy as np
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator
from synflip.spec.memory_map import MAGIC, REGISTERS, VERSION, register


class Recorder:
    """A memory map without an accelerator, as a transport of the Python driver: it tells the sizes of a
    geometry, keeps the words that are written, and is never busy.

    words: what a read finds, by place; 0 elsewhere. order: (place, word) as they were written.
    """

    def __init__(self, geometry):
        self.words = {register(name): getattr(geometry, name.lower(), 0) for name in REGISTERS}
        self.words |= {register("MAGIC"): MAGIC, register("VERSION"): VERSION}
        self.order = []

    def write(self, place, words):
        for index, word in enumerate(np.atleast_1d(words).tolist()):
            self.order.append((place + index, word))

    def read(self, place, count):
        return np.array([self.words.get(place + index, 0) for index in range(count)], dtype=np.uint32)

    def wait(self):
        pass

    def close(self):
        pass


def put_logit(ctx, port, slot, sample, class_, logits):
    """Offer the logit of a class to ``port``, of a pass with these ``logits``."""
    logit = port.payload
    ctx.set(port.valid, 1)
    ctx.set(logit.z, logits[class_])
    ctx.set(logit.class_, class_)
    ctx.set(logit.last, class_ == len(logits) - 1)
    ctx.set(logit.current.slot, slot)
    ctx.set(logit.current.sample, sample)


def simulate(dut, *benches, background=()):
    """Clock ``dut`` until every bench is done. In a cycle a bench sets, then gets, then ticks."""
    m = Module()
    m.submodules.dut = dut
    m.d.sync += Signal(name="clocked").eq(1)  # a design without a register has no domain to tick
    sim = Simulator(m)
    sim.add_clock(1e-6)
    for bench in benches:
        sim.add_testbench(bench)
    for bench in background:
        sim.add_testbench(bench, background=True)
    sim.run()
