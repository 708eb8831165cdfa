"""SerialBridge and QueuedBridge against docs/reference/uart.md: every defined answer, and what reaches the
bus."""

import random
import struct
import sys

import pytest
from synflip.spec.frames import MAX_WORDS, Command, Status
from synflip_hdl.serial.bridge import SerialBridge
from synflip_hdl.serial.queued_bridge import QueuedBridge

from tests.hdl.helpers import simulate
from tests.hdl.serial.test_framing import frame

SILENCE = 200
Bridge: type = SerialBridge  # what ``run`` takes; tests replace it
SESSION = 0x7E7D
HELLO, READ, WRITE, *_ = Command
BAD = 0xBAD0000  # addresses from here on are refused


def tag(number, session=SESSION):
    return session << 16 | number % (1 << 16)


def request(number, command, address=0, count=1, data=(), session=SESSION, **other):
    return frame([tag(number, session), command << 28 | address, count, *data], **other)


def write(number, address, data, **other):
    return request(number, WRITE, address, len(data), data, **other)


def answer(number, status=Status.OK, done=0, data=(), session=SESSION):
    return tag(number, session), status, done, list(data)


UNREAD = 0xFFFF, Status.DAMAGED, 0, []
OVERLONG = 0xFFFF, Status.OVERLONG, 0, []
OPENED = answer(0)


def parse(line):
    """The replies in what the device sent: it sends nothing damaged."""
    replies = []
    for content in filter(None, line.split(b"\x7e")):
        whole = b"".join(
            part if index == 0 else bytes([part[0] ^ 0x20]) + part[1:]
            for index, part in enumerate(content.split(b"\x7d"))
        )
        words = struct.unpack(f"<{len(whole) // 4}I", whole)
        assert frame(words[:-1]) == b"\x7e" + content + b"\x7e"
        first, *data, tail, _ = words
        replies.append((first, Status(tail >> 28), tail & 0xFFFFFFF, data))
    return replies


@pytest.fixture(autouse=True, params=[SerialBridge, QueuedBridge])
def bridge(request, monkeypatch):
    """The component that ``run`` takes."""
    monkeypatch.setattr(sys.modules[__name__], "Bridge", request.param)


def only(component):
    return pytest.mark.parametrize("bridge", [component], indirect=True)


def run(*steps, seed=0, opened=True, wait=300):
    """Send ``steps`` (bytes; a number is a pause in cycles), each once the device is quiet; the replies of
    each, and the accesses of the bus: (write, address, data)."""
    dut, chance = Bridge(SILENCE), random.Random(seed)
    accesses, line, replies = [], bytearray(), []
    memory = {}

    async def bus(ctx):
        while True:
            while not ctx.get(dut.request.valid):
                await ctx.tick()
            for _ in range(chance.choice((0, 0, 3))):
                await ctx.tick()
            payload = dut.request.payload
            access = ctx.get(payload.write), ctx.get(payload.address), ctx.get(payload.data)
            ctx.set(dut.request.ready, 1)
            await ctx.tick()
            ctx.set(dut.request.ready, 0)
            refused = access[1] >= BAD
            accesses.append(access if access[0] else access[:2])
            if access[0] and not refused:
                memory[access[1]] = access[2]
            for _ in range(chance.choice((0, 1, 4))):
                await ctx.tick()
            ctx.set(dut.response.valid, 1)
            ctx.set(dut.response.payload, {"data": memory.get(access[1], access[1] ^ 0x7E), "error": refused})
            while not ctx.get(dut.response.ready):
                await ctx.tick()
            await ctx.tick()
            ctx.set(dut.response.valid, 0)

    async def bench(ctx):
        quiet = 0

        async def cycle():
            nonlocal quiet
            ctx.set(dut.sent.ready, chance.random() < 0.8)
            quiet = quiet + 1
            if ctx.get(dut.sent.valid) and ctx.get(dut.sent.ready):
                line.append(ctx.get(dut.sent.payload))
                quiet = 0
            await ctx.tick()

        for step in ([request(0, HELLO)] if opened else []) + list(steps):
            line.clear()
            for byte in step:
                ctx.set(dut.received.valid, 1)
                ctx.set(dut.received.payload, byte)
                await cycle()
                ctx.set(dut.received.valid, 0)
                await cycle()
            quiet = 0
            while quiet < wait:
                await cycle()
            replies.append(parse(bytes(line)))

    simulate(dut, bench, background=[bus])
    if opened:
        assert replies.pop(0) == [OPENED]
    return replies, accesses


def test_writes_and_reads():
    replies, accesses = run(write(1, 0x123, [1, 2, 3]), request(2, READ, 0x122, 4), write(3, 0x7E7D, [9]))
    assert replies == [
        [answer(1, done=3)],
        [answer(2, done=4, data=[0x122 ^ 0x7E, 1, 2, 3])],
        [answer(3, done=1)],
    ]
    assert accesses == [
        *((1, 0x123 + index, index + 1) for index in range(3)),
        *((0, 0x122 + index) for index in range(4)),
        (1, 0x7E7D, 9),
    ]


def test_longest_frames():
    data = [(index * 0x9E3779B1) % (1 << 32) for index in range(MAX_WORDS)]
    replies, accesses = run(write(1, 5, data), request(2, READ, 5, MAX_WORDS), wait=4000)
    assert replies == [[answer(1, done=MAX_WORDS)], [answer(2, done=MAX_WORDS, data=data)]]
    assert accesses[:MAX_WORDS] == [(1, 5 + index, word) for index, word in enumerate(data)]


def test_a_repeated_write_is_answered_but_not_applied():
    first = write(1, 7, [1, 2])
    replies, accesses = run(first, first, first, request(2, READ, 7), request(2, READ, 7), write(3, 7, [5]))
    one, two, three = answer(1, done=2), answer(2, done=1, data=[1]), answer(3, done=1)
    assert replies == [[one], [one], [one], [two], [two], [three]]
    assert accesses == [(1, 7, 1), (1, 8, 2), (0, 7), (0, 7), (1, 7, 5)]


@only(SerialBridge)
def test_a_delayed_frame_is_not_applied():
    old, new, late = write(1, 7, [1]), write(2, 7, [2]), Status.OUT_OF_ORDER
    replies, accesses = run(old, new, old, request(0, READ), write(4, 7, [4]), new, write(3, 7, [3]))
    assert [item for (item,) in replies] == [
        answer(1, done=1),
        answer(2, done=1),
        answer(1, late),
        answer(0, late),
        answer(4, late),
        answer(2, done=1),
        answer(3, done=1),
    ]
    assert accesses == [(1, 7, 1), (1, 7, 2), (1, 7, 3)]


def test_numbers_wrap_around():
    """A session's last number is told by HELLO, so it can be walked up to the end only here."""
    steps = [request(number, READ) for number in range(1, 4)]
    replies, _ = run(*steps, request(9, HELLO), request(10, HELLO), request(4, READ))
    assert replies[3:] == [[answer(9, done=3)], [answer(10, done=3)], [answer(4, done=1, data=[0x7E])]]


def test_sessions():
    other, none = SESSION ^ 1, Status.NO_SESSION
    replies, accesses = run(
        write(1, 7, [1]),  # no session is open
        request(0, READ, session=0),
        request(0, HELLO, session=0),
        request(0, HELLO),
        write(1, 7, [2]),
        request(0, HELLO, session=other),  # another host, or the same one started again
        write(2, 7, [3]),  # of the first host
        write(1, 7, [4], session=other),
        request(0, HELLO, session=other),  # a copy of the HELLO does not open the session once more
        write(1, 7, [4], session=other),
        write(2, 7, [5], session=other),
        opened=False,
    )
    assert [item for (item,) in replies] == [
        answer(1, none),
        answer(0, none, session=0),
        answer(0, none, session=0),
        OPENED,
        answer(1, done=1),
        answer(0, session=other),
        answer(2, none),
        answer(1, done=1, session=other),
        answer(0, done=1, session=other),
        answer(1, done=1, session=other),
        answer(2, done=1, session=other),
    ]
    assert accesses == [(1, 7, 2), (1, 7, 4), (1, 7, 5)]


def test_a_write_with_a_number_that_was_no_write_is_not_answered_with_ok():
    """The first number of a session is 1; a host that begins with 0, or uses a number twice, must notice."""
    replies, accesses = run(
        write(1, 7, [1]),
        request(0, HELLO, session=5),
        write(0, 7, [2], session=5),
        request(1, READ, session=5),
        write(1, 7, [3], session=5),
    )
    assert [item[1] for (item,) in replies[2:]] == [Status.OUT_OF_ORDER, Status.OK, Status.OUT_OF_ORDER]
    assert accesses == [(1, 7, 1), (0, 0)]


@pytest.mark.parametrize("first", [0, 1, 5])
def test_a_refused_write_stops_there(first):
    data = list(range(100, 110))
    one = write(1, BAD - first, data)
    replies, accesses = run(one, one, write(2, 3, [1]))
    refused = answer(1, Status.REFUSED, first)
    assert replies == [[refused], [refused], [answer(2, done=1)]]
    assert accesses == [*((1, BAD - first + index, 100 + index) for index in range(first + 1)), (1, 3, 1)]


@pytest.mark.parametrize("first", [0, 1, 5])
def test_a_refused_read_stops_there(first):
    replies, _ = run(request(1, READ, BAD - first, 9), request(2, READ, 3))
    data = [(BAD - first + index) ^ 0x7E for index in range(first)]
    assert replies == [[answer(1, Status.REFUSED, first, data)], [answer(2, done=1, data=[3 ^ 0x7E])]]


@pytest.mark.parametrize("command", [0, 4, 11, 15])
@only(SerialBridge)
def test_unknown_commands(command):
    replies, accesses = run(request(1, command), write(1, 7, [1]))
    assert replies == [[answer(1, Status.UNKNOWN)], [answer(1, done=1)]]
    assert accesses == [(1, 7, 1)]


WRONG_COUNTS = {
    "fewer words than it says": lambda number: request(number, WRITE, 7, 2, [1]),
    "more words than it says": lambda number: request(number, WRITE, 7, 1, [1, 2]),
    "a write of none": lambda number: request(number, WRITE, 7, 0),
    "a read with a word": lambda number: request(number, READ, 7, 1, [1]),
    "a read of none": lambda number: request(number, READ, 7, 0),
    "a read of too many": lambda number: request(number, READ, 7, MAX_WORDS + 1),
    "a read of very many": lambda number: request(number, READ, 7, 1 << 31),
    "plus the frame's other words it is 1": lambda number: request(number, WRITE, 7, (1 << 32) - 3),
    "a HELLO with a word": lambda number: request(number, HELLO, 7, 1, [1]),
    "a HELLO of no words": lambda number: request(number, HELLO, 7, 0),
}
DAMAGED = {
    "a bit": lambda number: write(number, 7, [1, 2], damage=1),
    "no whole word": lambda number: write(number, 7, [1, 2], tail=b"x"),
    "an escape at the end": lambda number: write(number, 7, [1, 2])[:-2] + b"\x7d\x7e",
    "cut": lambda number: write(number, 7, [1, 2])[:9] + b"\x7e",
    "two words": lambda number: frame([tag(number), WRITE << 28]),
    "no words": lambda number: frame([]),
    "a byte": lambda number: b"\x7ex\x7e",
    "cut, then silence": lambda number: write(number, 7, [1, 2])[:9],
}


def after_each(wrong):
    """Replies to each of the ``wrong`` requests, numbered as the next one, and to a write of that number
    behind it; the accesses of the bus."""
    steps = []
    for number, make in enumerate(wrong.values(), 1):
        steps += [make(number), write(number, 7, [number])]
    replies, accesses = run(*steps)
    return dict(zip(wrong, zip(replies[::2], replies[1::2], strict=True), strict=True)), accesses


def test_wrong_counts():
    replies, accesses = after_each(WRONG_COUNTS)
    for number, (name, found) in enumerate(replies.items(), 1):
        assert found == ([answer(number, Status.LENGTH)], [answer(number, done=1)]), name
    assert accesses == [(1, 7, number) for number in range(1, len(replies) + 1)]


def test_damaged_frames():
    replies, accesses = after_each(DAMAGED)
    for number, (name, found) in enumerate(replies.items(), 1):
        assert found == ([UNREAD], [answer(number, done=1)]), name
    assert accesses == [(1, 7, number) for number in range(1, len(replies) + 1)]


@pytest.mark.parametrize("excess", [1, pytest.param(2, marks=pytest.mark.nightly), 300])
def test_overlong_frames(excess):
    good = list(range(MAX_WORDS + excess))
    replies, accesses = run(write(1, 7, good), write(1, 7, good, damage=1), write(1, 7, [1]), wait=3000)
    assert replies == [[OVERLONG], [OVERLONG], [answer(1, done=1)]]
    assert accesses == [(1, 7, 1)]


@only(SerialBridge)
def test_frames_that_grew_together():
    """A byte lost between two frames, and two frames cut into one."""
    one, two = write(1, 7, [1]), write(2, 7, [2])
    replies, accesses = run(one[:-1] + two[1:], one + two[1:], one, two, two)
    assert replies[0] == [UNREAD]
    assert replies[1][0] == answer(1, done=1)  # the second came while the first was answered, or not
    assert replies[2:] in (
        [[answer(1, done=1)], [answer(2, done=1)], [answer(2, done=1)]],
        [[answer(1, Status.OUT_OF_ORDER)], [answer(2, done=1)], [answer(2, done=1)]],
    )
    assert accesses == [(1, 7, 1), (1, 7, 2)]


@only(SerialBridge)
def test_a_frame_while_another_is_answered_is_not_heard():
    """Nor answered with DAMAGED: that would make the host send everything twice for ever."""
    replies, accesses = run(request(1, READ, 0, 40) + write(2, 7, [1] * 40), write(2, 7, [3]), wait=1000)
    assert replies == [[answer(1, done=40, data=[i ^ 0x7E for i in range(40)])], [answer(2, done=1)]]
    assert accesses[40:] == [(1, 7, 3)]


def test_noise_has_no_effect():
    chance = random.Random(1)
    noise = [chance.randbytes(chance.randint(1, 60)) for _ in range(30)]
    replies, accesses = run(*noise, write(1, 7, [1]))
    assert replies[-1] == [answer(1, done=1)]
    assert {item for found in replies[:-1] for item in map(repr, found)} == {repr(UNREAD)}
    assert accesses == [(1, 7, 1)]


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(1, 4))]
)
def test_random_faults_never_lose_or_repeat_a_write(seed):
    """A host in ten lines: send until answered. The order of effects is the order of requests."""
    chance = random.Random(seed)
    wanted = []
    steps = [request(0, HELLO)]
    for number in range(1, 25):
        whole = write(number, number, [number, number * 3])
        wanted += [(1, number, number), (1, number + 1, number * 3)]
        for _ in range(chance.randint(0, 3)):  # damaged or repeated copies, also of earlier ones
            copy = bytearray(chance.choice(steps) if chance.random() < 0.3 else whole)
            for _ in range(chance.randint(0, 2)):
                place = chance.randrange(len(copy))
                copy[place : place + 1] = chance.choice(
                    (b"", bytes([copy[place] ^ 1 << chance.randrange(8)]))
                )
            steps.append(bytes(copy))
        steps.append(whole)
    replies, accesses = run(*steps, opened=False, seed=seed)
    assert replies[-1][-1] == answer(24, done=2)
    assert accesses == wanted
