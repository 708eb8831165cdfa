"""Arrays of ``.npz`` files that are not trusted: nothing is unpickled, sizes are checked before reading."""

import lzma
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

#: What zipfile raises for archives that are damaged, encrypted or compressed in a way that it does not know.
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)
_BLOCK = 1 << 20  # bytes read at once
_LETTER = 4  # bytes of one, of which numpy gives each text one at least


def array_bytes(archive: zipfile.ZipFile, name: str) -> tuple[int, int]:
    """Rows, and bytes in all, of the array ``name`` of an open ``.npz`` archive, as its header says: nothing
    of that size is allocated. Raises as ``read_array``."""
    with _opened(archive, name) as (_, shape, _, dtype):
        return (shape[0] if shape else 1), _taken(shape, dtype)


def read_array(
    archive: zipfile.ZipFile, name: str, dtype: DTypeLike | None, axes: int | None, limit: int
) -> NDArray[Any]:
    """The array ``name`` of an open ``.npz`` archive.

    dtype, axes: what it must be, in C order; None, both: numbers or text of any shape and order. limit: bytes
    that it may take at most; no more than these are allocated. Raises ValueError, in one line, for an array
    that is missing or another one, and DAMAGED and OSError for an archive that cannot be read.
    """
    with _opened(archive, name) as (file, shape, fortran, found):
        if dtype is not None and (found != np.dtype(dtype) or len(shape) != axes or fortran):
            raise ValueError(f"{name} holds {found} {list(shape)}")
        size = math.prod(shape) * found.itemsize
        if (taken := _taken(shape, found)) > limit:
            raise ValueError(f"{name} takes {taken} bytes; at most {limit} are read")
        other = ValueError(f"{name} does not have the {size} bytes that its header says")
        if archive.getinfo(f"{name}.npy").file_size - file.tell() != size:
            raise other
        if not found.itemsize:  # text of no letters
            return np.zeros(shape, dtype=found)
        numbers = np.empty(math.prod(shape), dtype=found)
        content = numbers.view(np.uint8)
        for first in range(0, size, _BLOCK):
            block = content[first : first + _BLOCK]
            there = file.read(len(block))
            if len(there) != len(block):  # what the archive says of a member may be wrong too
                raise other
            block[:] = np.frombuffer(there, dtype=np.uint8)
        return numbers.reshape(shape, order="F" if fortran else "C")


def _taken(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Bytes of memory that an array takes."""
    return math.prod(shape) * (dtype.itemsize or _LETTER)


@contextmanager
def _opened(
    archive: zipfile.ZipFile, name: str
) -> Iterator[tuple[IO[bytes], tuple[int, ...], bool, np.dtype[Any]]]:
    """An array of numbers or text, behind its header; and its shape, whether it is in Fortran order, and its
    type."""
    try:
        member = archive.open(f"{name}.npy")
    except KeyError:
        raise ValueError(f"it has no array {name}") from None
    with member as file:
        try:
            version = npy.read_magic(file)  # type: ignore[arg-type]  # a zip's member is no BinaryIO to mypy
            if version != (1, 0):  # what np.save writes for any array of numbers
                raise ValueError("another version")
            shape, fortran, found = npy.read_array_header_1_0(file)  # type: ignore[arg-type]
        except (OSError, zipfile.BadZipFile):
            raise
        except Exception:  # numpy's parser raises half a dozen kinds for hostile headers
            raise ValueError(f"{name} is not as numpy writes it") from None
        if found.kind not in "biufU" or min(shape, default=0) < 0 or bool in map(type, shape):
            raise ValueError(f"{name} holds {found} {list(shape)}")
        yield file, shape, fortran, found
