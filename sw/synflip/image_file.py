"""Images that stay in their file: read block by block, so that memory does not grow with their number."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.files import image_header, read_images
from synflip.spec.model import Images

SMALL_BYTES = 1 << 24  # as much as a block takes


class ImageFile:
    """Images uint8 [N, I] of a ``.npy`` file, N at least ``least``, I at least 1.

    More than SMALL_BYTES are left in the file, unless in Fortran order. The file is not trusted: see
    ``read_images``. Raises SynflipError.
    """
    shape, fortran, start = image_header(path, least)
    if fortran or math.prod(shape) <= SMALL_BYTES:
        return read_images(path, least)
    return ImageFile(Path(path), shape, start)
