"""CIFAR-10 from a folder: the standard binary batches, or the same images recompressed as JPEG."""

import io
import math
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synflip.data.dataset import Dataset
from synflip.data.folder import FOLDER_VARIABLE
from synflip.errors import SynflipError
from synflip.util.npz import DAMAGED, read_array

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (3, 32, 32)
BATCH_IMAGES = 10_000  # of a file
BATCHES = "cifar-10-batches-bin"
PICKLED = "cifar-10-batches-py"  # what torchvision fetches
TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILES = ("test_batch.bin",)
PACKED, PACKED_FILES = "cifar10-jpeg75", ("train.npz", "test.npz")
JPEG_NOTE = "JPEG quality 75"
MAX_JPEG_BYTES = 256 << 20
#: Images with a larger share of high frequencies on JPEG's steps were recompressed. The share is 0.99 after
#: quality 75, and about one half for the original images.
JPEG_SHARE = 0.95
_PIXELS = math.prod(SHAPE)
_Part = tuple[NDArray[np.uint8], NDArray[np.int64]]


def load(folder: Path | None) -> Dataset:
    """CIFAR-10 from ``folder``: ``cifar-10-batches-bin/*.bin``, or else ``cifar10-jpeg75/*.npz``; or from the
    first of them itself.

    Pixels are [N, 3072]: red, green, blue, row by row. If the images were recompressed at JPEG quality 75,
    which is measured for the binary batches, ``note`` says so.
    Raises SynflipError for files that are missing or not these.
    """
    if folder is None:
        raise SynflipError(
            f"cifar10 is not fetched: set {FOLDER_VARIABLE} to a folder that holds {BATCHES}, "
            "the standard binary version"
        )
    binary, packed = folder if (folder / TEST_FILES[0]).is_file() else folder / BATCHES, folder / PACKED
    if binary.is_dir():
        train, test = _batches(binary, TRAIN_FILES), _batches(binary, TEST_FILES)
        note = JPEG_NOTE if on_jpeg_steps(test[0]) > JPEG_SHARE else ""
    elif packed.is_dir():
        count = BATCH_IMAGES * len(TRAIN_FILES)
        train, test = (
            _unpacked(packed / name, images)
            for name, images in zip(PACKED_FILES, (count, BATCH_IMAGES), strict=True)
        )
        note = JPEG_NOTE
    elif folder.name == PICKLED or (folder / PICKLED).is_dir():
        raise SynflipError(
            f"cifar10: {folder} ({FOLDER_VARIABLE}) has {PICKLED}, which are pickles that could run anything "
            f"when they are read; put {BATCHES}, the standard binary version, there"
        )
    else:
        raise SynflipError(f"cifar10: no {BATCHES} in {folder} ({FOLDER_VARIABLE}); put it there")
    return Dataset("cifar10", *train, *test, classes=CLASSES, input_max=255, shape=SHAPE, note=note)


def places(folder: Path) -> list[Path]:
    """The files that ``load`` may read from ``folder``."""
    binary = [base / name for base in (folder, folder / BATCHES) for name in (*TRAIN_FILES, *TEST_FILES)]
    return [*binary, *(folder / PACKED / name for name in PACKED_FILES)]


def on_jpeg_steps(images: NDArray[np.uint8]) -> float:
    """Share, 0..1, of the high frequencies of luma that are near a multiple of JPEG's step at quality 75.

    images: [N, 3072], of which the first 1000 are measured. JPEG rounds the frequencies of each 8x8 block to
    multiples of a step (ITU-T T.81, table K.1, halved at quality 75). Frequencies with a step below 24 are
    left out: rounding pixels to integers makes noise of their size.
    """
    from scipy.fft import dctn

    red, green, blue = images[:1000].reshape(-1, *SHAPE).astype(np.float64).swapaxes(0, 1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    blocks = luma.reshape(-1, 4, 8, 4, 8).transpose(0, 1, 3, 2, 4)
    frequencies = dctn(blocks, axes=(3, 4), norm="ortho")
    steps = (np.array(_LUMA) + 1) // 2
    distance = np.abs(frequencies - steps * np.round(frequencies / steps))
    return float((distance < steps / 12)[..., steps >= 24].mean())


#: Steps of luma at quality 50, ITU-T T.81, table K.1.
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


def _batches(folder: Path, names: tuple[str, ...]) -> _Part:
    """Images and labels of binary batches: each record is a byte of label and 3072 of pixels."""
    size = BATCH_IMAGES * (1 + _PIXELS)
    parts = []
    for path in (folder / name for name in names):
        try:
            there = path.stat().st_size
            if there != size:
                raise SynflipError(f"{path} has {there} bytes, not {size}; delete it and get it again")
            parts.append(np.fromfile(path, dtype=np.uint8, count=size).reshape(BATCH_IMAGES, 1 + _PIXELS))
        except OSError as error:
            raise SynflipError(f"cannot read {path}: {error.strerror}; get {BATCHES} again") from None
        _check_labels(path, parts[-1][:, 0])
    records = np.concatenate(parts)
    return np.ascontiguousarray(records[:, 1:]), records[:, 0].astype(np.int64)


def _unpacked(path: Path, count: int) -> _Part:
    """``count`` images and labels of a ``.npz`` file with three arrays.

    jpeg: uint8, all JPEG files one after the other. end: int64, where each file ends in ``jpeg``.
    label: uint8.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            ends = read_array(archive, "end", np.int64, 1, 8 * count)
            labels = read_array(archive, "label", np.uint8, 1, count)
            jpeg = read_array(archive, "jpeg", np.uint8, 1, MAX_JPEG_BYTES)
    except OSError as error:
        raise SynflipError(f"cannot read {path}: {error.strerror or error}") from None
    except DAMAGED as error:
        raise SynflipError(f"{path} is not a whole .npz file ({error}); get it again") from None
    except ValueError as error:
        raise SynflipError(f"{path}: {error}; get it again") from None
    for name, array in (("end", ends), ("label", labels)):
        if len(array) != count:
            raise SynflipError(
                f"{path}: {name} holds {array.dtype} [{len(array)}], not [{count}]; get it again"
            )
    starts = np.concatenate([[0], ends[:-1]])
    if (ends <= starts).any() or ends[-1] != len(jpeg):
        raise SynflipError(f"{path}: `end` does not part `jpeg` into {count} images; get it again")
    _check_labels(path, labels)
    images = np.empty((count, _PIXELS), dtype=np.uint8)
    content = jpeg.tobytes()
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        try:
            images[index] = _decoded(content[start:end])
        except Exception as error:  # Pillow has no common class for files that make no sense
            raise SynflipError(f"{path}: image {index} is no 32x32 JPEG: {error}; get it again") from None
    return images, labels.astype(np.int64)


def _decoded(content: bytes) -> NDArray[np.uint8]:
    """The pixels [3072] of one JPEG file. Raises ValueError, before decoding, if it is not 32x32."""
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=["JPEG"]) as picture:
        if picture.size != SHAPE[1:]:  # known before anything is decoded
            raise ValueError(f"it has {picture.size[0]}x{picture.size[1]} pixels")
        return np.asarray(picture.convert("RGB")).transpose(2, 0, 1).reshape(-1)


def _check_labels(path: Path, labels: NDArray[np.uint8]) -> None:
    if labels.max() >= len(CLASSES):
        at = int((labels >= len(CLASSES)).argmax())
        raise SynflipError(f"{path}: label {at} is {labels[at]}, not in 0..{len(CLASSES) - 1}; get it again")
