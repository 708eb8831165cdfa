"""Fixtures of several modules of this room."""

from collections.abc import Iterator

import pytest
from synflip.util import threads


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch has one thread."""
    with threads.one_thread():
        yield
