"""Sizes of the contract and how a network is cut into rows, tiles and keys."""

from collections.abc import Sequence

MAX_BITS = 16  # k: bits of a probability word
KEY_BITS = 64
MAX_ACTIVATION_BITS = 8  # A: bits of an activation
MAX_OUTPUTS = 1024  # J: outputs of one layer (the coin taps are proven for as many words of one key)
MAX_LAYERS = 16
MAX_LAYERS_VERSION_1 = 8  # of a model file of version 1
MAX_LAYER_DEPTH = 8  # layers that an accelerator may hold at once
MAX_SIDE = 256  # height and width of what a convolution goes over
MAX_KERNEL = 7  # height and width of its kernel
MAX_KERNEL_ROWS = 1 << 16  # kh * kw * C
MAX_POOL = 4  # height and width of a window of max pooling
MAX_SHIFT = 31
ROW_ALIGN = 8  # rows of a layer are padded to a multiple of this; padding rows own keys but no weights
ACCUMULATOR_BITS = 24  # two's complement sum of the coins of one output, without its bias
LOGIT_BITS = 32  # two's complement z = bias + sum
SOFT_ENTRIES = 64  # of an accelerator's table E of soft votes
SOFT_FRACTION = 8  # F of its tables at most, 2**F being the largest soft vote
SOFT_POINT = 4  # F - P of its tables: by how much a sum Z is shifted to an index of L
SOFT_DISTANCE_BITS = 31  # of an entry of L
MAX_SAMPLE_BITS = 24  # a run counts fewer than 2**24 network samples


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def log2_ceil(value: int) -> int:
    """Smallest n with 2**n >= value, for value >= 1: 0 for 1, 3 for 8, 4 for 9. See ``address_bits``."""
    return (value - 1).bit_length()


def address_bits(value: int) -> int:
    """Bits of an address of ``value`` places, for value >= 1.

    A memory of one place still has an address of one bit: ``address_bits(1)`` is 1, ``log2_ceil(1)`` is 0.
    For every other value they are equal.
    """
    return max(log2_ceil(value), 1)


def padded_rows(rows: int) -> int:
    """Rows of a layer after padding to a multiple of ``ROW_ALIGN``."""
    return ceil_div(rows, ROW_ALIGN) * ROW_ALIGN


def key_offsets(rows: Sequence[int]) -> tuple[list[int], int]:
    """Padded rows before each layer, and R, the keys of one network sample. ``rows``: of each layer; of a
    convolution the rows of its kernel."""
    offsets = []
    total = 0
    for count in rows:
        offsets.append(total)
        total += padded_rows(count)
    return offsets, total
