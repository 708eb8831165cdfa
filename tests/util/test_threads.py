"""torch's threads while a block lasts, and after it."""

import torch
from synflip.util.threads import one_thread


def test_the_number_of_threads_comes_back_even_after_an_error() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        try:
            with one_thread() as count:
                assert count == 3 and torch.get_num_threads() == 1
                raise KeyError
        except KeyError:
            pass
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
