"""Shapes of networks with convolutions: those of the synaptic sampling paper, and deeper ones.

The paper (Aimone, Severa, Smith, ICRC 2023, arXiv 2311.13038) has for grey images one convolution of 32
filters in front of 100-10, for colour three of 32, 64 and 128 in front of 256-128-10. Each filter is 3x3 with
a border of zeros, followed by a ReLU and the maximum of 2x2. The deeper ones have two convolutions in front
of each maximum.
"""

from collections.abc import Sequence
from typing import Any

from synflip.data.dataset import Dataset
from synflip.errors import SynflipError
from synflip.modelfile.extractor import image_shape
from synflip.spec.convolution import Convolution
from synflip.util.arrays import is_list, whole_number

#: Filters of each convolution. Those in a list come one after the other, with one maximum behind the last.
Filters = Sequence[int | Sequence[int]]

CONV, CONV_DEEP = "conv", "conv-deep"
#: By the name of a shape: filters and hidden layers for grey images, and for images in colour.
SHAPES: dict[str, tuple[tuple[Filters, tuple[int, ...]], ...]] = {
    CONV: (((32,), (100,)), ((32, 64, 128), (256, 128))),
    CONV_DEEP: ((((32, 32), (64, 64)), (128,)), (((32, 32), (64, 64), (128, 128)), (256, 128))),
}
KERNEL, PAD, POOL = (3, 3), (1, 1), (2, 2)


def default_filters(dataset: Dataset, name: str = CONV) -> Filters:
    """Filters of the network called ``name``, by whether the data set is in colour."""
    return SHAPES[name][len(dataset.shape) == 3][0]


def default_hidden(dataset: Dataset, name: str = CONV) -> tuple[int, ...]:
    """Outputs of each hidden layer behind the convolutions of ``default_filters``."""
    return SHAPES[name][len(dataset.shape) == 3][1]


def flat(filters: Filters) -> list[int]:
    """Filters of each convolution, without lists in the list."""
    blocks = [[block] if isinstance(block, int) else list(block) for block in filters]
    return [count for block in blocks for count in block]


def checked_filters(filters: Any) -> Filters:
    """``filters`` in Python's integers. Raises SynflipError unless they are a list of numbers and of lists of
    numbers."""

    def numbers(block: Any, name: str) -> list[int]:
        return [whole_number(count, f"{name}[{index}]") for index, count in enumerate(block)]

    if not is_list(filters):
        raise SynflipError(f"filters must be a list such as [32], or [[32, 32], 64], not {filters!r:.60}")
    return [
        numbers(block, f"filters[{index}]") if is_list(block) else whole_number(block, f"filters[{index}]")
        for index, block in enumerate(filters)
    ]


def convolutions(dataset: Dataset, filters: Filters) -> list[Convolution]:
    """The convolutions of images of a data set. Raises SynflipError for images that are too small."""
    if len(dataset.shape) == 2 and dataset.shape[0] == 1:
        raise SynflipError(
            f"{dataset.name} has rows of {dataset.shape[1]} numbers; convolutions need pictures, [H, W] or "
            "[C, H, W]: take a dense network"
        )
    channels, height, width = image_shape(dataset.shape)
    halved = min(height, width) >> len(filters)
    if not filters or min(flat(filters), default=0) < 1 or not all(map(_some, filters)) or not halved:
        raise SynflipError(
            f"filters {tuple(filters)} for images of {height}x{width}: each convolution needs at least one "
            "filter, and each maximum halves the image"
        )
    places: list[Convolution] = []
    for block in filters:
        counts = flat([block])
        for number, count in enumerate(counts):
            pool = POOL if number == len(counts) - 1 else (1, 1)
            places.append(Convolution((height, width, channels), KERNEL, pad=PAD, pool=pool))
            (height, width), channels = places[-1].output, count
    return places


def _some(block: int | Sequence[int]) -> bool:
    return isinstance(block, int) or len(block) > 0
