"""The class of a data set: images, labels, and what they mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synflip.errors import SynflipError
from synflip.util.arrays import list_of, plain, rows, scale_hint, whole, whole_number
from synflip.util.text import one_line

MAX_PIXEL = 65535
_SHOWN_CLASSES = 10  # names in a repr


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images and their labels, checked when they are put together.

    train_images, test_images: [N, I], pixels in 0..input_max; also [N, *shape], and of grey images
    [N, H, W], [N, 1, H, W] or [N, H, W, 1]. train_labels, test_labels: [N], integers in
    0..len(classes)-1. Each may be a list, a torch tensor or any array of whole numbers. They are kept as
    uint8 [N, I] (int32 if input_max is above 255) and int64 [N], in C order; an array that is this already
    is not copied.
    classes: a name for each label. input_max: 1..65535. shape: of an image, [H, W], or [C, H, W] in colour; I
    is its product. Rows of I numbers that are no pictures have the shape (1, I).
    note: what must be said beside every figure from these data, such as ``JPEG quality 75`` where the images
    are not the original ones; else "".

    Raises SynflipError, which names the field, the place in it and the value. Nothing is rounded or cut off.
    """

    name: str
    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    classes: tuple[str, ...]
    input_max: int
    shape: tuple[int, ...]
    note: str = ""

    def __post_init__(self) -> None:
        for field in ("name", "note"):
            if not isinstance(getattr(self, field), str):
                raise SynflipError(f"{field} of the data set must be text, not {getattr(self, field)!r}")

        def put(field: str, value: Any) -> None:
            object.__setattr__(self, field, value)

        try:
            put("input_max", whole_number(self.input_max, "input_max", 1, MAX_PIXEL))
            put("classes", _class_names(self.classes))
            put("shape", _image_shape(self.shape))
            for part in ("train", "test"):
                images, labels = f"{part}_images", f"{part}_labels"
                put(images, checked_images(getattr(self, images), self.shape, self.input_max, images))
                put(labels, checked_labels(getattr(self, labels), len(self.classes), labels))
                counts = len(getattr(self, images)), len(getattr(self, labels))
                if counts[0] != counts[1]:
                    raise SynflipError(
                        f"{counts[0]} {images} and {counts[1]} {labels}: give each image its label"
                    )
        except SynflipError as error:
            raise SynflipError(f"{one_line(self.name)}: {error}") from None

    @property
    def title(self) -> str:
        """The name with the note: ``cifar10 (JPEG quality 75)``."""
        return f"{self.name} ({self.note})" if self.note else self.name

    def __repr__(self) -> str:
        """Three lines: name, numbers and sizes of images, classes."""
        names = ", ".join(self.classes[:_SHOWN_CLASSES])
        more = ", ..." if len(self.classes) > _SHOWN_CLASSES else ""
        return (
            f"Dataset {self.title}\n"
            f"  {len(self.train_labels):,} training and {len(self.test_labels):,} test images, "
            f"{'x'.join(map(str, self.shape))} pixels in 0..{self.input_max}\n"
            f"  {len(self.classes)} classes: {names}{more}"
        )


def checked_images(images: ArrayLike, shape: Sequence[int], largest: int, what: str) -> NDArray[np.uint8]:
    """``images`` as rows of pixels, uint8 [N, I] (int32 if ``largest`` is above 255), N at least 1.

    images, shape: as of ``Dataset``. what: the images' name in messages. Raises SynflipError.
    """
    array = plain(images, what)
    array = rows(array, shape, what)
    if not len(array):
        raise SynflipError(f"{what} are empty: at least one image is needed")

    def hint() -> str:
        if array.dtype.kind in "iu" and array.min() >= 0:
            return f"; they go up to {array.max()}: is that input_max?"
        return scale_hint(array, largest)

    if array.dtype.kind in "bf" and largest > 1 and 0 < array.max() <= 1 and array.min() >= 0:
        raise SynflipError(f"{what} are {array.dtype}{hint()}")
    return whole(array, what, 0, largest, np.uint8 if largest < 256 else np.int32, hint)


def checked_labels(labels: ArrayLike, classes: int, what: str) -> NDArray[np.int64]:
    """``labels`` as int64 [N], each in 0..classes-1. what: their name in messages. Raises SynflipError."""
    array = plain(labels, what)
    if array.ndim != 1:
        way = ""
        if array.ndim == 2 and array.shape[1] == 1:
            way = f": {what}.reshape(-1)"
        elif array.ndim == 2 and array.shape[1] == classes:
            way = f": of one-hot rows, {what}.argmax(1)"
        raise SynflipError(f"{what} have shape {list(array.shape)}, not [N], a number for each image{way}")

    def hint() -> str:
        if np.isfinite(array).all() and array.min() == 1 and array.max() == classes:
            return f": labels start at 0, so give {what} - 1"
        return f": the data set has {classes} classes"

    return whole(array, what, 0, classes - 1, np.int64, hint)


def require_dataset(data: object) -> Dataset:
    """``data``, which must be a Dataset. Raises SynflipError for anything else."""
    if isinstance(data, Dataset):
        return data
    if isinstance(data, str):
        raise SynflipError(f"the data are the text {one_line(data)!r}: give synflip.data.load({data[:40]!r})")
    raise SynflipError(
        f"the data are a {type(data).__name__}, not a synflip.data.Dataset: make one of images and labels"
    )


def _class_names(classes: Any) -> tuple[str, ...]:
    """The names of the classes. Raises SynflipError for anything but one text a class."""
    if isinstance(classes, str) or not isinstance(classes, Sequence | np.ndarray):
        shown = one_line(repr(classes))
        raise SynflipError(f"classes must be a list with a name for each label, not {shown}")
    for index, name in enumerate(classes):
        if not isinstance(name, str):
            raise SynflipError(
                f"classes[{index}] is {one_line(repr(name))}, not a name: give text, {str(index)!r}"
            )
    if not len(classes):
        raise SynflipError("classes are empty: give a name for each label")
    return tuple(map(str, classes))


def _image_shape(shape: Any) -> tuple[int, ...]:
    """The shape of an image. Raises SynflipError unless it is [H, W] or [C, H, W]."""
    wanted = "[H, W] or [C, H, W]"
    if isinstance(shape, str) or not isinstance(shape, Sequence | np.ndarray):
        raise SynflipError(f"shape must be {wanted} of an image, not {one_line(repr(shape))}")
    sizes = tuple(whole_number(size, f"shape[{index}]", 1, 1 << 20) for index, size in enumerate(shape))
    if len(sizes) == 1:
        raise SynflipError(
            f"shape is {list_of(sizes)}, not {wanted}: rows that are no pictures are (1, {sizes[0]})"
        )
    if len(sizes) not in (2, 3):
        raise SynflipError(f"shape is {list_of(sizes)}, not {wanted} of one image")
    if len(sizes) == 3 and sizes[2] in (1, 3, 4) and sizes[0] > 4 and sizes[1] > 4:
        first = (sizes[2], *sizes[:2])
        raise SynflipError(
            f"shape is {list_of(sizes)}: channels come first, {first}; images [N, H, W, C] become "
            "[N, C, H, W] by transpose(0, 3, 1, 2)"
        )
    return sizes
