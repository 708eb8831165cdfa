"""Where a run's results lie in the memory map, and what their words are."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from synflip.inference.plan import class_shift
from synflip.spec.memory_map import Region, address

Number = TypeVar("Number", bound=np.generic)


def place(region: Region, slot: int, images: int, classes: int) -> tuple[int, int]:
    """Address and words of the VOTES, SUMS or soft votes (SOFT) of the images from ``slot`` on."""
    room = (2 if region == Region.SUMS else 1) << class_shift(classes)
    return address(region, slot * room), images * room


def votes(words: NDArray[np.uint32], classes: int) -> NDArray[np.int32]:
    """Votes, int32 [images, classes], of the words of VOTES."""
    return _by_class(words, classes).astype(np.int32)


def logit_sums(words: NDArray[np.uint32], classes: int) -> NDArray[np.int64]:
    """Sums of logits, int64 [images, classes], of the words of SUMS: two a class, the low one first."""
    return _by_class(wide(words), classes)


def soft_votes(words: NDArray[np.uint32], classes: int) -> NDArray[np.int64]:
    """Sums of soft votes, int64 [images, classes], of the words of SOFT."""
    return _by_class(words, classes).astype(np.int64)


def wide(words: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Integers of 64 bits, int64 [n], of two words each, the low one first."""
    halves = words.reshape(-1, 2).astype(np.uint64)
    return (halves[:, 0] | halves[:, 1] << np.uint64(32)).view(np.int64)


def _by_class(values: NDArray[Number], classes: int) -> NDArray[Number]:
    """Values [images, classes], without the places of no class."""
    return values.reshape(-1, 1 << class_shift(classes))[:, :classes]
