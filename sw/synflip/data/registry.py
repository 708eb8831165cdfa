"""Data sets: scikit-learn's handwritten digits; MNIST, Fashion-MNIST, CIFAR-10 from a folder, or fetched."""

import os

import numpy as np

from synflip.data.dataset import FOLDER_VARIABLE, Dataset
from synflip.data.idx import _MNIST_LIKE, DIGITS, _locate, _read
from synflip.errors import SynflipError

NAMES = ("digits", *_MNIST_LIKE, "cifar10")


def load(name: str) -> Dataset:
    """The data set called ``name``: digits, mnist, fashion-mnist or cifar10.

    mnist and fashion-mnist are read from the folder in the environment variable SYNFLIP_DATA
    (``<name>/<file>`` or ``<file>``, each as it is or with ``.gz``); if it is not set, they are fetched once.
    Either way their SHA-256 must be the original's. cifar10 is read from that folder: see
    ``synflip.data.cifar10``.
    Raises SynflipError for another name, and for files that are missing or not the original ones.
    """
    if name == "digits":
        return _digits()
    if name == "cifar10":
        from synflip.data import cifar10

        return cifar10.load(os.environ.get(FOLDER_VARIABLE))
    if name not in _MNIST_LIKE:
        raise SynflipError(f"no data set {name!r}; there are {', '.join(NAMES)}")
    _, classes, files = _MNIST_LIKE[name]
    train_images, train_labels, test_images, test_labels = (
        _read(path, idx) for path, idx in _locate(name, files)
    )
    height, width = files[0].sizes[1:]
    return Dataset(
        name=name,
        train_images=train_images.reshape(-1, height * width),
        train_labels=train_labels.astype(np.int64),
        test_images=test_images.reshape(-1, height * width),
        test_labels=test_labels.astype(np.int64),
        classes=classes,
        input_max=255,
        shape=(height, width),
    )


def _digits() -> Dataset:
    """The 1797 8x8 digits of scikit-learn, pixels 0..16; every fourth image of each class is a test image."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = digits.data.astype(np.uint8), digits.target.astype(np.int64)
    test = np.zeros(len(labels), dtype=bool)
    for label in range(len(DIGITS)):
        test[np.flatnonzero(labels == label)[3::4]] = True
    return Dataset(
        "digits",
        images[~test],
        labels[~test],
        images[test],
        labels[test],
        classes=DIGITS,
        input_max=16,
        shape=(8, 8),
    )
