"""Features from files that are not trusted: ``.npz``, ``.npy``, ``.csv``, ``.parquet``.

Nothing is unpickled, and sizes are checked before anything is allocated.
"""

import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synflip.data.dataset import DataError
from synflip.data.tables import column_names, feature_rows, unlike
from synflip.errors import SynflipError
from synflip.spec.input_quantizer import InputQuantizer
from synflip.util.extras import require
from synflip.util.npz import DAMAGED, array_bytes, read_array
from synflip.util.text import first_line, one_line

MAX_FILE_BYTES = 1 << 30
TABLES = (".csv", ".parquet")
ENDINGS = (".npz", *TABLES)
_LABEL_BYTES = 8  # that a label takes in memory
_MAX_LINE = 1 << 16  # bytes of a first line that are looked at
_PARTS = ("x", "y", "x_train", "y_train", "x_test", "y_test")


def open_features(path: str | Path, quantizer: InputQuantizer, header: bool = True) -> NDArray[Any]:
    """Rows [N, I] of numbers for a model with ``quantizer``, from a file.

    ``.npy``: mapped from the file, not read at once. ``.npz``: its array x, or else x_test. ``.csv``,
    ``.parquet``: columns by the names that the model knows. header: as of ``read_table``. Raises
    SynflipError.
    """
    path = Path(path)
    with explained(path):
        if path.suffix.lower() == ".npz":
            for name in ("x", "x_test"):
                if found := read_npz(path, [name]):
                    return feature_rows(found[name], quantizer, name)
            raise SynflipError("there is no array x, nor x_test")
        if path.suffix.lower() in TABLES:
            return feature_rows(read_table(path, header, quantizer), quantizer, "rows")
        if path.suffix.lower() != ".npy":
            raise SynflipError(f"none of {', '.join(('.npy', *ENDINGS))}, which features come from")
        try:
            rows = np.load(path, mmap_mode="c", allow_pickle=False)
            if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "biuf":
                raise SynflipError(f"no .npy file of numbers, but of {getattr(rows, 'dtype', 'arrays')}")
        except (OSError, SynflipError):
            raise
        except Exception as error:  # numpy's parser raises half a dozen kinds for hostile headers
            raise SynflipError(f"no .npy file of numbers as np.save writes it: {_said(error)}") from None
        return feature_rows(rows, quantizer, "rows")


def read_npz(path: Path, names: Sequence[str] = _PARTS) -> dict[str, NDArray[Any]]:
    """The arrays of a ``.npz`` file that are called as in ``names``, of numbers or text, by their names.

    They have MAX_FILE_BYTES at most in all, as their headers say, with 8 bytes for each label; that is asked
    before any of them is read. Raises SynflipError and OSError.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            there = [name for name in names if f"{name}.npy" in archive.namelist()]
            size = 0
            for name in there:
                count, taken = array_bytes(archive, name)
                size += max(taken, _LABEL_BYTES * count if name.startswith("y") else 0)
            if size > MAX_FILE_BYTES:
                raise SynflipError(
                    f"its arrays take {size} bytes; at most {MAX_FILE_BYTES} are read: give fewer rows, or "
                    "a smaller type, such as uint8 or float32"
                )
            return {name: read_array(archive, name, None, None, MAX_FILE_BYTES) for name in there}
    except OSError:
        raise
    except (*DAMAGED, ValueError) as error:
        raise SynflipError(f"no whole .npz file of arrays of numbers: {_said(error)}") from None


def read_table(path: Path, header: bool = True, known: InputQuantizer | None = None) -> Any:
    """The table in a ``.csv`` or ``.parquet`` file, a pandas frame.

    header: whether the first line of a CSV file has the columns' names; otherwise they are called 0, 1, ...
    known: of the model that the rows are for. If it calls its columns by numbers, the first line is one of
    names only if it has just these. Raises SynflipError and OSError.
    """
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise SynflipError(f"{size} bytes; at most {MAX_FILE_BYTES} are read")
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    import pandas

    _check_text(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)  # rows longer than the header
            if header:
                first = pandas.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False)
                cells = [name for name in first.iloc[0] if name]
                header = known is None or _are_names(cells, known)
            if header:
                unlike(cells)  # pandas gives equal names other ones
            frame = pandas.read_csv(  # numbers become the nearest float64
                path,
                header=0 if header else None,
                index_col=False,
                low_memory=False,
            )
    except (OSError, SynflipError):
        raise
    except UnicodeError as error:
        raise SynflipError(f"no table of comma-separated values: {_said(error)}; save it in UTF-8") from None
    except pandas.errors.ParserWarning:
        raise SynflipError(
            f"no table of comma-separated values: its rows have more values than the first line has "
            f"{'names' if header else 'values'}"
        ) from None
    except Exception as error:  # pandas' own errors, and those of codecs, have no common class
        raise SynflipError(f"no table of comma-separated values: {_said(error)}") from None
    for index, name in enumerate(column_names(frame)):
        if header and name.startswith("Unnamed: "):  # pandas' word for it
            raise SynflipError(
                f"column {index} (from 0) has no name in the first line: give it one, or leave it out; an "
                "index that pandas writes is left out by to_csv(index=False)"
            )
    return frame


def _check_text(path: Path) -> None:
    """Raises SynflipError if the first line of a CSV file has another separator in place of commas, or if
    its values take too much memory."""
    with path.open("rb") as file:
        line = file.readline(_MAX_LINE)
        file.seek(0)
        values = 0
        while block := file.read(1 << 20):
            values += block.count(b",") + max(block.count(b"\n"), block.count(b"\r"))
    if 8 * values > MAX_FILE_BYTES:
        raise SynflipError(
            f"{values} values, of 8 bytes each; at most {MAX_FILE_BYTES} bytes are read: give fewer rows"
        )
    other = next((mark for mark in (b";", b"\t", b"|") if mark in line), None)
    if other is not None and b"," not in line:
        raise SynflipError(
            f"columns are separated by commas, and its first line has {other.decode()!r} in place of them: "
            "save it with commas, and with points in numbers"
        )


def _are_names(cells: list[str], known: InputQuantizer) -> bool:
    """Whether the cells of a file's first line are the columns' names, not a row of numbers.

    A model without names, or with numbers as names, may have been trained on a file without a header: then
    they are names if the model's are there, in any order, and beside them at most the label's and words.
    """
    names = [column.name for column in known.columns] or [str(i) for i in range(known.features)]
    if not all(map(str.isdecimal, names)):
        return True
    return sorted(cell for cell in cells if cell.isdecimal() and cell != known.label) == sorted(names)


def _read_parquet(path: Path) -> Any:
    import pandas
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        known = file.schema_arrow.pandas_metadata or {}
        names = [name for name in file.schema_arrow.names if name not in known.get("index_columns", ())]
        unlike(names)
        text = [name for name in names if _is_text(file.schema_arrow.field(name))]
        _check_parquet(file.metadata, text)
        # A text may be there once and stand in a million rows: so it does in memory, too.
        file = pyarrow.parquet.ParquetFile(path, metadata=file.metadata, read_dictionary=text)
        table = file.read(columns=names)
        table.validate(full=True)  # text that is no UTF-8, which pandas would find out much later
        frame = table.to_pandas(ignore_metadata=True)
        for name, kind in frame.dtypes.items():
            if isinstance(kind, pandas.CategoricalDtype) and kind.categories.dtype == "str":
                texts = np.array([*kind.categories, None], dtype=object)  # None is at -1, if it is missing
                frame[name] = pandas.Series(texts[frame[name].cat.codes], dtype=object)
        return frame
    except (OSError, SynflipError):
        raise
    except Exception as error:  # Arrow's errors are of several classes
        raise SynflipError(f"no Parquet file: {_said(error)}") from None


def _is_text(field: Any) -> bool:
    """Whether a column of a Parquet file holds text. Raises SynflipError if a value is neither text nor
    takes 8 bytes at most."""
    from pyarrow import types

    kind = field.type.value_type if types.is_dictionary(field.type) else field.type
    if types.is_string(kind) or types.is_large_string(kind):
        return not types.is_dictionary(field.type)
    if not any(
        fits(kind)
        for fits in (types.is_boolean, types.is_integer, types.is_floating, types.is_timestamp, types.is_null)
    ):
        raise SynflipError(
            f"column {one_line(field.name)} holds {one_line(str(field.type))}, neither numbers nor text"
        )
    return False


def _check_parquet(about: Any, text: Sequence[str]) -> None:
    """Raises SynflipError if a Parquet file takes too much memory when it is unpacked. about: its metadata,
    of columns that are not nested. text: the columns of text."""
    groups = [about.row_group(index) for index in range(about.num_row_groups)]
    parts = [group.column(index) for group in groups for index in range(group.num_columns)]
    values = max(about.num_rows * about.num_columns, sum(part.num_values for part in parts))
    taken = max(8 * values, sum(group.total_byte_size for group in groups))
    if taken > MAX_FILE_BYTES:
        raise SynflipError(f"{taken} bytes when unpacked; at most {MAX_FILE_BYTES} are read")
    for part in parts:
        packed = next((name for name in part.encodings if name.endswith("BYTE_ARRAY")), None)
        if packed and part.path_in_schema in text:  # of common beginnings: short, and as long as you like
            raise SynflipError(
                f"column {one_line(part.path_in_schema)} holds text that is packed as {packed}, which is "
                "not read: write it as pandas' to_parquet does"
            )


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Errors within the block say the path. Before it, SynflipError if what reads such a file is missing."""
    if path.suffix.lower() in TABLES:
        require("pandas", *(["pyarrow"] if path.suffix.lower() == ".parquet" else []), extra="tables")
    try:
        yield
    except OSError as error:
        raise SynflipError(f"cannot read {path}: {error.strerror or _said(error)}") from None
    except DataError as error:  # the path says more than the name, which is made of it
        raise SynflipError(f"{path}: {error.reason}") from None
    except SynflipError as error:
        raise SynflipError(f"{path}: {error}") from None


def _said(error: Exception) -> str:
    return one_line(first_line(error))
