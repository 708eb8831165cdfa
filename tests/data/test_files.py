"""The user's files: tables, arrays, folders of pictures; what is broken is refused in one line."""

import os
import re
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from synflip.data import Dataset, feature_file, load, tables
from synflip.data.feature_file import open_features
from synflip.data.npy import read_images
from synflip.errors import SynflipError
from synflip.spec.input_quantizer import Column, InputQuantizer
from synflip.training.card import data_digest

pandas = pytest.importorskip("pandas")

FRAME = pandas.DataFrame(
    {
        "age": [30, 41, 55, 62] * 5,
        "colour": ["red", "blue", "red", "green"] * 5,
        "dose": [0.1, 1.5, -2.5, 1 / 3] * 5,
        "kind": ["ill", "well"] * 10,
    }
)
X, Y = np.arange(80.0).reshape(20, 4), np.arange(20) % 2


def same(a: Dataset, b: Dataset) -> None:
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert (a.classes, a.shape, a.note) == (b.classes, b.shape, b.note)
    assert (a.input_quantizer is None) == (b.input_quantizer is None)
    if a.input_quantizer is not None and b.input_quantizer is not None:
        assert np.array_equal(a.input_quantizer.low, b.input_quantizer.low)
        assert np.array_equal(a.input_quantizer.high, b.input_quantizer.high)
        assert a.input_quantizer.columns == b.input_quantizer.columns
        assert a.input_quantizer.label == b.input_quantizer.label


def test_a_table_is_its_frame(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    same(load(tmp_path / "t.csv"), Dataset.of(FRAME, "kind"))
    same(load(str(tmp_path / "t.csv"), label="colour", seed=5), Dataset.of(FRAME, "colour", seed=5))
    assert load(tmp_path / "t.csv").name == "t"


def test_columns_that_are_called_by_their_numbers(tmp_path: Path) -> None:
    """A header, as pandas writes it of an array; the last column's name, 2, is a label too."""
    (tmp_path / "T.CSV").write_text("0,1,2\n" + "1,2,2\n3,4,1\n" * 8)
    data = load(tmp_path / "T.CSV")
    assert len(data.train_labels) + len(data.test_labels) == 16 and data.classes == ("1", "2")


def test_the_first_line_of_columns_that_a_model_calls_by_numbers(tmp_path: Path) -> None:
    """A header if it has just these names; the model may have seen one, or none."""
    path, rows = tmp_path / "t.csv", "1.5,2,3\n4,5,6\n"
    for columns, label in (((), None), (tuple(Column(str(i)) for i in range(3)), "3")):
        known = InputQuantizer(np.zeros(3), np.ones(3), (1, 3), columns, label)
        for first, count in (("0,1,2", 2), ("2,0,1", 2), ("0,1,1", 3), ("0,1,2.0", 3), ("7,8,9", 3)):
            path.write_text(f"{first}\n{rows}")
            assert len(open_features(path, known)) == count
            assert len(open_features(path, known, header=False)) == 3
    path.write_text("0,1,2,3\n1,2,3,1\n")
    assert len(open_features(path, known)) == 1
    path.write_text("0,1,3,1\n1,2,3,1\n")
    assert len(open_features(path, known)) == 2
    path.write_text("0,1,2,kind\n1,2,3,1\n")
    with pytest.raises(SynflipError, match="the table has the column kind, which the model does not know"):
        open_features(path, known)
    known = InputQuantizer(np.zeros(2), np.ones(2), (1, 2), (Column("0"), Column("a")))
    path.write_text("7,8\n1,2\n")
    with pytest.raises(SynflipError, match="the table lacks the columns 0, a"):
        open_features(path, known)


def test_parquet_is_its_frame(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    FRAME.to_parquet(tmp_path / "t.parquet")
    same(load(tmp_path / "t.parquet"), Dataset.of(FRAME, "kind"))
    (tmp_path / "bad.parquet").write_bytes((tmp_path / "t.parquet").read_bytes()[:-9])
    with pytest.raises(SynflipError, match=r"bad.parquet: no Parquet file: "):
        load(tmp_path / "bad.parquet")


def test_a_table_without_a_header(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "t.csv", index=False, header=False)
    data = load(tmp_path / "t.csv", header=False)
    assert data.input_quantizer is not None and data.input_quantizer.label == "3"
    assert [column.name for column in data.input_quantizer.columns] == ["0", "1", "2"]
    assert np.array_equal(data.train_images, Dataset.of(FRAME, "kind").train_images)
    found = open_features(tmp_path / "t.csv", data.input_quantizer)
    assert found[:2].tolist() == [[30, 0, 0, 1, 0.1], [41, 1, 0, 0, 1.5]]


def test_numbers_of_a_table_are_the_nearest_float64(tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).normal(size=500) * 10.0 ** np.arange(-250, 250)
    lines = [f"{number!r},{label}" for number, label in zip(numbers.tolist(), Y.tolist() * 25, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["x,y", *lines]))
    data = load(tmp_path / "t.csv")
    assert sorted([*data.train_images[:, 0], *data.test_images[:, 0]]) == sorted(numbers.tolist())
    assert data.input_quantizer is not None
    (tmp_path / "new.csv").write_text("x\n1.5\n-2\n")  # without labels there is one column
    assert open_features(tmp_path / "new.csv", data.input_quantizer).tolist() == [[1.5], [-2]]


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays(tmp_path: Path, order: Any) -> None:
    rows = np.array(X, dtype=">f4", order=order)
    np.savez(tmp_path / "a.npz", x=rows, y=Y)
    same(load(tmp_path / "a.npz", seed=2), Dataset.of(X, Y, seed=2))
    np.savez_compressed(tmp_path / "b.npz", x_train=rows, y_train=Y, x_test=rows[:4], y_test=Y[:4], other=Y)
    same(load(tmp_path / "b.npz"), Dataset.of(X, Y, X[:4], Y[:4]))
    np.savez(tmp_path / "c.npz", x=rows.reshape(20, 2, 2), y=np.array(["a", "b"])[Y])
    same(load(tmp_path / "c.npz"), Dataset.of(X.reshape(20, 2, 2), np.array(["a", "b"])[Y]))


def quantizer(width: int = 4, *, columns: Any = ()) -> InputQuantizer:
    return InputQuantizer(np.zeros(width), np.full(width, 9.0), (1, width), columns)


def test_features_of_files(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X.astype(np.int16))
    np.savez(tmp_path / "x.npz", x=X, y=Y)
    np.savez(tmp_path / "test.npz", x_train=X[:3], x_test=X)
    for name in ("x.npy", "x.npz", "test.npz"):
        assert np.array_equal(open_features(tmp_path / name, quantizer()), X)
    np.save(tmp_path / "none.npy", X[:0])
    assert open_features(tmp_path / "none.npy", quantizer()).shape == (0, 4)
    mapped = open_features(tmp_path / "x.npy", quantizer())
    base: Any = mapped
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)  # not in memory


def pictures(folder: Path, count: int = 8, size: tuple[int, int] = (5, 4), mode: str = "RGB") -> None:
    draw = np.random.default_rng(2)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = draw.integers(0, 256, (*size, len(mode)), dtype=np.uint8).squeeze()
            Image.fromarray(pixels, mode).save(folder / name / f"{index}.png")


@pytest.mark.parametrize(("mode", "shape"), [("RGB", (3, 5, 4)), ("L", (5, 4))])
def test_a_folder_of_pictures(tmp_path: Path, mode: str, shape: tuple[int, ...]) -> None:
    pictures(tmp_path / "pets", mode=mode)
    data = load(tmp_path / "pets", seed=1)
    assert (data.name, data.classes, data.shape, data.input_max) == ("pets", ("cat", "dog"), shape, 255)
    assert data.input_quantizer is None and "held out by seed 1" in data.note
    assert np.bincount(data.train_labels).tolist() == [6, 6] and np.bincount(data.test_labels).tolist() == [
        2,
        2,
    ]
    with Image.open(tmp_path / "pets" / "cat" / "0.png") as picture:
        first = np.asarray(picture)
    wanted = first.transpose(2, 0, 1) if mode == "RGB" else first
    assert wanted.reshape(-1).tolist() in [*data.train_images.tolist(), *data.test_images.tolist()]
    assert load(tmp_path / "pets", size=(3, 2)).shape == (*shape[:-2], 3, 2)


def test_files_that_no_user_put_there_are_no_pictures_and_no_classes(tmp_path: Path) -> None:
    pictures(tmp_path / "pets")
    plain = load(tmp_path / "pets")
    for name in (".ipynb_checkpoints", "__MACOSX"):
        (tmp_path / "pets" / name).mkdir()
        Image.new("L", (4, 5)).save(tmp_path / "pets" / name / "0.png")
    for name in ("cat/._0.png", "cat/.DS_Store", "cat/Thumbs.db", "cat/notes.txt", "labels.csv"):
        (tmp_path / "pets" / name).write_bytes(b"\0\5\26\7")
    data = load(tmp_path / "pets")
    assert data.classes == ("cat", "dog") and np.array_equal(data.train_images, plain.train_images)


def test_pictures_are_upright_and_as_they_are_seen(tmp_path: Path) -> None:
    pictures(tmp_path, mode="L")
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera's right side is the picture's top
    wide = Image.fromarray(np.repeat(np.array([[0, 255]], dtype=np.uint8), 4, axis=0).repeat([2, 3], axis=1))
    wide.save(tmp_path / "cat" / "0.jpg", exif=turned, quality=100)
    Image.new("LA", (4, 5), (7, 255)).save(tmp_path / "cat" / "1.png")  # nothing shines through
    Image.new("L", (4, 5), 9).save(tmp_path / "cat" / "2.jfif", "JPEG")
    data = load(tmp_path)
    rows = [*data.train_images.tolist(), *data.test_images.tolist()]
    assert len(rows) == 18 and data.shape == (5, 4) and [7] * 20 in rows and [9] * 20 in rows
    assert any(max(row[:8]) < 20 and min(row[8:]) > 235 for row in rows)


@pytest.mark.parametrize(
    ("folders", "classes"),
    [
        (("10", "9", "0"), ("0", "9", "10")),
        (("1", "01", "2"), ("01", "1", "2")),
        (("1", "1e0"), ("1", "1e0")),
        (("1.5", "2.5"), ("1.5", "2.5")),
        (("20240101123456789", "3"), ("20240101123456789", "3")),
    ],
)
def test_the_names_of_folders_are_the_classes(
    tmp_path: Path, folders: tuple[str, ...], classes: tuple[str, ...]
) -> None:
    """Sorted as numbers where each is the name of one; never two folders as one class."""
    for level, folder in enumerate(folders):
        (tmp_path / folder).mkdir()
        for index in range(4):
            Image.fromarray(np.full((3, 3), level, np.uint8)).save(tmp_path / folder / f"{index}.png")
    data = load(tmp_path)
    assert data.classes == classes
    assert [folders[image[0]] for image in data.train_images] == [classes[y] for y in data.train_labels]


def test_folders_of_training_and_test_pictures(tmp_path: Path) -> None:
    pictures(tmp_path / "train", 3)
    pictures(tmp_path / "test", 1, mode="RGB")
    data = load(tmp_path)
    assert len(data.train_labels) == 6 and data.test_labels.tolist() == [0, 1] and data.note == ""


def text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content) and None


def arrays(**parts: Any) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **parts)


FOUR = "a,b,y\n" + "1,2,x\n3,4,z\n" * 8


def table(one: str, other: str) -> Callable[[Path], None]:
    return text("a,b,y\n" + f'"{one}",2,x\n"{other}",4,z\n' * 8)


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("t.csv", text(""), "t.csv: no table of comma-separated values: No columns"),
        ("t.csv", text("y\n1\n2\n"), "there is one column: columns are separated by commas"),
        (
            "t.csv",
            text("a;b;y\n1;2;x\n"),
            "columns are separated by commas, and its first line has ';' in place",
        ),
        (
            "t.csv",
            text("a;b;y\n1,5;2,5;x\n" * 4),
            "its first line has ';' in place of them: save it with comm",
        ),
        ("t.csv", text("a\tb\ty\n1\t2\tx\n"), "its first line has '\\t' in place of them"),
        ("t.csv", text(FOUR.replace("a,b", "a,a")), "two columns are called 'a': give each its own name"),
        ("t.csv", text(FOUR.replace("b,y", "y,y")), "two columns are called 'y': give each its own name"),
        (
            "t.csv",
            table("1,5", "3,5"),
            "texts that look like a number, '1,5'",
        ),
        (
            "t.csv",
            table("12 %", "3 %"),
            "texts that look like a number, '12 %'",
        ),
        (
            "t.csv",
            table("$1.20", "$3"),
            "texts that look like a number, '$1.20'",
        ),
        (
            "t.csv",
            table("1,234", "1,234,567.8"),
            "look like a number, '1,234'",
        ),
        (
            "t.csv",
            table("2020-01-31", "2021-2-1 12:00"),
            "look like a date, '2020",
        ),
        (
            "t.csv",
            table("31.1.2020", "1.2.2021"),
            "texts that look like a date, '1.",
        ),
        ("t.csv", table("1.2.20", "5/31/19"), "texts that look like a date, '1.2.20'"),
        ("t.csv", table("5-Jan-2020", "Feb 3, 2021"), "texts that look like a date, '5-Jan-2020'"),
        ("t.csv", table("12:30", "0:05:00.5"), "texts that look like a time, '0:05:00.5'"),
        ("t.csv", table("0x1F", "0xa"), "texts that look like a number, '0x1F'"),
        ("t.csv", table("\u22125", "\u22126.5"), "texts that look like a number, "),
        ("t.csv", table("\x001", "\x002"), "holds the text '\\x001', with a control character"),
        (
            "t.csv",
            text(FOUR + "1" + "0" * 400 + ",2,x\n"),
            "row 16 (from 0), column a is a whole number that float64 does",
        ),
        (
            "t.csv",
            lambda path: path.write_text(FOUR, "utf-16"),
            "can't decode byte 0xff in position 0: invalid st",
        ),
        ("t.csv", text("a,b,y\n"), "x has 0 rows"),
        (
            "t.csv",
            text(FOUR.replace("a,b,y", "5,6,x")),
            "the first line looks like a row: 'x' is one of the lab",
        ),
        (
            "t.csv",
            text(FOUR.replace("a,b,y", ",b,y")),
            "column 0 (from 0) has no name in the first line: give",
        ),
        ("t.csv", text(FOUR.replace("z", "x")), "all labels are 'x', and a network tells classes apart"),
        ("t.csv", text(FOUR + "1,2,3,4\n"), "no table of comma-separated values: Error tokenizing data"),
        (
            "t.csv",
            text("a,b,y\n" + "1,2,x,9\n3,4,z,9\n" * 8),
            "no table of comma-separated values: its rows have more values than the first line has names",
        ),
        ("t.csv", text(FOUR + "1,2\n"), "row 16 (from 0), column y has no value"),
        ("t.csv", text(FOUR + "1,,x\n"), "row 16 (from 0), column b has no value"),
        ("t.csv", text(FOUR + "1,x2,x\n"), "row 16 (from 0), column b is 'x2', among numbers"),
        ("t.csv", text(FOUR + "1,inf,x\n"), "row 16 (from 0), column b is inf"),
        (
            "t.csv",
            text(FOUR.replace("x", "0.5").replace("z", "1")),
            "label 0 (from 0) is 0.5, neither text nor",
        ),
        (
            "t.csv",
            lambda path: path.write_bytes(b"a,b\n\xff\xfe,1\n"),
            "no table of comma-separated values: 'utf-8' codec can't decode byte 0xff in position 0: invalid "
            "start byte; save it in UTF-8",
        ),
        ("t.npz", text("no zip"), "no whole .npz file of arrays of numbers: File is not a zip file"),
        ("t.npz", arrays(a=X), "it has no arrays of data: give x_train, y_train"),
        ("t.npz", arrays(x=X), "it has x: give x_train, y_train"),
        ("t.npz", arrays(x=X.astype(object), y=Y), "x holds object [20, 4]"),
        ("t.npz", arrays(x=X, y=Y[:3]), "x has 20 rows, and there are 3 labels"),
        ("t.npz", arrays(x=np.zeros((20, 8, 8, 3)), y=Y), "shape is [8, 8, 3]: channels come first"),
        ("t", lambda path: pictures(path, 1), "t: 2 rows are too few to hold out a quarter"),
        ("t.txt", text(FOUR), "is neither a folder of pictures nor one of .npz, .csv, .parquet"),
        (
            "t.npz",
            arrays(x_train=X, y_train=Y, x_test=X, y_test=np.where(Y == 0, 7, Y)),
            "the label '7' of the test part is in no row of the training part",
        ),
        ("t", lambda path: path.mkdir(), "has no folders with .png, .jpg, .jpeg files"),
    ],
)
def test_broken_files_are_refused_in_one_line(
    tmp_path: Path, name: str, make: Callable[[Path], None], words: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(SynflipError, match=re.escape(words)) as error:
        load(tmp_path / name)
    assert "\n" not in str(error.value) and str(tmp_path / name) in str(error.value)
    assert ": t: " not in str(error.value)  # the path has said it


def test_broken_pictures_are_refused_in_one_line(tmp_path: Path) -> None:
    pictures(tmp_path)
    with pytest.raises(
        SynflipError, match=r"5\.png has 6x4 pixels, and .*0\.png has 5x4: give the size of all"
    ):
        Image.new("RGB", (4, 6)).save(tmp_path / "cat" / "5.png")
        load(tmp_path)
    Image.new("I;16", (4, 5)).save(tmp_path / "cat" / "5.png")
    with pytest.raises(SynflipError, match=r"5\.png is no picture: it has more than 8 bits a pixel"):
        load(tmp_path)
    (tmp_path / "cat" / "5.png").write_bytes((tmp_path / "cat" / "4.png").read_bytes()[:60])
    with pytest.raises(SynflipError, match=r"cannot read the picture .*5\.png: "):
        load(tmp_path)


def seen_through(path: Path) -> None:
    Image.new("RGBA", (4, 5), (1, 2, 3, 254)).save(path / "cat" / "9.png")


def animated(path: Path) -> None:
    Image.new("L", (4, 5)).save(
        path / "cat" / "9.png", save_all=True, append_images=[Image.new("L", (4, 5), 1)]
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (seen_through, r"9\.png is no picture: it is transparent in places: put it on a background"),
        (animated, r"9\.png is no picture: it is animated: save one picture of it"),
        (lambda path: os.mkfifo(path / "cat" / "9.png"), r"9\.png is no picture: it is not a file"),
        (
            lambda path: (path / "cat" / "9.png").symlink_to("nowhere"),
            r"9\.png is no picture: it is not a file",
        ),
        (lambda path: (path / "fox").mkdir(), r"fox has no \.png, \.jpg or \.jpeg files: put some into it"),
        (lambda path: (path / "cat" / "in").mkdir(), r"cat/in is a folder in the folder of a class"),
        (
            lambda path: (path / "cat" / "9.webp").touch(),
            r"9\.webp would not be read: pictures are wanted as PNG",
        ),
        (
            lambda path: (path / "9.png").touch(),
            r"9\.png would not be read: pictures are wanted each in the fold",
        ),
        (
            lambda path: (path / "dog").rename(path / ".dog"),
            r"has one folder of pictures, cat, and a network tells",
        ),
    ],
)
def test_no_picture_and_no_class_is_left_out_silently(
    tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    pictures(tmp_path)
    change(tmp_path)
    with pytest.raises(SynflipError, match=words) as error:
        load(tmp_path)
    assert "\n" not in str(error.value)


def test_pictures_that_are_too_large_together_are_not_decoded(tmp_path: Path) -> None:
    pictures(tmp_path)
    with pytest.raises(
        SynflipError, match=r"16 pictures of 4800x4800 pixels; at most 1073741824 bytes are read"
    ):
        load(tmp_path, size=(4800, 4800))


def test_what_a_model_takes_is_checked(tmp_path: Path) -> None:
    for name, content, words in (
        ("x.npy", b"\x93NUMPY\x01\x00", "no .npy file of numbers"),
        ("x.npz", b"PK", "no whole .npz file"),
        ("x.txt", b"", "none of .npy, .npz, .csv, .parquet"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SynflipError, match=words) as error:
            open_features(tmp_path / name, quantizer())
        assert str(tmp_path / name) in str(error.value)
    np.save(tmp_path / "x.npy", np.array([{}]))
    with pytest.raises(SynflipError, match=r"no \.npy file of numbers .* Python objects"):
        open_features(tmp_path / "x.npy", quantizer())
    with pytest.raises(SynflipError, match=r"cannot read .*gone\.npy: No such file"):
        open_features(tmp_path / "gone.npy", quantizer())


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("t.npz", {"label": "y"}, "t.npz is no table, and has no column of labels 'y': leave out label"),
        ("pets", {"label": "y"}, "pets is no table, and has no column of labels 'y': leave out label"),
        ("t.npz", {"header": False}, "t.npz is no table, and its first line has no names: leave out header"),
        ("t.csv", {"label": ""}, "t.csv has no column without a name: give label the name of"),
        ("t.csv", {"size": (8, 8)}, "t.csv has no pictures that could be scaled: leave out size"),
        ("t.npz", {"size": (8, 8)}, "t.npz has no pictures that could be scaled: leave out size"),
        ("pets", {"size": 8}, r"size is a height and a width, such as (32, 32), not 8"),
        ("pets", {"size": (8, 0)}, "the width of size must be an integer in 1..16777216, not 0"),
        ("pets", {"size": (8, 1.5)}, "the width of size must be an integer in 1..16777216, not 1.5"),
        ("pets", {"seed": -1}, "the seed must be an integer in 0..9223372036854775807, not -1"),
        ("t.csv", {"seed": "a"}, "the seed must be an integer in 0..9223372036854775807, not 'a'"),
    ],
)
def test_arguments_of_other_data(tmp_path: Path, name: str, given: dict[str, Any], words: str) -> None:
    """They are refused, not left alone: who gives them believes that they do something."""
    pictures(tmp_path / "pets")
    np.savez(tmp_path / "t.npz", x=X, y=Y)
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    load(tmp_path / name)
    with pytest.raises(SynflipError, match=re.escape(words)):
        load(tmp_path / name, **given)


def test_named_data_have_labels_of_their_own() -> None:
    with pytest.raises(SynflipError, match="digits has its own labels and sizes"):
        load("digits", label="y")


def mutations(content: bytes, count: int) -> list[bytes]:
    """``content`` with some bytes changed, cut out, doubled or cut off."""
    draw = np.random.default_rng(11)
    found = []
    for _ in range(count):
        changed = bytearray(content)
        for _ in range(int(draw.integers(1, 4))):
            at, size = int(draw.integers(len(changed))), int(draw.integers(1, 9))
            way = int(draw.integers(5))
            if way == 0:
                changed[at : at + size] = draw.bytes(size)
            elif way == 1:
                del changed[at : at + size]
            elif way == 2:
                changed[at:at] = changed[at : at + 8 * size]
            elif way == 3:
                changed[at] ^= 1 << int(draw.integers(8))
            elif len(changed) > 1:
                del changed[max(at, 1) :]
        found.append(bytes(changed))
    return found


@pytest.mark.parametrize(
    "count", [pytest.param(100), pytest.param(1000, marks=[pytest.mark.nightly, pytest.mark.slow])]
)
@pytest.mark.parametrize("name", ["t.npz", "packed.npz", "t.csv", "t.parquet", "x.npy"])
def test_mutations_are_read_or_refused_in_one_line(tmp_path: Path, name: str, count: int) -> None:
    path = tmp_path / name
    if name == "t.csv":
        FRAME.to_csv(path, index=False)
    elif name == "t.parquet":
        FRAME.to_parquet(path)
    elif name == "x.npy":
        np.save(path, X)
    else:
        (np.savez if name == "t.npz" else np.savez_compressed)(path, x=X, y=np.array(["a", "b"])[Y])
    whole, refused = path.read_bytes(), 0
    for content in mutations(whole, count):
        path.write_bytes(content)
        try:
            if name == "x.npy":
                open_features(path, quantizer())
            else:
                load(path)
        except SynflipError as error:
            refused += 1
            assert "\n" not in str(error) and str(path) in str(error)
    assert count // 10 < refused  # an archive has checksums: all of them


def test_text_in_parquet_that_is_no_text(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "t.parquet", compression=None)
    damaged = (tmp_path / "t.parquet").read_bytes().replace(b"blue", b"blu\xff")
    (tmp_path / "t.parquet").write_bytes(damaged)
    with pytest.raises(SynflipError, match=r"t\.parquet: no Parquet file: .*UTF8"):
        load(tmp_path / "t.parquet")


def test_text_that_is_there_once_and_stands_in_many_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

    def write(*texts: str, rows: int = 512) -> None:
        places = np.arange(rows, dtype=np.int32) % len(texts)
        columns = {"t": pyarrow.DictionaryArray.from_arrays(places, list(texts)), "y": np.arange(rows) % 2}
        parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet", store_schema=False)

    write("x" * (1 << 20), "z")
    before = pyarrow.default_memory_pool().max_memory()
    with pytest.raises(SynflipError, match=r"t\.parquet: column t holds a text of 1048576 letters"):
        load(tmp_path / "t.parquet")
    assert pyarrow.default_memory_pool().max_memory() - before < 1 << 25  # not the 256 MiB of all rows
    write("x" * 300, "z")
    assert load(tmp_path / "t.parquet").classes == ("0", "1")
    monkeypatch.setattr(tables, "MAX_TEXT_BYTES", 4 * 300 * 512 - 1)
    with pytest.raises(
        SynflipError, match=r"column t holds 512 texts of up to 300 letters, which take 614400"
    ):
        load(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([[0.0] * 10_000], "column t holds list<element: double>, neither numbers nor text"),
        ([{"a": 1}], "column t holds struct<a: int64>, neither numbers nor text"),
        ([b"\0" * 99], "column t holds binary, neither numbers nor text"),
        ([Decimal("1.5")], "column t holds decimal128(2, 1), neither numbers nor text"),
    ],
)
def test_values_of_no_certain_size_are_refused_before_they_are_read(
    tmp_path: Path, values: list[Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"t": values}), tmp_path / "t.parquet")
    monkeypatch.delattr(parquet.ParquetFile, "read")
    with pytest.raises(SynflipError, match=re.escape(words)):
        load(tmp_path / "t.parquet")


def test_text_of_common_beginnings_is_refused(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"t": ["x" * 99999] * 50})
    encoding = {"t": "DELTA_BYTE_ARRAY"}
    parquet.write_table(table, tmp_path / "t.parquet", use_dictionary=False, column_encoding=encoding)
    with pytest.raises(SynflipError, match="column t holds text that is packed as DELTA_BYTE_ARRAY, which"):
        load(tmp_path / "t.parquet")


def test_a_table_is_limited_by_its_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """8 bytes each, though they are short in the file."""
    (tmp_path / "t.csv").write_text(FOUR)
    FRAME.set_index("colour").to_parquet(tmp_path / "t.parquet", compression=None)
    assert load(tmp_path / "t.parquet").train_images.shape == (14, 2)  # the index is no column
    for limit, name in ((8 * 51, "t.csv"), (8 * 80, "t.parquet")):
        monkeypatch.setattr(feature_file, "MAX_FILE_BYTES", max(limit, (tmp_path / name).stat().st_size))
        load(tmp_path / name)
        monkeypatch.setattr(feature_file, "MAX_FILE_BYTES", limit - 1)
        with pytest.raises(SynflipError, match=rf"{name}: .* at most {limit - 1}"):
            load(tmp_path / name)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_in_an_archive_of_any_compression(tmp_path: Path, compression: int) -> None:
    path = tmp_path / "t.npz"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, array in (
            ("x", np.random.default_rng(0).normal(size=(4000, 5))),
            ("y", np.arange(4000) % 3),
        ):
            with archive.open(f"{name}.npy", "w") as file:
                np.save(file, array)
    load(path)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0x55
    path.write_bytes(damaged)
    with pytest.raises(SynflipError, match=r"t\.npz: no whole \.npz file|cannot read .*t\.npz"):
        load(path)


@contextmanager
def peak() -> Iterator[Callable[[], int]]:
    """The bytes that are allocated in the block, at most, by numpy too."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield lambda: tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (10**12, "t.npz: its arrays take 64000000000000 bytes; at most 1073741824 are read: give fewer rows"),
        (
            10**7,
            "t.npz: no whole .npz file of arrays of numbers: x does not have the 320000000 bytes that its",
        ),
    ],
)
def test_an_archive_that_says_more_than_it_holds_is_not_allocated(
    tmp_path: Path, rows: int, words: str
) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({rows}, 4), }}".encode()
    array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        archive.writestr("x.npy", array)
        archive.writestr("y.npy", array)
    with peak() as taken:
        with pytest.raises(SynflipError, match=re.escape(words)):
            load(tmp_path / "t.npz")
        assert taken() < 1 << 20
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        for name in ("x", "y"):
            archive.writestr(f"{name}.npy", array)
            archive.getinfo(f"{name}.npy").file_size += 32 * rows  # the archive says so too
    with pytest.raises(SynflipError, match=re.escape(words)):
        load(tmp_path / "t.npz")
    (tmp_path / "x.npy").write_bytes(array)
    with pytest.raises(SynflipError, match=r"no \.npy file of numbers"):
        open_features(tmp_path / "x.npy", quantizer())


def header(dtype: str, shape: str) -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def test_text_of_no_letters_takes_memory_too(tmp_path: Path) -> None:
    """No byte of it is in the file, and numpy gives each of its texts four."""
    array = header("<U0", "(100000000, 4)")
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        archive.writestr("x.npy", array)
    (tmp_path / "x.npy").write_bytes(array)
    with peak() as taken:
        with pytest.raises(SynflipError, match=r"t\.npz: its arrays take 1600000000 bytes; at most"):
            open_features(tmp_path / "t.npz", quantizer())
        with pytest.raises(SynflipError, match=r"x\.npy: no \.npy file of numbers, but of <U"):
            open_features(tmp_path / "x.npy", quantizer())
        assert taken() < 1 << 20


def test_a_shape_is_of_numbers(tmp_path: Path) -> None:
    array = header("|u1", "(True, 4)") + bytes(4)
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        archive.writestr("x.npy", array)
    (tmp_path / "x.npy").write_bytes(array)
    with pytest.raises(SynflipError, match=r"t\.npz: no whole \.npz file .* x holds uint8 \[True, 4\]"):
        open_features(tmp_path / "t.npz", quantizer())
    with pytest.raises(SynflipError, match=r"x\.npy is not a \.npy file as np\.save writes it: shape"):
        read_images(tmp_path / "x.npy")
    with pytest.raises(SynflipError, match=r"x\.npy: no \.npy file of numbers"):
        open_features(tmp_path / "x.npy", quantizer())


def test_the_arrays_of_an_archive_are_limited_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.npz"
    np.savez(
        path, x=np.eye(100, 10, dtype=np.uint8), y=(np.arange(100) % 2).astype(np.uint8), other=np.zeros(9999)
    )
    monkeypatch.setattr(feature_file, "MAX_FILE_BYTES", 1800)  # 1,000 numbers and 100 labels of 8 bytes
    load(path)
    monkeypatch.setattr(feature_file, "MAX_FILE_BYTES", 1799)
    with pytest.raises(SynflipError, match=r"t\.npz: its arrays take 1800 bytes; at most 1799 are read"):
        load(path)
    assert open_features(path, quantizer(10)).shape == (100, 10)  # the labels are not read


@pytest.mark.parametrize("dtype", ["u1", "f2", "i4", "f4", "f8", ">i8"])
@pytest.mark.parametrize("shape", [(10_000, 100), (1000, 1, 25, 40)])
def test_data_take_at_most_four_times_their_arrays(
    tmp_path: Path, dtype: str, shape: tuple[int, ...]
) -> None:
    x = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    np.savez(tmp_path / "t.npz", x=x, y=(np.arange(len(x)) % 10).astype(np.uint8))
    wanted = Dataset.of(x.astype(np.float64), np.arange(len(x)) % 10)
    with peak() as taken:
        data = load(tmp_path / "t.npz")
        assert taken() < 4 * (x.nbytes + 8 * len(x)) + (1 << 18)
    with peak() as taken:
        pixels = data.train_pixels
        assert taken() < pixels.nbytes + (8 << 20)  # and blocks of float64
    same(data, wanted)
    assert np.array_equal(pixels, wanted.train_pixels)
    assert data_digest(data) == data_digest(wanted)
