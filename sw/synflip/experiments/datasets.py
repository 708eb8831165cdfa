"""Data sets of experiments: fewer images of one class, held-out images, out-of-distribution images."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from synflip.data.dataset import Dataset
from synflip.data.registry import load
from synflip.modelfile.extractor import image_shape

RARE = 3  # the class whose training images are removed
_SEED = 7  # of noise
#: By data set: another one with images of the same size.
OTHERS = {"mnist": "fashion-mnist", "fashion-mnist": "mnist"}


def rarer(dataset: Dataset, kept: float) -> Dataset:
    """The data set with only the first ``kept`` share, 0..1, of the training images of class RARE."""
    rare = np.flatnonzero(dataset.train_labels == RARE)
    left = np.ones(len(dataset.train_labels), dtype=bool)
    left[rare[round(kept * len(rare)) :]] = False
    return replace(dataset, train_images=dataset.train_images[left], train_labels=dataset.train_labels[left])


def held_out(dataset: Dataset, count: int) -> tuple[Dataset, NDArray[np.uint8], NDArray[np.int64]]:
    """The data set without its last ``count`` training images, and these images and their labels."""
    images, labels = dataset.train_images, dataset.train_labels
    past = len(labels) - count
    left = replace(dataset, train_images=images[:past], train_labels=labels[:past])
    return left, images[past:], labels[past:]


def out_of_distribution(dataset: Dataset) -> dict[str, NDArray[np.uint8]]:
    """Images uint8 [M, I] by name: another data set of the same size, the test images turned by a quarter
    (``turned``), and uniformly random pixels (``noise``)."""
    images = dataset.test_images
    channels, height, width = image_shape(dataset.shape)
    turned = np.rot90(images.reshape(-1, channels, height, width), axes=(2, 3)).reshape(len(images), -1)
    noise = np.random.default_rng(_SEED).integers(0, dataset.input_max + 1, images.shape, dtype=np.uint8)
    found = {"turned": np.ascontiguousarray(turned), "noise": noise}
    if dataset.name in OTHERS:
        found = {OTHERS[dataset.name]: load(OTHERS[dataset.name]).test_images, **found}
    return found
