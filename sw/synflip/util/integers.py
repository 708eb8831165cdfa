"""Integer arithmetic that Python lacks."""


def log2_ceil(value: int) -> int:
    """Smallest n with 2**n >= value, for value >= 1: 0 for 1, 3 for 8, 4 for 9."""
    return (value - 1).bit_length()
