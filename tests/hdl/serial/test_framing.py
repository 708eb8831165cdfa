"""Frames on a line against a second implementation, byte by byte."""

import binascii
import random
import struct

import pytest
from synflip_hdl.serial.framing import LONGEST, Deframer, Framer

from tests.hdl.helpers import simulate

SILENCE = 100


def frame(words, tail=b"", damage=0):
    """A frame as docs/reference/uart.md has it. tail: more bytes. damage: what the CRC is changed by."""
    content = struct.pack(f"<{len(words)}I", *words) + tail
    content += struct.pack("<I", binascii.crc32(content) ^ damage)
    line = bytearray(b"\x7e")
    for byte in content:
        line += bytes([0x7D, byte ^ 0x20]) if byte in (0x7D, 0x7E) else bytes([byte])
    return bytes(line) + b"\x7e"


def deframe(line, gaps=0, listen=lambda index: 1):
    """[(words, good)] of the frames in ``line``: bytes, or None for a silence. listen: by index."""
    dut, frames, words, chance = Deframer(SILENCE), [], [], random.Random(1)

    async def bench(ctx):
        async def cycle():
            if ctx.get(dut.word_valid):
                if ctx.get(dut.length) == 0:
                    words.clear()  # of a frame that was missed
                assert ctx.get(dut.length) == min(len(words), LONGEST + 1)
                words.append(ctx.get(dut.word))
            if ctx.get(dut.end):
                frames.append((list(words), bool(ctx.get(dut.good))))
                words.clear()
            await ctx.tick()

        for index, byte in enumerate(line):
            ctx.set(dut.listen, listen(index))
            ctx.set(dut.bytes.valid, byte is not None)
            ctx.set(dut.bytes.payload, byte or 0)
            await cycle()
            ctx.set(dut.bytes.valid, 0)
            for _ in range(SILENCE + 2 if byte is None else chance.randint(0, gaps)):
                await cycle()

    simulate(dut, bench)
    return frames


SPECIAL = [0x7E7D7E7D, 0x7D7D7D7D, 0, 0xFFFFFFFF, 0x5E5D5E5D]


def crc(words):
    return binascii.crc32(struct.pack(f"<{len(words)}I", *words))


@pytest.mark.parametrize("gaps", [0, 5])
def test_frames(gaps):
    chance = random.Random(gaps)
    sent = [[chance.getrandbits(32) for _ in range(chance.randint(1, 20))] for _ in range(10)] + [SPECIAL]
    line, want = b"", []
    for words in sent:
        line += b"\x7e" * chance.randint(0, 2) + frame(words)
        want.append(([*words, crc(words)], True))
    assert deframe(line, gaps) == want


def test_one_flag_between_two_frames_is_enough():
    assert deframe(frame([1, 2]) + frame([3])[1:]) == [([1, 2, crc([1, 2])], True), ([3, crc([3])], True)]


@pytest.mark.parametrize("damage", [1 << bit for bit in (0, 1, 15, 31)])
def test_a_wrong_crc(damage):
    line = frame([5, 6], damage=damage) + frame([7])
    assert [good for _, good in deframe(line)] == [False, True]


def test_every_flipped_bit_is_found():
    """Also one that makes or unmakes a flag or an escape. The next frame is whole."""
    whole, line = frame([0x7E7D0011, 0x5E5D7F6E, 0x12345678]), b""
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        line += bytes(flipped) + frame([7])
    good = [words for words, good in deframe(line) if good]
    assert good == [[7, crc([7])]] * (8 * len(whole))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_frame_of_broken_words_is_not_good(count):
    assert [good for _, good in deframe(frame([1, 2], tail=b"x" * count) + frame([7]))] == [False, True]


def test_a_frame_that_ends_in_an_escape_is_not_good():
    line = frame([1, 2])[:-1] + b"\x7d\x7e" + frame([7])
    assert [good for _, good in deframe(line)] == [False, True]


def test_silence_ends_a_frame():
    whole = frame([1, 2])
    assert [good for _, good in deframe([*whole[:7], None, *whole[7:]])] == [False, False]
    # A lost flag at the end does no harm but the wait.
    assert deframe([*whole[:-1], None]) == [([1, 2, crc([1, 2])], True)]
    assert deframe([None, *whole, None, None]) == [([1, 2, crc([1, 2])], True)]


def test_overlong_frames_saturate():
    words = list(range(LONGEST + 40))
    assert deframe(frame(words) + frame([7]))[-1] == ([7, crc([7])], True)
    (found, good), _ = deframe(frame(words) + frame([7]))
    assert len(found) == len(words) + 1 and good


def test_a_frame_that_nobody_heard_is_missed():
    first, second = frame([1, 2]), frame([3])
    for deaf in range(1, len(first) - 1):
        heard = deframe(first + second, listen=lambda index, deaf=deaf: index != deaf)
        assert heard == [([3, crc([3])], True)]
    # A flag needs no ears.
    assert len(deframe(first + second, listen=lambda index: index != 0)) == 2


@pytest.mark.parametrize("ready", [0.3, 1.0])
def test_framer(ready):
    chance = random.Random(4)
    sent = [[chance.getrandbits(32) for _ in range(chance.randint(1, 12))] for _ in range(8)] + [SPECIAL]
    words = [(word, index == len(item) - 1) for item in sent for index, word in enumerate(item)]
    want = b"".join(frame(item) for item in sent)
    dut, line = Framer(), bytearray()

    async def feed(ctx):
        for word, last in words:
            for _ in range(chance.choice((0, 0, 20))):
                await ctx.tick()
            ctx.set(dut.words.payload, {"data": word, "last": last})
            ctx.set(dut.words.valid, 1)
            await ctx.tick().until(dut.words.ready)
            ctx.set(dut.words.valid, 0)

    async def take(ctx):
        held = None
        for _ in range(40 * len(want)):
            taking = random.Random(len(line) * 7919 + (held is not None)).random() < ready or held is not None
            ctx.set(dut.bytes.ready, taking)
            byte = ctx.get(dut.bytes.payload) if ctx.get(dut.bytes.valid) else None
            assert held is None or byte == held  # what is offered stays
            held = None if taking else byte
            if byte is not None and taking:
                line.append(byte)
            if len(line) == len(want):
                return
            await ctx.tick()

    simulate(dut, feed, take)
    assert line == want
