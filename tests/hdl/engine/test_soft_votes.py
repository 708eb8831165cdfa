"""Soft votes in the simulator against the contract read one number at a time."""

import random

import pytest
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring
from synflip.spec.cycles import PASS_SPACING
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import Region, energy_offset, soft_depth
from synflip.spec.sizes import SOFT_ENTRIES, SOFT_FRACTION, SOFT_POINT
from synflip_hdl.engine.soft_votes import SoftVotes

from tests.golden import reference
from tests.hdl.helpers import put_logit, simulate

SLOTS = 4
SMALLEST, LARGEST = -(2**31), 2**31 - 1
FAR = (1 << 31) - 1  # the largest entry of L


def geometry(most, sample_bits=24):
    return Geometry(
        lanes=16, banks=1, image_slots=SLOTS, result_depth=64, soft_classes=most, sample_bits=sample_bits
    )


def tables(chance, shift, depth, farthest):
    """Any numbers, E falling and L rising as tables of exponentials do."""
    exponential = sorted((chance.randint(0, 1 << SOFT_FRACTION) for _ in range(SOFT_ENTRIES)), reverse=True)
    exponential[0], exponential[-1] = 1 << SOFT_FRACTION, 0
    logarithm = sorted(chance.randint(0, farthest) for _ in range(depth))
    point = SOFT_FRACTION - SOFT_POINT
    return reference.Tables(exponential, logarithm, shift, SOFT_FRACTION, point)


class Host:
    """Drives one ``SoftVotes``; ``now`` counts cycles."""

    def __init__(self, ctx, dut, chance):
        self.ctx, self.dut, self.chance = ctx, dut, chance
        self.now = self.settled = 0  # settled: the first cycle in which the last pass is in the sums
        self.looks = 0

    async def tick(self):
        ctx, results = self.ctx, self.dut.results
        reading = self.dut.logits.valid
        if not ctx.get(reading):
            assert ctx.get(results.quiet) == (self.now >= self.settled), self.now
        self.now += 1
        await ctx.tick()

    async def write(self, table):
        ctx, dut = self.ctx, self.dut
        ctx.set(dut.control.settings["SOFT_SHIFT"], table.t)
        words = table.logarithm + [table.logarithm[-1]] * (soft_depth(dut.geometry) - len(table.logarithm))
        for offset, word in enumerate(words + table.exponential):
            ctx.set(dut.host.write[Region.SOFT], 1)
            ctx.set(dut.host.offset, offset)
            ctx.set(dut.host.data, word)
            await self.tick()
        ctx.set(dut.host.write[Region.SOFT], 0)
        ctx.set(dut.host.write[Region.MARGINS], 1)  # another's
        ctx.set(dut.host.data, 0)
        await self.tick()
        ctx.set(dut.host.write[Region.MARGINS], 0)

    async def send(self, slot, sample, logits, idle):
        ctx, dut, chance = self.ctx, self.dut, self.chance
        logit = dut.logits.payload
        for class_ in range(len(logits)):
            while chance.random() < idle:
                ctx.set(dut.logits.valid, 0)
                ctx.set(logit.z, LARGEST)  # nothing of an invalid logit counts
                ctx.set(logit.last, 1)
                await self.tick()
            ctx.set(dut.host.offset, chance.getrandbits(24))
            put_logit(ctx, dut.logits, slot, sample, class_, logits)
            await self.tick()
        ctx.set(dut.logits.valid, 0)
        self.settled = self.now - 1 + 2 * len(logits) + 11
        for _ in range(PASS_SPACING - len(logits)):
            await self.tick()

    async def look(self, offset):
        """A word that no pass changes, in whatever cycle the memories are free."""
        ctx, dut = self.ctx, self.dut
        while not ctx.get(dut.results.free):
            await self.tick()
        ctx.set(dut.host.offset, offset)
        await self.tick()
        self.looks += 1
        return ctx.get(dut.results.word)


async def run(host, table, classes, images, samples, idle, draw, first_slot=0):
    """A run, then everything read; an image of the run before, in the last slot, also while it goes on."""
    ctx, dut, chance = host.ctx, host.dut, host.chance
    shift = (classes - 1).bit_length()
    ctx.set(dut.control.settings["CLASS_SHIFT"], shift)
    ctx.set(dut.control.settings["CLASSES"], classes - 1)
    votes = {slot: [0] * classes for slot in range(first_slot, first_slot + images)}
    energies = dict.fromkeys(votes, 0)
    for sample in range(samples):
        for slot in votes:
            logits = [draw(chance) for _ in range(classes)]
            await host.send(slot, sample, logits, idle)
            added, energy = reference.soft_votes(logits, table)
            energies[slot] += energy
            votes[slot] = [a + b for a, b in zip(votes[slot], added, strict=True)]
    while not ctx.get(dut.results.quiet):
        await host.tick()
    for slot in votes:
        await check(host, slot, shift, votes[slot], energies[slot])
    return votes, energies


async def check(host, slot, shift, votes, energy):
    for class_, vote in enumerate(votes):
        assert await host.look(slot << shift | class_) == vote, (slot, class_)
    low, high = [await host.look(energy_offset(host.dut.geometry) + slot * 2 + half) for half in range(2)]
    assert (high << 32 | low) == energy % (1 << 64), slot


class Aborted(wiring.Component):
    """A unit with a reset of its own."""

    def __init__(self, inner):
        self.inner, self.geometry, self.abort = inner, inner.geometry, Signal()
        super().__init__(inner.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = ResetInserter(self.abort)(self.inner)
        wiring.connect(m, wiring.flipped(self), self.inner)
        return m


def simulated(dut, work):
    async def bench(ctx):
        await work(Host(ctx, dut, random.Random(5)))

    simulate(dut, bench)


def small(chance):
    return chance.randint(-300, 300)


def tied(chance):
    return chance.choice((7, 7, 7, -500))


def wide(chance):
    return chance.choice((SMALLEST, LARGEST, chance.randint(SMALLEST, LARGEST)))


@pytest.mark.parametrize("classes", [1, 2, 3, 4, 5, 10])
@pytest.mark.parametrize(("shift", "farthest", "draw"), [(3, 400, small), (0, 3, tied), (31, FAR, wide)])
def test_one_pass_behind_the_other(classes, shift, farthest, draw):
    """As close as the sequencer sends them, and with pauses; all of one image, or images by turns."""

    async def work(host):
        for images, samples, idle in ((1, 7, 0), (SLOTS, 4, 0), (2, 4, 0.3)):
            table = tables(host.chance, shift, 16 * 10 + 1, farthest)
            await host.write(table)
            await run(host, table, classes, images, samples, idle, draw)

    simulated(SoftVotes(geometry(10)), work)


@pytest.mark.parametrize("most", [1, 3, 4, 15, 16])
def test_all_classes_that_there_is_room_for(most):
    """All logits equal: Z is as large as it can be, and its index the table's last."""

    async def work(host):
        table = tables(host.chance, 4, 16 * most + 1, 1000)
        await host.write(table)
        await run(host, table, most, 2, 3, 0, lambda chance: 5)
        await run(host, table, most, 2, 3, 0, small)

    simulated(SoftVotes(geometry(most)), work)


def test_other_images_are_read_while_a_run_goes_on():
    async def work(host):
        table = tables(host.chance, 3, 81, 400)
        await host.write(table)
        votes, energies = await run(host, table, 5, 1, 3, 0, small, first_slot=3)
        for sample in range(6):
            await host.send(0, sample, [small(host.chance) for _ in range(5)], 0.2)
            await check(host, 3, 3, votes[3], energies[3])

    simulated(SoftVotes(geometry(5)), work)


def test_sums_of_a_small_device():
    """As many samples as it counts, with the largest soft votes, and the largest energies of both signs."""

    async def work(host):
        table = reference.Tables([256] * 63 + [0], [FAR] * 17, 31, SOFT_FRACTION, SOFT_POINT)
        await host.write(table)
        for end in (SMALLEST, LARGEST):
            votes, _ = await run(host, table, 1, 1, 15, 0, lambda chance, end=end: end)
            assert votes[0] == [15 * 256]

    simulated(SoftVotes(geometry(1, sample_bits=4), compact=True), work)


def test_an_abort_leaves_nothing_behind():
    """Reset in the middle of anything, as an abort does; the run after it is right."""
    dut = Aborted(SoftVotes(geometry(6)))

    async def work(host):
        table = tables(host.chance, 3, 97, 400)
        await host.write(table)
        await run(host, table, 6, 2, 2, 0, small)
        for more in range(0, 24, 3):
            await host.send(0, 0, [small(host.chance) for _ in range(6)], 0)
            for _ in range(more):
                await host.tick()
            host.ctx.set(dut.abort, 1)
            host.settled = host.now + 100
            await host.ctx.tick()
            host.ctx.set(dut.abort, 0)
            host.now, host.settled = host.now + 1, host.now + 1
            await run(host, table, 6, 2, 2, 0, small)

    simulated(dut, work)
