"""Files of the command line: images that are not trusted, results that are whole or not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError


def check_output(path: str | Path) -> Path:
    """``path``, if a file can be written there; asked before long work. Raises SynflipError."""
    path = Path(path)
    if path.is_dir():
        raise SynflipError(f"cannot write {path}: it is a folder")
    if not path.parent.is_dir():
        raise SynflipError(f"cannot write {path}: there is no folder {path.parent}")
    return path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A name to write to; it takes ``path``'s place when all is written. Raises SynflipError."""
    path = check_output(path)
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise SynflipError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, if it is not there. Raises SynflipError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SynflipError(f"cannot make the folder {path}: {error.strerror}") from None


def write_array(path: str | Path, array: NDArray[np.generic]) -> None:
    """Write ``array`` as ``.npy``. Raises SynflipError."""
    with replacing(path) as partial, partial.open("wb") as file:
        np.save(file, array, allow_pickle=False)
