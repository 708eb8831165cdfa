"""Coins against the reference's words and thresholds."""

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from synflip.spec.geometry import Geometry
from synflip_hdl.engine.coin_comparators import CoinComparators, below

from tests.golden import reference
from tests.hdl.helpers import simulate

LATENCY = 3  # key to coins
ENTRY_AFTER = 2  # cycles after the key


def position(lane, lanes):
    """Of a lane's bit among the P of a plane: the lanes of the same taps, 16 apart, lie side by side."""
    return [16 * turn + tap for tap in range(16) for turn in range(lanes // 16)].index(lane)


class Below(wiring.Component):
    def __init__(self, bits):
        self.bits = bits
        super().__init__({"word": In(bits), "q": In(bits), "coin": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.coin.eq(below(self.word, self.q))
        return m


def check_below(bits, pairs):
    dut = Below(bits)

    async def bench(ctx):
        for word, q in pairs:
            ctx.set(dut.word, word)
            ctx.set(dut.q, q)
            assert ctx.get(dut.coin) == (word < reference.threshold(q, bits)), (word, q)

    simulate(dut, bench)


@pytest.mark.parametrize("bits", range(1, 7))
def test_below_is_word_less_than_threshold(bits):
    check_below(bits, [(word, q) for word in range(1 << bits) for q in range(1 << bits)])


def test_below_at_16_bits():
    chance = random.Random(16)
    pairs = [(chance.getrandbits(16), chance.getrandbits(16)) for _ in range(1000)]
    for q in (0, 1, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x1234, 0xABCD):
        # A wrong carry shows at the threshold and nowhere else.
        target = reference.threshold(q, 16)
        pairs += [(word, q) for word in (target - 1, target, target + 1) if 0 <= word < 1 << 16]
    check_below(16, pairs)


@pytest.mark.parametrize("lanes", [16, 48, 64, 128])
@pytest.mark.parametrize("bits", [4, 16])
def test_a_row_a_cycle(lanes, bits):
    chance = random.Random(lanes * bits)
    dut = CoinComparators(Geometry(lanes=lanes, banks=1, bits=bits))
    tiles = 1024 // lanes
    rows = []
    for number in range(24):
        tile = (0, tiles - 1)[number] if number < 2 else chance.randrange(tiles)
        # Mostly thresholds around one half: a coin then has something to decide.
        weights = [
            (
                chance.choice((chance.getrandbits(bits), 1 << (bits - 1), 0, (1 << bits) - 1)),
                chance.getrandbits(1),
            )
            for _ in range(lanes)
        ]
        rows.append((chance.getrandbits(64), tile, weights))
    seen = []

    async def bench(ctx):
        for cycle in range(len(rows) + LATENCY):
            if cycle < len(rows):
                ctx.set(dut.key, rows[cycle][0])
                ctx.set(dut.turn, rows[cycle][1] * lanes // 16 % 64)
            if 0 <= cycle - ENTRY_AFTER < len(rows):
                entry = 0
                for lane, (q, sign) in enumerate(rows[cycle - ENTRY_AFTER][2]):
                    for plane, bit in enumerate([*(q >> b & 1 for b in range(bits)), sign]):
                        entry |= bit << plane * lanes + position(lane, lanes)
                ctx.set(dut.entry, entry)
            if cycle >= LATENCY:
                key, tile, weights = rows[cycle - LATENCY]
                coins = [reference.coin(key, tile * lanes + p, q, bits) for p, (q, _) in enumerate(weights)]
                signs = [sign for _, sign in weights]
                got_coins, got_signs = ctx.get(dut.coins), ctx.get(dut.signs)
                assert [got_coins >> position(p, lanes) & 1 for p in range(lanes)] == coins
                assert [got_signs >> position(p, lanes) & 1 for p in range(lanes)] == signs
                seen.extend(coins)
            await ctx.tick()

    simulate(dut, bench)
    assert len(seen) == len(rows) * lanes
    assert 0 < sum(seen) < len(seen)
