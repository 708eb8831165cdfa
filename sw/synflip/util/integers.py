"""Integers."""


def log2_ceil(value: int) -> int:
    """Smallest n with 2**n >= value."""
    return (value - 1).bit_length()
