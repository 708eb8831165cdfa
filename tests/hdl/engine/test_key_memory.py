"""The key memory: as many samples ahead as it has halves, nothing lost, nothing overwritten early."""

import random

import pytest
from synflip.spec.cycles import KEY_RELEASE
from synflip.spec.geometry import Geometry
from synflip_hdl.engine.key_memory import KeyMemory

from tests.hdl.helpers import simulate


def key(bank, transfer):
    """A key that says where it comes from."""
    return (transfer + 1) * 0x9E3779B97F4A7C15 + bank & (1 << 64) - 1


def key_memory(banks, depth, halves=2):
    return KeyMemory(Geometry(16, banks, key_depth=depth, key_halves=halves))


class Host:
    """Drives the memory cycle by cycle and counts the transfers that it takes."""

    def __init__(self, ctx, dut, blocks, samples=1 << 20):
        self.ctx, self.dut, self.blocks, self.samples = ctx, dut, blocks, samples
        self.taken = 0
        self.asked = self.due = None  # keys asked for in this cycle, and in the one before

    async def start(self):
        self.ctx.set(self.dut.control.settings["KEY_BLOCKS"], self.blocks)
        self.ctx.set(self.dut.control.settings["SAMPLES"], self.samples)
        self.ctx.set(self.dut.control.start, 1)
        await self.ctx.tick()
        self.ctx.set(self.dut.control.start, 0)
        self.taken = 0

    async def tick(self, run=1, valid=1):
        """One cycle; returns whether a transfer was taken."""
        ctx, dut = self.ctx, self.dut
        ctx.set(dut.demand.run, run)
        ctx.set(dut.source.valid, valid)
        for bank in range(dut.geometry.banks):
            ctx.set(dut.source.payload[bank], key(bank, self.taken))
        ready = ctx.get(dut.source.ready) & valid
        assert run or not ready
        await ctx.tick()
        self.taken += ready
        for bank, wanted in enumerate(self.due or ()):
            assert ctx.get(dut.reads.data[bank]) == wanted, bank
        self.due, self.asked = self.asked, None
        return ready

    def ready(self, sample, end):
        self.ctx.set(self.dut.demand.sample, sample % 4)
        self.ctx.set(self.dut.demand.end, end)
        return self.ctx.get(self.dut.demand.ready)

    async def check_read(self, sample, blocks, valid=1):
        """Read block ``blocks[bank]`` of each bank: the data must be there two cycles after the address."""
        ctx, dut = self.ctx, self.dut
        for bank, block in enumerate(blocks):
            ctx.set(dut.reads.address[bank], (sample % 2) << dut.block_bits | block)
        self.asked = [key(bank, sample * self.blocks + block) for bank, block in enumerate(blocks)]
        await self.tick(valid=valid)
        for bank in range(len(blocks)):
            # Another address must not show in their place.
            ctx.set(dut.reads.address[bank], ctx.get(dut.reads.address[bank]) ^ 1)


@pytest.mark.parametrize("halves", [1, 2])
@pytest.mark.parametrize("banks", [1, 2, 4, 8])
@pytest.mark.parametrize(("depth", "blocks"), [(16, 16), (16, 7), (12, 12), (12, 1), (16, 2)])
def test_fills_its_halves_and_waits_for_a_release(banks, depth, blocks, halves):
    chance = random.Random(banks * blocks)
    dut = key_memory(banks, depth, halves)

    async def bench(ctx):
        host = Host(ctx, dut, blocks)
        for _ in range(2):  # the second start finds a full memory and must forget it
            await host.start()
            for number in range(halves * blocks):
                # A key a cycle, from the first cycle on.
                for end in range(1, blocks + 1):
                    for sample in range(number // blocks + 1):
                        assert host.ready(sample, end) == (number >= sample * blocks + end)
                assert await host.tick()
            for _ in range(5):
                assert not await host.tick()
            for oldest in range(5):
                for sample in range(oldest, oldest + halves):
                    assert host.ready(sample, blocks)
                    for _ in range(4):
                        await host.check_read(sample, [chance.randrange(blocks) for _ in range(banks)])
                assert host.taken == (oldest + halves) * blocks
                ctx.set(dut.demand.release, 1)
                for cycle in range(KEY_RELEASE + blocks + 4):
                    # Reads under way still see the old keys: nothing is taken before KEY_RELEASE.
                    assert await host.tick() == (KEY_RELEASE <= cycle < KEY_RELEASE + blocks), cycle
                    ctx.set(dut.demand.release, 0)
                    if cycle + 1 > KEY_RELEASE:
                        arrived = min(cycle + 1 - KEY_RELEASE, blocks)
                        for end in (1, blocks // 2 + 1, blocks):
                            assert host.ready(oldest + halves, end) == (arrived >= end)
                        assert halves == 1 or host.ready(oldest + 1, blocks)
                    elif halves == 1:
                        assert not host.ready(oldest + 1, 1)

    simulate(dut, bench)


@pytest.mark.parametrize("halves", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_a_sample_is_whole_until_its_release(seed, halves):
    """Random reads, releases and pauses: every key that is ready reads as it was written."""
    chance = random.Random(seed)
    banks, blocks = 4, 5
    dut = key_memory(banks, 8, halves)
    reads = []

    async def bench(ctx):
        host = Host(ctx, dut, blocks)
        await host.start()
        for sample in range(12):
            for _ in range(chance.randrange(12)):
                end = chance.randint(1, blocks)
                while not host.ready(sample, end):
                    await host.tick(valid=chance.random() < 0.7)
                # A key that is ready can be asked for in the next cycle, the last of them included.
                await host.tick(valid=chance.random() < 0.7)
                read = [chance.choice((end - 1, chance.randrange(end))) for _ in range(banks)]
                await host.check_read(sample, read, valid=chance.random() < 0.7)
                reads.append(read)
            while not host.ready(sample, blocks):
                await host.tick()
            await host.tick()
            ctx.set(dut.demand.release, 1)
            # The address given with the release still reads the old sample.
            await host.check_read(sample, [blocks - 1] * banks)
            ctx.set(dut.demand.release, 0)
            assert host.taken <= (sample + halves) * blocks
            for _ in range(KEY_RELEASE - 2):
                await host.check_read(sample, [0] * banks)

    simulate(dut, bench)
    assert reads


def test_nothing_is_taken_without_run():
    dut = key_memory(2, 8)

    async def bench(ctx):
        host = Host(ctx, dut, 4)
        await host.start()
        for _ in range(10):
            assert not await host.tick(run=0)
        assert not host.ready(0, 1)
        assert await host.tick()
        assert host.ready(0, 1)
        # A start in the middle of a sample begins with its first key again.
        await host.start()
        assert not host.ready(0, 1)
        for number in range(4):
            assert host.taken == number
            assert await host.tick()
        await host.tick()
        await host.check_read(0, [0, 3])
        await host.tick()

    simulate(dut, bench)


@pytest.mark.parametrize("halves", [1, 2])
@pytest.mark.parametrize("banks", [1, 2, 8])
@pytest.mark.parametrize("samples", [1, 2, 3, 6])
def test_the_last_samples_stay_for_the_host(banks, samples, halves):
    """Filling ends with the run's last sample; then the host reads, a word a cycle, three cycles later."""
    blocks = 5
    dut = key_memory(banks, 6, halves)

    async def bench(ctx):
        host = Host(ctx, dut, blocks, samples)
        await host.start()
        for sample in range(samples):
            for _ in range(20):
                await host.tick()
            ctx.set(dut.demand.release, sample < samples - 1)
            await host.tick()
            ctx.set(dut.demand.release, 0)
        for _ in range(20):
            await host.tick()
        assert host.taken == samples * blocks
        ctx.set(dut.demand.run, 0)
        wanted = [None, None]
        for sample in range(max(samples - halves, 0), samples):
            for number in range(blocks * banks):
                for part in range(2):
                    block, bank = divmod(number, banks)
                    half = (sample % halves) << dut.block_bits
                    ctx.set(dut.host.offset, ((half | block) * banks + bank) * 2 | part)
                    await ctx.tick()
                    wanted.append(key(bank, sample * blocks + block) >> 32 * part & 0xFFFFFFFF)
                    want = wanted.pop(0)
                    assert want is None or ctx.get(dut.word) == want, (sample, number, part)
        for want in wanted:
            await ctx.tick()
            assert ctx.get(dut.word) == want

    simulate(dut, bench)
