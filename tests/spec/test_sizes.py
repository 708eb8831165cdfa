"""How a network is cut into rows and keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synflip.spec import sizes


@pytest.mark.parametrize(
    ("a", "b", "expected"), [(0, 8, 0), (1, 8, 1), (7, 8, 1), (8, 8, 1), (9, 8, 2), (16, 16, 1), (17, 16, 2)]
)
def test_ceil_div(a: int, b: int, expected: int) -> None:
    assert sizes.ceil_div(a, b) == expected


@pytest.mark.parametrize(
    ("value", "log2", "bits"),
    [(1, 0, 1), (2, 1, 1), (3, 2, 2), (4, 2, 2), (5, 3, 3), (8, 3, 3), (9, 4, 4), (1024, 10, 10)],
)
def test_one_place_has_an_address_of_one_bit(value: int, log2: int, bits: int) -> None:
    assert (sizes.log2_ceil(value), sizes.address_bits(value)) == (log2, bits)
    assert 2 ** (log2 - 1) < value <= 2**log2


@pytest.mark.parametrize(
    ("rows", "padded"), [(1, 8), (7, 8), (8, 8), (9, 16), (64, 64), (65, 72), (784, 784)]
)
def test_rows_are_padded_to_a_multiple_of_eight(rows: int, padded: int) -> None:
    assert sizes.padded_rows(rows) == padded


def test_key_offsets_by_hand() -> None:
    # 784 and 512 are multiples of 8 already; 10 becomes 16, 1 becomes 8.
    assert sizes.key_offsets([784, 512, 512]) == ([0, 784, 1296], 1808)
    assert sizes.key_offsets([10, 1, 8]) == ([0, 16, 24], 32)
    assert sizes.key_offsets([3]) == ([0], 8)


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=8))
def test_every_row_of_a_sample_owns_its_own_key(rows: list[int]) -> None:
    offsets, total = sizes.key_offsets(rows)
    owner: dict[int, tuple[int, int]] = {}
    for layer, count in enumerate(rows):
        for row in range(count):
            number = offsets[layer] + row
            assert number not in owner, f"rows {owner[number]} and {(layer, row)} share key {number}"
            owner[number] = layer, row
    assert max(owner) < total
    assert total % 8 == 0
    # Padding is all that is wasted, and fewer than 8 rows a layer.
    assert 0 <= total - len(owner) < 8 * len(rows)


def test_sizes_are_the_contract_s() -> None:
    """Section 1: k in 1..16, A in 1..8, J <= 1024, rows padded to 8."""
    assert (sizes.MAX_BITS, sizes.MAX_ACTIVATION_BITS, sizes.MAX_OUTPUTS, sizes.ROW_ALIGN) == (16, 8, 1024, 8)
