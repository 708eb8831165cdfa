"""The stage: a register in a stream."""

import random

import pytest
from synflip_hdl.lib.register_slice import RegisterSlice

from tests.hdl.helpers import simulate


def check(valid, ready, cycles=400, seed=1):
    """Transfers with pauses of either side. Returns the cycles in which they entered and left.

    valid, ready: how likely a transfer is offered, or taken, in a cycle.
    """
    chance = random.Random(seed)
    dut = RegisterSlice(16)
    entered, left = [], []

    async def bench(ctx):
        offered, waiting = False, None
        for cycle in range(cycles):
            # An offer stays until it is taken; what is on the wires without one must have no effect.
            offered = offered or chance.random() < valid
            ctx.set(dut.input.valid, offered)
            ctx.set(dut.input.payload, len(entered) + 1 if offered else chance.getrandbits(16))
            takes = chance.random() < ready
            ctx.set(dut.output.ready, takes)
            there, number = ctx.get(dut.output.valid), ctx.get(dut.output.payload)
            assert there == (len(entered) > len(left))
            if waiting is not None:
                assert there and number == waiting
            waiting = number if there and not takes else None
            if there and takes:
                left.append(cycle)
                assert number == len(left)
            # It takes one in each cycle but those in which the one before stays.
            assert ctx.get(dut.input.ready) == (waiting is None)
            if offered and waiting is None:
                entered.append(cycle)
                offered = False
            await ctx.tick()

    simulate(dut, bench)
    return entered, left


@pytest.mark.parametrize("valid", [1.0, 0.7, 0.2])
@pytest.mark.parametrize("ready", [1.0, 0.7, 0.2])
def test_every_transfer_leaves_once_in_order(valid, ready):
    entered, left = check(valid, ready)
    assert len(entered) - len(left) <= 1 and len(left) > 40


def test_latency_is_a_cycle_and_throughput_a_transfer_a_cycle():
    entered, left = check(1.0, 1.0, cycles=20)
    assert entered == list(range(20))
    assert left == list(range(1, 20))


def test_one_transfer_waits_inside():
    entered, left = check(1.0, 0.0, cycles=20)
    assert entered == [0] and left == []
