"""Images as a device with a queue takes them: docs/reference/uart.md has the two codes."""

import numpy as np
from numpy.typing import NDArray

from synflip.spec.frames import PACKED, PAIR_GAP_BITS, PAIRS
from synflip.spec.sizes import ceil_div

LONGEST_GAP = 1 << PAIR_GAP_BITS  # rows that a pair of gap and value goes on, at most


def pairs(x: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Words of the activations that are not 0, as pairs of the rows before each and its value.

    [0, 0, 9, 8] is (2, 9), (0, 8). A gap of 300 is (255, 0), (44, value): a value of 0 is a row, too.
    """
    rows = np.flatnonzero(x)
    gaps = np.diff(rows, prepend=-1) - 1
    skips = gaps // LONGEST_GAP
    ends = np.cumsum(skips + 1) - 1  # of each activation's pairs, which begin with its skips
    found = np.zeros((ceil_div(int(skips.sum()) + max(len(rows), 1), 2) * 2, 2), dtype=np.uint8)
    found[: ends[-1] + 1 if len(rows) else 0, 0] = LONGEST_GAP - 1
    found[ends, 0] = gaps % LONGEST_GAP
    found[ends, 1] = x[rows]
    return found.reshape(-1).view("<u4").astype(np.uint32)


def packed(x: NDArray[np.uint8], bits: int) -> NDArray[np.uint32]:
    """Words of all activations, ``bits`` of each, the first in the lowest bits; bits: one of PACKED."""
    each = 32 // bits
    padded = np.zeros(ceil_div(len(x), each) * each, dtype=np.uint32)
    padded[: len(x)] = x
    shifts = np.arange(each, dtype=np.uint32) * np.uint32(bits)
    return np.bitwise_or.reduce(padded.reshape(-1, each) << shifts, axis=1).astype(np.uint32)


def shortest(x: NDArray[np.uint8]) -> tuple[int, NDArray[np.uint32]]:
    """(code, words) of an image, uint8 [I], in the code with fewest words. I: at least 1."""
    found = [(PAIRS, pairs(x))]
    largest = int(x.max())
    for bits in PACKED:
        if largest < 1 << bits:
            found.append((bits, packed(x, bits)))
            break
    return min(found, key=lambda item: len(item[1]))
