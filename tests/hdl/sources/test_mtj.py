"""Tunnel junctions to keys, against the same in plain Python."""

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from synflip.spec.geometry import Geometry
from synflip.spec.health import WINDOW
from synflip_hdl.sources.mtj import MtjSource, compact

from tests.hdl.helpers import simulate

PERIOD = 8


class Twin:
    """Raw bits, a take at a time, to transfers of keys that are taken at once."""

    def __init__(self, banks, devices, fold, von_neumann, least, repetition, proportion):
        self.banks, self.devices = banks, range(devices)
        self.fold, self.von_neumann, self.least = fold, von_neumann, least
        self.repetition, self.proportion = repetition, proportion
        self.takes = 0
        self.last, self.run = [None] * devices, [0] * devices
        self.first, self.count = [None] * devices, [0] * devices
        self.stuck, self.biased = set(), set()
        self.transfers = []
        self.discard()

    def discard(self):
        self.folding, self.left, self.held, self.pool, self.keys = [0] * len(self.devices), 0, None, [], []

    @property
    def working(self):
        return [d for d in self.devices if self.takes >= WINDOW and d not in self.stuck | self.biased]

    def take(self, bits):
        before = self.stuck | self.biased
        tested = self.takes >= WINDOW
        for d in self.devices:
            self.run[d] = self.run[d] + 1 if bits[d] == self.last[d] else 1
            self.last[d] = bits[d]
            if self.takes % WINDOW == 0:
                self.first[d], self.count[d] = bits[d], 1
            else:
                self.count[d] += bits[d] == self.first[d]
            if self.run[d] >= self.repetition:
                self.stuck.add(d)
            if self.count[d] >= self.proportion:
                self.biased.add(d)
        self.takes += 1
        if self.stuck | self.biased != before:
            self.discard()
            return
        self.folding = [a ^ b for a, b in zip(self.folding, bits, strict=True)]
        self.left += 1
        if self.left < self.fold:
            return
        folded, self.folding, self.left = self.folding, [0] * len(self.devices), 0
        if self.von_neumann:
            if self.held is None:
                self.held = folded
                return
            pairs, self.held = list(zip(self.held, folded, strict=True)), None
        else:
            pairs = [(bit, 1 - bit) for bit in folded]
        healthy = [d for d in self.devices if tested and d not in self.stuck | self.biased]
        self.pool += [pairs[d][0] for d in healthy if pairs[d][0] != pairs[d][1]]
        if len(self.pool) >= 64:
            self.keys.append(sum(bit << place for place, bit in enumerate(self.pool[:64])))
            self.pool = self.pool[64:]
        if len(self.keys) == self.banks:
            if len(healthy) >= self.least:
                self.transfers.append(self.keys)
                self.keys = []
            else:
                self.pool = []  # nobody takes them: bits are thrown away


def check(
    banks,
    devices,
    takes,
    bits_of,
    fold=1,
    von_neumann=0,
    least=1,
    repetition=40,
    proportion=800,
    restart=None,
):
    """Feed ``takes`` takes; every transfer must be the twin's. ``restart``: before which take."""
    dut = MtjSource(Geometry(16, banks, devices=devices))
    settings, junctions = dut.control.settings, dut.junctions
    arguments = (banks, devices, fold, von_neumann, least, repetition, proportion)
    twins = [Twin(*arguments)]
    got = [[]]
    alarms = []

    async def bench(ctx):
        ctx.set(settings["FOLD"], fold)
        ctx.set(settings["VON_NEUMANN"], von_neumann)
        ctx.set(settings["LEAST_DEVICES"], least)
        ctx.set(settings["REPETITION_CUTOFF"], repetition)
        ctx.set(settings["PROPORTION_CUTOFF"], proportion)
        ctx.set(junctions.restart, 1)
        await ctx.tick()
        ctx.set(junctions.restart, 0)
        ctx.set(dut.keys.ready, 1)
        for number in range(takes):
            if number == restart:
                ctx.set(junctions.restart, 1)
                await ctx.tick()
                ctx.set(junctions.restart, 0)
                twins.append(Twin(*arguments))
                got.append([])
            bits = bits_of(number)
            twins[-1].take(bits)
            for cycle in range(PERIOD):
                ctx.set(dut.strobe, cycle < PERIOD // 2)
                if cycle == 0:
                    ctx.set(dut.raw, sum(bit << d for d, bit in enumerate(bits)))
                if cycle == 5:  # it need not be still any longer
                    ctx.set(dut.raw, random.Random(number).getrandbits(devices))
                if ctx.get(dut.keys.valid):
                    got[-1].append([ctx.get(dut.keys.payload[bank]) for bank in range(banks)])
                await ctx.tick()
            if number % 100 == 99:
                assert ctx.get(junctions.working) == len(twins[-1].working), number
                alarms.append(ctx.get(junctions.alarm))
                assert alarms[-1] == (twins[-1].takes >= WINDOW and len(twins[-1].working) < least)
        for device in range(devices):
            ctx.set(dut.host.offset, device)
            await ctx.tick()
            twin = twins[-1]
            works, stuck, biased = device in twin.working, device in twin.stuck, device in twin.biased
            assert ctx.get(dut.results.flags) == works | stuck << 1 | biased << 2

    simulate(dut, bench)
    # The last one may be on its way still.
    for twin, seen in zip(twins, got, strict=True):
        assert seen == twin.transfers[: len(seen)] and len(twin.transfers) - len(seen) <= 1
    return got, alarms


def fair(seed):
    chance = random.Random(seed)
    return lambda devices: [chance.getrandbits(1) for _ in range(devices)]


@pytest.mark.parametrize("banks", [1, 2, 8])
@pytest.mark.parametrize(("fold", "von_neumann"), [(1, 0), (2, 0), (3, 1)])
def test_keys_of_fair_devices(banks, fold, von_neumann):
    devices = 7
    draw = fair(banks * fold)
    takes = WINDOW + 64 * banks * fold * (4 if von_neumann else 1) * 3 // devices + 40
    got, _ = check(banks, devices, takes, lambda number: draw(devices), fold, von_neumann)
    assert len(got[0]) >= 2


@pytest.mark.parametrize("devices", [1, 2, 5, pytest.param(32, marks=pytest.mark.nightly)])
def test_devices_that_fail(devices):
    """A device sticks, another leans; what was on its way goes with each."""
    draw = fair(devices)

    def bits_of(number):
        bits = draw(devices)
        if number >= WINDOW + 300:
            bits[0] = 1
        if devices > 2 and number >= WINDOW + 400:
            bits[2] |= number % 10 != 3
        return bits

    got, alarms = check(1, devices, 3 * WINDOW, bits_of, least=max(devices - 1, 1), restart=2 * WINDOW + 500)
    assert alarms[0] == 0
    assert any(alarms) == (devices != 2)
    assert len(got[0]) >= 1


def test_a_cut_off_of_zero_fails_every_device():
    draw = fair(0)
    got, alarms = check(1, 3, WINDOW + 200, lambda number: draw(3), repetition=0)
    assert got == [[]] and alarms[-1] == 1


@pytest.mark.parametrize("n", [1, 2, 3, 8, 13])
def test_compaction(n):
    class Compact(wiring.Component):
        bits: In(n)
        mask: In(n)
        packed: Out(n)
        count: Out(n.bit_length())

        def elaborate(self, platform):
            m = Module()
            packed, count = compact(m, self.bits, self.mask)
            m.d.comb += [self.packed.eq(packed), self.count.eq(count)]
            return m

    dut = Compact()
    chance = random.Random(n)

    async def bench(ctx):
        for _ in range(300):
            bits, mask = chance.getrandbits(n), chance.getrandbits(n)
            ctx.set(dut.bits, bits)
            ctx.set(dut.mask, mask)
            kept = [bits >> place & 1 for place in range(n) if mask >> place & 1]
            assert ctx.get(dut.count) == len(kept)
            assert ctx.get(dut.packed) == sum(bit << place for place, bit in enumerate(kept))
            await ctx.tick()

    simulate(dut, bench)
