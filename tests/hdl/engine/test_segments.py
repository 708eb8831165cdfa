"""The segments of a program, one ahead, with the tiles of each pool window."""

import random

import pytest
from synflip.spec.cycles import SEGMENT_SPACING
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import (
    LAYER_END,
    POSITION_END,
    TAP_BITS,
    WINDOW_END,
    Region,
    entry_words,
    segments_offset,
)
from synflip_hdl.engine.segments import Segments

from tests.hdl.helpers import simulate

BANKS, EVENTS, PIXELS = 4, 256, 16


def program(chance, windows):
    """(first, past, offset, flags) of segments in windows of one to three positions of one or two."""
    entries = []
    for window in range(windows):
        positions = chance.randint(1, 3)
        for position in range(positions):
            segments = chance.randint(1, 2)
            for segment in range(segments):
                flags = POSITION_END * (segment == segments - 1)
                flags |= WINDOW_END * (flags and position == positions - 1)
                flags |= LAYER_END * (flags & WINDOW_END and window == windows - 1)
                first = chance.choice([0, chance.randrange(PIXELS)])
                entries.append((first, chance.randint(first, PIXELS), chance.randrange(1 << 10), flags))
    return entries


def in_tiles(entries, first, tiles):
    """Entries from ``first`` on in the order in which they are taken, and whether there is another tile."""
    window, order = [], []
    for entry in entries[first:]:
        window.append(entry)
        if entry[3] & WINDOW_END:
            for tile in range(tiles):
                order += [(item, tile < tiles - 1) for item in window]
            window = []
    return order


@pytest.mark.parametrize("tiles", [1, 3])
def test_a_segment_is_ready_four_cycles_after_the_one_before(tiles):
    chance = random.Random(tiles)
    dut = Segments(Geometry(16, BANKS, map_depth=64, event_depth=EVENTS))
    entries = program(chance, 6)
    taps = [[chance.randrange(16) for _ in range(BANKS)] for _ in range(5)]
    # The program is looked up from its begin, then from its second window on.
    second = 1 + next(index for index, entry in enumerate(entries) if entry[3] & WINDOW_END)

    async def write(ctx, offset, words):
        for index, word in enumerate(words):
            ctx.set(dut.host.write[Region.LAYERS], 1)
            ctx.set(dut.host.offset, offset + index)
            ctx.set(dut.host.data, word)
            await ctx.tick()
        ctx.set(dut.host.write[Region.LAYERS], 0)

    async def cycle(ctx, row):
        """A cycle in which row block ``row[1]`` of the position ``row[0]`` waits, or the next one follows."""
        position, block = row
        step = chance.randrange(2) if block + 1 < len(taps) else 0
        ctx.set(dut.demand.index, block)
        ctx.set(dut.demand.step, step)
        if position is not None:
            places = [ctx.get(dut.places.image[bank]) for bank in range(BANKS)]
            assert places == [position + tap for tap in taps[block]]
        await ctx.tick()
        row[1] += step

    async def opened(ctx, entry, row):
        """Wait until the entry is ready, in the cycle in which it must be; see what is asked meanwhile."""
        first, past, offset, flags = entry
        for age in range(1, SEGMENT_SPACING):
            assert not ctx.get(dut.demand.ready)
            if age == 2:
                assert (ctx.get(dut.places.first), ctx.get(dut.places.past)) == (first, past)
            assert ctx.get(dut.places.kept) == (age == 3)
            if age == 3:
                assert ctx.get(dut.places.none) == (first == 0)
            await cycle(ctx, row)
        for _ in range(chance.choice([0, 0, 1, 5])):
            await cycle(ctx, row)
        assert ctx.get(dut.demand.ready)
        segment = dut.demand.segment
        ends = (segment.position_end, segment.window_end, segment.layer_end)
        assert (ctx.get(segment.first), ctx.get(segment.past)) == (first, past)
        assert ctx.get(segment.offset) == offset % (1 << len(segment.offset))
        assert sum(ctx.get(bit) << place for place, bit in enumerate(ends)) == flags

    async def bench(ctx):
        place = segments_offset(dut.geometry)
        await write(ctx, place, [word for first, past, offset, flags in entries
                             for word in (first | past << 16, offset | flags << 24)])  # fmt: skip
        _, room = entry_words(TAP_BITS * BANKS)
        for block, row in enumerate(taps):
            words = [row[0] | row[1] << 16, row[2] | row[3] << 16]
            await write(ctx, 2 * place + (block << room), words)
        await write(ctx, 0, [chance.getrandbits(32) for _ in range(8)])  # the layer table
        for first in (0, second, 0):
            for _ in range(2):  # a layer that waits restarts in every cycle
                ctx.set(dut.demand.entry, first)
                ctx.set(dut.demand.restart, 1)
                await ctx.tick()
            ctx.set(dut.demand.restart, 0)
            ctx.set(dut.demand.entry, chance.randrange(len(entries)))
            row = [None, 0]
            for entry, again in in_tiles(entries, first, tiles):
                await opened(ctx, entry, row)
                ctx.set(dut.demand.take, 1)
                ctx.set(dut.demand.step, chance.randrange(2))  # the next one is the first in any case
                await ctx.tick()
                ctx.set(dut.demand.take, 0)
                ctx.set(dut.demand.again, again)
                row = [entry[0], 0]

    simulate(dut, bench)
