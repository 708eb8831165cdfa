"""The collector while a block lasts, and after it."""

import gc

import pytest
from synflip.util.garbage import uncollected


@pytest.mark.parametrize("before", [True, False])
def test_the_collector_is_as_before_even_after_an_error(before) -> None:
    was = gc.isenabled()
    (gc.enable if before else gc.disable)()
    try:
        with pytest.raises(KeyError), uncollected():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() is before
    finally:
        (gc.enable if was else gc.disable)()
