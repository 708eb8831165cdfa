"""Python's search for garbage that refers to itself, which reference counting does not find."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Nothing is searched while the block lasts; afterwards as before.

    Amaranth makes some million objects of a design and lets none of them go, so each search looks at all of
    them in vain: at 64x8 a quarter of the processor's time. Instead there may be more memory in use: 210 MB
    in place of 139 there.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
