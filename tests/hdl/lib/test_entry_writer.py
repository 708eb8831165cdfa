"""The entry writer: words in, whole entries out."""

import random

import pytest
from synflip.spec.memory_map import entry_words
from synflip_hdl.lib.entry_writer import EntryWriter

from tests.hdl.helpers import simulate


@pytest.mark.parametrize("bits", [17, 32, 33, 64, 80, 96, 256, 320, 128 * 17])
def test_an_entry_is_committed_with_its_last_word(bits):
    chance = random.Random(bits)
    dut = EntryWriter(bits)
    words, room = entry_words(bits)
    assert words == -(-bits // 32) and 1 << room >= words > (1 << room) // 2
    entries = [(chance.randrange(1 << 12), chance.getrandbits(bits)) for _ in range(6)]
    entries.append(((1 << (24 - room)) - 1, (1 << bits) - 1))
    committed = []

    async def bench(ctx):
        for entry, value in entries:
            for word in range(words):
                while chance.random() < 0.4:
                    # A word that is not valid must neither be kept nor commit.
                    ctx.set(dut.valid, 0)
                    ctx.set(dut.offset, chance.getrandbits(24))
                    ctx.set(dut.data, chance.getrandbits(32))
                    assert ctx.get(dut.commit) == 0
                    await ctx.tick()
                ctx.set(dut.valid, 1)
                ctx.set(dut.offset, entry << room | word)
                # The unused bits of the last word are the host's to fill.
                ctx.set(dut.data, (value | chance.getrandbits(32) << bits) >> 32 * word & 0xFFFFFFFF)
                assert ctx.get(dut.commit) == (word == words - 1)
                if ctx.get(dut.commit):
                    committed.append((ctx.get(dut.entry), ctx.get(dut.value)))
                await ctx.tick()

    simulate(dut, bench)
    assert committed == entries
