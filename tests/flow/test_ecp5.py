"""Block RAMs that a memory takes."""

import itertools

import pytest
from synflip_hdl.flow.ecp5 import SHAPES, blocks


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
def test_no_way_takes_fewer(width, depth):
    assert blocks(width, depth) == least(width, depth)


def test_the_weights_of_three_bits():
    """64 lanes, k = 3: seven columns of 36 bits and one of 4, as Yosys finds too."""
    assert blocks(256, 1536) == 7 * 3 + 1
