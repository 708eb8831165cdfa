"""The class of a data set: images, labels, and what they mean."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synflip.data.tables import (
    columns_of,
    encoded,
    exact,
    feature_rows,
    held_out,
    is_frame,
    label_column,
    labels_of,
    split,
)
from synflip.errors import SynflipError
from synflip.spec.input_quantizer import Column, InputQuantizer, check_finite
from synflip.spec.model import CompiledModel, channels_last
from synflip.util.arrays import is_list, list_of, plain, rows, whole, whole_number, whole_pixels
from synflip.util.text import one_line, second

MAX_PIXEL = 65535
LARGEST = 255  # pixel of a feature: an activation has at most 8 bits
_SHOWN_CLASSES = 10  # names in a repr


class DataError(SynflipError):
    """A data set is wrong. reason: the message without the name of the data set."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{one_line(name)}: {reason}")
        self.reason = reason


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
    input_quantizer: of features of any range. Then the images are rows of features, finite numbers of any
    kind, [N, I], kept in their own type if float64 has all of its numbers, else as float64;
    ``train_pixels`` and ``test_pixels`` are what it makes of them.
    note: what must be said beside every figure from these data, such as ``JPEG quality 75`` where the images
    are not the original ones; else "".

    Raises DataError, which names the field, the place in it and the value. Nothing is rounded or cut off.
    """

    name: str
    train_images: NDArray[Any]
    train_labels: NDArray[np.int64]
    test_images: NDArray[Any]
    test_labels: NDArray[np.int64]
    classes: tuple[str, ...]
    input_max: int
    shape: tuple[int, ...]
    note: str = ""
    input_quantizer: InputQuantizer | None = None

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
                put(images, self._checked(getattr(self, images), images))
                put(labels, checked_labels(getattr(self, labels), len(self.classes), labels))
                counts = len(getattr(self, images)), len(getattr(self, labels))
                if counts[0] != counts[1]:
                    raise SynflipError(
                        f"{counts[0]} {images} and {counts[1]} {labels}: give each image its label"
                    )
        except SynflipError as error:
            raise DataError(self.name, str(error)) from None

    def _checked(self, images: Any, what: str) -> NDArray[Any]:
        """Images [N, I] as they are kept. what: their name in messages. Raises SynflipError."""
        if self.input_quantizer is None:
            return checked_images(images, self.shape, self.input_max, what)
        features = exact(feature_rows(images, self.input_quantizer, what))
        if not len(features):
            raise SynflipError(f"{what} are empty: at least one row is needed")
        check_finite(features, self.input_quantizer.columns)
        return features

    def check_classes(self, wanted: Sequence[str]) -> None:
        """Raises SynflipError unless the classes are ``wanted``, those of a model, in its order."""
        if len(self.classes) != len(wanted):
            raise SynflipError(
                f"the model has {len(wanted)} classes and {self.name} has {len(self.classes)}: "
                "give the data that it was trained for"
            )
        for number, (label, other) in enumerate(zip(self.classes, wanted, strict=True)):
            if label != other:
                raise SynflipError(
                    f"class {number} of {self.name} is {one_line(label)}, "
                    f"that of the model {one_line(other)}: "
                    "give data of the model's classes, with the same names in the same order"
                )

    @classmethod
    def of(
        cls,
        x: Any,
        y: Any,
        x_test: Any = None,
        y_test: Any = None,
        classes: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        *,
        name: str = "data",
        seed: int = 0,
        quantiles: tuple[float, float] = (0.0, 1.0),
        model: CompiledModel | None = None,
    ) -> "Dataset":
        """A data set of features of any range.

        x: rows [N, I], or pictures [N, H, W], [N, 1, H, W] or [N, C, H, W]: an array, list or torch tensor of
            finite numbers; or a pandas or polars frame, whose columns of text become a feature for each
            category in x. y: labels [N], whole numbers or text, or the name of the frame's column of them.
        x_test, y_test: the test part. Without it a quarter of each class is held out, drawn by ``seed``, and
            ``note`` says so.
        classes: names; whole numbers in y are their places in it. Without it the values in y, sorted, are
            the classes. names: of the I columns of an array.
        name: of the data set. quantiles: of each feature in the training part, between which it becomes a
            pixel in 0..255; (0, 1) is the least and the greatest value. All pixels of pictures share one
            range. The pixel of x is rint((min(max(x, low), high) - low) * (255 / (high - low))) in float64.
        model: compiled, of such features; its columns, categories, ranges and classes are taken in place of
            the data's own.
        Raises DataError, which names the row, from 0, and the column.
        """
        try:
            if model is not None and not isinstance(model, CompiledModel):
                raise SynflipError(f"model must be a compiled model, of synflip.load, not {model!r:.40}")
            known = None if model is None else model.input_quantizer
            if model is not None and known is None:
                raise SynflipError("the model takes pixels, not features: give a Dataset of pixels")
            seed = whole_number(seed, "the seed")
            if seed < 0:
                raise SynflipError(f"the seed must not be negative; it is {seed}")
            quantiles = _shares(quantiles)
            classes = None if classes is None else _class_names(classes)
            if names is not None and (is_frame(x) or not is_list(names)):
                raise SynflipError("names are a list, of an array's columns; a frame has names of its own")
            xs, ys, label = _parts(x, y, x_test, y_test)
            label = known.label if known is not None and label is None else label
            if known is not None:
                columns = known.columns
            elif is_frame(x):
                columns = columns_of(x, label)
            else:
                columns = tuple(Column(str(each)) for each in names or ())
            arrays = [
                _numbers(part, columns, label, what) for part, what in zip(xs, ("x", "x_test"), strict=False)
            ]
            shape = _row_shape(arrays[0].shape) if known is None else known.shape
            labels, found = labels_of(ys, classes if model is None else model.classes, model is not None)
            features = []
            for array, numbers, part in zip(arrays, labels, ("", "_test"), strict=False):
                features.append(exact(rows(array, shape, f"x{part}")))
                if len(array) != len(numbers) or not len(array):
                    raise SynflipError(f"x{part} has {len(array)} rows, and there are {len(numbers)} labels")
                check_finite(features[-1], columns)
                checked_labels(numbers, len(found), f"y{part}")
            note = ""
            if x_test is None:
                test = split(labels[0], seed)
                features, labels = (
                    [features[0][~test], features[0][test]],
                    [labels[0][~test], labels[0][test]],
                )
                note = held_out(seed)
            quantizer = known or InputQuantizer.fit(features[0], shape, columns, label, quantiles)
        except SynflipError as error:
            raise DataError(name, str(error)) from None
        most = LARGEST if model is None else model.pixel_max
        return cls(
            name, features[0], labels[0], features[1], labels[1], found, most, shape, note, quantizer
        )  # fmt: skip

    @property
    def train_pixels(self) -> NDArray[np.uint8]:
        """Pixels of the training images, in 0..input_max."""
        return self._pixels(self.train_images)

    @property
    def test_pixels(self) -> NDArray[np.uint8]:
        """Pixels of the test images, in 0..input_max."""
        return self._pixels(self.test_images)

    def _pixels(self, images: NDArray[Any]) -> NDArray[Any]:
        return images if self.input_quantizer is None else self.input_quantizer.pixels(images, self.input_max)

    def for_model(self, images: NDArray[Any], model: CompiledModel) -> NDArray[Any]:
        """Images [N, I] of this data set, in the order in which the model takes a flat row.

        images: in the data set's order, c, y, x of images in colour. model: compiled; one whose
        ``image_shape`` is [H, W, C] takes y, x, c. Raises ValueError, numpy's, for images of another width.
        """
        height, width = self.shape[-2:]
        if len(self.shape) == 3 and model.image_shape == (height, width, self.shape[0]) != self.shape:
            return channels_last(images, (height, width, self.shape[0]))
        return images

    @property
    def title(self) -> str:
        """The name with the note: ``cifar10 (JPEG quality 75)``."""
        return f"{self.name} ({self.note})" if self.note else self.name

    def __repr__(self) -> str:
        """Three lines: name, numbers and sizes of images, classes."""
        names = ", ".join(self.classes[:_SHOWN_CLASSES])
        more = ", ..." if len(self.classes) > _SHOWN_CLASSES else ""
        size = "x".join(map(str, self.shape))
        kind = "pixels in" if self.input_quantizer is None else "features of any range, made pixels in"
        return (
            f"Dataset {self.title}\n"
            f"  {len(self.train_labels):,} training and {len(self.test_labels):,} test images, "
            f"{size} {kind} 0..{self.input_max}\n"
            f"  {len(self.classes)} classes: {names}{more}"
        )


def _parts(x: Any, y: Any, x_test: Any, y_test: Any) -> tuple[list[Any], list[Any], str | None]:
    """Features and labels of each part, one or two, and the name of the column of labels. Raises
    SynflipError."""
    xs = [x] if x_test is None else [x, x_test]
    if isinstance(y, str):
        return xs, [label_column(part, y) for part in xs], y
    if (x_test is None) != (y_test is None):
        raise SynflipError("x_test and y_test go together: give both, or none")
    return xs, [y] if y_test is None else [y, y_test], None


def _numbers(part: Any, columns: Sequence[Column], label: str | None, what: str) -> NDArray[Any]:
    """Features of the training part or of the test part as an array. what: its name. Raises SynflipError."""
    if not is_frame(part) or not columns:
        return plain(part, what)
    try:
        return encoded(part, columns, label)
    except SynflipError as error:
        raise SynflipError(f"{what}: {error}" if what == "x_test" else str(error)) from None


def _shares(quantiles: Any) -> tuple[float, float]:
    """The least and the greatest quantile of a feature. Raises SynflipError."""
    try:
        low, high = map(float, quantiles)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not 0 <= low < high <= 1:
        raise SynflipError(
            f"quantiles must be two shares, 0 <= low < high <= 1, not {one_line(repr(quantiles))}"
        )
    return low, high


def _row_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a row of features in an array of ``shape``. Raises SynflipError."""
    if len(shape) == 2:
        return (1, shape[1])
    if len(shape) == 3 or (len(shape) == 4 and shape[1] == 1):
        return shape[-2:]
    if len(shape) == 4:
        return shape[1:]
    raise SynflipError(f"x has shape {list_of(shape)}, not [N, I], [N, H, W] or [N, C, H, W]")


def checked_images(images: ArrayLike, shape: Sequence[int], largest: int, what: str) -> NDArray[np.uint8]:
    """``images`` as rows of pixels, uint8 [N, I] (int32 if ``largest`` is above 255), N at least 1.

    images, shape: as of ``Dataset``. what: the images' name in messages. Raises SynflipError.
    """
    array = plain(images, what)
    array = rows(array, shape, what)
    if not len(array):
        raise SynflipError(f"{what} are empty: at least one image is needed")
    return whole_pixels(array, largest, what)


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
    if not is_list(classes):
        shown = one_line(repr(classes))
        raise SynflipError(f"classes must be a list with a name for each label, not {shown}")
    for index, name in enumerate(classes):
        if not isinstance(name, str):
            raise SynflipError(
                f"classes[{index}] is {one_line(repr(name))}, not a name: give text, {str(index)!r}"
            )
    if (twice := second(classes)) is not None:
        raise SynflipError(f"two classes are called {one_line(twice)!r}: give each its own name")
    if not len(classes):
        raise SynflipError("classes are empty: give a name for each label")
    return tuple(map(str, classes))


def _image_shape(shape: Any) -> tuple[int, ...]:
    """The shape of an image. Raises SynflipError unless it is [H, W] or [C, H, W]."""
    wanted = "[H, W] or [C, H, W]"
    if not is_list(shape):
        raise SynflipError(f"shape must be {wanted} of an image, not {one_line(repr(shape))}")
    sizes = tuple(whole_number(size, f"shape[{index}]", 1, 1 << 20) for index, size in enumerate(shape))
    if len(sizes) == 1:
        raise SynflipError(
            f"shape is {list_of(sizes)}, not {wanted}: rows that are no pictures are (1, {sizes[0]})"
        )
    if len(sizes) not in (2, 3):
        raise SynflipError(f"shape is {list_of(sizes)}, not {wanted} of one image")
    first = (*sizes[2:], *sizes[:2])  # the channels
    square = sizes[0] == sizes[1] != sizes[-1] and sizes[0] not in (1, 3)
    if len(sizes) == 3 and sizes[2] in (1, 3, 4) and (square or min(sizes[:2]) > 4):
        raise SynflipError(
            f"shape is {list_of(sizes)}: channels come first, {first}; images [N, H, W, C] become "
            "[N, C, H, W] by transpose(0, 3, 1, 2)"
        )
    return sizes
