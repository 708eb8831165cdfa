"""Tables: frames of named columns as rows of features, and labels as classes.

A frame is anything with ``columns`` and a column by name, as pandas and polars have. Nothing of it is trusted
to be a number; what is none is named with its row, counted from 0, and its column.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.spec.input_quantizer import Column, InputQuantizer
from synflip.spec.sizes import MAX_OUTPUTS
from synflip.util.arrays import list_of, plain, rows
from synflip.util.text import MAX_MESSAGE, one_line, second

MAX_CATEGORIES = 256  # of a column: more are names or dates, which say nothing of other rows
MAX_TEXT_BYTES = 1 << 30  # of a column, with 4 bytes for each letter of the longest in each row
_NUMBERS = "biuf"  # kinds of numpy dtypes
_EXACT = 2.0**53  # whole numbers below it are exact in float64
_SHOWN = 8  # names in a message
#: Texts that are numbers to who wrote them: 1,5 and 1.234,56 and 12 % and $5, 0x1f, and -5 with a minus sign;
#: or dates: 2020-01-31 and 31.1.20 12:00 and 5-Jan-2020; or times: 12:30 and 0:05:00.5.
_NUMBER = re.compile(r"[-+\u2212]?([$€£]?\s?\d+([.,'\s]\d{3})*([.,]\d+)?\s?[%$€£]?|0[xX][0-9a-fA-F]+)")
_DATE = re.compile(
    r"(\d{4}([-/.])\d{1,2}\2\d{1,2}|\d{1,2}([-/.])\d{1,2}\3(\d{4}|\d{2})"
    r"|\d{1,2}[-/. ]{1,2}[A-Za-z]{3,9}[-/. ]\d{2,4}|[A-Za-z]{3,9} \d{1,2}, ?\d{4})([T ].*)?"
)
_TIME = re.compile(r"\d{1,3}:[0-5]\d(:[0-5]\d([.,]\d+)?)?( ?[AaPp][Mm])?")
_WHOLE = re.compile(r"0|[1-9][0-9]{0,14}")  # as str writes it, and below _EXACT
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def is_frame(value: object) -> bool:
    """Whether ``value`` has columns with names. Raises SynflipError for tables that become frames."""
    kind = type(value)
    for mark, way in (("collect", "collect"), ("compute", "compute"), ("column_names", "to_pandas")):
        if hasattr(kind, mark) and hasattr(
            kind, "columns"
        ):  # of polars' LazyFrame, dask's frames, pyarrow's tables
            raise SynflipError(f"the table is a {kind.__name__}: give its frame, .{way}()")
    return hasattr(value, "columns") and hasattr(value, "__getitem__")


def column_names(frame: Any) -> list[str]:
    """Names of a frame's columns, as text. Raises SynflipError if two are equal."""
    return list(_keys(frame))


def unlike(names: Sequence[str]) -> Sequence[str]:
    """``names``, of columns. Raises SynflipError if two are equal."""
    if (twice := second(names)) is not None:
        raise SynflipError(f"two columns are called {one_line(twice)!r}: give each its own name")
    return names


def label_column(frame: Any, label: str) -> Any:
    """The column of labels, as a frame. Raises SynflipError."""
    if not is_frame(frame):
        raise SynflipError(
            f"the labels are the text {one_line(label)!r}, and the data no table: give the labels"
        )
    keys = _keys(frame)
    if label not in keys:
        raise SynflipError(f"the table has no column {one_line(label)!r}; it has {_some([*keys])}")
    return frame[[keys[label]]]


def columns_of(frame: Any, without: str | None = None) -> tuple[Column, ...]:
    """The columns of a frame, with their categories, sorted. without: the column of labels. Raises
    SynflipError."""
    found = []
    for name, key in _keys(frame).items():
        if name == without:
            continue
        values = _values(frame[key], name)
        categories = sorted(map(str, set(values))) if values.dtype.kind == "U" else []
        if len(categories) > MAX_CATEGORIES:
            raise SynflipError(
                f"column {one_line(name)} holds {len(categories)} different texts, more than "
                f"{MAX_CATEGORIES} categories: make numbers of it, or leave it out"
            )
        if categories and len(categories) == len(values) > 1:
            raise SynflipError(
                f"column {one_line(name)} holds another text in every row, as names and dates do, which says "
                "nothing of other rows: make numbers of it, or leave it out"
            )
        for pattern, what, way in (
            (_NUMBER, "a number", "write it as 1234.5"),
            (_DATE, "a date", "make a number of it, such as days"),
            (_TIME, "a time", "make a number of it, such as seconds"),
        ):
            if categories and all(map(pattern.fullmatch, categories)):
                raise SynflipError(
                    f"column {one_line(name)} holds texts that look like {what}, "
                    f"{one_line(categories[0])!r}, and would become {len(categories)} categories: {way}, or "
                    "leave it out"
                )
        if odd := next(filter(_CONTROL.search, categories), None):
            raise SynflipError(
                f"column {one_line(name)} holds the text {odd!r}, with a control character: is the file "
                "damaged?"
            )
        found.append(Column(name, tuple(categories)))
    return tuple(found)


def encoded(frame: Any, columns: Sequence[Column], label: str | None = None) -> NDArray[np.float64]:
    """Rows float64 [N, I] of a frame: its ``columns`` by their names, in any order. A column ``label`` may be
    there too. Raises SynflipError for columns that are missing or unknown, and texts in a number's place."""
    there = _keys(frame)
    wanted = dict.fromkeys(column.name for column in columns)
    lacking = [name for name in wanted if name not in there]
    extra = [name for name in there if name not in wanted and name != label]
    if lacking:
        raise SynflipError(f"the table lacks {_columns(lacking)}")
    if extra:
        raise SynflipError(f"the table has {_columns(extra)}, which the model does not know: leave it out")
    parts = [_feature(frame[there[column.name]], column) for column in columns]
    return np.concatenate(parts, axis=1) if parts else np.zeros((0, 0))


def feature_rows(value: Any, quantizer: InputQuantizer, what: str) -> NDArray[Any]:
    """Rows [N, I] of numbers, for ``quantizer``: of a frame by its columns' names if the model has such; else
    an array, list or tensor [N, I] or [N, *shape]. what: its name in messages. Raises SynflipError."""
    if is_frame(value) and quantizer.columns:
        return encoded(value, quantizer.columns, quantizer.label)
    return rows(plain(value, what), quantizer.shape, what)


def exact(numbers: NDArray[Any]) -> NDArray[Any]:
    """Numbers of at most 32 bits, all of which float64 has, as they are; others as float64."""
    return numbers if numbers.dtype.itemsize <= 4 else numbers.astype(np.float64, copy=False)


def labels_of(
    parts: Sequence[Any], classes: Sequence[str] | None, by_name: bool = False, folders: bool = False
) -> tuple[list[NDArray[np.int64]], tuple[str, ...]]:
    """Labels of one or two parts of the data as int64 [N] in 0..C-1, and the names of the C classes.

    parts: [N] each, integers or text. classes: their names, if they are known; then integers are the numbers
    of classes, or with ``by_name`` their names. Without them the values that are there, sorted, are the
    classes. folders: the parts are names of folders, text [N], of which no two are one class: so they are
    numbers only if all are whole ones as ``str`` writes them. Raises SynflipError.
    """
    as_text = folders and not all(_WHOLE.fullmatch(name) for part in parts for name in set(part))
    values = [np.asarray(part) if as_text else _label_values(part) for part in parts]
    text = [part.dtype.kind == "U" for part in values]
    if any(text) != all(text):
        raise SynflipError("the labels are text in one part of the data and numbers in another")
    if classes is not None and not text[0] and not by_name:
        return values, tuple(classes)  # the data set checks their range
    known: NDArray[Any] = np.unique(np.concatenate(values))
    names = tuple(str(item) for item in known) if classes is None else tuple(classes)
    if len(names) > MAX_OUTPUTS:
        raise SynflipError(
            f"the labels have {len(names)} different values; a network has at most {MAX_OUTPUTS} classes: is "
            "the column of labels another?"
        )
    if classes is None and len(names) == 1 < sum(map(len, values)):
        raise SynflipError(
            f"all labels are {one_line(names[0])!r}, and a network tells classes apart: is the column of "
            "labels another?"
        )
    if classes is None and len(values) > 1 and len(new := np.setdiff1d(values[1], values[0])):
        raise SynflipError(
            f"the label {one_line(str(new[0]))!r} of the test part is in no row of the training part: are "
            "both labelled alike? If so give the classes, or leave its rows out"
        )
    number = {name: index for index, name in enumerate(names)}
    for item in known:
        if str(item) not in number:
            raise SynflipError(f"the label {one_line(str(item))!r} is none of the classes {_some(names)}")
    places = np.array([number[str(item)] for item in known], dtype=np.int64)
    return [places[np.searchsorted(known, part)] for part in values], names


def split(labels: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Which rows are held out for the test: a quarter of each class, rounded, drawn by ``seed``; bool [N].

    numpy keeps this generator's numbers for ever. Raises SynflipError if no row would be held out.
    """
    draw = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
    test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = draw.permutation(np.flatnonzero(labels == label))
        test[members[: (len(members) + 2) // 4]] = True
    if not test.any():
        raise SynflipError(
            f"{len(labels)} rows are too few to hold out a quarter of each class: give more, or a test part"
        )
    return test


def held_out(seed: int) -> str:
    """What is said of a test part that ``split`` drew."""
    return f"a quarter of each class held out by seed {seed}"


def held_out_by(title: str) -> int | None:
    """The seed that ``held_out`` says at the end of a data set's title; None if none is there."""
    found = re.search(r"\(a quarter of each class held out by seed (\d{1,40})\)$", title)
    return None if found is None else int(found[1])


def _some(names: Sequence[str]) -> str:
    """The first names of a list, for messages."""
    return ", ".join(map(one_line, names[:_SHOWN])) + ", ..." * (len(names) > _SHOWN)


def _columns(names: Sequence[str]) -> str:
    return f"the {'columns' if len(names) > 1 else 'column'} {_some(names)}"


def _feature(series: Any, column: Column) -> NDArray[np.float64]:
    """A column's features, float64 [N, its width]."""
    values = _values(series, column.name)
    name = one_line(column.name)
    if not column.categories:
        if values.dtype.kind == "U":
            raise SynflipError(
                f"row 0 (from 0), column {name} is {one_line(values[0])!r}, where a number is wanted"
            )
        return values.astype(np.float64)[:, None]
    if values.dtype.kind != "U":
        if not len(values):
            return np.zeros((0, column.width))
        raise SynflipError(f"row 0 (from 0), column {name} is {values[0]}, where a category is wanted")
    found = values[:, None] == np.array(column.categories)
    if not found.any(1).all():
        row = int((~found.any(1)).argmax())
        raise SynflipError(
            f"row {row} (from 0), column {name} is {one_line(values[row])!r}, none of its categories "
            f"{_some(column.categories)}"
        )
    return found.astype(np.float64)


def _keys(frame: Any) -> dict[str, Any]:
    """The key of each of a frame's columns, by its name as text. Raises SynflipError if two are equal."""
    keys = list(frame.columns)
    return dict(zip(unlike([str(key) for key in keys]), keys, strict=True))


def _values(series: Any, name: str, mixed: bool = False) -> NDArray[Any]:
    """A column's values: numbers, or text if none of them is a number. mixed: as of ``_numbers_or_text``.
    Raises SynflipError for a value that is missing, and for text among numbers."""
    array = np.asarray(series.to_numpy())
    where = f"column {one_line(name)}"
    if array.dtype.kind in "OUST":
        missing = np.asarray((series.isna() if hasattr(series, "isna") else series.is_null()).to_numpy())
    else:
        missing = np.isnan(array) if array.dtype.kind == "f" else np.zeros(len(array), dtype=bool)
    if missing.any():
        raise SynflipError(
            f"row {int(missing.argmax())} (from 0), {where} has no value (in a CSV file: nothing, NA, None "
            "or the like): fill it in, or leave out the row or the column"
        )
    return _numbers_or_text(array, where, mixed)


def _numbers_or_text(array: NDArray[Any], where: str, mixed: bool = False) -> NDArray[Any]:
    """An array [N] as numbers, or as text. where: its name in messages. mixed: whether texts that are numbers
    may stand among others, as text. Raises SynflipError."""
    if array.dtype.kind in _NUMBERS:
        return array
    items = array.tolist()
    odd = next((item for item in items if not isinstance(item, str | int | float)), None)
    if odd is not None or array.dtype.kind not in "OUT":
        kind = array.dtype if odd is None else type(odd).__name__
        raise SynflipError(f"{where} holds {kind}, neither numbers nor text")
    known = {item: _number(item) for item in set(items)}  # a long text may stand in many rows
    numbers = [known[item] for item in items]
    if None not in numbers:
        return np.array(numbers, dtype=np.float64)
    row = numbers.index(None)
    if not isinstance(items[row], str):
        raise SynflipError(f"row {row} (from 0), {where} is a whole number that float64 does not reach")
    if not all(
        isinstance(item, str) if mixed else number is None
        for item, number in zip(items, numbers, strict=True)
    ):
        raise SynflipError(f"row {row} (from 0), {where} is {one_line(items[row])!r}, among numbers")
    longest = max(map(len, items))
    if longest > MAX_MESSAGE:
        raise SynflipError(f"{where} holds a text of {longest} letters; a category has at most {MAX_MESSAGE}")
    if (size := 4 * longest * len(items)) > MAX_TEXT_BYTES:
        raise SynflipError(
            f"{where} holds {len(items)} texts of up to {longest} letters, which take {size} bytes; at most "
            f"{MAX_TEXT_BYTES} are taken: make them shorter"
        )
    return np.array(items, dtype=np.str_)


def _number(item: Any) -> float | None:
    try:
        return float(item)
    except (ValueError, OverflowError):
        return None


def _label_values(labels: Any) -> NDArray[Any]:
    """Labels as int64 [N], or as text [N]. Raises SynflipError."""
    what = "the column of labels"
    if hasattr(labels, "to_frame"):  # a series of pandas or polars
        labels = labels.to_frame("label")
    if is_frame(labels):
        keys = _keys(labels)
        if len(keys) != 1:
            raise SynflipError(f"the labels are a table of {len(keys)} columns, not of one")
        ((name, key),) = keys.items()
        array = _values(labels[key], name, mixed=True)
    elif isinstance(labels, list | tuple) and any(isinstance(item, str) for item in labels):
        array = _numbers_or_text(np.array(labels, dtype=object), what, mixed=True)
    elif isinstance(labels, np.ndarray) and labels.dtype.kind in "OUT" and labels.ndim == 1:
        array = _numbers_or_text(labels, what, mixed=True)
    else:
        array = plain(labels, "labels")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array.reshape(-1)
    if array.ndim != 1:
        raise SynflipError(
            f"labels have shape {list_of(array.shape)}, not [N], one for each row: of one-hot rows, argmax(1)"
        )
    if array.dtype.kind == "U":
        return array
    bad = (array >= _EXACT) | (array <= -_EXACT)
    if array.dtype.kind == "f":
        bad |= ~np.isfinite(array) | (array != np.rint(array))
    if bad.any():
        row = int(bad.argmax())
        raise SynflipError(
            f"label {row} (from 0) is {array[row]}, neither text nor a whole number: labels are classes"
        )
    return array.astype(np.int64)
