"""Images read block by block from their file, so that memory does not grow with their number."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synflip.data.npy import image_header, read_images
from synflip.errors import SynflipError
from synflip.spec.model import Images

SMALL_BYTES = 1 << 24  # a file up to this size is read at once


class ImageFile:
    """Images uint8 [N, I] of a ``.npy`` file in C order. ``file[10:20]`` reads ten images.

    shape: (N, I). start: offset of the first pixel in the file, in bytes.
    """

    ndim = 2
    dtype = np.dtype(np.uint8)

    def __init__(self, path: Path, shape: tuple[int, int], start: int) -> None:
        self.path, self.shape, self.start = path, shape, start

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> NDArray[np.uint8]:
        """Images first:past, uint8 [n, I]. Raises SynflipError if the file is not what it was."""
        first, past, step = part.indices(len(self))
        if step != 1:
            raise ValueError(f"images of a file are read one after the other, not in steps of {step}")
        width, count = self.shape[1], max(past - first, 0)
        pixels = np.empty((count, width), dtype=np.uint8)
        try:
            with self.path.open("rb") as file:
                file.seek(self.start + first * width)
                there = file.readinto(pixels.data)
        except OSError as error:
            raise SynflipError(f"cannot read {self.path}: {error.strerror}") from None
        if there != pixels.size:
            raise SynflipError(f"{self.path} was cut while it was read: images {first}..{past - 1} are gone")
        return pixels


def open_images(
    path: str | Path, least: int = 1, shape: Sequence[int] | None = None, largest: int | None = None
) -> Images:
    """Images uint8 [N, I] of a ``.npy`` file; the arguments are those of ``read_images``.

    A file of more than SMALL_BYTES is read block by block, unless it is in Fortran order or an archive. It is
    not trusted: see ``read_images``. Raises SynflipError.
    """
    header = image_header(path, least, shape, largest)
    if header.fortran or header.archived or math.prod(header.shape) <= SMALL_BYTES:
        return read_images(path, least, shape, largest)
    return ImageFile(Path(path), header.rows, header.start)
