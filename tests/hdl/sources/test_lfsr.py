"""The key source against the reference's generator, one step at a time."""

import random
from itertools import islice

import pytest
from synflip.spec import lfsr
from synflip.spec.memory_map import SEED_WORDS, Region
from synflip_hdl.sources.lfsr import LfsrSource

from tests.golden import reference
from tests.hdl.helpers import simulate

SEEDS = (0, 0x0123456789ABCDEF, 2**64 - 1)


async def load_seed(ctx, dut, seed):
    for bank in range(dut.banks):
        state = lfsr.jump(lfsr.seed_state(seed), 2 * bank + 1)
        for component, value in enumerate(state):
            ctx.set(dut.host.offset, SEED_WORDS * bank + component)
            ctx.set(dut.host.data, value)
            ctx.set(dut.host.write, 1 << Region.SEEDS)
            await ctx.tick()
    ctx.set(dut.host.write, 0)


@pytest.mark.parametrize("banks", [1, 2, 4, 8])
@pytest.mark.parametrize("seed", SEEDS)
def test_bank_q_gives_every_qth_key_and_holds_without_ready(banks, seed):
    transfers = 40
    keys = list(islice(reference.keys_from(reference.lfsr_seed(seed)), banks * transfers))
    assert keys[7] == reference.key(seed, 7)
    chance = random.Random(seed + banks)
    dut = LfsrSource(banks)
    taken = []

    async def bench(ctx):
        await load_seed(ctx, dut, seed)
        while len(taken) < transfers:
            ready = chance.random() < 0.6
            # Words for the other blocks pass by.
            ctx.set(dut.host.write, chance.choice((0, 0xFFFF & ~(1 << Region.SEEDS))))
            ctx.set(dut.host.offset, chance.randrange(SEED_WORDS * banks))
            ctx.set(dut.keys.ready, ready)
            got = [ctx.get(dut.keys.payload[bank]) for bank in range(banks)]
            # Also in idle cycles: an unready sink must see the same keys again.
            assert got == keys[len(taken) * banks : (len(taken) + 1) * banks]
            assert ctx.get(dut.keys.valid) == 1
            if ready:
                taken.append(got)
            await ctx.tick()

    simulate(dut, bench)


def test_a_second_load_restarts_the_sequence():
    dut = LfsrSource(2)

    async def bench(ctx):
        for seed in (5, 6):
            ctx.set(dut.keys.ready, 0)
            await load_seed(ctx, dut, seed)
            ctx.set(dut.keys.ready, 1)
            for transfer in range(5):
                for bank in range(2):
                    assert ctx.get(dut.keys.payload[bank]) == reference.key(seed, 2 * transfer + bank)
                await ctx.tick()

    simulate(dut, bench)
