"""Images from ``.npy`` files, and from archives of arrays (``.npz``), that are not trusted."""

import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.util.arrays import list_of, order_hint, picture_forms, scale_advice
from synflip.util.npz import DAMAGED
from synflip.util.text import first_line, one_line

#: What images are called in an archive that has other arrays too; Keras calls those of the test x_test.
NAMES = ("x", "images", "x_test")
MAX_IMAGE_BYTES = 1 << 30
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06")  # how they begin: with an array, and without any
_BLOCK = 1 << 20  # numbers looked at at once
_EIGHT_BITS = 255


@dataclass(frozen=True)
class ImageHeader:
    """The header of an array of images in a file.

    shape: of the array in the file. rows: (N, I), what it is read as. fortran: whether its first axis is the
    fastest. start: offset of the first pixel, in bytes, from the beginning of the array. archived: whether
    the file is an archive of arrays.
    """

    shape: tuple[int, ...]
    rows: tuple[int, int]
    fortran: bool
    start: int
    archived: bool


def read_images(
    path: str | Path, least: int = 1, shape: Sequence[int] | None = None, largest: int | None = None
) -> NDArray[np.uint8]:
    """Images uint8 [N, I] from a ``.npy`` file, N at least ``least``, I at least 1.

    path: also of a ``.npz`` archive whose only array they are, or the only one that is called as in NAMES.
    shape: of an image, [H, W] or [C, H, W], if it is known; then [N, *shape] is taken too, and of grey images
    [N, 1, H, W] and [N, H, W, 1]. largest: the largest pixel, if it is known, for messages. The file is not
    trusted: nothing is unpickled, and no more is read than the header says. Raises SynflipError.
    """
    path = Path(path)
    header = image_header(path, least, shape, largest)
    size = math.prod(header.shape)
    if size > MAX_IMAGE_BYTES:
        raise SynflipError(
            f"{path} has {size} bytes of pixels; at most {MAX_IMAGE_BYTES} are read at once: "
            "split them over several files"
        )
    with _array(path) as (file, _, _):
        file.read(header.start)  # not seek, after which an archive's checksum is not looked at
        pixels = np.frombuffer(file.read(size), dtype=np.uint8)
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
    with _array(path) as (file, size, name):
        return _header(file, size, name, least, shape, largest)


@contextmanager
def _array(path: Path) -> Iterator[tuple[IO[bytes], int, str]]:
    """The array in a ``.npy`` file, or the images in an archive: a file at its beginning, its bytes, and what
    messages call it, such as ``x in data.npz``. Raises SynflipError."""
    try:
        if not path.is_file():
            raise SynflipError(
                f"{path} is {'not a file' if path.exists() else 'missing'}; images are a .npy file"
            )
        with path.open("rb") as file:
            archived = file.read(4) in _ARCHIVES
            file.seek(0)
            if archived:
                with _archived(file, path) as found:
                    yield found
            else:
                yield file, path.stat().st_size, str(path)
    except OSError as error:
        raise SynflipError(f"cannot read {path}: {error.strerror or error}") from None


@contextmanager
def _archived(file: IO[bytes], path: Path) -> Iterator[tuple[IO[bytes], int, str]]:
    """As ``_array``, of the archive ``file`` at ``path``."""
    try:
        with zipfile.ZipFile(file) as archive:
            entry = _images_of(archive, path)
            with archive.open(entry) as member:
                yield member, entry.file_size, f"{one_line(_name(entry))} in {path}"
    except (*DAMAGED, ValueError) as error:
        raise SynflipError(f"{path} is no whole .npz archive: {first_line(error)}; save it again") from None


def _images_of(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    """The array of images: the only one, or the only one that has one of NAMES. Raises SynflipError."""
    arrays = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
    named = [entry for entry in arrays if _name(entry) in NAMES]
    found = arrays if len(arrays) == 1 else named
    if len(found) != 1:
        there = one_line(", ".join(map(_name, arrays))) or "none"
        raise SynflipError(
            f"{path} has the arrays {there}; which are the images? Call one, and no other, {NAMES[0]}, "
            f"{NAMES[1]} or {NAMES[2]}, or save the images alone, np.save('x.npy', pixels)"
        )
    return found[0]


def _name(entry: zipfile.ZipInfo) -> str:
    return entry.filename.removesuffix(".npy")


def _header(
    file: IO[bytes], size: int, path: str, least: int, known: Sequence[int] | None, largest: int | None
) -> ImageHeader:
    """The header of the array of ``size`` bytes in ``file``, checked. path: what messages call it."""
    try:
        version = npy.read_magic(file)
        if version != (1, 0):  # what np.save writes for any array of numbers; its header is at most 64 KiB
            raise ValueError(f"format {version[0]}.{version[1]} instead of 1.0")
        shape, fortran, dtype = npy.read_array_header_1_0(file)
        if bool in map(type, shape):  # which numpy takes for numbers
            raise ValueError(f"shape {list(shape)}")
    except OSError:
        raise
    except Exception as error:  # numpy's parser raises half a dozen kinds for hostile headers
        reason = str(error).splitlines()[0] if str(error) else "its header cannot be read"
        raise SynflipError(f"{path} is not a .npy file as np.save writes it: {reason}") from None
    if dtype != np.uint8:
        hint = _type_hint(file, size, dtype, math.prod(shape), _EIGHT_BITS if largest is None else largest)
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
    return ImageHeader(shape, rows, fortran, start_of_pixels, isinstance(file, zipfile.ZipExtFile))


def _rows(path: str, shape: tuple[int, ...], known: Sequence[int] | None) -> tuple[int, int]:
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
    elif order := order_hint(shape[1:], known or (), "save pixels"):
        hint = f"{order}.reshape(len(pixels), -1)"
    elif len(shape) == 4 and shape[-1] in (3, 4) and shape[1] not in (1, 3, 4):
        hint = "channels come first, save pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)"
    else:
        hint = "save pixels.reshape(len(pixels), -1) if the first axis counts images, or one image as "
        hint += "pixels.reshape(1, -1)"
    raise SynflipError(f"{path} has shape {list(shape)}; images are {wanted}: {hint}")


def _type_hint(file: IO[bytes], size: int, dtype: np.dtype, count: int, largest: int) -> str:  # type: ignore[type-arg]
    """What to do with ``count`` numbers of another type, from where ``file`` is, to make them pixels. size:
    bytes of the file."""
    if dtype.kind not in "biuf":
        return "save an array of integers"
    there = (size - file.tell()) // dtype.itemsize
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
