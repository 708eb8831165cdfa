"""Files that are written whole or not at all: the new content takes the old one's place in one step."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError


def check_output(path: str | Path) -> Path:
    """``path`` as a Path. Raises SynflipError if no file can be written there; call it before long work."""
    path = Path(path)
    if path.is_dir():
        raise SynflipError(f"cannot write {path}: it is a folder")
    if not path.parent.is_dir():
        raise SynflipError(f"cannot write {path}: there is no folder {path.parent}")
    return path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write a file whole or not at all: ``with replacing("x.npy") as partial: ...`` writes to ``partial``.

    The block is given ``path`` with ``.partial`` appended. When it ends, that file replaces ``path``; if it
    raises, ``path`` stays as it was and the partial file is deleted. Raises SynflipError.
    """
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
    """Make a folder and the folders above it, where they are missing. Raises SynflipError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SynflipError(f"cannot make the folder {path}: {error.strerror}") from None


def write_array(path: str | Path, array: NDArray[np.generic]) -> None:
    """Write ``array`` to ``path`` as ``.npy``, whole or not at all. Raises SynflipError."""
    with replacing(path) as partial, partial.open("wb") as file:
        np.save(file, array, allow_pickle=False)
