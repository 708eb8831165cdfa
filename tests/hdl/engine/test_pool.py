"""The pool against the largest value of each window, in every cycle."""

import random

import pytest
from synflip.spec.geometry import Geometry
from synflip_hdl.engine.pool import Pool

from tests.hdl.helpers import simulate

FIRST, LAST, TOP = 1, 2, 4


@pytest.mark.parametrize(("lanes", "banks"), [(16, 2), (16, 8), (48, 4)])
def test_windows(lanes, banks):
    """Windows of 1 to 6 positions of tiles with any number of steps, with idle cycles in between."""
    chance = random.Random(banks)
    dut = Pool(Geometry(lanes, banks, map_depth=64))
    steps, stimulus, expected = lanes // banks, [], {}
    for window in range(12):
        count, size = chance.randint(1, steps), chance.choice([1, 1, 2, 4, 6])
        largest = [[0] * banks for _ in range(count)]
        for position in range(size):
            for step in range(count):
                values = [chance.choice([0, 0, 255, chance.randrange(256)]) for _ in range(banks)]
                largest[step] = [max(pair) for pair in zip(largest[step], values, strict=True)]
                flags = FIRST * (position == 0) | LAST * (position == size - 1) | TOP * (window % 2)
                while chance.random() < 0.2:
                    stimulus.append(None)
                append = {
                    "hidden_set": window % 2,
                    "begin": int(window == 0 and step == 0),
                    "first": int(step == 0),
                    "block": window * steps + step,
                    "values": values,
                    "some": sum((value != 0) << bank for bank, value in enumerate(values)),
                    "pooled": flags,
                }
                if position == size - 1:
                    expected[len(stimulus) + 1] = append | {
                        "values": largest[step],
                        "some": sum((value != 0) << bank for bank, value in enumerate(largest[step])),
                    }
                stimulus.append(append)

    async def bench(ctx):
        seen = {}
        for cycle, append in enumerate([*stimulus, None, None]):
            ctx.set(dut.appends.valid, append is not None)
            for name, value in (append or stimulus[0]).items():
                field = dut.appends.payload[name]
                if name == "values":
                    for bank, item in enumerate(value):
                        ctx.set(field[bank], item)
                else:
                    ctx.set(field.as_value() if name == "pooled" else field, value)
            if ctx.get(dut.pooled.valid):
                out = dut.pooled.payload
                seen[cycle] = {
                    "hidden_set": ctx.get(out.hidden_set),
                    "begin": ctx.get(out.begin),
                    "first": ctx.get(out.first),
                    "block": ctx.get(out.block),
                    "values": [ctx.get(out["values"][bank]) for bank in range(banks)],
                    "some": ctx.get(out.some),
                    "pooled": ctx.get(out.pooled.as_value()),
                }
            await ctx.tick()
        assert seen == expected

    simulate(dut, bench)
