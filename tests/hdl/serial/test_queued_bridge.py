"""QueuedBridge, where it does more than SerialBridge: requests under way, images, polls."""

import random
from functools import partial

import pytest
from synflip.spec.frames import (
    CHAINED,
    FORMAT_VERSION,
    PAIRS,
    POLLS,
    QUEUE_OVERHEAD,
    QUEUE_REQUESTS,
    QUEUE_WORDS,
    Command,
    Status,
)
from synflip_hdl.serial import queued_bridge
from synflip_hdl.serial.frame_queue import FrameQueue
from synflip_hdl.serial.queued_bridge import QueuedBridge

from tests.hdl.serial import test_bridge
from tests.hdl.serial.test_bridge import BAD, HELLO, READ, UNREAD, WRITE, answer, request, run, write

FORMAT, IMAGE, POLL = Command.FORMAT, Command.IMAGE, Command.POLL


@pytest.fixture(autouse=True)
def bridge(monkeypatch):
    monkeypatch.setattr(test_bridge, "Bridge", QueuedBridge, raising=False)


def chained(number, command, *other, **more):
    return request(number, command | CHAINED, *other, **more)


def test_it_says_its_format():
    replies, _ = run(request(7, FORMAT), request(8, FORMAT, session=5), write(1, 7, [1]))
    word = FORMAT_VERSION | QUEUE_REQUESTS << 8 | QUEUE_WORDS << 16
    none = answer(8, Status.NO_SESSION, session=5)
    assert replies == [[answer(7, done=1, data=[word])], [none], [answer(1, done=1)]]


def test_a_window_of_requests():
    """As many as there may be, and as long as they fit, without a pause."""
    words = [[number, number + 1] for number in range(QUEUE_REQUESTS)]
    window = [write(1 + n, n * 100, data) for n, data in enumerate(words)]
    replies, accesses = run(b"".join(window), request(17, READ, 100, 1), wait=100)
    assert replies[0] == [answer(1 + n, done=2) for n in range(QUEUE_REQUESTS)]
    assert accesses[:-1] == [
        (1, n * 100 + i, word) for n, data in enumerate(words) for i, word in enumerate(data)
    ]


RING = 128  # words, in the tests that fill it


@pytest.fixture
def small_ring(monkeypatch):
    monkeypatch.setattr(queued_bridge, "FrameQueue", partial(FrameQueue, RING))


@pytest.mark.parametrize("count", [7, 30, RING - 3 * QUEUE_OVERHEAD])
def test_what_is_under_way_fits_the_ring(count, small_ring):
    """Behind an answer that takes long, as many requests as the host may send."""
    most = (RING - 2 * QUEUE_OVERHEAD) // (count + QUEUE_OVERHEAD)
    window = request(1, READ, 0, 300)
    for number in range(2, 2 + most):
        window += write(number, 0, [number] * count)
    replies, _ = run(window, wait=2000)
    assert [(item[1], item[2]) for item in replies[0]] == [(0, 300), *[(0, count)] * most]


def test_what_finds_no_room_is_dropped_whole(small_ring):
    """Three of 40 words do not fit. The bus gets nothing of the third, nor of what comes behind it."""
    window = request(1, READ, 0, 300) + b"".join(write(n, 0, [n] * 40) for n in (2, 3, 4))
    replies, accesses = run(window, write(5, 0, [5]), write(4, 0, [4]), wait=600)
    assert [item[:2] for item in replies[0]] == [answer(n)[:2] for n in (1, 2, 3)]
    assert replies[1:] == [[answer(5, Status.OUT_OF_ORDER)], [answer(4, done=1)]]
    assert accesses[300:] == [*[(1, address, n) for n in (2, 3) for address in range(40)], (1, 0, 4)]


def test_outcomes_are_kept():
    first = [write(number, number, [number]) for number in range(1, 21)]
    replies, accesses = run(
        b"".join(first[:10]), b"".join(first[10:]), *first[3:5], first[19], request(19, READ)
    )
    late = answer(4, Status.OUT_OF_ORDER)
    assert replies[2:] == [
        [late],
        [answer(5, done=1)],
        [answer(20, done=1)],
        [answer(19, done=1, data=[0x7E])],
    ]
    assert accesses[:20] == [(1, number, number) for number in range(1, 21)]


def test_outcomes_of_another_session_are_not():
    replies, accesses = run(
        write(1, 7, [1]),
        request(0, HELLO, session=5),
        write(0, 7, [2], session=5),
        write(1, 7, [3], session=5),
    )
    assert [item[0][1] for item in replies] == [Status.OK, Status.OK, Status.OUT_OF_ORDER, Status.OK]
    assert accesses == [(1, 7, 1), (1, 7, 3)]


def test_what_is_chained_to_a_refused_request_is_skipped():
    one, two = write(1, BAD, [1]), chained(2, WRITE, 7, 1, [2])
    three, four, five = chained(3, READ, 7), write(4, 7, [4]), chained(5, READ, 7)
    replies, accesses = run(one + two + three + four + five, two, three, one, five)
    refused, done = answer(1, Status.REFUSED), answer(5, done=1, data=[4])
    skipped = [answer(number, Status.SKIPPED) for number in (2, 3)]
    assert replies[0] == [refused, *skipped, answer(4, done=1), done]
    assert replies[1:] == [[skipped[0]], [skipped[1]], [refused], [done]]
    assert accesses == [(1, BAD, 1), (1, 7, 4), (0, 7), (0, 7)]


def test_a_lost_frame_stops_what_is_behind_it():
    one, two, three = (write(number, number, [number]) for number in (1, 2, 3))
    replies, accesses = run(one + two[:-4] + b"\x7e" + three, two + three)
    assert replies == [
        [answer(1, done=1), UNREAD, answer(3, Status.OUT_OF_ORDER)],
        [answer(2, done=1), answer(3, done=1)],
    ]
    assert accesses == [(1, 1, 1), (1, 2, 2), (1, 3, 3)]


def test_a_poll_waits_for_a_bit():
    """The stand-in's memory gives what was written, else the address XOR 7E."""
    replies, _ = run(write(1, 7, [3]), request(2, POLL, 6, 2), request(3, POLL, 0x80, 3))
    assert replies[1:] == [
        [answer(2, done=2, data=[6 ^ 0x7E, 3])],
        [answer(3, done=3, data=[0x80 ^ 0x7E, 0x81 ^ 0x7E, 0x82 ^ 0x7E])],
    ]


def test_a_poll_ends(monkeypatch):
    monkeypatch.setattr("synflip_hdl.serial.queued_bridge.POLLS", 16)
    replies, accesses = run(write(1, 7, [3]), request(2, POLL, 7, 2) + chained(3, WRITE, 9, 1, [9]))
    assert replies[1] == [answer(2, Status.BUSY), answer(3, Status.SKIPPED)]
    assert accesses == [(1, 7, 3), *[(0, 7)] * 16]
    assert POLLS > 16


@pytest.mark.parametrize("command", [0, 7, 8, 9, 12, 15])
def test_unknown_commands(command):
    replies, accesses = run(request(1, command), write(1, 7, [1]))
    assert replies == [[answer(1, Status.UNKNOWN)], [answer(1, done=1)]]
    assert accesses == [(1, 7, 1)]


@pytest.mark.parametrize("code", [3, 5, 6, 7])
def test_unknown_codes(code):
    replies, accesses = run(request(1, IMAGE, code, 1, [1]))
    assert replies == [[answer(1, Status.UNKNOWN)]] and not accesses


SLOT = 0x5030000


def test_images():
    """Pairs with a long gap, a zero, and rows of one word; packed activations; empty images."""
    pairs = [2, 9, 0, 8, 255, 0, 3, 7, 1, 5, 0, 0]  # rows 2, 3, (259), 263, 265, (266)
    words = [int.from_bytes(bytes(pairs[i : i + 4]), "little") for i in range(0, len(pairs), 4)]
    replies, accesses = run(
        request(1, IMAGE, SLOT | PAIRS, 3, words),
        request(2, IMAGE, SLOT | 4, 1, [0x0321_0000]),
        request(3, IMAGE, SLOT | 1, 2, [0x8000_0001, 0x10]),
        request(4, IMAGE, SLOT | PAIRS, 1, [0]),
        request(5, IMAGE, SLOT | 2, 1, [0x1B]),
        request(5, IMAGE, SLOT | 2, 1, [0x1B]),
    )
    assert [item[0][1:3] for item in replies] == [(0, 3), (0, 1), (0, 2), (0, 1), (0, 1), (0, 1)]
    assert accesses == [
        *((1, SLOT, 0x08090000), (1, SLOT | 65, 0x07000000), (1, SLOT | 66, 0x00000500)),
        *((1, SLOT, 0), (1, SLOT | 1, 0x00030201)),
        *((1, SLOT, 1), (1, SLOT | 7, 0x01000000), (1, SLOT | 9, 1)),
        (1, SLOT, 0),
        (1, SLOT, 0x00010203),
    ]


def test_a_refused_image_stops_there():
    replies, accesses = run(
        request(1, IMAGE, BAD | 4, 3, [0x11111111] * 3) + chained(2, WRITE, 7, 1, [1]),
        request(3, IMAGE, SLOT | 4, 1, [0x1]),
    )
    assert replies == [[answer(1, Status.REFUSED, 1), answer(2, Status.SKIPPED)], [answer(3, done=1)]]
    assert accesses == [(1, BAD, 0x01010101), (1, SLOT, 1)]


@pytest.mark.parametrize("seed", range(2))
def test_random_faults_with_a_window_open(seed):
    """A host that sends all it has, again and again, over a line that loses frames."""
    chance = random.Random(seed)
    wanted = [(1, number, number * 5) for number in range(1, 17)]
    whole = [write(number, number, [number * 5]) for number in range(1, 17)]
    steps = []
    for start in range(0, 16, 8):
        for _ in range(3):
            frames = [
                frame if chance.random() < 0.7 else frame[:7] + frame[9:]
                for frame in whole[start : start + 8]
            ]
            steps.append(b"".join(frames))
        steps += whole[start : start + 8]
    replies, accesses = run(*steps, seed=seed, wait=200)
    assert replies[-1] == [answer(16, done=1)]
    assert accesses == wanted
