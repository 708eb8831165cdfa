"""Arrays of ``.npz`` files that are not trusted: nothing is unpickled, sizes are checked before reading."""

import lzma
import math
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

#: What zipfile raises for archives that are damaged, encrypted or compressed in a way that it does not know.
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)


def read_array(
    archive: zipfile.ZipFile, name: str, dtype: DTypeLike | None, axes: int | None, limit: int
) -> NDArray[Any]:
    """The array ``name`` of an open ``.npz`` archive, read-only.

    dtype, axes: what it must be, in C order; None, both: numbers or text of any shape and order. limit: bytes
    that it may take at most. Raises ValueError, in one line, for an array that is missing or another one, and
    DAMAGED and OSError for an archive that cannot be read.
    """
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
        exact = dtype is not None and (found != np.dtype(dtype) or len(shape) != axes or fortran)
        if exact or found.kind not in "biufU" or min(shape, default=0) < 0:
            raise ValueError(f"{name} holds {found} {list(shape)}")
        size = math.prod(shape) * found.itemsize
        if size > limit:
            raise ValueError(f"{name} takes {size} bytes; at most {limit} are read")
        content = file.read(size + 1)
    if len(content) != size:
        raise ValueError(f"{name} does not have the {size} bytes that its header says")
    if not found.itemsize:  # text of no letters
        return np.zeros(shape, dtype=found)
    return np.frombuffer(content, dtype=found).reshape(shape, order="F" if fortran else "C")
