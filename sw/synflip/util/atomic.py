"""Files of the command line: images that are not trusted, results that are whole or not there."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from synflip.errors import SynflipError

MAX_IMAGE_BYTES = 1 << 30


def read_images(path: str | Path, least: int = 1) -> NDArray[np.uint8]:
    """Images uint8 [N, I] from a ``.npy`` file, N at least ``least``, I at least 1.

    The file is not trusted: nothing is unpickled, and no more is read than its own size. Raises SynflipError.
    """
    shape, fortran, start = image_header(path, least)
    if math.prod(shape) > MAX_IMAGE_BYTES:
        raise SynflipError(
            f"{path} has {math.prod(shape)} bytes of pixels; at most {MAX_IMAGE_BYTES} are read at once: "
            "split them over several files"
        )
    try:
        with Path(path).open("rb") as file:
            file.seek(start)
            pixels = np.frombuffer(file.read(math.prod(shape)), dtype=np.uint8)
    except OSError as error:
        raise SynflipError(f"cannot read {path}: {error.strerror}") from None
    if pixels.size != math.prod(shape):
        raise SynflipError(f"{path} was cut while it was read")
    return np.ascontiguousarray(pixels.reshape(shape, order="F" if fortran else "C"))


def image_header(path: str | Path, least: int) -> tuple[tuple[int, int], bool, int]:
    """Of a ``.npy`` file of images: N and I, whether it is in Fortran order, and where the pixels begin; all
    checked against the size of the file. Raises SynflipError."""
    path = Path(path)
    try:
        if not path.is_file():
            raise SynflipError(
                f"{path} is {'not a file' if path.exists() else 'missing'}; images are a .npy file"
            )
        with path.open("rb") as file:
            return *_header(file, path, least), file.tell()
    except OSError as error:
        raise SynflipError(f"cannot read {path}: {error.strerror}") from None


def _header(file: BinaryIO, path: Path, least: int) -> tuple[tuple[int, int], bool]:
    """Shape and order of the array in ``file``, checked against its size; leaves it at the first pixel."""
    size = path.stat().st_size
    try:
        version = npy.read_magic(file)
        if version != (1, 0):  # what np.save writes for any array of numbers; its header is at most 64 KiB
            raise ValueError(f"format {version[0]}.{version[1]} instead of 1.0")
        shape, fortran, dtype = npy.read_array_header_1_0(file)
    except OSError:
        raise
    except Exception as error:  # numpy's parser raises half a dozen kinds for hostile headers
        reason = str(error).splitlines()[0] if str(error) else "its header cannot be read"
        raise SynflipError(f"{path} is not a .npy file as np.save writes it: {reason}") from None
    if dtype != np.uint8:
        raise SynflipError(f"{path} holds {dtype}; images are uint8: save pixels.astype(np.uint8)")
    if len(shape) != 2:
        raise SynflipError(
            f"{path} has shape {list(shape)}; images are [N, I]: save pixels.reshape(len(pixels), -1)"
        )
    if shape[0] < least or shape[1] < 1:
        raise SynflipError(f"{path} has shape {list(shape)}: there is nothing in it")
    there = size - file.tell()
    if math.prod(shape) != there:
        raise SynflipError(
            f"{path} has {there} bytes of pixels; its shape {list(shape)} needs {math.prod(shape)}"
        )
    return (shape[0], shape[1]), fortran


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


def find_section(path: str | Path, name: str) -> tuple[str, str, str]:
    """A page in three parts: up to its line ``<!-- begin NAME -->``, what is between it and ``<!-- end NAME
    -->``, and the rest from there. Raises SynflipError if they are not there once each, in this order."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    try:
        page = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SynflipError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    before, found, rest = page.partition(begin)
    inside, closed, after = rest.partition(end)
    if not (found and closed) or begin in rest or end in before + after:
        raise SynflipError(f"{path} has no section between the lines {begin} and {end}")
    return before + begin, inside, end + after


def replace_section(path: str | Path, name: str, text: str) -> None:
    """Put ``text`` between the lines that ``find_section`` finds. Raises SynflipError."""
    before, _, after = find_section(path, name)
    with replacing(path) as partial:
        partial.write_text(f"{before}\n{text.strip()}\n{after}", encoding="utf-8")


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
