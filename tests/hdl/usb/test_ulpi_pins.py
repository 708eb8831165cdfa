"""A transceiver's pins, its clock, and its reset."""

from types import SimpleNamespace

import pytest
from amaranth.hdl import ClockDomain, Module, ResetSignal, Signal
from amaranth.lib import io
from amaranth.sim import Simulator

ulpi = pytest.importorskip("synflip_hdl.boards.ulpi")

WAYS = {"clk": "i", "dir": "i", "nxt": "i", "stp": "o", "rst": "o"}


class Pins:
    """A platform that has a transceiver and nothing else."""

    def __init__(self):
        self.ports = {name: io.SimulationPort(way, 1, name=name) for name, way in WAYS.items()}
        self.ports["data"] = io.SimulationPort("io", 8, name="data")
        self.clocks = []

    def lookup(self, *resource):
        return SimpleNamespace(ios=[SimpleNamespace(name=name) for name in self.ports])

    def request(self, *resource, dir):
        assert dir == dict.fromkeys(self.ports, "-")
        return SimpleNamespace(**self.ports)

    def add_clock_constraint(self, clock, frequency):
        self.clocks.append(frequency)


def test_usb_waits_for_the_transceiver_even_if_its_clock_stops_in_reset(monkeypatch):
    start = 20
    monkeypatch.setattr(ulpi, "START", start)
    platform, m, restart, reset = Pins(), Module(), Signal(init=1), Signal()
    m.domains += [ClockDomain(name) for name in ulpi.UlpiPins.DOMAINS]
    m.submodules.dut = ulpi.UlpiPins(("ulpi", 0), restart)
    m.d.comb += reset.eq(ResetSignal("usb"))
    ports = platform.ports

    async def bench(context):
        async def cycle():
            for level in (0, 1):
                context.set(ports["clk"].i, level)
                await context.delay(8e-9)

        async def waited():
            """Cycles until ``usb`` runs."""
            for count in range(10 * start):
                if not context.get(reset):
                    return count
                await cycle()

        await context.delay(1e-6)
        assert context.get(ports["rst"].o) == context.get(reset) == 1
        context.set(restart, 0)
        await context.delay(1e-6)
        assert context.get(ports["rst"].o) == 0 and context.get(reset) == 1, "it needs the clock"
        assert start <= await waited() <= start + 3
        for _ in range(start):
            await cycle()
            assert not context.get(reset)
        context.set(restart, 1)
        await cycle()
        assert context.get(ports["rst"].o) == context.get(reset) == 1
        context.set(restart, 0)
        assert start <= await waited() <= start + 3

    from amaranth.hdl import Fragment

    simulator = Simulator(Fragment.get(m, platform))
    simulator.add_testbench(bench)
    simulator.run()
    assert platform.clocks == [60e6]
