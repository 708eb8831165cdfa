"""How many threads torch uses."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread() -> Iterator[int]:
    """Limit torch to one thread while the block lasts; the block is given the number of threads before.

    Training is limited so that the bytes of a network do not depend on the number of cores: sums are added in
    another order on two threads. Two are at best 1.6 times as fast, and on a busy machine, where torch's
    threads wait for each other after every operation, a step can take 40 times as long. The golden model is
    limited because it gives each thread blocks of images of its own, which share nothing.
    """
    import torch  # here, not above: other rooms import util without torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)
