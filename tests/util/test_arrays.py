"""What people hand over as numbers, as plain arrays."""

from typing import Any

import numpy as np
import pytest
import torch
from synflip.errors import SynflipError
from synflip.util.arrays import plain, rows, scale_advice, whole, whole_number

NUMBERS = np.arange(6, dtype=np.int16).reshape(2, 3)


class Frame:
    """What gives an array when it is asked for one, as a table of pandas does."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return NUMBERS


@pytest.mark.parametrize(
    "value",
    [
        NUMBERS,
        NUMBERS.tolist(),
        [torch.tensor([0, 1, 2]), np.array([3, 4, 5])],
        torch.from_numpy(NUMBERS).T.contiguous().T,
        torch.from_numpy(NUMBERS).to(torch.float16),
        NUMBERS.astype(">u8"),
        np.ma.masked_array(NUMBERS),
        Frame(),
        np.broadcast_to(NUMBERS, (2, 3)),
        NUMBERS.astype(object),
        [[np.float32(item) for item in row] for row in NUMBERS.astype(object)],
    ],
)
def test_plain_arrays(value: Any) -> None:
    found = plain(value, "x")
    assert type(found) is np.ndarray and found.flags.c_contiguous and found.flags.writeable
    assert found.dtype.isnative and np.array_equal(found, NUMBERS)


def test_shapes_stay() -> None:
    assert plain(5, "x").shape == () and plain(np.zeros((0, 3)), "x").shape == (0, 3)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            iter([1]),
            "x are an iterator (list_iterator), not an array: give list(x) of single rows, np.concat",
        ),
        (
            [10**30],
            "x[0] is 1000000000000000000000000000000, a whole number of more than 64 bits: give np.arr",
        ),
        ([[1.0, "a"]], "x: row 0 (from 0), column 1 is 'a', not a number: put a number there"),
        (
            [[1.0, 2], [3, "4"]],
            "x: row 1 (from 0), column 1 is '4', not a number: give np.array(x, dtype=float)",
        ),
        (np.array([["1", "b"]]), "x: row 0 (from 0), column 1 is 'b', not a number"),
        (np.array([[b"1", b"2"]]), "x: row 0 (from 0), column 0 is b'1', not a number: give np.array(x, dt"),
        (np.array([[1, 2], [None, "a"]], dtype=object), "x: row 1 (from 0), column 0 is None, not a number"),
        (np.array([[[1, 2j]]], dtype=object), "x[0, 0, 1] is 2j, not a number: put a number there"),
        (
            [[1, 2], [3]],
            "x: row 1 (from 0) has length 1, and row 0 has 2: rows of equal lengths make an array",
        ),
        ([1, [2]], "x (list) are no array of numbers: setting an array element with a sequence"),
        ([[1, 2], [3, [4]]], "x (list) are no array of numbers: setting an array element with a sequence"),
        (np.array([[1, 2], [3]], dtype=object), "x[0] is [1, 2], not a number: rows of equal lengths make"),
        (np.datetime64("2020"), "x hold datetime64[Y], not numbers"),
        (np.zeros(2, dtype=[("a", int)]), "x hold records, not numbers"),
        ({1, 2}, "x must be an array of numbers, not {1, 2}"),
        (b"12", "x must be an array of numbers, not b'12'"),
        ([torch.zeros(2), torch.zeros(2, requires_grad=True)], "x[1] are a tensor that requires grad"),
        (torch.zeros(2, device="meta"), "x are a tensor of torch.float32: "),
        (torch.zeros(2, dtype=torch.complex64), "x hold complex numbers"),
        (np.ma.masked_array(NUMBERS, mask=NUMBERS == 4), "x[1, 1] is masked: put a number there"),
    ],
)
def test_what_is_no_array_of_numbers(value: Any, expected: str) -> None:
    with pytest.raises(SynflipError) as caught:
        plain(value, "x")
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_whole_numbers_are_not_rounded() -> None:
    assert whole(np.array([0.0, 255.0]), "x", 0, 255, np.uint8).tolist() == [0, 255]
    for value in (-1, 256, 254.99999, np.nan, np.inf, 2.0**70):
        with pytest.raises(SynflipError, match=r"x\[1, 0\] is .*, not an integer in 0\.\.255; so"):
            whole(np.array([[0.0], [value]]), "x", 0, 255, np.uint8, lambda: "; so")
    with pytest.raises(SynflipError, match=r"x\[0\] is 18446744073709551615"):
        whole(np.array([2**64 - 1], np.uint64), "x", -1, 9, np.int64)


def test_one_number() -> None:
    for value in (3, np.int8(3), np.uint64(3), 3.0, np.float32(3), np.array(3)):
        found = whole_number(value, "n", 0, 3)
        assert type(found) is int and found == 3
    for value in (True, np.bool_(True), 4, -1, 2.5, float("nan"), float("inf"), "3", None, [3]):
        with pytest.raises(SynflipError, match=r"n must be an integer in 0\.\.3, not "):
            whole_number(value, "n", 0, 3)


def test_rows_of_a_model_that_knows_no_shape() -> None:
    assert np.array_equal(rows(NUMBERS, (3,), "x"), NUMBERS)
    for array in (NUMBERS[0], NUMBERS[:, None], NUMBERS[:, :2]):
        with pytest.raises(SynflipError, match=r"x have shape .*, not \[N, 3\]"):
            rows(array, (3,), "x")


@pytest.mark.parametrize(
    ("least", "most", "shares", "largest", "expected"),
    [
        (0, 1, True, 16, "multiply by 16 and round, then astype(np.uint8)"),
        (0, 1, True, 1, "multiply by 255 and round, then astype(np.uint8), with 255 as the largest pixel"),
        (0, 1, True, 4095, "multiply by 4095 and round, then astype(np.int32)"),
        (0.27, 0.33, True, 255, "undo the normalisation, or shift and scale them"),
        (0, 2.5, True, 255, "undo the normalisation, or shift and scale them"),
        (-1, 1, True, 255, "undo the normalisation, or shift and scale them"),
    ],
)
def test_advice(least: float, most: float, shares: bool, largest: int, expected: str) -> None:
    assert expected in scale_advice(least, most, shares, largest)
