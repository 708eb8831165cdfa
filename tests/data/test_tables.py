"""Features of any range, in any shape that people have them: right, or refused in one line."""

import math
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from synflip.data import Dataset
from synflip.errors import SynflipError
from synflip.util.text import second

from tests.data.arrays import read_only

pandas = pytest.importorskip("pandas")

RNG = np.random.default_rng(7)
ROWS = RNG.normal(0, 3, (40, 12))
LABELS = np.arange(40) % 3
PICTURES = ROWS.reshape(40, 3, 4)


@pytest.mark.parametrize(
    "x",
    [
        ROWS.tolist(),
        torch.from_numpy(ROWS),
        np.asfortranarray(ROWS),
        ROWS.astype(">f8"),
        read_only(ROWS),
        np.repeat(ROWS, 2, axis=0)[::2],
        ROWS[::-1][::-1],
        ROWS.astype(np.longdouble),
        ROWS.astype(object),
        pandas.DataFrame(ROWS),
        pandas.DataFrame(ROWS, index=range(100, 140)),
    ],
)
def test_rows_are_taken_as_they_are_meant(x: Any) -> None:
    data = Dataset.of(x, LABELS, ROWS[:6], LABELS[:6])
    assert data.train_images.dtype == np.float64 and np.array_equal(data.train_images, ROWS)
    assert data.shape == (1, 12) and data.input_max == 255 and data.note == ""
    assert data.input_quantizer is not None
    assert np.array_equal(data.input_quantizer.low, ROWS.min(0))
    assert data.train_pixels.dtype == np.uint8 and np.ptp(data.train_pixels, 0).tolist() == [255] * 12


@pytest.mark.parametrize(
    ("x", "shape"),
    [
        (PICTURES, (3, 4)),
        (PICTURES[:, None], (3, 4)),
        (ROWS.reshape(40, 3, 2, 2), (3, 2, 2)),
        (np.asfortranarray(PICTURES), (3, 4)),
        (torch.from_numpy(PICTURES), (3, 4)),
    ],
)
def test_pictures_share_one_range(x: Any, shape: tuple[int, ...]) -> None:
    data = Dataset.of(x, LABELS, x[:6], LABELS[:6])
    assert data.shape == shape and np.array_equal(data.train_images, ROWS)
    assert data.input_quantizer is not None
    assert set(data.input_quantizer.low) == {ROWS.min()} and set(data.input_quantizer.high) == {ROWS.max()}


def test_shares_and_bytes_of_pictures_keep_their_steps() -> None:
    steps = RNG.integers(0, 256, (40, 3, 4))
    steps[0, 0, :2] = (0, 255)
    for x in (steps, steps.astype(np.uint8), steps / 255, (steps / 255).astype(np.float32)):
        pixels = Dataset.of(x, LABELS, x[:6], LABELS[:6]).train_pixels
        assert np.array_equal(pixels, steps.reshape(40, -1))


def test_a_quarter_of_each_class_is_held_out_and_said() -> None:
    labels = np.repeat(["common", "rare"], [100, 8])
    rows = np.arange(108.0)[:, None]
    data = Dataset.of(rows, labels, seed=3)
    assert np.bincount(data.test_labels).tolist() == [25, 2] and np.bincount(data.train_labels).tolist() == [
        75,
        6,
    ]
    assert sorted([*data.train_images[:, 0], *data.test_images[:, 0]]) == rows[:, 0].tolist()
    assert (data.test_images[:, 0] >= 100).tolist() == data.test_labels.astype(bool).tolist()
    assert data.note == "a quarter of each class held out by seed 3" and data.note in repr(data)
    again = Dataset.of(rows, labels, seed=3)
    assert np.array_equal(again.test_images, data.test_images)
    assert not np.array_equal(Dataset.of(rows, labels, seed=4).test_images, data.test_images)


def test_the_held_out_rows_of_a_seed_stay_the_same() -> None:
    data = Dataset.of(np.arange(12.0)[:, None], np.arange(12) % 2, seed=1)
    assert data.test_images[:, 0].tolist() == [2, 3, 5, 8]


def test_ranges_are_those_of_the_training_part_alone() -> None:
    data = Dataset.of([[0.0], [10.0]], [0, 1], [[-99.0], [99.0]], [0, 1])
    assert data.input_quantizer is not None
    assert (data.input_quantizer.low[0], data.input_quantizer.high[0]) == (0, 10)
    assert data.test_pixels.tolist() == [[0], [255]]


@pytest.mark.parametrize(
    ("y", "classes", "labels"),
    [
        (["b", "a", "b", "c"], ("a", "b", "c"), [1, 0, 1, 2]),
        (np.array(["b", "a", "b", "c"]), ("a", "b", "c"), [1, 0, 1, 2]),
        (pandas.Series(["b", "a", "b", "c"]), ("a", "b", "c"), [1, 0, 1, 2]),
        (pandas.Series(["b", "a", "b", "c"], dtype="category"), ("a", "b", "c"), [1, 0, 1, 2]),
        ([7, -1, 7, 30], ("-1", "7", "30"), [1, 0, 1, 2]),
        ([7.0, -1.0, 7.0, 30.0], ("-1", "7", "30"), [1, 0, 1, 2]),
        (["7", "-1", "7", "30"], ("-1", "7", "30"), [1, 0, 1, 2]),
        (["1", "none", "1", "2"], ("1", "2", "none"), [0, 2, 0, 1]),
        (torch.tensor([5, 4, 5, 6]), ("4", "5", "6"), [1, 0, 1, 2]),
        (np.array([[5], [4], [5], [6]]), ("4", "5", "6"), [1, 0, 1, 2]),
        ([True, False, True, True], ("0", "1"), [1, 0, 1, 1]),
        (pandas.DataFrame({"y": [5, 4, 5, 6]}), ("4", "5", "6"), [1, 0, 1, 2]),
    ],
)
def test_labels_become_classes(y: Any, classes: tuple[str, ...], labels: list[int]) -> None:
    x = np.arange(4.0)[:, None]
    data = Dataset.of(x, y, x, y)
    assert data.classes == classes and data.train_labels.tolist() == labels == data.test_labels.tolist()


def test_names_of_classes() -> None:
    x = np.arange(4.0)[:, None]
    assert Dataset.of(x, [1, 0, 1, 0], x, [0, 1, 0, 1], ["no", "yes"]).train_labels.tolist() == [1, 0, 1, 0]
    data = Dataset.of(x, ["z", "a", "z", "a"], x, ["a"] * 4, ["z", "a"])
    assert data.classes == ("z", "a") and data.train_labels.tolist() == [0, 1, 0, 1]


FRAME = pandas.DataFrame(
    {
        "age": [30, 41, 55, 62] * 5,
        "colour": ["red", "blue", "red", "green"] * 5,
        "sick": [True, False, True, False] * 5,
        "dose": [0.5, 1.5, -2.5, 3.5] * 5,
    }
)


def test_text_becomes_a_feature_for_each_category() -> None:
    data = Dataset.of(FRAME, ["a", "b", "a", "b"] * 5, FRAME[::-1], ["b", "a", "b", "a"] * 5)
    assert data.train_images[:4].tolist() == [
        [30, 0, 0, 1, 1, 0.5],
        [41, 1, 0, 0, 0, 1.5],
        [55, 0, 0, 1, 1, -2.5],
        [62, 0, 1, 0, 0, 3.5],
    ]
    assert data.input_quantizer is not None
    assert [(column.name, column.categories) for column in data.input_quantizer.columns] == [
        ("age", ()),
        ("colour", ("blue", "green", "red")),
        ("sick", ()),
        ("dose", ()),
    ]
    assert np.array_equal(data.test_images, data.train_images[::-1])


def test_frames_of_polars() -> None:
    """As pandas' frames; polars is too large to be installed for this test alone."""
    polars = pytest.importorskip("polars")
    table = polars.DataFrame({name: FRAME[name].tolist() for name in FRAME}).with_columns(
        polars.col("colour").cast(polars.Categorical)
    )
    wanted = Dataset.of(FRAME, "sick", seed=1)
    data = Dataset.of(table, "sick", seed=1)
    assert np.array_equal(data.train_images, wanted.train_images) and data.classes == wanted.classes
    assert np.array_equal(data.test_labels, wanted.test_labels)
    assert data.input_quantizer is not None and wanted.input_quantizer is not None
    assert data.input_quantizer.columns == wanted.input_quantizer.columns
    odd = polars.when(polars.int_range(20) == 3).then(None).otherwise(polars.col("colour"))
    with pytest.raises(SynflipError, match=r"row 3 \(from 0\), column colour has no value"):
        Dataset.of(table.with_columns(odd.alias("colour")), "sick")
    with pytest.raises(SynflipError, match=r"the table is a LazyFrame: give its frame, \.collect\(\)"):
        Dataset.of(table.lazy(), "sick")


def test_tables_of_arrow_are_no_frames() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    with pytest.raises(SynflipError, match=r"the table is a Table: give its frame, \.to_pandas\(\)"):
        Dataset.of(pyarrow.table({"a": [1, 2]}), [0, 1])


def test_a_category_in_held_out_rows_alone_says_nothing() -> None:
    """Its pixel is 0 in every row, also in its own: ranges are those of the training part."""
    row = int(np.flatnonzero(np.isin(np.arange(20), held_out_rows(seed=1)))[0])
    data = Dataset.of(cell("colour", row, "pink"), Y[:20], seed=1)
    assert data.input_quantizer is not None
    assert data.input_quantizer.columns[1].categories == ("blue", "green", "pink", "red")
    assert data.test_images[:, 3].sum() == 1 and not data.train_images[:, 3].any()
    assert not data.test_pixels[:, 3].any() and not data.train_pixels[:, 3].any()


def held_out_rows(seed: int) -> list[float]:
    return Dataset.of(np.arange(20.0)[:, None], Y[:20], seed=seed).test_images[:, 0].tolist()


def test_the_column_of_labels_may_be_named() -> None:
    data = Dataset.of(FRAME, "colour", FRAME, None)
    assert data.classes == ("blue", "green", "red") and data.train_images.shape == (20, 3)
    assert data.input_quantizer is not None and data.input_quantizer.label == "colour"


def test_any_frame_with_named_columns() -> None:
    """As polars has them: columns by name, is_null in place of isna."""

    class Frame:
        columns = ("b", "a")

        def __getitem__(self, name: str) -> Any:
            values = {"a": np.arange(8.0), "b": np.array(["x", "y"] * 4, dtype=object)}[name]
            null = SimpleNamespace(to_numpy=lambda: np.array([value is None for value in values]))
            return SimpleNamespace(to_numpy=lambda: values, is_null=lambda: null)

    data = Dataset.of(Frame(), [0, 1] * 4, Frame(), [0, 1] * 4)
    assert data.train_images[:3].tolist() == [[1, 0, 0], [0, 1, 1], [1, 0, 2]]


def test_wide_tables_take_time_by_their_columns() -> None:
    """Columns are listed once a step, not once for each column."""
    asked = []
    places = {f"c{i}": i for i in range(4000)}
    rows = RNG.normal(size=(8, 4000))

    class Wide:
        @property
        def columns(self) -> list[str]:
            asked.append(1)
            return list(places)

        def __getitem__(self, name: str) -> Any:
            return pandas.Series(rows[:, places[name]])

    data = Dataset.of(Wide(), [0, 1] * 4, seed=1)
    assert data.train_images.shape == (6, 4000) and len(asked) < 10
    many = [f"c{i}" for i in range(200_000)]
    assert second([*many, "c7"]) == "c7" and second(many) is None


def frame(**changes: Any) -> Any:
    return FRAME.assign(**changes)


def cell(name: str, row: int, value: Any) -> Any:
    column = FRAME[name].astype(object)
    column[row] = value
    return FRAME.assign(**{name: column})


Y = [0, 1] * 20


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Dataset.of(ROWS[:, 0], LABELS), "data: x has shape [40], not [N, I], [N, H, W]"),
        (lambda: Dataset.of(ROWS.reshape(40, 3, 2, 2, 1), LABELS), "x has shape [40, 3, 2, 2, 1], not"),
        (lambda: Dataset.of(np.zeros((40, 8, 9, 3)), LABELS), "channels come first"),
        (
            lambda: Dataset.of(np.zeros((40, 4, 4, 3)), LABELS),
            "[4, 4, 3]: channels come first, (3, 4, 4)",
        ),
        (
            lambda: Dataset.of(np.zeros((40, 2, 2, 1)), LABELS),
            "[2, 2, 1]: channels come first, (1, 2, 2)",
        ),
        (lambda: Dataset.of(ROWS[:0], LABELS[:0]), "x has 0 rows"),
        (lambda: Dataset.of(ROWS[:, :0], LABELS), "`shape` of the input is [1, 0]"),
        (lambda: Dataset.of(ROWS[:1], LABELS[:1]), "1 rows are too few to hold out a quarter"),
        (lambda: Dataset.of(ROWS, LABELS[1:]), "x has 40 rows, and there are 39 labels"),
        (lambda: Dataset.of(ROWS, LABELS, ROWS), "x_test and y_test go together"),
        (lambda: Dataset.of(ROWS, LABELS, ROWS[:, 1:], LABELS), "x_test have shape [40, 11], not [N, 12]"),
        (
            lambda: Dataset.of((row for row in ROWS), LABELS),
            "data: x are an iterator (generator), not an array",
        ),
        (lambda: Dataset.of(ROWS * 1j, LABELS), "x hold complex numbers"),
        (lambda: Dataset.of(ROWS.astype(str), LABELS), "not a number: give np.array(x, dtype=float)"),
        (
            lambda: Dataset.of([[1.0, "a"]], [0]),
            "data: x: row 0 (from 0), column 1 is 'a', not a number: put",
        ),
        (
            lambda: Dataset.of(FRAME.values, Y[:20]),
            "data: x: row 0 (from 0), column 1 is 'red', not a number",
        ),
        (
            lambda: Dataset.of(np.where(ROWS[5, 7] == ROWS, np.nan, ROWS), LABELS),
            "row 5 (from 0), column 7 is nan",
        ),
        (
            lambda: Dataset.of(np.where(ROWS[39, 0] == ROWS, np.inf, ROWS), LABELS),
            "row 39 (from 0), column 0 is inf",
        ),
        (
            lambda: Dataset.of(ROWS, LABELS, np.full((2, 12), -np.inf), [0, 1]),
            "row 0 (from 0), column 0 is -inf",
        ),
        (lambda: Dataset.of([[-1e308], [1e308]] * 9, [0, 1] * 9), "column 0 ranges over -1e+308..1e+308"),
        (lambda: Dataset.of(ROWS, "y"), "the labels are the text 'y', and the data no table"),
        (
            lambda: Dataset.of(FRAME, "weight"),
            "the table has no column 'weight'; it has age, colour, sick, dose",
        ),
        (
            lambda: Dataset.of(cell("age", 3, "abc"), Y[:20]),
            "row 3 (from 0), column age is 'abc', among numbers",
        ),
        (lambda: Dataset.of(cell("age", 3, None), Y[:20]), "row 3 (from 0), column age has no value"),
        (lambda: Dataset.of(cell("colour", 4, None), Y[:20]), "row 4 (from 0), column colour has no value"),
        (lambda: Dataset.of(cell("dose", 4, np.nan), Y[:20]), "row 4 (from 0), column dose has no value"),
        (lambda: Dataset.of(cell("dose", 4, pandas.NA), Y[:20]), "row 4 (from 0), column dose has no value"),
        (
            lambda: Dataset.of(cell("age", 3, 1j), Y[:20]),
            "column age holds complex, neither numbers nor text",
        ),
        (lambda: Dataset.of(frame(age=pandas.Timestamp(0)), Y[:20]), "column age holds datetime64"),
        (lambda: Dataset.of(frame(age="x" * 301), Y[:20]), "column age holds a text of 301 letters"),
        (
            lambda: Dataset.of(pandas.DataFrame({"a": [f"n{i}" for i in range(300)]}), [0, 1] * 150),
            "column a holds 300 different texts, more than 256 categories",
        ),
        (lambda: Dataset.of(pandas.concat([FRAME, FRAME], axis=1), Y[:20]), "two columns are called 'age'"),
        (
            lambda: Dataset.of(FRAME, Y[:20], FRAME[["age"]], Y[:20]),
            "the table lacks the columns colour, sick, dose",
        ),
        (
            lambda: Dataset.of(FRAME, Y[:20], frame(x=1), Y[:20]),
            "the table has the column x, which the model",
        ),
        (
            lambda: Dataset.of(FRAME, Y[:20], frame(colour=1), Y[:20]),
            "data: x_test: row 0 (from 0), column colour is 1, where a category is wanted",
        ),
        (
            lambda: Dataset.of(frame(colour=1), Y[:20], FRAME, Y[:20]),
            "data: x_test: row 0 (from 0), column colour is 'red', where a number is wanted",
        ),
        (
            lambda: Dataset.of(FRAME, Y[:20], cell("colour", 7, "pink"), Y[:20]),
            "data: x_test: row 7 (from 0), column colour is 'pink', none of its categories blue, green, red",
        ),
        (lambda: Dataset.of(ROWS, LABELS + 0.5), "label 0 (from 0) is 0.5, neither text nor a whole number"),
        (lambda: Dataset.of(ROWS, np.where(LABELS == 1, np.nan, LABELS)), "label 1 (from 0) is nan"),
        (
            lambda: Dataset.of(ROWS, np.full(40, 2**64 - 1, np.uint64)),
            "label 0 (from 0) is 18446744073709551615",
        ),
        (
            lambda: Dataset.of(ROWS, np.eye(40)),
            "labels have shape [40, 40], not [N], one for each row: of one-hot",
        ),
        (lambda: Dataset.of(ROWS, [*LABELS[1:].tolist(), "a"]), "the column of labels is 'a', among numbers"),
        (lambda: Dataset.of(ROWS, FRAME), "the labels are a table of 4 columns, not of one"),
        (
            lambda: Dataset.of(np.zeros((1100, 1)), range(1100)),
            "the labels have 1100 different values; a network",
        ),
        (
            lambda: Dataset.of(ROWS, LABELS, ROWS, ["a"] * 40),
            "the labels are text in one part of the data and",
        ),
        (lambda: Dataset.of(ROWS, LABELS, classes=["a", "b"]), "y[2] is 2, not an integer in 0..1"),
        (
            lambda: Dataset.of(ROWS, ["a", "z"] * 20, classes=["a", "b"]),
            "the label 'z' is none of the classes a, b",
        ),
        (
            lambda: Dataset.of(ROWS, LABELS, names=["a"]),
            "`columns` of the input make 1 features; there are 12",
        ),
        (lambda: Dataset.of(ROWS, LABELS, name="my\ndata", names=["a"]), "my\\ndata: "),
        (
            lambda: Dataset.of(FRAME.assign(patient=[f"p{row}" for row in range(20)]), "sick"),
            "column patient holds another text in every row",
        ),
        (
            lambda: Dataset.of(ROWS, LABELS, quantiles=(0.9, 0.1)),
            "quantiles must be two shares, 0 <= low < high",
        ),
        (lambda: Dataset.of(ROWS, LABELS, quantiles=(0.5, 0.5)), "<= 1, not (0.5, 0.5)"),
        (lambda: Dataset.of(ROWS, LABELS, quantiles=(math.nan, 1)), "<= 1, not (nan, 1)"),
        (lambda: Dataset.of(ROWS, LABELS, quantiles=(0, 2)), "<= 1, not (0, 2)"),
        (lambda: Dataset.of(ROWS, LABELS, quantiles=(0, 0.5, 1)), "<= 1, not (0, 0.5, 1)"),  # type: ignore[arg-type]
        (lambda: Dataset.of(ROWS, LABELS, quantiles=None), "<= 1, not None"),  # type: ignore[arg-type]
        (lambda: Dataset.of(ROWS, LABELS, seed=-1), "the seed must not be negative; it is -1"),
        (lambda: Dataset.of(ROWS, LABELS, seed=1.5), "the seed must be an integer, not 1.5"),  # type: ignore[arg-type]
        (lambda: Dataset.of(ROWS, LABELS, classes={"a", "b", "c"}), "classes must be a list with a name"),  # type: ignore[arg-type]
        (
            lambda: Dataset.of(ROWS, LABELS, classes=list("aba")),
            "two classes are called 'a': give each its own",
        ),
        (
            lambda: Dataset.of(FRAME, Y[:20], names=list("abcd")),
            "names are a list, of an array's columns; a frame",
        ),
        (lambda: Dataset.of(ROWS, LABELS, names="abcdefghijkl"), "names are a list, of an array's columns"),
        (lambda: Dataset.of(ROWS, LABELS, names=5), "names are a list, of an array's columns"),  # type: ignore[arg-type]
        (lambda: Dataset.of(csr_matrix(ROWS), LABELS), "x are a sparse matrix: give x.toarray()"),
        (
            lambda: Dataset.of(FRAME.to_records(), Y[:20]),
            "x hold records, not numbers: give pandas.DataFrame(x)",
        ),
        (lambda: Dataset.of(ROWS, [7] * 40), "all labels are '7', and a network tells classes apart"),
        (lambda: Dataset.of(ROWS, map(int, LABELS)), "data: labels are an iterator (map), not an array"),
        (lambda: Dataset.of(ROWS, LABELS, model="m.safetensors"), "data: model must be a compiled model"),  # type: ignore[arg-type]
    ],
)
def test_what_is_refused_is_refused_in_one_line(make: Callable[[], Dataset], words: str) -> None:
    with pytest.raises(SynflipError, match=re.escape(words)) as error:
        make()
    assert "\n" not in str(error.value)
