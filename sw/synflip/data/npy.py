"""Images from ``.npy`` files that are not trusted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.util.arrays import list_of, picture_forms, scale_advice

MAX_IMAGE_BYTES = 1 << 30
_BLOCK = 1 << 20  # numbers looked at at once
_EIGHT_BITS = 255


@dataclass(frozen=True)
class ImageHeader:
    """The header of a ``.npy`` file of images.

    shape: of the array in the file. rows: (N, I), what it is read as. fortran: whether its first axis is the
    fastest. start: offset of the first pixel in the file, in bytes.
    """

    shape: tuple[int, ...]
    rows: tuple[int, int]
    fortran: bool
    start: int


def read_images(
    path: str | Path, least: int = 1, shape: Sequence[int] | None = None, largest: int | None = None
) -> NDArray[np.uint8]:
    """Images uint8 [N, I] from a ``.npy`` file, N at least ``least``, I at least 1.

    shape: of an image, [H, W] or [C, H, W], if it is known; then [N, *shape] is taken too, and of grey images
    [N, 1, H, W] and [N, H, W, 1]. largest: the largest pixel, if it is known, for messages. The file is not
    trusted: nothing is unpickled, and no more is read than its own size. Raises SynflipError.
    """
    header = image_header(path, least, shape, largest)
    size = math.prod(header.shape)
    if size > MAX_IMAGE_BYTES:
        raise SynflipError(
            f"{path} has {size} bytes of pixels; at most {MAX_IMAGE_BYTES} are read at once: "
            "split them over several files"
        )
    try:
        with Path(path).open("rb") as file:
            file.seek(header.start)
            pixels = np.frombuffer(file.read(size), dtype=np.uint8)
    except OSError as error:
        raise SynflipError(f"cannot read {path}: {error.strerror}") from None
    if pixels.size != size:
        raise SynflipError(f"{path} was cut while it was read")
    array = pixels.reshape(header.shape, order="F" if header.fortran else "C")
    return np.ascontiguousarray(array.reshape(header.rows))


def image_header(
    path: str | Path, least: int, shape: Sequence[int] | None = None, largest: int | None = None
) -> ImageHeader:
    """The header of a ``.npy`` file of images; the arguments are those of ``read_images``.

    The sizes are checked against the size of the file. Raises SynflipError.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise SynflipError(
                f"{path} is {'not a file' if path.exists() else 'missing'}; images are a .npy file"
            )
        with path.open("rb") as file:
            return _header(file, path, least, shape, largest)
    except OSError as error:
        raise SynflipError(f"cannot read {path}: {error.strerror}") from None


def _header(
    file: BinaryIO, path: Path, least: int, known: Sequence[int] | None, largest: int | None
) -> ImageHeader:
    """The header of the array in ``file``, checked."""
    size = path.stat().st_size
    if file.read(4) == b"PK\x03\x04":
        raise SynflipError(
            f"{path} is an archive of arrays (.npz): save the images alone, np.save('x.npy', pixels)"
        )
    file.seek(0)
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
        hint = _type_hint(file, path, dtype, math.prod(shape), _EIGHT_BITS if largest is None else largest)
        raise SynflipError(f"{path} holds {dtype}; images are uint8: {hint}")
    rows = _rows(path, shape, known)
    if rows[0] < least or rows[1] < 1:
        raise SynflipError(f"{path} has shape {list(shape)}: there is nothing in it")
    start_of_pixels = file.tell()
    there = size - start_of_pixels
    if math.prod(shape) != there:
        raise SynflipError(
            f"{path} has {there} bytes of pixels; its shape {list(shape)} needs {math.prod(shape)}"
        )
    return ImageHeader(shape, rows, fortran, start_of_pixels)


def _rows(path: Path, shape: tuple[int, ...], known: Sequence[int] | None) -> tuple[int, int]:
    """(N, I) of an array of ``shape``. known: the shape of an image, if it is known. Raises SynflipError."""
    pixels = 0 if known is None else math.prod(known)
    single = known is not None and shape in picture_forms(known) and shape[0] != 1
    if len(shape) == 2 and not (single and shape[1] != pixels):
        return shape[0], shape[1]
    if known is not None and len(shape) > 2 and shape[1:] in picture_forms(known):
        return shape[0], pixels
    wanted = "[N, I]" if known is None or len(known) < 2 else f"[N, {pixels}] or {list_of(('N', *known))}"
    if len(shape) < 2 or single:
        hint = "one image is saved as pixels.reshape(1, -1)"
    elif len(shape) == 4 and shape[-1] in (3, 4) and shape[1] not in (1, 3, 4):
        hint = "channels come first, save pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)"
    else:
        hint = "save pixels.reshape(len(pixels), -1) if the first axis counts images, or one image as "
        hint += "pixels.reshape(1, -1)"
    raise SynflipError(f"{path} has shape {list(shape)}; images are {wanted}: {hint}")


def _type_hint(file: BinaryIO, path: Path, dtype: np.dtype, count: int, largest: int) -> str:  # type: ignore[type-arg]
    """What to do with ``count`` numbers of another type, from where ``file`` is, to make them pixels."""
    if dtype.kind not in "biuf":
        return "save an array of integers"
    there = (path.stat().st_size - file.tell()) // dtype.itemsize
    if count != there or not 0 < count <= MAX_IMAGE_BYTES:
        return f"save integers in 0..{largest}, as astype(np.uint8)"
    least, most, whole = math.inf, -math.inf, True
    for first in range(0, count, _BLOCK):
        block = np.frombuffer(file.read(min(_BLOCK, count - first) * dtype.itemsize), dtype=dtype)
        if not len(block) or not np.isfinite(block).all():
            return "replace what is not finite (nan, inf)"
        least, most = min(least, float(block.min())), max(most, float(block.max()))
        whole = whole and bool((block == np.floor(block)).all() if dtype.kind == "f" else True)
    shares = dtype.kind in "bf" and most <= 1
    if whole and least >= 0 and most <= largest and not (shares and most > 0 and largest > 1):
        return "all are whole numbers that fit, save pixels.astype(np.uint8)"
    advice = scale_advice(least, most, dtype.kind in "bf", largest)
    return f"they are {least:.4g}..{most:.4g} and pixels are integers in 0..{largest}, {advice}"
