"""Several masters on one bus: order, fairness, who gets which answer."""

import random

import pytest
from synflip_hdl.bus.arbiter import Arbiter

from tests.hdl.helpers import simulate


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(("ready", "answer"), [(1.0, 1.0), (0.5, 0.5), (1.0, 0.2)])
def test_requests_and_answers(count, ready, answer):
    """Each master's requests arrive once and in order, and so do its answers; offers stay until taken."""
    chance = random.Random(count)
    dut = Arbiter(count)
    each = 60
    asked, taken, answers = [0] * count, [], [[] for _ in range(count)]
    waited, most = [0] * count, 0

    async def bench(ctx):
        nonlocal most, waited
        answered = 0
        before = None
        offered = [False] * count
        while answered < count * each:
            for index, master in enumerate(dut.masters):
                offered[index] = asked[index] < each and (offered[index] or chance.random() < 0.7)
                ctx.set(master.request.valid, offered[index])
                ctx.set(master.request.payload.address, index)
                ctx.set(master.request.payload.data, asked[index])
                ctx.set(master.response.ready, chance.random() < 0.8)
            ctx.set(dut.request.ready, chance.random() < ready)
            ctx.set(dut.response.valid, answered < len(taken) and chance.random() < answer)
            if answered < len(taken):
                ctx.set(dut.response.payload.data, 1000 * taken[answered][0] + taken[answered][1])
            now = ctx.get(dut.request.payload)
            if before is not None:
                assert ctx.get(dut.request.valid) and (now.address, now.data) == before
            before = None
            granted = None
            if ctx.get(dut.request.valid):
                if ctx.get(dut.request.ready):
                    granted = now.address
                    taken.append((now.address, now.data))
                    most = max(most, waited[granted])
                    waited = [0 if index == granted else passed for index, passed in enumerate(waited)]
                    for index in range(count):
                        waited[index] += offered[index] and index != granted
                else:
                    before = (now.address, now.data)
            for index, master in enumerate(dut.masters):
                assert bool(ctx.get(master.request.valid & master.request.ready)) == (index == granted)
                if index == granted:
                    asked[index] += 1
                    offered[index] = False
                if ctx.get(master.response.valid & master.response.ready):
                    assert ctx.get(dut.response.ready)
                    answers[index].append(ctx.get(master.response.payload.data))
            answered += ctx.get(dut.response.valid & dut.response.ready)
            await ctx.tick()

    simulate(dut, bench)
    for index in range(count):
        assert answers[index] == [1000 * index + number for number in range(each)]
    assert most <= count - 1
