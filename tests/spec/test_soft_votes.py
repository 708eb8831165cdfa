"""Soft votes in geometries and in the memory map."""

import pytest
from synflip.errors import SynflipError
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import (
    REGISTERS,
    Region,
    energy_offset,
    extent,
    present,
    soft_depth,
)
from synflip.spec.sizes import MAX_OUTPUTS, SOFT_ENTRIES, SOFT_FRACTION, SOFT_POINT


def test_a_geometry_says_how_many_classes() -> None:
    geometry = Geometry(16, 2, soft_classes=10)
    assert geometry.text.endswith(",soft_classes=10") and Geometry.parse(geometry.text) == geometry
    assert "soft" not in Geometry(16, 2).text
    for number in (-1, MAX_OUTPUTS + 1):
        with pytest.raises(SynflipError, match=f"soft_classes must be in 0..1024, not {number}"):
            Geometry(soft_classes=number)


def test_a_map_without_soft_votes_has_neither_their_region_nor_their_shift() -> None:
    plain, soft = Geometry(), Geometry(soft_classes=1)
    assert extent(Region.SOFT, plain) == extent(Region.SOFT, plain, write=True) == 0
    assert [name for name in REGISTERS if present(name, plain) != present(name, soft)] == ["SOFT_SHIFT"]


@pytest.mark.parametrize("classes", [1, 3, 4, 10, 15, 16, 200, MAX_OUTPUTS])
def test_every_sum_has_an_entry(classes: int) -> None:
    geometry = Geometry(soft_classes=classes)
    depth = soft_depth(geometry)
    assert classes << SOFT_FRACTION >> SOFT_POINT < depth and depth & (depth - 1) == 0
    assert extent(Region.SOFT, geometry, write=True) == depth + SOFT_ENTRIES and depth >= SOFT_ENTRIES


@pytest.mark.parametrize(("results", "slots"), [(1, 1), (20, 256), (500, 12), (1024, 16)])
def test_energies_are_behind_the_sums(results: int, slots: int) -> None:
    geometry = Geometry(result_depth=results, image_slots=slots, soft_classes=4)
    first = energy_offset(geometry)
    assert results <= first and first & (first - 1) == 0
    assert extent(Region.SOFT, geometry) == first + 2 * slots <= 2 * first
