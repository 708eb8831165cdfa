"""Registers that only bridge distance."""

import pytest
from amaranth.hdl import Module, Signal
from synflip_hdl.lib.distance import across

from tests.hdl.helpers import simulate


@pytest.mark.parametrize("compact", [False, True])
def test_a_value_is_a_cycle_later_unless_compact(compact):
    m = Module()
    value = Signal(8)
    there = across(m, value, compact, "there")

    async def bench(ctx):
        before = 0
        for now in (3, 200, 0, 7):
            ctx.set(value, now)
            assert ctx.get(there) == (now if compact else before)
            await ctx.tick()
            before = now

    simulate(m, bench)
