"""Logits as a stream: whole passes or none; what the sink does around a start. The rest of it is tried in
tests/hdl/axi/test_top.py."""

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import CONTROL_START, register
from synflip_hdl.accelerator import Accelerator
from synflip_hdl.axi.stream import LogitSource, StreamSink
from synflip_hdl.bus.arbiter import BUS, Arbiter

from tests.hdl.helpers import simulate

GEOMETRY = Geometry(
    16,
    1,
    bits=1,
    weight_depth=16,
    event_depth=16,
    key_depth=16,
    bias_depth=16,
    image_slots=2,
    result_depth=16,
)


def run(passes, depth, ready, aborted=()):
    """Send passes (lists of logits) one right after the other, read with chance ``ready`` a cycle.
    Returns (packets, passes lost).

    aborted: numbers of passes that end before their last logit.
    """
    chance = random.Random(1)
    dut = LogitSource(depth)
    cycles = []
    for index, logits in enumerate(passes):
        cycles += [(index, place, z) for place, z in enumerate(logits)]
    packets, words, lost = [], [], 0

    async def bench(ctx):
        nonlocal lost
        held = None
        for cycle in range(len(cycles) + 40 * depth):
            sending = cycle < len(cycles) and cycles[cycle] is not None
            if sending:
                index, place, z = cycles[cycle]
                last = place == len(passes[index]) - 1
                ctx.set(dut.logit.z, z)
                ctx.set(dut.logit.first, place == 0)
                ctx.set(dut.logit.last, last)
                sending = not (last and index in aborted)
            ctx.set(dut.logit_valid, sending)
            ctx.set(dut.words.ready, chance.random() < ready or cycle > len(cycles) + 10)
            lost += ctx.get(dut.lost)
            if held is not None:
                assert ctx.get(dut.words.valid) and ctx.get(dut.words.payload.data) == held
            held = None
            if ctx.get(dut.words.valid):
                word = ctx.get(dut.words.payload)
                if ctx.get(dut.words.ready):
                    words.append(word.data)
                    if word.last:
                        packets.append(words.copy())
                        words.clear()
                else:
                    held = word.data
            await ctx.tick()

    simulate(dut, bench)
    assert not words
    return packets, lost


def numbers(*lengths):
    return [[1000 * index + place for place in range(length)] for index, length in enumerate(lengths)]


def test_a_reader_that_never_waits_loses_nothing():
    for lengths in ([8] * 20, [1] * 30, [3, 8, 1, 7, 8, 8, 2, 5] * 4):
        passes = numbers(*lengths)
        assert run(passes, 16, 1.0) == (passes, 0)


@pytest.mark.parametrize("ready", [0.0, 0.3, 0.6])
def test_slow_readers_lose_whole_passes(ready):
    chance = random.Random(2)
    passes = numbers(*(chance.randrange(1, 9) for _ in range(60)))
    packets, lost = run(passes, 8, ready)
    assert lost > 0 and len(packets) + lost == len(passes)
    assert packets == [item for item in passes if item in packets]  # whole, in order, each once
    if ready == 0.0:
        assert packets[0] == passes[0]


def test_negative_logits_are_two_s_complement():
    assert run([[-1, 5, -(1 << 31)]], 4, 1.0)[0] == [[(1 << 32) - 1, 5, 1 << 31]]


def test_cut_passes_leave_nothing():
    passes = numbers(5, 5, 3, 8, 2)
    packets, lost = run(passes, 8, 1.0, aborted=(1, 3))
    assert packets == [passes[0], passes[2], passes[4]] and lost == 0


class Started(wiring.Elaboratable):
    """The sink in front of an accelerator, and another master beside it."""

    def __init__(self):
        self.accelerator, self.sink, self.other = Accelerator(GEOMETRY), StreamSink(), BUS.create()

    def elaborate(self, platform):
        m = Module()
        m.submodules.accelerator = accelerator = self.accelerator
        m.submodules.sink = sink = self.sink
        m.submodules.arbiter = arbiter = Arbiter(2)
        wiring.connect(m, sink.bus, arbiter.masters[0])
        wiring.connect(m, self.other, arbiter.masters[1])
        wiring.connect(m, arbiter.request, accelerator.request)
        wiring.connect(m, accelerator.response, arbiter.response)
        m.d.comb += [
            sink.run.eq(accelerator.busy | accelerator.starting),
            sink.run_slots.eq(accelerator.run_slots),
        ]
        return m


@pytest.mark.parametrize("other", [False, True], ids=["packet", "another master"])
@pytest.mark.parametrize("pause", range(6))
def test_a_word_behind_a_start_is_not_refused(pause, other):
    """Between the request of a start and the run's first cycle, too: by a packet, or by another master."""
    dut = Started()
    sink, accelerator = dut.sink, dut.accelerator
    settings = {"IMAGES": 1, "SAMPLES": 3, "KEY_BLOCKS": 4}
    packets = [[register(name), value] for name, value in settings.items()]
    start, behind = [register("CONTROL"), CONTROL_START], [register("INPUT_SHIFT"), 2]

    async def bench(ctx):
        busy = []
        refused = 0

        async def tick():
            nonlocal refused
            refused += ctx.get(sink.refused)
            busy.append(ctx.get(accelerator.busy))
            await ctx.tick()

        async def send(packet):
            for place, word in enumerate(packet):
                ctx.set(sink.words.payload, {"data": word, "last": place == len(packet) - 1})
                ctx.set(sink.words.valid, 1)
                while not ctx.get(sink.words.ready):
                    await tick()
                await tick()
                ctx.set(sink.words.valid, 0)

        for packet in packets:
            await send(packet)
        while ctx.get(sink.busy):
            await tick()
        if other:
            ctx.set(dut.other.response.ready, 1)
            ctx.set(dut.other.request.payload, {"write": 1, "address": start[0], "data": start[1]})
            ctx.set(dut.other.request.valid, 1)
            # The word behind it waits in the sink already: only the arbiter's turn is between them.
            ctx.set(sink.words.valid, 1)
            ctx.set(sink.words.payload, {"data": behind[0], "last": 0})
            await tick()
            ctx.set(dut.other.request.valid, 0)
            ctx.set(sink.words.valid, 0)
        else:
            await send(start)
        for _ in range(pause):
            await tick()
        await send(behind[1:] if other else behind)
        for _ in range(200):
            await tick()
        assert any(busy) and not ctx.get(sink.busy)
        assert not refused
        assert ctx.get(accelerator.run_slots.past) == 1

    simulate(dut, bench)
