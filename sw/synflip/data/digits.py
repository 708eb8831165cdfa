"""Scikit-learn's handwritten digits, which come with the package: no file is needed."""

import numpy as np

from synflip.data.dataset import Dataset

CLASSES = tuple("0123456789")
SHAPE = (8, 8)


def load() -> Dataset:
    """All 1797 digits, 8x8 pixels in 0..16.

    Every fourth image of each class is a test image: 445 of them, and 1352 training images.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = digits.data.astype(np.uint8), digits.target.astype(np.int64)
    test = np.zeros(len(labels), dtype=bool)
    for label in range(len(CLASSES)):
        test[np.flatnonzero(labels == label)[3::4]] = True
    return Dataset(
        "digits",
        images[~test],
        labels[~test],
        images[test],
        labels[test],
        classes=CLASSES,
        input_max=16,
        shape=SHAPE,
    )
