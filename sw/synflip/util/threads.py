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


@contextmanager
def single_threaded() -> Iterator[int]:
    """torch with one thread while the block lasts; gives the number of threads before.

    Blocks of images share nothing, so a thread for each is all it takes. torch's own threads wait for each
    other after every operation: on a busy machine for a time slice, and small batches gain nothing by them.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)
