"""Pictures in folders, a folder for each class."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.util.text import first_line, one_line

ENDINGS = (".png", ".jpg", ".jpeg")
MAX_PIXELS = 1 << 24  # of a picture; more are not decoded
_GREY = ("1", "L", "LA")  # Pillow's modes of eight bits or less without colour


def read_pictures(
    folder: Path, size: tuple[int, int] | None
) -> tuple[NDArray[np.uint8], NDArray[np.str_], tuple[int, ...]]:
    """Pictures uint8 [N, I] of a folder with a folder for each class, their classes, text [N], and the shape
    of a picture: [H, W] if all are grey, else [3, H, W].

    size: height and width that all are scaled to, by Pillow's bilinear filter; None wants them all alike.
    Raises SynflipError, naming the file.
    """
    from PIL import Image

    files = [
        (path, inside.name)
        for inside in sorted(folder.iterdir())
        if inside.is_dir()
        for path in sorted(inside.iterdir())
        if path.suffix.lower() in ENDINGS
    ]
    if not files:
        raise SynflipError(
            f"{folder} has no folders with {', '.join(ENDINGS)} files, one folder for each class"
        )
    pictures: list[Image.Image] = []
    grey = True
    for path, _ in files:
        try:
            with Image.open(path, formats=["PNG", "JPEG"]) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise ValueError(f"it has {picture.width}x{picture.height} pixels; at most {MAX_PIXELS}")
                if picture.mode.startswith(("I", "F")):
                    raise ValueError(f"it has more than 8 bits a pixel (mode {picture.mode})")
                alike = picture.mode in _GREY
                plain = picture.convert("L" if alike else "RGB")
        except OSError as error:
            raise SynflipError(f"cannot read the picture {path}: {one_line(first_line(error))}") from None
        except Exception as error:  # Pillow has no common class for files that make no sense
            raise SynflipError(f"{path} is no picture: {one_line(first_line(error))}") from None
        if size is not None:
            plain = plain.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        elif pictures and plain.size != pictures[0].size:
            raise SynflipError(
                f"{path} has {plain.height}x{plain.width} pixels, and {files[0][0]} has "
                f"{pictures[0].height}x{pictures[0].width}: give the size of all, --size HxW"
            )
        grey = grey and alike
        pictures.append(plain)
    if not grey:
        pictures = [picture.convert("RGB") for picture in pictures]
    pixels = np.stack([np.asarray(picture) for picture in pictures])
    if not grey:
        pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    shape = pixels.shape[1:]
    return pixels.reshape(len(pixels), -1), np.array([name for _, name in files]), shape
