"""Images from ``.npy`` files that are not trusted."""

import math
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
    """The header of a ``.npy`` file of images: (N, I), whether its order is Fortran's, the offset of pixel 0.

    N is at least ``least``. The sizes are checked against the size of the file. Raises SynflipError.
    """
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
    """Shape and order of the array in ``file``, which is left at the first pixel."""
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
