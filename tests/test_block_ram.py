"""Columns of wide memories: they hold every bit, in no more block RAMs than any other cut."""

import itertools

import pytest
from synflip_hdl.block_ram import SHAPES, blocks, columns


def least(width: int, depth: int) -> int:
    """Every number of every shape, tried."""
    prices = [(wide, -(-depth // rows)) for wide, rows in SHAPES]
    counts = [range(-(-width // wide) + 1) for wide, _ in prices]
    return min(
        sum(count * price for count, (_, price) in zip(choice, prices, strict=True))
        for choice in itertools.product(*counts)
        if sum(count * wide for count, (wide, _) in zip(choice, prices, strict=True)) >= width
    )


@pytest.mark.parametrize("depth", [1, 512, 513, 1024, 1536, 2100, 4096, 9000])
@pytest.mark.parametrize("width", [1, 4, 10, 18, 19])
def test_no_cut_takes_fewer(width, depth):
    assert blocks(width, depth) == least(width, depth)


@pytest.mark.parametrize(("width", "depth"), [(256, 1536), (320, 1024), (64, 512), (192, 2720), (1, 20000)])
def test_every_bit_has_a_column(width, depth):
    widths = columns(width, depth)
    assert sum(widths) == width and min(widths) > 0
    assert sum(blocks(part, depth) for part in widths) == blocks(width, depth)


def test_the_weights_of_three_bits():
    """64 lanes, k = 3: seven columns of 36 bits are not quite enough, eight would be one too many."""
    assert (blocks(256, 1536), columns(256, 1536)) == (7 * 3 + 1, (252, 4))
