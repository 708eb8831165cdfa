"""Features of any range as pixels: the formula to the bit, and how a quantizer travels in a model's file."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synflip.errors import SynflipError
from synflip.modelfile.safetensors import load, save
from synflip.spec.input_quantizer import Column, InputQuantizer
from synflip.spec.model import from_tensors

from tests.spec.models import model, one_line


def slow(x: float, low: float, high: float, largest: int) -> int:
    """The formula in exact fractions; ``float`` of a fraction is the nearest float64, ties to even, and
    ``round`` takes a half to the even number."""
    if high == low:
        return 0
    above = float(Fraction(min(max(x, low), high)) - Fraction(low))
    scale = float(Fraction(largest) / Fraction(float(Fraction(high) - Fraction(low))))
    return round(Fraction(float(Fraction(above) * Fraction(scale))))


def one(low: float, high: float) -> InputQuantizer:
    return InputQuantizer(np.array([low]), np.array([high]), (1, 1))


@given(
    st.lists(st.floats(-1e300, 1e300), min_size=3, max_size=9),
    st.integers(1, 65535),
    st.sampled_from([1.0, 1e-3, 2.0**-900]),
)
@settings(max_examples=300, deadline=None)
def test_pixels_are_those_of_exact_fractions(numbers: list[float], largest: int, unit: float) -> None:
    low, high = sorted(numbers[:2])
    low, high = low * unit, high * unit
    if 0 < high - low < 2.0**-1000:
        high = low
    numbers = [number * unit for number in numbers]
    found = one(low, high).pixels(np.array(numbers)[:, None], largest)[:, 0]
    assert found.tolist() == [slow(number, low, high, largest) for number in numbers]


def test_a_half_goes_to_the_even_pixel() -> None:
    rows = np.arange(-3, 515)[:, None]
    found = one(0.0, 510.0).pixels(rows, 255)
    assert found.dtype == np.uint8 and found[:, 0].tolist()[3:9] == [0, 0, 1, 2, 2, 2]  # 0 0.5 1 1.5 2 2.5
    assert found[:, 0].tolist() == [slow(float(x), 0.0, 510.0, 255) for x in rows[:, 0]]


def test_the_example_of_the_docs() -> None:
    assert one(-1.0, 1.0).pixels(np.array([[-5], [-1], [0.2], [1], [9]]), 255)[:, 0].tolist() == [
        0, 0, 153, 255, 255,
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", ["int8", "<i8", ">i8", ">f4", "f2", "u8", "?"])
def test_any_type_of_number(dtype: str) -> None:
    rows = np.array([[0, 1], [1, 0], [1, 1]], dtype=dtype)
    quantizer = InputQuantizer(np.array([0.0, 0.0]), np.array([1.0, 2.0]), (1, 2))
    assert quantizer.pixels(rows, 255).tolist() == [[0, 128], [255, 0], [255, 128]]


def test_a_table_has_a_range_for_each_feature_and_a_picture_one_for_all() -> None:
    rows = np.array([[0.0, -4.0, 7.0, 1.0], [2.0, 4.0, 7.0, 3.0]])
    table = InputQuantizer.fit(rows, (1, 4))
    assert (table.low.tolist(), table.high.tolist()) == ([0, -4, 7, 1], [2, 4, 7, 3])
    assert table.pixels(rows, 255).tolist() == [[0, 0, 0, 0], [255, 255, 0, 255]]  # a constant becomes 0
    picture = InputQuantizer.fit(rows, (2, 2))
    assert (picture.low.tolist(), picture.high.tolist()) == ([-4] * 4, [7] * 4)
    clipped = InputQuantizer.fit(np.arange(101.0)[:, None], (1, 1), quantiles=(0.1, 0.9))
    assert (clipped.low[0], clipped.high[0]) == (10, 90) and clipped.quantiles == (0.1, 0.9)


def test_tiny_ranges_are_constants() -> None:
    found = InputQuantizer.fit(np.array([[0.0], [5e-324]]), (1, 1))
    assert found.pixels(np.array([[1.0]]), 255)[0, 0] == 0


def test_what_is_not_finite_is_named() -> None:
    quantizer = InputQuantizer(
        np.zeros(4), np.ones(4), (1, 4), (Column("age"), Column("colour", ("blue", "red")), Column("dose"))
    )
    rows = np.zeros((3, 4))
    for column, words in enumerate(
        ("column age", "column colour = blue", "column colour = red", "column dose")
    ):
        for value in (np.nan, np.inf, -np.inf):
            bad = rows.copy()
            bad[2, column] = value
            with pytest.raises(SynflipError) as error:
                quantizer.pixels(bad, 255, first=10)
            one_line(str(error.value), f"row 12 (from 0), {words} is {value}: a feature is a finite number")


QUANTIZER = InputQuantizer(
    np.array([-1.0, 0, 0, 0, 5]),
    np.array([1.0, 1, 1, 1, 5]),
    (1, 5),
    (Column("a\nb"), Column("c", ("x", "y", "z")), Column("d")),
    "class",
    (0.25, 1.0),
)


def test_it_travels_in_the_file(tmp_path: Any) -> None:
    made = model(input_quantizer=QUANTIZER)
    save(made, tmp_path / "m.safetensors")
    found = load(tmp_path / "m.safetensors").input_quantizer
    assert found is not None
    assert found.low.tolist() == QUANTIZER.low.tolist() and found.high.tolist() == QUANTIZER.high.tolist()
    assert found.low.dtype == np.float64
    assert (found.shape, found.columns, found.label) == ((1, 5), QUANTIZER.columns, "class")
    assert found.quantiles == (0.25, 1)
    unknown = replace(QUANTIZER, quantiles=None)  # as files of before say nothing of them
    save(model(input_quantizer=unknown), tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors").input_quantizer
    assert again is not None and again.quantiles is None


def test_a_model_without_one_is_written_as_before() -> None:
    assert "input." not in " ".join(model().tensors())
    assert '"input": {"max": 255}' in model().metadata()["synflip"]


@pytest.mark.parametrize(
    ("tensors", "text", "words"),
    [
        ({"input.low": None}, None, "tensor input.low is missing"),
        ({"input.high": None}, None, "tensor input.high is missing"),
        ({"input.low": np.zeros(5, np.float32)}, None, "input.low is float32 [5], not float64 [I]"),
        ({"input.high": np.zeros(4)}, None, "input.high is float64 [4], not float64 [I]"),
        ({"input.low": np.zeros(4), "input.high": np.ones(4)}, None, "is [1, 5]; there are 4 features"),
        ({"input.low": np.full(5, np.nan)}, None, "column a\\nb ranges over nan..1.0, which is no range"),
        ({"input.low": np.full(5, 9.0)}, None, "ranges over 9.0..1.0"),
        ({"input.low": np.full(5, -1e308), "input.high": np.full(5, 1e308)}, None, "which is no range"),
        ({"input.high": np.array([1, 1, 1, 1, 5 + 1e-320])}, None, None),  # 5, as a float64
        ({}, ('"shape": [1, 5]', '"shape": [1, 6]'), "there are 5 features"),
        ({}, ('"shape": [1, 5]', '"shape": [5]'), "`shape` of the input is [5]"),
        ({}, ('"shape": [1, 5]', '"shape": 5'), "`shape` of the input is 5, not a list"),
        ({}, ('"shape": [1, 5]', '"shape": [-1, -5]'), "`shape` of the input is [-1, -5]"),
        ({}, ('["d"]', '["d", "e", "f"]'), "`columns` of the input make 6 features; there are 5"),
        ({}, ('["d"]', '["c"]'), "a name twice"),
        ({}, ('["d"]', "[]"), "must be lists of text"),
        ({}, ('["d"]', "[3]"), "must be lists of text"),
        ({}, ("[0.25, 1.0]", "[0.25]"), "`quantiles` of the input are not two numbers"),
        ({}, ("[0.25, 1.0]", "[1, 0.5]"), "`quantiles` of the input are not two numbers"),
        ({}, ("[0.25, 1.0]", '["0", 1]'), "`quantiles` of the input are not two numbers"),
        ({}, ("[0.25, 1.0]", "[0, 1" + "0" * 400 + "]"), "`quantiles` of the input are not two numbers"),
        ({}, ("[0.25, 1.0]", "[NaN, 1]"), "`quantiles` of the input are not two numbers"),
        ({}, ("[0.25, 1.0]", "0.5"), "`quantiles` of the input are not two numbers"),
        ({}, ('"label": "class"', '"label": 3'), "`label` of the input is 3, not the name of a column"),
    ],
)  # fmt: skip
def test_files_are_not_trusted(tensors: dict[str, Any], text: Any, words: str | None) -> None:
    made = model(input_quantizer=QUANTIZER)
    metadata = made.metadata()["synflip"]
    assert text is None or text[0] in metadata
    changed = {"synflip": metadata if text is None else metadata.replace(*text)}
    given = {name: tensor for name, tensor in (made.tensors() | tensors).items() if tensor is not None}
    if words is None:
        from_tensors(given, changed)
        return
    with pytest.raises(SynflipError) as error:
        from_tensors(given, changed)
    assert words in str(error.value).replace("\n", "\\n")


def test_it_must_fit_the_model() -> None:
    with pytest.raises(SynflipError) as error:
        model(input_quantizer=one(0.0, 1.0))
    one_line(str(error.value), "input.low has 1 features; an image has 5 pixels")


def test_names_that_no_file_could_be_read_with_are_refused(tmp_path: Any) -> None:
    wide = InputQuantizer(QUANTIZER.low, QUANTIZER.high, (1, 5), tuple(Column(c * 300_000) for c in "abcde"))
    with pytest.raises(SynflipError) as error:
        save(model(input_quantizer=wide), tmp_path / "m.safetensors")
    one_line(str(error.value), "its names of columns and classes")
    assert not (tmp_path / "m.safetensors").exists()
