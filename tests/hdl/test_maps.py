"""Convolutions on the array: the whole accelerator beside the reference."""

import pytest

from tests.hdl.maps import difference
from tests.mapped import CASES


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "pooled" else [pytest.mark.nightly]) for name in CASES]
)
def test_as_the_reference(name):
    """Every logit of every network sample, and the cycles of every run."""
    assert difference(CASES[name]) == ""
