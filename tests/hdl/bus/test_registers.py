"""The bus's end of the memory map, against the map itself."""

import random

import pytest
from synflip.spec import memory_map
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import (
    CONTROL_ABORT,
    CONTROL_RETEST,
    CONTROL_START,
    OPTION_HOST_KEYS,
    REGISTERS,
    Region,
    address,
    extent,
    register,
)
from synflip_hdl.bus.registers import Registers

from tests.hdl.helpers import simulate

GEOMETRY = Geometry(
    lanes=48,
    banks=4,
    bits=7,
    activation_bits=5,
    weight_depth=1000,
    event_depth=2000,
    key_depth=300,
    bias_depth=400,
    image_slots=12,
    result_depth=500,
    log_depth=600,
    margin_depth=700,
    layer_depth=5,
    devices=9,
    sample_bits=20,
    key_halves=1,
    soft_classes=7,
    flight=2,
    map_depth=64,
)
WRITABLE = (Region.LAYERS, Region.WEIGHTS, Region.BIASES, Region.IMAGES, Region.MARGINS, Region.KEYS)
READABLE = (
    Region.VOTES,
    Region.SUMS,
    Region.USED,
    Region.LOG,
    Region.KEYS,
    Region.DEVICES,
    Region.RAW,
)
# Its reads and its writes reach elsewhere: it has tests of its own.
ALL_READABLE = (*READABLE, Region.SOFT)
BY_OFFSET = {item.offset: (name, item) for name, item in REGISTERS.items()}
WORD = (1 << 32) - 1


def result(number, offset):
    """What the memory of the ``number``-th readable region holds at ``offset``."""
    return (offset * 0x9E3779B1 + number * 0x01234567) & WORD


class Twin:
    """The registers as a function from requests to answers."""

    def __init__(self):
        self.settings = {name: 0 for name, item in REGISTERS.items() if item.access == "RW"}
        self.writes, self.starts, self.aborts, self.retests, self.captures = [], [], [], [], []

    def answer(self, request, busy, later, cycle):
        """(data, error). ``busy``: when accepted. ``later``: (busy, cycles, logged) a cycle later."""
        write, where, data = request
        region, offset = where >> memory_map.OFFSET_BITS, where % (1 << memory_map.OFFSET_BITS)
        error = (0, 1)
        if region == Region.REGISTERS:
            if offset not in BY_OFFSET:
                return error
            name, item = BY_OFFSET[offset]
            if ("W" if write else "R") not in item.access:
                return error
            if not write:
                return self.read(name, later), 0
            if name == "CONTROL":
                return self.control(data, busy, cycle)
            if busy:
                return error
            self.settings[name] = data % (1 << item.bits)
            if name == "CAPTURE":
                self.captures.append(cycle + 1)
            return 0, 0
        if region not in ((*WRITABLE, Region.SOFT) if write else ALL_READABLE):
            return error
        first = self.settings["FIRST_SLOT"]
        running = first <= offset >> memory_map.IMAGE_WORD_BITS < first + self.settings["IMAGES"]
        if region == Region.KEYS:
            taking = busy and self.settings["OPTIONS"] & OPTION_HOST_KEYS
            if not taking if write else busy:
                return error
        elif write and busy and (region != Region.IMAGES or running):
            return error
        if offset >= extent(Region(region), GEOMETRY, bool(write)):
            return error
        if write:
            self.writes.append((cycle, region, offset, data))
            return 0, 0
        return result(ALL_READABLE.index(region), offset), 0

    def control(self, data, busy, cycle):
        startable = (
            not busy
            and self.settings["IMAGES"] > 0
            and self.settings["FIRST_SLOT"] + self.settings["IMAGES"] <= GEOMETRY.image_slots
            and 0 < self.settings["SAMPLES"] < 1 << GEOMETRY.sample_bits
        )
        if data & CONTROL_START and (not startable or data & (CONTROL_ABORT | CONTROL_RETEST)):
            return 0, 1
        if data & CONTROL_RETEST and busy:
            return 0, 1
        if data & CONTROL_RETEST:
            self.retests.append(cycle)
        if data & CONTROL_START:
            self.starts.append(cycle + 1)
        if data & CONTROL_ABORT:
            self.aborts.append(cycle)
        return 0, 0

    def read(self, name, later):
        busy, cycles, logged, captured, working, alarm = later
        live = {
            "MAGIC": memory_map.MAGIC,
            "VERSION": memory_map.VERSION,
            "STATUS": busy | alarm << 1,
            "CAPTURED": captured,
            "WORKING": working,
            "CYCLES_LOW": cycles & WORD,
            "CYCLES_HIGH": cycles >> 32,
            "LOGGED": logged,
        }
        if name in live:
            return live[name]
        return self.settings[name] if name in self.settings else getattr(GEOMETRY, name.lower())


def check(
    requests,
    valid=1.0,
    ready=1.0,
    load_ready=1.0,
    free=1.0,
    key_ready=1.0,
    busy_at=lambda cycle: 0,
    seed=0,
    soft=1.0,
):
    """Send ``requests`` in order and compare every answer and effect. Returns (accepted, answered, answers).

    valid, ready, load_ready, free, key_ready: how likely each is in a cycle. soft: how likely it is that the
    soft votes are quiet, and that their memories are free. busy_at: whether a run is busy.
    """
    chance = random.Random(seed)
    dut, twin = Registers(GEOMETRY), Twin()
    accepted, answered = [], []
    wanted, got = [], []
    writes, starts, aborts, retests, captures = [], [], [], [], []

    def live(cycle):
        long = (cycle * 0x1000001) ** 2 % (1 << 64)
        return (
            busy_at(cycle),
            long,
            cycle * 77 % (1 << 24),
            cycle * 99 % (1 << 24),
            cycle % 128,
            cycle // 5 % 2,
        )

    async def bench(ctx):
        looked_up = [(0, True)] * 3  # offset, and whether the memories were free: the last cycle's first
        offered = held = False
        before = None
        for cycle in range(40 * len(requests) + 100):
            if len(got) == len(requests) and cycle > answered[-1] + 4:
                break
            # A request stays until it is taken; a response must too.
            offered = len(accepted) < len(requests) and (offered or chance.random() < valid)
            write, where, data = (
                requests[len(accepted)]
                if offered
                # Not offered: what is on the wires must have no effect.
                else (1, chance.choice((address(Region.WEIGHTS), register("IMAGES"))), WORD)
            )
            ctx.set(dut.request.valid, offered)
            ctx.set(dut.request.payload, {"write": write, "address": where, "data": data})
            ctx.set(dut.response.ready, taking := chance.random() < ready)
            ctx.set(dut.load_ready, loadable := chance.random() < load_ready)
            ctx.set(dut.results_free, results_free := chance.random() < free)
            ctx.set(dut.key_ready, keys_wanted := chance.random() < key_ready)
            ctx.set(dut.soft_quiet, quiet := chance.random() < soft)
            ctx.set(dut.soft_free, soft_free := chance.random() < soft)
            busy, cycles, logged, captured, working, alarm = live(cycle)
            ctx.set(dut.junctions.captured, captured)
            ctx.set(dut.junctions.working, working)
            ctx.set(dut.junctions.alarm, alarm)
            ctx.set(dut.status.busy, busy)
            ctx.set(dut.status.cycles, cycles)
            ctx.set(dut.logged, logged)
            for number, region in enumerate(ALL_READABLE):
                # Keys come two cycles later than the others.
                seen, there = looked_up[2 if region == Region.KEYS else 0]
                ctx.set(dut.results[number], result(number, seen) if there else WORD)
            offset = ctx.get(dut.host.offset)
            looked_up = [(offset, results_free), *looked_up[:2]]

            response = None
            if ctx.get(dut.response.valid):
                payload = dut.response.payload
                response = (ctx.get(payload.data), ctx.get(payload.error))
            if held:
                assert response == before
            held, before = response is not None and not taking, response
            if response and taking:
                answered.append(cycle)
                got.append(response)

            strobes = ctx.get(dut.host.write)
            if strobes:
                region = strobes.bit_length() - 1
                assert strobes == 1 << region
                writes.append((cycle, region, offset, ctx.get(dut.host.data)))
                if region == Region.IMAGES:
                    assert loadable
                if region == Region.KEYS:
                    assert keys_wanted
                if region == Region.SOFT:
                    assert quiet
            if ctx.get(dut.control.start):
                starts.append(cycle)
            if ctx.get(dut.abort):
                aborts.append(cycle)
            if ctx.get(dut.junctions.restart):
                retests.append(cycle)
            if ctx.get(dut.junctions.capture):
                captures.append(cycle)

            if offered and ctx.get(dut.request.ready):
                assert cycle not in starts and cycle - 1 not in aborts  # the blocks are not ready for it
                if where >> memory_map.OFFSET_BITS == Region.SOFT:
                    assert soft_free if busy else quiet
                if write and where == register("CONTROL"):
                    assert busy or quiet
                wanted.append(twin.answer(requests[len(accepted)], busy, live(cycle + 1), cycle))
                accepted.append(cycle)
                offered = False
            await ctx.tick()
        for name, value in twin.settings.items():
            assert ctx.get(dut.control.settings[name]) == value, name

    simulate(dut, bench)
    for request, want, have in zip(requests, wanted, got, strict=True):
        assert want == have, (request, want, have)
    assert (writes, starts, aborts) == (twin.writes, twin.starts, twin.aborts)
    assert (retests, captures) == (twin.retests, twin.captures)
    return accepted, answered, got


def read(name):
    return 0, register(name), 0


def write(name, data):
    return 1, register(name), data


def random_request(chance):
    direction, data = chance.getrandbits(1), chance.getrandbits(32)
    kind = chance.random()
    if kind < 0.35:
        item = chance.choice(list(REGISTERS.values()))
        # Both start and abort in one word: see test_a_refused_start_does_not_abort.
        if item.offset == REGISTERS["CONTROL"].offset:
            data = chance.choice((0, CONTROL_START, CONTROL_ABORT, CONTROL_RETEST))
        return direction, address(Region.REGISTERS, item.offset), data
    if kind < 0.4:
        name, values = chance.choice((("IMAGES", (0, 1, 12, 13, 256)), ("FIRST_SLOT", (0, 0, 1, 11, 255))))
        return 1, register(name), chance.choice(values)
    if kind < 0.45:
        return 1, register("SAMPLES"), chance.choice((0, 1, 1 << 23))
    if kind < 0.9:
        region = chance.choice((*WRITABLE, *ALL_READABLE))
        end = extent(region, GEOMETRY, bool(direction))
        return direction, address(region, chance.choice((0, end - 1, end, chance.randrange(end)))), data
    return direction, chance.getrandbits(28), data


@pytest.mark.parametrize("valid", [0.3, 1.0])
@pytest.mark.parametrize("ready", [0.3, 1.0])
@pytest.mark.parametrize("load_ready", [0.4, 1.0])
@pytest.mark.parametrize("mostly_busy", [False, True])
def test_every_request_is_answered_once_in_order(valid, ready, load_ready, mostly_busy):
    seed = int(valid * 10) + int(ready * 100) + int(load_ready * 1000) + mostly_busy
    chance = random.Random(seed)
    # A run's images are where they can be, and stay there: test_start tries other settings.
    first = chance.randrange(GEOMETRY.image_slots)
    images = chance.randint(1, GEOMETRY.image_slots - first)
    requests = [write("FIRST_SLOT", first), write("IMAGES", images)]
    fixed = {register("FIRST_SLOT"), register("IMAGES")}
    while len(requests) < 400:
        request = random_request(chance)
        if not (request[0] and request[1] in fixed):
            requests.append(request)

    def busy_at(cycle):
        # Long and short runs, so that it also changes while a request waits.
        return cycle > 50 and int((cycle // 7 * 2654435761 >> 7) % 8 < (6 if mostly_busy else 1))

    _, _, answers = check(requests, valid, ready, load_ready, 0.7, 0.6, busy_at, seed, 0.8)
    assert 40 < sum(error for _, error in answers) < 380


def test_registers_that_say_what_the_hardware_is():
    names = [
        name
        for name, item in REGISTERS.items()
        if item.access == "R" and item.offset < REGISTERS["CONTROL"].offset
    ]
    _, _, answers = check([read(name) for name in names])
    values = {name: data for name, (data, error) in zip(names, answers, strict=True) if not error}
    assert values == {
        "MAGIC": 0x53594E46,
        "VERSION": memory_map.VERSION,
        "SOFT_CLASSES": 7,
        "SAMPLE_BITS": 20,
        "KEY_HALVES": 1,
        "FLIGHT": 2,
        "MAP_DEPTH": 64,
        "LANES": 48,
        "BANKS": 4,
        "BITS": 7,
        "ACTIVATION_BITS": 5,
        "WEIGHT_DEPTH": 1000,
        "EVENT_DEPTH": 2000,
        "KEY_DEPTH": 300,
        "BIAS_DEPTH": 400,
        "IMAGE_SLOTS": 12,
        "RESULT_DEPTH": 500,
        "LOG_DEPTH": 600,
        "MARGIN_DEPTH": 700,
        "LAYER_DEPTH": 5,
        "DEVICES": 9,
    }


def test_settings_hold_their_bits():
    names = [name for name, item in REGISTERS.items() if item.access == "RW"]
    for pattern in (WORD, 0xAAAAAAAA, 0x55555555):
        _, _, answers = check([write(name, pattern) for name in names] + [read(name) for name in names])
        assert answers[len(names) :] == [(pattern % (1 << REGISTERS[name].bits), 0) for name in names]


def test_a_write_is_answered_in_the_next_cycle_and_one_fits_every_cycle():
    accepted, answered, _ = check([(1, address(Region.WEIGHTS, offset), offset) for offset in range(20)])
    assert accepted == list(range(20))
    assert answered == [cycle + 1 for cycle in accepted]


@pytest.mark.parametrize(
    ("first", "cycles"),
    [
        (REGISTERS["MAGIC"].offset, 3),
        *((address(region, 0), 4) for region in READABLE if region != Region.KEYS),
        (address(Region.KEYS, 0), 5),
    ],
)
def test_a_read_is_answered_in_its_cycles_and_the_next_begins_then(first, cycles):
    accepted, answered, _ = check([(0, first + offset % 2, 0) for offset in range(8)])
    assert accepted == list(range(0, 8 * cycles, cycles))
    assert answered == [cycle + cycles for cycle in accepted]


@pytest.mark.parametrize("region", [*WRITABLE, *READABLE])
def test_the_ends_of_every_region(region):
    end = extent(region, GEOMETRY)
    right = int(region not in READABLE)
    requests = [
        (direction, address(region, offset), 5)
        for direction in (right, 1 - right)
        for offset in (0, end - 1, end, (1 << 24) - 1)
    ]
    _, _, answers = check(requests)
    errors = [0, 0, int(end < 1 << 24), int(end < 1 << 24), 1, 1, 1, 1]
    assert [error for _, error in answers] == errors
    _, _, answers = check(requests, busy_at=lambda cycle: 1)
    open_while_busy = (region in READABLE or region == Region.IMAGES) and region != Region.KEYS
    assert [error for _, error in answers] == (errors if open_while_busy else [1] * 8)


def test_images_of_a_run_are_kept_from_the_host():
    """While a run is busy, the other slots may be written: the next batch."""
    slots = range(GEOMETRY.image_slots)
    requests = [write("FIRST_SLOT", 3), write("IMAGES", 4)]
    requests += [(1, address(Region.IMAGES, slot << memory_map.IMAGE_WORD_BITS), 0) for slot in slots]
    for busy in (0, 1):
        _, _, answers = check(requests, busy_at=lambda cycle, busy=busy: busy and cycle >= 3)
        refused = [slot for slot, (_, error) in zip(slots, answers[2:], strict=True) if error]
        assert refused == ([3, 4, 5, 6] if busy else [])


def test_results_wait_for_their_memories():
    reads = [(0, address(Region.SUMS, offset), 0) for offset in range(30)]
    accepted, _, _ = check(reads, free=0.2)
    assert accepted[-1] > 100
    accepted, _, _ = check([read("STATUS")] * 10, free=0.0)
    assert accepted == list(range(0, 30, 3))


def test_keys_from_the_host():
    """A run that asked for them takes keys, when it can; nobody else does."""
    where = address(Region.KEYS)
    requests = [write("OPTIONS", OPTION_HOST_KEYS)] + [(1, where + word, word) for word in range(12)]
    accepted, _, answers = check(requests, key_ready=0.2, busy_at=lambda cycle: cycle > 0)
    assert not any(error for _, error in answers) and accepted[-1] > 30
    accepted, _, answers = check(requests, key_ready=0.0)
    assert [error for _, error in answers] == [0] + [1] * 12 and accepted[-1] == 12
    accepted, _, answers = check(requests[1:], key_ready=0.0, busy_at=lambda cycle: 1)
    assert all(error for _, error in answers) and accepted[-1] == 11


def test_the_ends_of_the_soft_votes():
    """Tables are written, sums are read; the ends are not the same."""
    tables, sums = (extent(Region.SOFT, GEOMETRY, write) for write in (True, False))
    assert (tables, sums) == (128 + 64, 512 + 24)  # 16 * 7 + 1 and 500, up to powers of two
    for busy in (0, 1):
        for direction, end in ((0, sums), (1, tables)):
            requests = [(direction, address(Region.SOFT, offset), 5) for offset in (0, end - 1, end)]
            _, _, answers = check(requests, busy_at=lambda cycle, busy=busy: busy)
            assert [error for _, error in answers] == ([1, 1, 1] if busy and direction else [0, 0, 1])


def test_who_waits_for_the_soft_votes():
    """Without a run: tables, sums and a start. In a run sums wait for their memories only, an abort never."""
    setting = [write("IMAGES", 1), write("SAMPLES", 1)]
    start, abort = write("CONTROL", CONTROL_START), write("CONTROL", CONTROL_ABORT)
    waiting = [(0, address(Region.SOFT, 3), 0), (1, address(Region.SOFT, 3), 7), start]
    for request in waiting:
        accepted, _, answers = check([*setting, request], soft=0.04)
        assert accepted[-1] > 4 and answers[-1][1] == 0
    accepted, _, answers = check([abort] * 5, soft=0.0, busy_at=lambda cycle: 1)
    assert accepted == list(range(0, 10, 2)) and not any(error for _, error in answers)
    accepted, _, _ = check([read("STATUS"), write("IMAGES", 1)], soft=0.0)
    assert accepted == [0, 3]


@pytest.mark.parametrize("region", [15])
def test_regions_that_are_not_in_the_map(region):
    _, _, answers = check([(direction, region << 24, 0) for direction in (0, 1)])
    assert answers == [(0, 1), (0, 1)]


@pytest.mark.parametrize(
    ("first", "images", "samples", "busy", "error"),
    [
        (0, 1, 1, 0, 0),
        (0, 12, 9, 0, 0),
        (0, 13, 1, 0, 1),
        (0, 256, 1, 0, 1),
        (0, 0, 1, 0, 1),
        (0, 1, 0, 0, 1),
        (0, 1, 1, 1, 1),
        (11, 1, 1, 0, 0),
        (6, 6, 1, 0, 0),
        (6, 7, 1, 0, 1),
        (255, 511, 1, 0, 1),
    ],
)
def test_start(first, images, samples, busy, error):
    settings = {"FIRST_SLOT": first, "IMAGES": images, "SAMPLES": samples}
    requests = [write(name, value) for name, value in settings.items()]
    requests.append(write("CONTROL", CONTROL_START))
    _, _, answers = check(requests, busy_at=lambda cycle: busy and cycle >= 3)
    assert [error for _, error in answers] == [0, 0, 0, error]


def test_abort_is_taken_while_busy_and_while_idle():
    for busy in (0, 1):
        _, _, answers = check([write("CONTROL", CONTROL_ABORT)], busy_at=lambda cycle, busy=busy: busy)
        assert answers == [(0, 0)]


def test_a_refused_start_does_not_abort():
    """What is answered with an error is without effect, an abort in the same word included."""
    check([write("CONTROL", CONTROL_START | CONTROL_ABORT)], busy_at=lambda cycle: 1)


def test_an_image_word_waits_for_the_lists():
    requests = [(1, address(Region.IMAGES, offset), offset) for offset in range(30)]
    accepted, _, _ = check(requests, load_ready=0.3)
    assert accepted[-1] > 40
    # Only image words wait.
    accepted, _, _ = check([(1, address(Region.BIASES, offset), 0) for offset in range(10)], load_ready=0.0)
    assert accepted == list(range(10))
