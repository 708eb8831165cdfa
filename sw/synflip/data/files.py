"""Data sets from the user's files and folders."""

from collections.abc import Sequence
from pathlib import Path

from synflip.data.dataset import LARGEST, Dataset
from synflip.data.feature_file import ENDINGS, TABLES, explained, read_npz, read_table
from synflip.data.picture_folder import MAX_PIXELS, read_pictures
from synflip.data.tables import column_names, held_out, labels_of, split
from synflip.errors import SynflipError
from synflip.spec.model import CompiledModel
from synflip.util.arrays import whole_number
from synflip.util.text import one_line

_MOST_SEED = (1 << 63) - 1


def load_file(
    path: str | Path,
    label: str | None = None,
    header: bool = True,
    size: tuple[int, int] | None = None,
    seed: int = 0,
    model: CompiledModel | None = None,
    quantiles: tuple[float, float] | None = None,
) -> Dataset:
    """The data set in a file, or in a folder of pictures; called by the name of the file.

    path: ``.npz`` with x_train, y_train, x_test and y_test, or x and y; ``.csv`` or ``.parquet``; or a folder
        with a folder of PNG or JPEG files for each class, or with the folders train and test of such.
    label: the column of labels of a table; None takes the last, or the model's. header: whether the first
    line of a CSV file has the columns' names, as of ``read_table``. size: height and width that pictures are
    scaled to. seed: of what is held out where there is no test part. model: as of ``Dataset.of``, if it was
    made of such data. quantiles: as of ``Dataset.of``; None takes (0, 1). Raises SynflipError.
    """
    path = Path(path)
    seed = whole_number(seed, "the seed", 0, _MOST_SEED)
    _check_kind(path, label, header, size)
    if path.is_dir():
        if quantiles is not None:
            raise SynflipError(
                f"{path} has pictures, whose pixels are taken as they are: leave out quantiles"
            )
        return _of_pictures(path, size, seed, None if model is None else model.classes)
    if path.suffix.lower() not in ENDINGS:
        raise SynflipError(f"{path} is neither a folder of pictures nor one of {', '.join(ENDINGS)}")
    name = one_line(path.stem)
    if model is not None and model.input_quantizer is None:
        model = None  # of pixels: evaluation says so
    known = None if model is None else model.input_quantizer
    shares = (0.0, 1.0) if quantiles is None else quantiles
    with explained(path):
        if path.suffix.lower() in TABLES:
            frame = read_table(path, header, known)
            names = column_names(frame)
            if len(names) < 2:
                raise SynflipError(
                    "there is one column: columns are separated by commas, and one of them holds the labels"
                )
            frame.columns = names
            label = label or (known.label if known is not None else None) or names[-1]
            numbered = names == list(map(str, range(len(names))))
            if not numbered and label in names and label in map(str, frame[label].unique()):
                raise SynflipError(
                    f"the first line looks like a row: {one_line(label)!r} is one of the labels too. Give "
                    "--no-header (in Python header=False), or call the column otherwise"
                )
            return Dataset.of(frame, label, name=name, seed=seed, model=model, quantiles=shares)
        arrays = read_npz(path)
        train = "_train" if "x_train" in arrays else ""
        if f"x{train}" not in arrays or f"y{train}" not in arrays:
            raise SynflipError(
                f"it has {', '.join(arrays) or 'no arrays of data'}: give x_train, y_train, x_test and "
                "y_test, or x and y"
            )
        return Dataset.of(
            arrays[f"x{train}"],
            arrays[f"y{train}"],
            arrays.get("x_test"),
            arrays.get("y_test"),
            name=name,
            seed=seed,
            model=model,
            quantiles=shares,
        )


def _check_kind(path: Path, label: str | None, header: bool, size: tuple[int, int] | None) -> None:
    """Raises SynflipError for an argument that is of another kind of data than ``path``'s, or makes no
    sense."""
    if path.suffix.lower() not in TABLES or path.is_dir():
        if label is not None:
            raise SynflipError(
                f"{path} is no table, and has no column of labels {label!r:.60}: leave out label"
            )
        if not header:
            raise SynflipError(f"{path} is no table, and its first line has no names: leave out header")
    elif label == "":
        raise SynflipError(f"{path} has no column without a name: give label the name of that of the labels")
    if size is None:
        return
    if not path.is_dir():
        raise SynflipError(f"{path} has no pictures that could be scaled: leave out size")
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise SynflipError(f"size is a height and a width, such as (32, 32), not {size!r:.60}")
    for what, value in zip(("height", "width"), size, strict=True):
        whole_number(value, f"the {what} of size", 1, MAX_PIXELS)


def _of_pictures(
    folder: Path, size: tuple[int, int] | None, seed: int, known: Sequence[str] | None
) -> Dataset:
    """The data set of a folder of pictures; their pixels are in 0..255. known: the classes, if they are."""
    parts = [folder / "train", folder / "test"]
    apart = all(part.is_dir() for part in parts)
    read = [read_pictures(part, size) for part in (parts if apart else [folder])]
    if read[0][2] != read[-1][2]:
        raise SynflipError(
            f"{folder}: pictures of train are {list(read[0][2])} and of test {list(read[1][2])}: give "
            "--size HxW, and pictures all in colour or all grey"
        )
    images = [pixels for pixels, _, _ in read]
    name, note = one_line(folder.resolve().name), ""
    with explained(folder):
        labels, classes = labels_of([names for _, names, _ in read], known, by_name=True, folders=True)
        if not apart:
            test = split(labels[0], seed)
            images, labels = [images[0][~test], images[0][test]], [labels[0][~test], labels[0][test]]
            note = held_out(seed)
        return Dataset(
            name, images[0], labels[0], images[1], labels[1], classes, LARGEST, read[0][2], note
        )  # fmt: skip
