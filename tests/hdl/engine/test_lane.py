"""A lane against a sum of integers."""

import random

import pytest
from synflip.spec.sizes import ACCUMULATOR_BITS
from synflip_hdl.engine.lane import Lane

from tests.hdl.helpers import simulate


def check(banks, activation_bits, rows, lasts):
    """``rows``: [(coin, sign, x)] a bank, one row a cycle. ``lasts``: whether the row ends its tile."""
    dut = Lane(banks, activation_bits, ACCUMULATOR_BITS)
    latency = banks.bit_length() - 1

    async def bench(ctx):
        total = 0
        for cycle in range(len(rows) + latency):
            # After the rows, nothing but signs: without an event a sign must not count.
            row = rows[cycle] if cycle < len(rows) else [(0, 1, 0)] * banks
            ctx.set(dut.coins, sum(coin << bank for bank, (coin, _, _) in enumerate(row)))
            ctx.set(dut.signs, sum(sign << bank for bank, (_, sign, _) in enumerate(row)))
            for bank, (_, _, x) in enumerate(row):
                ctx.set(dut.x[bank], x)
            done = cycle - latency
            if done >= 0:
                total += sum((-x if sign else x) for coin, sign, x in rows[done] if coin)
                ctx.set(dut.last, lasts[done])
                assert ctx.get(dut.total) == total, done
                if lasts[done]:
                    total = 0
            await ctx.tick()

    simulate(dut, bench)


@pytest.mark.parametrize("banks", [1, 2, 4, 8])
@pytest.mark.parametrize("activation_bits", [1, 5, 8])
def test_random_tiles(banks, activation_bits):
    chance = random.Random(banks * 10 + activation_bits)
    rows = [
        [
            (chance.getrandbits(1), chance.getrandbits(1), chance.getrandbits(activation_bits))
            for _ in range(banks)
        ]
        for _ in range(400)
    ]
    # Tiles of one row and longer ones, back to back.
    check(banks, activation_bits, rows, [chance.random() < 0.3 for _ in rows])


@pytest.mark.parametrize("banks", [1, 2, 4, 8])
def test_every_combination_of_signs_at_the_largest_activation(banks):
    rows = [
        [(coins >> bank & 1, signs >> bank & 1, 255) for bank in range(banks)]
        for signs in range(1 << banks)
        for coins in {0, signs, (1 << banks) - 1}
    ]
    check(banks, 8, rows, [index % 2 for index in range(len(rows))])


@pytest.mark.parametrize("sign", [0, 1])
def test_the_largest_sum_fits(sign):
    # 4096 rows of 8 banks at 255 are 8,355,840: 2**23 less the last half per cent.
    rows = [[(1, sign, 255)] * 8] * 4096
    check(8, 8, rows, [False] * 4095 + [True])
