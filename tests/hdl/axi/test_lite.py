"""AXI4-Lite on its own: rates, latency, independence of the channels.

The rest is in tests/hdl/axi/test_top.py.
"""

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import MAGIC, register
from synflip_hdl.axi.lite import AxiLite
from synflip_hdl.bus.arbiter import Arbiter
from synflip_hdl.bus.registers import REQUEST, Registers
from synflip_hdl.lib.register_slice import RegisterSlice

from tests.hdl.helpers import simulate

PLACE = 4 * register("KEY_BLOCKS")


class Dut(wiring.Elaboratable):
    """AXI4-Lite, arbiter, stage and registers, with every master's side tied off but one's."""

    def __init__(self):
        self.lite, self.registers = AxiLite(), Registers(Geometry(16, 1))

    def elaborate(self, platform):
        m = Module()
        m.submodules.lite, m.submodules.registers = self.lite, self.registers
        m.submodules.arbiter = arbiter = Arbiter(2)
        wiring.connect(m, self.lite.writes, arbiter.masters[0])
        wiring.connect(m, self.lite.reads, arbiter.masters[1])
        m.submodules.stage = stage = RegisterSlice(REQUEST)  # as in the accelerator
        wiring.connect(m, arbiter.request, stage.input)
        wiring.connect(m, stage.output, self.registers.request)
        wiring.connect(m, self.registers.response, arbiter.response)
        return m


def taken(ctx, port):
    return ctx.get(port.valid & port.ready)


@pytest.mark.parametrize("late", [-7, -1, 0, 1, 7])
def test_write_latency(late):
    """The answer comes 4 cycles after the later of address and data, whichever that is."""
    dut = Dut()
    lite = dut.lite

    async def bench(ctx):
        at = {}
        for cycle in range(20):
            for name, port, when in (("aw", lite.aw, 1 + max(late, 0)), ("w", lite.w, 1 + max(-late, 0))):
                ctx.set(port.valid, cycle == when)
                if cycle == when:
                    assert taken(ctx, port)
                    at[name] = cycle
            ctx.set(lite.aw.payload, PLACE)
            ctx.set(lite.w.payload.data, 77)
            ctx.set(lite.w.payload.strobe, 15)
            if ctx.get(lite.b.valid):
                at.setdefault("b", cycle)
            ctx.set(lite.b.ready, cycle > 18)
            await ctx.tick()
        assert at["b"] == max(at["aw"], at["w"]) + 4
        assert ctx.get(dut.registers.control.settings["KEY_BLOCKS"]) == 77

    simulate(dut, bench)


def test_read_latency():
    dut = Dut()
    lite = dut.lite

    async def bench(ctx):
        ctx.set(lite.ar.valid, 1)
        ctx.set(lite.ar.payload, 4 * register("MAGIC"))
        await ctx.tick()
        ctx.set(lite.ar.valid, 0)
        for _ in range(5):  # the answer comes 6 cycles after the request
            assert not ctx.get(lite.r.valid)
            await ctx.tick()
        for _ in range(3):
            assert ctx.get(lite.r.valid) and ctx.get(lite.r.payload.data) == MAGIC
            await ctx.tick()

    simulate(dut, bench)


def count_answers(dut, cycles, read=True, write=True, read_ready=True, write_ready=True):
    """Answers to reads and to writes that nobody keeps waiting."""
    lite = dut.lite
    counts = {"b": 0, "r": 0}

    async def bench(ctx):
        ctx.set(lite.ar.valid, read)
        ctx.set(lite.aw.valid, write)
        ctx.set(lite.w.valid, write)
        ctx.set(lite.w.payload.strobe, 15)
        ctx.set(lite.aw.payload, PLACE)
        ctx.set(lite.r.ready, read_ready)
        ctx.set(lite.b.ready, write_ready)
        for _ in range(cycles):
            for name in counts:
                counts[name] += taken(ctx, getattr(lite, name))
            await ctx.tick()

    simulate(dut, bench)
    return counts["r"], counts["b"]


def test_rates():
    """A write a cycle, a read every three; together one of each every four."""
    assert count_answers(Dut(), 104, read=False) == (0, 100)
    assert count_answers(Dut(), 156, write=False) == (50, 0)
    reads, writes = count_answers(Dut(), 405)
    assert abs(reads - writes) <= 1 and reads >= 99


def test_one_direction_does_not_stop_the_other():
    """Nobody takes the answers to reads: writes go on at full rate; and the other way round."""
    assert count_answers(Dut(), 200, read_ready=False)[1] > 180
    assert count_answers(Dut(), 300, write_ready=False)[0] > 90
