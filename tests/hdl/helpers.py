"""What the gateware tests share."""

from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator


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
