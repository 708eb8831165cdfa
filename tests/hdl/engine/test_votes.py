"""Votes against counting in Python."""

import random

import pytest
from synflip.spec.cycles import LOGIT_TO_DECISION, PASS_SPACING, VOTE_WRITTEN
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import OPTION_EARLY, OPTION_LOG, Region
from synflip_hdl.engine.votes import Votes

from tests.golden import reference
from tests.hdl.helpers import put_logit, simulate

GEOMETRY = Geometry(lanes=16, banks=1, image_slots=8, result_depth=128, log_depth=300, margin_depth=64)
SMALLEST, LARGEST = -(2**31), 2**31 - 1


def signed(value, bits):
    return value - (1 << bits) if value >> (bits - 1) else value


class Host:
    """Drives one ``Votes`` and keeps what it should hold."""

    def __init__(self, ctx, dut, chance):
        self.ctx, self.dut, self.chance = ctx, dut, chance
        self.decisions = 0
        self.looks = 0
        self.shift = 0
        self.now = 0  # cycles so far
        self.under_way = []  # of passes whose last logit has come: cycle of the decision, slot, sample
        self.decided = {}  # slot -> whether it leaves, of its last decision
        self.settled = {}  # slot -> (votes, sums) of images that had a pass

    async def tick(self):
        """A cycle, in which the pass that is due, and no other, is decided."""
        ctx, decisions = self.ctx, self.dut.decisions
        due = bool(self.under_way) and self.under_way[0][0] == self.now
        assert ctx.get(decisions.valid) == due
        if due:
            _, slot, sample = self.under_way.pop(0)
            assert ctx.get(decisions.payload.current.slot) == slot
            assert ctx.get(decisions.payload.current.sample) == sample
            self.decided[slot] = ctx.get(decisions.payload.leaves)
            self.decisions += 1
        self.now += 1
        await ctx.tick()

    async def write_margins(self, margins):
        ctx, dut = self.ctx, self.dut
        for sample, margin in enumerate(margins):
            ctx.set(dut.host.write[Region.MARGINS], 1)
            ctx.set(dut.host.offset, sample)
            ctx.set(dut.host.data, margin)
            await ctx.tick()
        ctx.set(dut.host.write[Region.MARGINS], 0)

    async def start(self, class_shift, samples, early, log):
        ctx, dut = self.ctx, self.dut
        settings = dut.control.settings
        ctx.set(settings["CLASS_SHIFT"], class_shift)
        ctx.set(settings["SAMPLES"], samples)
        ctx.set(settings["OPTIONS"], OPTION_EARLY * early | OPTION_LOG * log)
        ctx.set(dut.control.start, 1)
        await ctx.tick()
        ctx.set(dut.control.start, 0)
        self.shift, self.settled = class_shift, {}
        # What the host's address holds in a run must not matter.
        ctx.set(dut.host.offset, self.chance.getrandbits(24))

    async def send(self, slot, sample, logits, idle):
        """One pass, in the cycle after the one before, or as much later as the sequencer sends it."""
        ctx, dut = self.ctx, self.dut
        logit = dut.logits.payload
        for class_ in range(len(logits)):
            while self.chance.random() < idle:
                # Nothing of an invalid logit counts, however large.
                ctx.set(dut.logits.valid, 0)
                ctx.set(logit.z, LARGEST)
                await self.look(other_than=slot)
            ctx.set(dut.host.offset, self.chance.getrandbits(24))
            put_logit(ctx, dut.logits, slot, sample, class_, logits)
            assert ctx.get(dut.results.free) == 0
            await self.tick()
        ctx.set(dut.logits.valid, 0)
        self.under_way.append((self.now - 1 + LOGIT_TO_DECISION, slot, sample))
        waits = max(PASS_SPACING - len(logits), 0)
        for _ in range(max(waits, VOTE_WRITTEN) if sample == 0 else waits):
            await self.tick()

    async def finish(self):
        """Waits for the decisions under way."""
        while self.under_way:
            await self.tick()

    async def look(self, other_than):
        """One cycle; if the memories are free, a look at an image that had its turn in this run."""
        ctx, dut = self.ctx, self.dut
        busy = {other_than} | {slot for _, slot, _ in self.under_way}
        slots = [slot for slot in self.settled if slot not in busy]
        if not ctx.get(dut.results.free) or not slots:
            await self.tick()
            return
        slot = self.chance.choice(slots)
        votes, sums = self.settled[slot]
        class_ = self.chance.randrange(len(votes))
        ctx.set(dut.host.offset, slot << self.shift | class_)
        await self.tick()
        assert ctx.get(dut.results.vote) == votes[class_]
        while not ctx.get(dut.results.free):
            await self.tick()
        ctx.set(dut.host.offset, (slot << self.shift | class_) * 2)
        await self.tick()
        assert ctx.get(dut.results.logit_sum) == sums[class_] % (1 << 32)
        self.looks += 1

    async def read(self, output, offset):
        assert self.ctx.get(self.dut.results.free) == 1
        self.ctx.set(self.dut.host.offset, offset)
        await self.ctx.tick()
        return self.ctx.get(output)


async def run(host, chance, classes, images, samples, margins, log, idle, draw):
    """A whole run, then everything read back. ``draw()``: one logit. Returns the samples of each image."""
    ctx, dut = host.ctx, host.dut
    shift = (classes - 1).bit_length()
    early = margins is not None
    if early:
        await host.write_margins(margins)
    await host.start(shift, samples, early, log)
    votes = [[0] * classes for _ in range(images)]
    sums = [[0] * classes for _ in range(images)]
    used = [0] * images
    logged = []
    here = list(range(images))
    for sample in range(samples):
        leaving = {}  # slot -> whether it must leave
        for slot in list(here):
            logits = [draw() for _ in range(classes)]
            await host.send(slot, sample, logits, idle)
            host.settled[slot] = votes[slot], sums[slot]
            votes[slot][reference.argmax(logits)] += 1
            used[slot] += 1
            for class_, z in enumerate(logits):
                sums[slot][class_] += z
            logged += logits
            lead = reference.lead(votes[slot])
            leaving[slot] = sample == samples - 1 or (early and lead >= margins[sample])
        if early or sample == samples - 1:  # an image that may leave has its next pass after the decision
            await host.finish()
            assert {slot: host.decided[slot] for slot in here} == leaving, (sample, votes)
            here = [slot for slot in here if not leaving[slot]]
    for slot in range(images):
        assert await host.read(dut.results.used, slot) == used[slot]
        for class_ in range(classes):
            place = slot << shift | class_
            assert await host.read(dut.results.vote, place) == votes[slot][class_]
            low = await host.read(dut.results.logit_sum, 2 * place)
            high = await host.read(dut.results.logit_sum, 2 * place + 1)
            assert signed(high << 32 | low, 64) == sums[slot][class_]
    logged = logged[: GEOMETRY.log_depth] if log else []
    assert ctx.get(dut.results.logged_count) == len(logged)
    for index, z in enumerate(logged):
        assert await host.read(dut.results.logged, index) == z
    return used


def check(*runs):
    """Runs one after the other on one unit: a run finds what the one before left."""
    dut = Votes(GEOMETRY)
    uses = []

    async def bench(ctx):
        chance = random.Random(7)
        host = Host(ctx, dut, chance)
        for arguments in runs:
            draw = arguments.pop("draw")
            uses.append(await run(host, chance, draw=lambda draw=draw: draw(chance), **arguments))
        assert host.decisions == sum(map(sum, uses))
        assert host.looks > 0 or not any(arguments["idle"] for arguments in runs)

    simulate(dut, bench)
    return uses


def few(chance):
    return chance.randint(-2, 1)  # ties everywhere, and most leaders negative or zero


def negative(chance):
    return chance.randint(SMALLEST, -1)


def wide(chance):
    return chance.choice((SMALLEST, LARGEST, chance.randint(SMALLEST, LARGEST)))


@pytest.mark.parametrize("draw", [few, negative, wide])
@pytest.mark.parametrize("classes", [1, 2, 3, 10, 16])
def test_votes_sums_used_and_log(draw, classes):
    check(dict(classes=classes, images=4, samples=6, margins=None, log=1, idle=0.2, draw=draw))


def test_a_run_overwrites_what_the_one_before_left():
    common = dict(margins=None, idle=0, draw=wide)
    check(
        dict(classes=8, images=8, samples=5, log=1, **common),
        dict(classes=3, images=4, samples=2, log=0, **common),
        dict(classes=10, images=8, samples=3, log=1, **common),
    )


def test_the_log_stops_when_it_is_full():
    # 320 logits for 300 places: the first ones stay.
    check(dict(classes=16, images=4, samples=5, margins=None, log=1, idle=0, draw=wide))


@pytest.mark.parametrize("classes", [1, 2, 3, 10])
def test_an_image_leaves_by_the_margin_of_its_sample(classes):
    chance = random.Random(classes)
    uneven = [chance.choice((1, 2, 3, 2**24 - 1)) for _ in range(40)]
    never = [2**24 - 1] * 40
    runs = [
        dict(classes=classes, images=6, samples=40, margins=margins, log=0, idle=0, draw=few)
        for margins in ([3] * 40, uneven, never, [5] * 40, [0] * 40)
    ]
    uses = check(*runs)
    assert uses[2] == [40] * 6
    assert uses[4] == [1] * 6
    if classes > 1:
        assert len(set(uses[0])) > 1


def test_one_image_alone_with_no_idle_cycle():
    """With margins the next pass begins once the last one was decided, without them as soon as the sequencer
    can send it."""
    for classes in (1, 2, 3, 4, 5):
        check(dict(classes=classes, images=1, samples=30, margins=None, log=1, idle=0, draw=few))
    check(dict(classes=1, images=1, samples=30, margins=[20] * 30, log=1, idle=0, draw=few))
    check(dict(classes=2, images=1, samples=60, margins=[4] * 60, log=1, idle=0, draw=few))
