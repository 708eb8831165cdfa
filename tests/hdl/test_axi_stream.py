"""Logits as a stream: whole passes or none. The sink is tried in tests/test_axi.py."""

import random

import pytest
from synflip.spec.cycles import VOTE_GAP
from synflip_hdl.axi_stream import LogitSource

from .helpers import simulate


def run(passes, depth, ready, aborted=()):
    """Send passes (lists of logits) as the sequencer spaces them, read with chance ``ready`` a cycle.
    Returns (packets, passes lost).

    aborted: numbers of passes that end before their last logit.
    """
    chance = random.Random(1)
    dut = LogitSource(depth)
    cycles = []
    for index, logits in enumerate(passes):
        cycles += [(index, place, z) for place, z in enumerate(logits)] + [None] * VOTE_GAP
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
        assert run(passes, 8, 1.0) == (passes, 0)


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
