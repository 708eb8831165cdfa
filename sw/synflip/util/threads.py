"""torch's threads, as many as the work wants."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Train on one torch thread, so that the bytes do not depend on how many there are.

    Two are at best 1.6 times as fast, but on a busy machine their barriers make a step 40 times as slow.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
