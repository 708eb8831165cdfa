"""The class of a data set: images, labels, and what they mean."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FOLDER_VARIABLE = "SYNFLIP_DATA"  # the environment variable with the folder of data sets


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and their labels.

    train_images, test_images: uint8 [N, I], pixels in 0..input_max. train_labels, test_labels: int64 [N].
    classes: a name for each label. shape: of an image, [H, W], or [C, H, W] in colour; I is its product.
    note: what must be said beside every figure from these data, such as ``JPEG quality 75`` where the images
    are not the original ones; else "".
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

    @property
    def title(self) -> str:
        """The name with the note: ``cifar10 (JPEG quality 75)``."""
        return f"{self.name} ({self.note})" if self.note else self.name
