"""Requantizer against z = bias + sum, one output at a time."""

import random
from dataclasses import dataclass, field

import pytest
from synflip.spec.cycles import DRAIN_LATENCY, PASS_SPACING, pipeline_depth
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import Region
from synflip_hdl.engine.requantizer import Requantizer

from tests.hdl.helpers import simulate

GROUPS = 64  # of biases
CLASSES = 37  # not a multiple of Q, P or a tile


@dataclass
class Tile:
    """One tile: what the sequencer says of it, its sums, and when it is issued and captured."""

    sums: list
    bias: int
    block: int
    steps: int
    shift: int
    hidden_set: int
    begin: int
    final: int
    slot: int
    sample: int
    issued: int = 0
    captured: int = 0
    fields: tuple = field(default=("bias", "block", "steps", "shift", "hidden_set", "begin", "final"))


def expected(tile, geometry, biases, largest):
    """{cycle: append or logit}, from the time of capture."""
    lanes, banks = geometry.lanes, geometry.banks
    z = [tile.sums[lane] + biases[tile.bias * banks + lane] for lane in range((tile.steps + 1) * banks)]
    assert len(z) <= lanes
    appends, logits = {}, {}
    if tile.final:
        for lane, value in enumerate(z):
            class_ = tile.block * banks + lane
            if class_ < CLASSES:
                logits[tile.captured + DRAIN_LATENCY + lane] = (
                    class_,
                    value,
                    int(class_ == CLASSES - 1),
                    tile.slot,
                    tile.sample,
                )
    else:
        for step in range(tile.steps + 1):
            # The rounding is in the bias; // rounds down as an arithmetic shift does.
            values = [
                min(max(value // 2**tile.shift, 0), largest) for value in z[step * banks : (step + 1) * banks]
            ]
            appends[tile.captured + DRAIN_LATENCY + step] = (
                tile.hidden_set,
                int(tile.begin and step == 0),
                int(step == 0),
                tile.block + step,
                values,
                [int(value > 0) for value in values],
            )
    return appends, logits


def check(banks, tiles, gaps, seed, activation_bits=8, largest=None, lanes=16):
    """``gaps``: cycles between captures beyond the least that the sequencer keeps."""
    chance = random.Random(seed)
    geometry = Geometry(
        lanes=lanes, banks=banks, activation_bits=activation_bits, bias_depth=GROUPS, key_depth=1 << 23
    )
    assert geometry.accumulator_bits == 24
    largest = (1 << activation_bits) - 1 if largest is None else largest
    biases = [
        chance.choice((0, chance.randint(-300, 300), chance.randint(-(2**30), 2**30)))
        for _ in range(GROUPS * banks)
    ]
    depth = pipeline_depth(banks)
    cycle = depth
    for tile, gap in zip(tiles, gaps, strict=True):
        tile.captured = cycle + gap
        # A tile is announced with its last event, pipeline_depth cycles before its sums.
        tile.issued = tile.captured - depth
        held = tile.steps + 1
        if tile.final:  # one cycle a class: the next pass may come while padding would still leave
            held = max(min(held * banks, CLASSES - tile.block * banks), PASS_SPACING)
        if (
            not tile.final and tile.steps + 1 < lanes // banks
        ):  # its layer's last: the next layer waits for it
            held = depth + tile.steps + DRAIN_LATENCY
        cycle = tile.captured + held
    appends, logits = {}, {}
    for tile in tiles:
        tile_appends, tile_logits = expected(tile, geometry, biases, largest)
        assert not appends.keys() & tile_appends.keys() and not logits.keys() & tile_logits.keys()
        appends |= tile_appends
        logits |= tile_logits
    issues = {tile.issued: tile for tile in tiles}
    captures = {tile.captured: tile for tile in tiles}

    async def bench(ctx):
        ctx.set(dut.control.settings["CLASSES"], CLASSES - 1)
        ctx.set(dut.control.settings["ACTIVATION_MAX"], largest)
        for index, bias in enumerate(biases):
            ctx.set(dut.host.write[Region.BIASES], 1)
            ctx.set(dut.host.offset, index)
            ctx.set(dut.host.data, bias % 2**32)
            await ctx.tick()
        ctx.set(dut.host.write[Region.BIASES], 0)
        got_appends, got_logits = {}, {}
        for now in range(cycle + DRAIN_LATENCY + 2):
            tile = issues.get(now)
            ctx.set(dut.tiles.valid, tile is not None)
            if tile:
                for name in tile.fields:
                    ctx.set(dut.tiles.payload[name], getattr(tile, name))
                ctx.set(dut.tiles.payload.current.slot, tile.slot)
                ctx.set(dut.tiles.payload.current.sample, tile.sample)
            tile = captures.get(now)
            ctx.set(dut.sums.capture, tile is not None)
            ctx.set(dut.sums.coming, now + 1 in captures)
            for lane in range(geometry.lanes):
                # Sums are there for the cycle of the capture only.
                ctx.set(dut.sums.sums[lane], tile.sums[lane] if tile else chance.randint(-(2**23), 2**23 - 1))
            append = dut.appends.payload
            if ctx.get(dut.appends.valid):
                got_appends[now] = (
                    ctx.get(append.hidden_set),
                    ctx.get(append.begin),
                    ctx.get(append.first),
                    ctx.get(append.block),
                    [ctx.get(append["values"][bank]) for bank in range(banks)],
                    [ctx.get(append.some[bank]) for bank in range(banks)],
                )
            if ctx.get(dut.logits.valid):
                logit = dut.logits.payload
                got_logits[now] = (
                    ctx.get(logit.class_),
                    ctx.get(logit.z),
                    ctx.get(logit.last),
                    ctx.get(logit.current.slot),
                    ctx.get(logit.current.sample),
                )
            await ctx.tick()
        assert got_appends == appends
        assert got_logits == logits

    for compact in (False, True):
        dut = Requantizer(geometry, compact)
        simulate(dut, bench)
    return appends, logits


def random_tile(chance, banks, final, number, steps=None, lanes=16):
    most = lanes // banks
    steps = most - 1 if steps is None else steps
    shift = chance.choice((0, 1, 4, 12, 31))
    reach = chance.choice((3, 300, 2**23 - 1))
    return Tile(
        sums=[chance.choice((0, -(2**23), 2**23 - 1, chance.randint(-reach, reach))) for _ in range(lanes)],
        bias=chance.randrange(GROUPS - most + 1),
        block=number * most,
        steps=steps,
        shift=shift,
        hidden_set=chance.getrandbits(1),
        begin=int(number == 0),
        final=final,
        slot=chance.randrange(256),
        sample=chance.getrandbits(24),
    )


@pytest.mark.parametrize("banks", [1, 2, 4, 8])
def test_hidden_tiles_back_to_back(banks):
    chance = random.Random(banks)
    tiles = [random_tile(chance, banks, 0, number % 4) for number in range(12)]
    appends, _ = check(banks, tiles, [0] * 12, banks)
    assert len(appends) == 12 * 16 // banks
    seen = {value for *_, values, _ in appends.values() for value in values}
    assert {0, 255} < seen  # both clamps, and something between them


@pytest.mark.parametrize("banks", [1, 2, 4, 8])
def test_last_tiles_of_fewer_steps(banks):
    chance = random.Random(banks + 100)
    tiles = [
        random_tile(chance, banks, 0, number % 4, steps=chance.randrange(16 // banks)) for number in range(20)
    ]
    check(banks, tiles, [chance.choice((0, 0, 1, 5)) for _ in tiles], banks)


@pytest.mark.parametrize("banks", [1, 2, 4, 8])
def test_logits_ascend_and_end_with_the_last_class(banks):
    chance = random.Random(banks + 200)
    # 37 classes: two tiles of 16, then five in as few steps as hold them.
    steps = [None, None, -(-5 // banks) - 1] * 3
    tiles = [random_tile(chance, banks, 1, number % 3, steps=steps[number]) for number in range(9)]
    _, logits = check(banks, tiles, [0] * 9, banks)
    classes = [class_ for class_, *_ in logits.values()]
    assert classes == list(range(CLASSES)) * 3
    assert [last for _, _, last, *_ in logits.values()] == ([0] * (CLASSES - 1) + [1]) * 3


@pytest.mark.parametrize("banks", [1, 2, 4, 8])
def test_hidden_and_final_tiles_take_turns(banks):
    chance = random.Random(banks + 300)
    tiles = [
        random_tile(chance, banks, chance.getrandbits(1), number % 3, steps=chance.randrange(16 // banks))
        for number in range(24)
    ]
    check(banks, tiles, [chance.choice((0, 0, 0, 3)) for _ in tiles], banks)


@pytest.mark.parametrize(("activation_bits", "largest"), [(8, 100), (4, 15), (1, 1)])
def test_clamp_at_the_models_largest_activation(activation_bits, largest):
    chance = random.Random(largest)
    tiles = [random_tile(chance, 4, 0, number % 4) for number in range(8)]
    appends, _ = check(4, tiles, [0] * 8, largest, activation_bits=activation_bits, largest=largest)
    assert max(max(values) for *_, values, _ in appends.values()) == largest


def test_48_lanes():
    chance = random.Random(48)
    tiles = [random_tile(chance, 8, number > 3, 0 if number > 3 else number, lanes=48) for number in range(6)]
    check(8, tiles, [0] * 6, 48, lanes=48)
