"""Pictures in folders, a folder for each class."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.util.text import first_line, one_line

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 1 << 24  # of a picture; more are not decoded
MAX_BYTES = 1 << 30  # of all pictures together
_FORMATS = ("PNG", "JPEG")
_GREY = ("1", "L", "LA")  # Pillow's modes of eight bits or less without colour
_SYSTEM = (".", "__MACOSX")  # how names begin that file managers and archivers give to files of their own


def read_pictures(
    folder: Path, size: tuple[int, int] | None
) -> tuple[NDArray[np.uint8], NDArray[np.str_], tuple[int, ...]]:
    """Pictures uint8 [N, I] of a folder with a folder for each class, their classes, text [N], and the shape
    of a picture: [H, W] if all are grey, else [3, H, W].

    size: height and width that all are scaled to, by Pillow's bilinear filter; None wants them all alike.
    Raises SynflipError, naming the file.
    """
    from PIL import Image

    try:
        files = list(_files(folder))
    except OSError as error:
        raise SynflipError(f"cannot read {error.filename or folder}: {error.strerror or error}") from None
    pictures: list[Image.Image] = []
    grey = True
    for path, _ in files:
        plain = _decoded(path, size)
        if size is None and pictures and plain.size != pictures[0].size:
            raise SynflipError(
                f"{path} has {plain.height}x{plain.width} pixels, and {files[0][0]} has "
                f"{pictures[0].height}x{pictures[0].width}: give the size of all, --size HxW"
            )
        grey = grey and plain.mode == "L"
        if len(files) * plain.width * plain.height * (1 if grey else 3) > MAX_BYTES:
            raise SynflipError(
                f"{folder} has {len(files)} pictures of {plain.height}x{plain.width} pixels; at most "
                f"{MAX_BYTES} bytes are read: give them a smaller size, --size HxW"
            )
        pictures.append(plain)
    if not grey:
        pictures = [picture.convert("RGB") for picture in pictures]
    pixels = np.stack([np.asarray(picture) for picture in pictures])
    if not grey:
        pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    shape = pixels.shape[1:]
    return pixels.reshape(len(pixels), -1), np.array([name for _, name in files]), shape


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    """The pictures in a folder of classes, and the names of their classes. Raises SynflipError for what would
    be left out without a word: a class without pictures, pictures of other formats or in other places."""
    from PIL import Image

    formats = Image.registered_extensions()  # by endings, ".png" and the like
    known = [ending for ending, name in formats.items() if name in _FORMATS]
    inside = _shown(folder)
    classes = [path for path in inside if path.is_dir()]
    _check_place([path for path in inside if path not in classes], formats, "each in the folder of its class")
    found = [(path, _shown(path)) for path in classes]
    if not any(path.suffix.lower() in known for _, paths in found for path in paths):
        raise SynflipError(
            f"{folder} has no folders with .png, .jpg, .jpeg files, one folder for each class (or two "
            "folders, train and test, of such)"
        )
    if len(classes) == 1:
        raise SynflipError(
            f"{folder} has one folder of pictures, {one_line(classes[0].name)}, and a network tells classes "
            "apart: give one folder for each class"
        )
    for path, paths in found:
        pictures = [each for each in paths if each.suffix.lower() in known]
        _check_place([each for each in paths if each not in pictures], formats, "as PNG or JPEG")
        if folders := [each for each in paths if each.is_dir() and each not in pictures]:
            raise SynflipError(f"{folders[0]} is a folder in the folder of a class: put its pictures into it")
        if not pictures:
            raise SynflipError(f"{path} has no .png, .jpg or .jpeg files: put some into it, or take it away")
        yield from ((each, path.name) for each in pictures)


def _shown(folder: Path) -> list[Path]:
    """What is in a folder, sorted, without files that no user put there: hidden ones and Apple's."""
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(_SYSTEM)]


def _check_place(paths: list[Path], formats: dict[str, str], way: str) -> None:
    """Raises SynflipError for a picture of any format that Pillow knows among files that are not read."""
    for path in paths:
        if path.suffix.lower() in formats and path.is_file():
            raise SynflipError(f"{path} would not be read: pictures are wanted {way}")


def _decoded(path: Path, size: tuple[int, int] | None) -> "Image.Image":
    """A picture as its maker wants it seen, upright: in mode L, or RGB if it has colours. Raises
    SynflipError."""
    from PIL import Image, ImageOps

    try:
        if not path.is_file():  # a FIFO would be waited for
            raise ValueError("it is not a file")
        with Image.open(path, formats=_FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"it has {picture.width}x{picture.height} pixels; at most {MAX_PIXELS}")
            if picture.mode.startswith(("I", "F")):
                raise ValueError(f"it has more than 8 bits a pixel (mode {picture.mode})")
            if picture.format == "PNG" and getattr(picture, "is_animated", False):
                raise ValueError("it is animated: save one picture of it")
            upright = ImageOps.exif_transpose(picture)
            if _seen_through(upright):
                raise ValueError("it is transparent in places: put it on a background, and save it without")
            plain = upright.convert("L" if upright.mode in _GREY else "RGB")
    except OSError as error:
        raise SynflipError(f"cannot read the picture {path}: {one_line(first_line(error))}") from None
    except Exception as error:  # Pillow has no common class for files that make no sense
        raise SynflipError(f"{path} is no picture: {one_line(first_line(error))}") from None
    if size is None:
        return plain
    return plain.resize((size[1], size[0]), Image.Resampling.BILINEAR)


def _seen_through(picture: "Image.Image") -> bool:
    if not picture.has_transparency_data:
        return False
    return picture.convert("RGBA").getchannel("A").getextrema() != (255, 255)
