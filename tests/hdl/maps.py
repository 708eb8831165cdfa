"""Convolutions through the whole accelerator in Amaranth's simulator, beside the contract's reference.

A command, too: ``python -m tests.hdl.maps NAME`` says how a network of ``tests.mapped`` differs, and fails if
it does. Defects of the gateware are put in front of it on the path.
"""

import numpy as np
from amaranth.sim import Simulator
from synflip.devices.accelerator import Accelerator as Driver
from synflip.inference.plan import check_fit
from synflip.spec.memory_map import Region, address, register
from synflip_hdl.accelerator import Accelerator

from tests.hdl.helpers import Recorder
from tests.mapped import SEED, Case, expected

PATIENCE = 20_000  # cycles of a run


def simulated(case: Case) -> tuple[list[int], list[int]]:
    """The same of the gateware, with what the driver writes."""
    model, geometry = case.model(), case.geometry
    check_fit(model, geometry)
    recorder = Recorder(geometry)
    driver = Driver(recorder)
    driver.load(model)
    margins = None if case.margins is None else np.array(case.margins)
    driver.infer(case.pixels(), case.samples, SEED, margins, True)
    dut = Accelerator(geometry, case.compact)
    logits: list[int] = []
    cycles: list[int] = []

    async def bench(ctx):
        async def access(write, place, word=0):
            ctx.set(dut.request.payload, {"write": write, "address": place, "data": word})
            ctx.set(dut.request.valid, 1)
            taken = 0
            while not taken:
                taken = ctx.get(dut.request.ready)
                await ctx.tick()
            ctx.set(dut.request.valid, 0)
            while not ctx.get(dut.response.valid):
                await ctx.tick()
            answer, refused = ctx.get(dut.response.payload.data), ctx.get(dut.response.payload.error)
            await ctx.tick()
            assert not refused, f"{place:#x}"
            return answer

        ctx.set(dut.response.ready, 1)
        for place, word in recorder.order:
            await access(1, place, word)
            if place == register("CONTROL"):
                for _ in range(5):
                    await ctx.tick()
                for _ in range(PATIENCE):
                    if not ctx.get(dut.busy):
                        break
                    await ctx.tick()
                else:
                    raise AssertionError("the run does not end")
                cycles.append(await access(0, register("CYCLES_LOW")))
                for number in range(await access(0, register("LOGGED"))):
                    word = await access(0, address(Region.LOG, number))
                    logits.append(word - (word >> 31 << 32))

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return logits, cycles


def difference(case: Case) -> str:
    """In words; empty if there is none."""
    wanted, seen = expected(case), simulated(case)
    for what, want, have in zip(("logits", "cycles"), wanted, seen, strict=True):
        if want != have:
            return f"{what}: expected {want}, seen {have}"
    return ""
