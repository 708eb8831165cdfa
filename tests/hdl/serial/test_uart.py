"""UART against bits drawn by hand, at clocks that do not agree."""

import itertools
import random

import pytest
from synflip.errors import SynflipError
from synflip_hdl.serial.uart import PHASE_BITS, Receiver, Transmitter, phase_step

from tests.hdl.helpers import simulate

CLOCK = 25e6
SPECIAL = [0x00, 0xFF, 0x55, 0xAA, 0x7E, 0x01, 0x80]


def levels(content, cycles, gaps=(0,), stop=1):
    """The line, cycle by cycle: each byte's bits last ``cycles`` (a float), a gap in bits after each byte."""
    edges, time = [], 0.0
    for byte, gap in zip(content, itertools.cycle(gaps), strict=False):
        for bit in [0, *(byte >> index & 1 for index in range(8)), stop]:
            edges.append((time, bit))
            time += cycles
        time += gap * cycles
    line, index = [], 0
    for cycle in range(int(time) + 1):
        while index + 1 < len(edges) and edges[index + 1][0] <= cycle:
            index += 1
        # After a gap the line is high.
        over = cycle >= edges[index][0] + cycles
        line.append(1 if over else edges[index][1])
    return line


def receive(line, step):
    dut, received = Receiver(step), []

    async def bench(ctx):
        for level in [1, 1, 1, *line, *[1] * 60]:
            ctx.set(dut.rx, level)
            if ctx.get(dut.bytes.valid):
                received.append(ctx.get(dut.bytes.payload))
            await ctx.tick()

    simulate(dut, bench)
    return received


@pytest.mark.parametrize("baud", [3_000_000, 6_250_000, 2_000_000, 1_234_567])
@pytest.mark.parametrize("mismatch", [-0.02, -0.01, 0, 0.01, 0.02])
def test_receiver_at_mismatched_clocks(baud, mismatch):
    """Back to back, so that no pause helps."""
    chance = random.Random(baud)
    content = SPECIAL + [chance.randrange(256) for _ in range(16)]
    step = phase_step(CLOCK, baud)
    assert receive(levels(content, CLOCK / baud * (1 + mismatch)), step) == content


@pytest.mark.parametrize("gaps", [(0.3,), (0, 1.7, 0.5), (3,)])
def test_receiver_with_pauses(gaps):
    chance = random.Random(1)
    content = [chance.randrange(256) for _ in range(16)]
    assert receive(levels(content, CLOCK / 3e6, gaps), phase_step(CLOCK, 3e6)) == content


def test_a_mismatch_of_ten_percent_is_too_much():
    assert receive(levels(SPECIAL, 8 * 1.1), phase_step(8, 1)) != SPECIAL


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_glitch_is_no_start_bit(width):
    step = phase_step(8, 1)
    line = [0] * width + [1] * 20 + levels([0x5A], 8)
    assert receive(line, step) == [0x5A]


def test_a_byte_without_stop_bit_and_a_break_are_dropped():
    step = phase_step(8, 1)
    line = levels([0x12], 8) + levels([0x34], 8, stop=0) + [1] * 9 + levels([0x56], 8)
    assert receive(line, step) == [0x12, 0x56]
    assert receive([0] * 500 + [1] * 9 + levels([0x56], 8), step) == [0x56]


def transmit(content, step, valid):
    """The line of ``content`` offered with a likelihood of ``valid`` a cycle."""
    dut, line, chance = Transmitter(step), [], random.Random(2)

    async def bench(ctx):
        index, offered = 0, False
        for _ in range(int((1 << PHASE_BITS) / step * 10 * (len(content) + 1) + len(content) * 4 / valid)):
            offered = index < len(content) and (offered or chance.random() < valid)
            ctx.set(dut.bytes.valid, offered)
            ctx.set(dut.bytes.payload, content[index] if offered else 0)
            line.append(ctx.get(dut.tx))
            if offered and ctx.get(dut.bytes.ready):
                index, offered = index + 1, False
            await ctx.tick()
        assert index == len(content)

    simulate(dut, bench)
    return line


@pytest.mark.parametrize("baud", [3_000_000, 6_250_000, 1_234_567])
def test_transmitter_without_gaps(baud):
    """Every bit is where it should be, to a cycle, from the first to the last."""
    chance = random.Random(baud)
    content = SPECIAL + [chance.randrange(256) for _ in range(20)]
    line = transmit(content, phase_step(CLOCK, baud), 1.0)
    cycles, start = CLOCK / baud, line.index(0)
    for index, byte in enumerate(content):
        for bit, level in enumerate([0, *(byte >> bit & 1 for bit in range(8)), 1]):
            middle = start + (index * 10 + bit + 0.5) * cycles
            assert line[round(middle - cycles / 2 + 1) : round(middle + cycles / 2 - 1)].count(1 - level) == 0
    assert all(line[start + round(len(content) * 10 * cycles) :])


@pytest.mark.parametrize("valid", [0.02, 0.3])
def test_transmitter_to_receiver(valid):
    chance = random.Random(3)
    content = [chance.randrange(256) for _ in range(30)]
    step = phase_step(CLOCK, 3e6)
    assert receive(transmit(content, step, valid), step) == content


def test_baud_rates():
    assert abs(phase_step(CLOCK, 3e6) / (1 << PHASE_BITS) * CLOCK / 3e6 - 1) < 1e-6
    phase_step(200e6, 9600)
    with pytest.raises(SynflipError, match=r"7e\+06 baud needs a clock of at least 2\.8e\+07 Hz"):
        phase_step(CLOCK, 7e6)
    with pytest.raises(SynflipError, match="cannot be made"):
        phase_step(200e6, 300)
