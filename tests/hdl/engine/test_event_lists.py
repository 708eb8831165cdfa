"""Event lists against Python lists."""

import random

import pytest
from synflip.spec.geometry import Geometry
from synflip_hdl.engine.event_lists import EventLists

from tests.hdl.helpers import simulate

LANES = 16
SLOTS = 6
LATENCY = 2  # from an index to its events
SHIFT = 4  # log2 of the places an image has in a bank


def lists(banks, values):
    """[bank] of (row block, value) of the non-zero activations."""
    return [
        [(row // banks, values[row]) for row in range(bank, len(values), banks) if values[row]]
        for bank in range(banks)
    ]


def last_tile(banks, values):
    """The same of the last tile's activations alone."""
    begin = (len(values) - 1) // LANES * LANES
    return lists(banks, [0] * begin + values[begin:])


class Host:
    def __init__(self, ctx, dut, chance):
        self.ctx, self.dut, self.chance = ctx, dut, chance
        ctx.set(dut.control.settings["INPUT_SHIFT"], SHIFT)

    async def load(self, slot, values, idle):
        """Load an image; returns the cycles it took."""
        ctx, dut = self.ctx, self.dut
        cycles = 0
        for word in range(-(-len(values) // 4)):
            while self.chance.random() < idle:
                # A word that is not valid must not be taken: here one that would empty every list.
                ctx.set(dut.load.valid, 0)
                ctx.set(dut.load.payload, {"slot": slot, "word": 0, "data": 0x01010101})
                await ctx.tick()
                cycles += 1
            four = [*values[4 * word : 4 * word + 4], 0, 0, 0][:4]
            ctx.set(dut.load.valid, 1)
            ctx.set(
                dut.load.payload,
                {"slot": slot, "word": word, "data": sum(value << 8 * i for i, value in enumerate(four))},
            )
            for _ in range(4):  # as long as a word takes with one bank
                ready = ctx.get(dut.load.ready)
                await ctx.tick()
                cycles += 1
                if ready:
                    break
            else:
                raise AssertionError("a word was not taken")
        ctx.set(dut.load.valid, 0)
        return cycles

    async def settle(self):
        for _ in range(6):
            await self.ctx.tick()

    async def append(self, hidden_set, values, idle=0.0):
        """Append a layer's activations, Q a step."""
        ctx, dut, banks = self.ctx, self.dut, self.dut.geometry.banks
        for block in range(-(-len(values) // banks)):
            step = [*values[block * banks : (block + 1) * banks], *[0] * banks][:banks]
            while self.chance.random() < idle:
                ctx.set(dut.appends.valid, 0)
                ctx.set(dut.appends.payload.begin, 1)
                await ctx.tick()
            self.step(hidden_set, block, step)
            await ctx.tick()
        ctx.set(dut.appends.valid, 0)

    def step(self, hidden_set, block, values):
        """Q outputs, of a tile that has P."""
        ctx, append = self.ctx, self.dut.appends.payload
        ctx.set(self.dut.appends.valid, 1)
        ctx.set(append.hidden_set, hidden_set)
        ctx.set(append.begin, block == 0)
        ctx.set(append.first, block % (LANES // len(values)) == 0)
        ctx.set(append.block, block)
        for bank, value in enumerate(values):
            ctx.set(append["values"][bank], value)
            ctx.set(append.some[bank], value != 0)

    async def open(self, hidden, which, rest=0):
        ctx, dut = self.ctx, self.dut
        if not hidden:
            ctx.set(dut.reads.slot, which)
            await ctx.tick()
        ctx.set(dut.reads.hidden, hidden)
        ctx.set(dut.reads.hidden_set, which if hidden else self.chance.getrandbits(1))
        ctx.set(dut.reads.rest, rest)
        ctx.set(dut.reads.open, 1)
        await ctx.tick()
        ctx.set(dut.reads.open, 0)
        ctx.set(dut.reads.rest, self.chance.getrandbits(1))
        # The lists that were opened stay open whatever these say afterwards.
        ctx.set(dut.reads.hidden, self.chance.getrandbits(1))
        ctx.set(dut.reads.hidden_set, self.chance.getrandbits(1))
        ctx.set(dut.reads.slot, self.chance.randrange(SLOTS))

    async def check(self, wanted, room):
        """Read what is open, one event of every bank a cycle, and past the ends."""
        ctx, dut = self.ctx, self.dut
        longest = max(map(len, wanted))
        assert ctx.get(dut.reads.longest) == longest
        assert ctx.get(dut.reads.short) == (longest <= 1)
        last = min(longest + 2, room)
        for index in range(last + LATENCY):
            ctx.set(dut.reads.read, index < last)
            ctx.set(dut.reads.index, min(index, room - 1))
            if index >= LATENCY:
                self.compare(wanted, index - LATENCY, read=True)
            await ctx.tick()
        self.compare(wanted, 0, read=False)

    def compare(self, wanted, index, read):
        for bank, events in enumerate(wanted):
            got = self.dut.events.payload[bank]
            if read and index < len(events):
                assert (self.ctx.get(got.block), self.ctx.get(got.value)) == events[index], (bank, index)
            else:
                assert self.ctx.get(got.value) == 0, (bank, index)


def geometry(banks, activation_bits=8):
    return Geometry(
        lanes=LANES,
        banks=banks,
        activation_bits=activation_bits,
        event_depth=SLOTS << SHIFT,
        image_slots=SLOTS,
    )


def image(chance, rows, zeros, largest=255):
    return [0 if chance.random() < zeros else chance.randint(1, largest) for _ in range(rows)]


@pytest.mark.parametrize("banks", [1, 2, 4, 8])
@pytest.mark.parametrize("idle", [0.0, 0.5])
def test_images(banks, idle):
    chance = random.Random(banks)
    dut = EventLists(geometry(banks))
    rows = banks << SHIFT

    async def bench(ctx):
        host = Host(ctx, dut, chance)
        images = {}
        # Every slot, then some again; full, empty and short images among them.
        for slot in [*range(SLOTS), 2, 5, 0]:
            zeros = chance.choice((0.0, 0.3, 0.8, 1.0))
            images[slot] = image(chance, chance.choice((rows, rows - 3, 5, 1)), zeros)
            cycles = await host.load(slot, images[slot], idle)
            words = -(-len(images[slot]) // 4)
            if not idle:
                # 4 / min(4, Q) cycles a word; the first is taken at once, the last still works afterwards.
                assert cycles <= words * 4 // min(4, banks)
        await host.settle()
        for slot in (*range(SLOTS), 3, 3, 0):
            await host.open(0, slot)
            await host.check(lists(banks, images[slot]), 1 << SHIFT)

    simulate(dut, bench)


@pytest.mark.parametrize("banks", [1, 2, 4, 8])
def test_word_0_empties_the_lists(banks):
    chance = random.Random(banks)
    dut = EventLists(geometry(banks))

    async def bench(ctx):
        host = Host(ctx, dut, chance)
        full = [255] * (banks << SHIFT)
        await host.load(1, full, 0)
        await host.load(2, full, 0)
        await host.load(1, [0, 0, 0, 0], 0)
        await host.settle()
        await host.open(0, 1)
        await host.check([[] for _ in range(banks)], 1 << SHIFT)
        await host.open(0, 2)
        await host.check(lists(banks, full), 1 << SHIFT)
        await host.load(1, [0, 7, 0, 9], 0)
        await host.settle()
        await host.open(0, 1)
        await host.check(lists(banks, [0, 7, 0, 9]), 1 << SHIFT)

    simulate(dut, bench)


@pytest.mark.parametrize("banks", [1, 8])
def test_narrow_activations(banks):
    chance = random.Random(banks)
    dut = EventLists(geometry(banks, activation_bits=3))

    async def bench(ctx):
        host = Host(ctx, dut, chance)
        values = image(chance, banks << SHIFT, 0.3, largest=7)
        await host.load(4, values, 0)
        await host.append(1, values)
        await host.settle()
        for hidden, which in ((0, 4), (1, 1)):
            await host.open(hidden, which)
            await host.check(lists(banks, values), 1 << SHIFT)

    simulate(dut, bench)


@pytest.mark.parametrize("banks", [1, 2, 4, 8])
def test_hidden_sets_take_turns(banks):
    chance = random.Random(banks + 50)
    dut = EventLists(geometry(banks))

    async def bench(ctx):
        host = Host(ctx, dut, chance)
        pixels = image(chance, banks << SHIFT, 0.4)
        await host.load(0, pixels, 0)
        await host.settle()
        kept = {}
        for number in range(12):
            hidden_set = chance.getrandbits(1)
            values = image(chance, chance.choice((1, banks, 5 * banks, 60)), chance.choice((0.0, 0.5, 1.0)))
            kept[hidden_set] = values
            await host.append(hidden_set, values, idle=chance.choice((0.0, 0.4)))
            # At once: the last output may be appended a cycle before its layer is opened.
            for which in [hidden_set] + [other for other in kept if other != hidden_set]:
                await host.open(1, which)
                await host.check(lists(banks, kept[which]), dut.geometry.hidden_depth)
            await host.open(1, hidden_set, rest=1)
            await host.check(last_tile(banks, values), LANES // banks)
            if number % 4 == 0:
                await host.open(0, 0)
                await host.check(lists(banks, pixels), 1 << SHIFT)

    simulate(dut, bench)


def test_the_longest_hidden_layer():
    chance = random.Random(1024)
    dut = EventLists(geometry(8))

    async def bench(ctx):
        host = Host(ctx, dut, chance)
        layers = [[chance.randint(1, 255) for _ in range(1024)] for _ in range(2)]
        for hidden_set, values in enumerate(layers):
            await host.append(hidden_set, values)
        for hidden_set, values in enumerate(layers):
            await host.open(1, hidden_set)
            await host.check(lists(8, values), 128)

    simulate(dut, bench)


def test_reading_one_set_while_the_other_grows():
    chance = random.Random(3)
    banks = 4
    dut = EventLists(geometry(banks))
    first, second = image(chance, 200, 0.3), image(chance, 200, 0.3)

    async def bench(ctx):
        host = Host(ctx, dut, chance)
        await host.append(0, first)
        await host.open(1, 0)
        wanted = lists(banks, first)
        for block in range(50):
            host.step(1, block, second[block * banks : (block + 1) * banks])
            ctx.set(dut.reads.read, 1)
            ctx.set(dut.reads.index, block)
            if block >= LATENCY:
                host.compare(wanted, block - LATENCY, read=True)
            await ctx.tick()
        ctx.set(dut.appends.valid, 0)
        await host.open(1, 1)
        await host.check(lists(banks, second), dut.geometry.hidden_depth)
        await host.open(1, 0)
        await host.check(wanted, dut.geometry.hidden_depth)

    simulate(dut, bench)


@pytest.mark.parametrize("banks", [1, 2, 4, 8])
def test_a_head_is_read_while_the_rest_comes(banks):
    """Opened when all but the last tile is there; then the rest alone; then all."""
    chance = random.Random(banks + 80)
    dut = EventLists(geometry(banks))
    head, rest = image(chance, 5 * LANES, 0.4), image(chance, LANES, 0.4)

    async def bench(ctx):
        host = Host(ctx, dut, chance)
        await host.append(0, head)
        await host.open(1, 0)
        wanted = lists(banks, head)
        steps, longest = LANES // banks, max(map(len, wanted))
        for index in range(max(longest, steps) + LATENCY):
            ctx.set(dut.appends.valid, 0)
            if index < steps:
                host.step(0, 5 * steps + index, rest[index * banks : (index + 1) * banks])
            ctx.set(dut.reads.read, 1)
            ctx.set(dut.reads.index, index)
            if index >= LATENCY:
                host.compare(wanted, index - LATENCY, read=True)
            await ctx.tick()
        ctx.set(dut.appends.valid, 0)
        await host.open(1, 0, rest=1)
        await host.check(last_tile(banks, head + rest), steps)
        await host.open(1, 0)
        await host.check(lists(banks, head + rest), dut.geometry.hidden_depth)

    simulate(dut, bench)
