"""Data sets of experiments: pixels of a file's rows, fewer images of one class, held-out images,
out-of-distribution images."""

import re
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from synflip.data.dataset import Dataset
from synflip.data.registry import load
from synflip.errors import SynflipError
from synflip.modelfile.extractor import image_shape
from synflip.util.arrays import digest

RARE = 3  # the class whose training images are removed, or the last one
_SEED = 7  # of noise
#: By data set: another one with images of the same size.
OTHERS = {"mnist": "fashion-mnist", "fashion-mnist": "mnist"}


def own(dataset: Dataset) -> Dataset:
    """The data set of a user's file for experiments: its pixels, and training rows in an order drawn by lot.

    The name ends in eight digits of the arrays' hash, so that nothing that was kept of other data is taken
    for them; it has letters, digits and - only. Raises SynflipError for a test part of one class.
    """
    if len(np.unique(dataset.test_labels)) < 2:
        raise SynflipError(f"the test part of {dataset.name} has one class: experiments need two or more")
    order = np.random.default_rng(_SEED).permutation(len(dataset.train_labels))
    images, labels = dataset.train_pixels[order], dataset.train_labels[order]
    kept = digest([images, labels, dataset.test_pixels, dataset.test_labels])[:8]
    return replace(
        dataset, name=f"{re.sub('[^A-Za-z0-9]+', '-', dataset.name).strip('-')}-{kept}", train_images=images,
        train_labels=labels, test_images=dataset.test_pixels, input_quantizer=None,
    )  # fmt: skip


def is_table(dataset: Dataset) -> bool:
    """Whether its images are rows of features, which cannot be turned, moved or shown."""
    return len(dataset.shape) == 2 and dataset.shape[0] == 1


def rare(dataset: Dataset) -> int:
    """The class whose training images are removed: RARE, or the last one of the test part."""
    classes = np.unique(dataset.test_labels)
    return int(classes[min(RARE, len(classes) - 1)])


def rarer(dataset: Dataset, kept: float) -> Dataset:
    """The data set with only the first ``kept`` share, 0..1, of the training images of its ``rare`` class."""
    members = np.flatnonzero(dataset.train_labels == rare(dataset))
    left = np.ones(len(dataset.train_labels), dtype=bool)
    left[members[round(kept * len(members)) :]] = False
    return replace(dataset, train_images=dataset.train_images[left], train_labels=dataset.train_labels[left])


def held_out(dataset: Dataset, count: int) -> tuple[Dataset, NDArray[np.uint8], NDArray[np.int64]]:
    """The data set without its last ``count`` training images, and these images and their labels."""
    images, labels = dataset.train_images, dataset.train_labels
    past = len(labels) - count
    left = replace(dataset, train_images=images[:past], train_labels=labels[:past])
    return left, images[past:], labels[past:]


def out_of_distribution(dataset: Dataset) -> dict[str, NDArray[np.uint8]]:
    """Images uint8 [M, I] by name: another data set of the same size, the test images turned by a quarter
    (``turned``), and uniformly random pixels (``noise``). Of a table, in place of the turned images, rows
    whose columns were shuffled, each by itself."""
    images = dataset.test_images
    draw = np.random.default_rng(_SEED)
    noise = draw.integers(0, dataset.input_max + 1, images.shape, dtype=np.uint8)
    if is_table(dataset):
        return {"shuffled columns": draw.permuted(images, axis=0), "noise": noise}
    channels, height, width = image_shape(dataset.shape)
    turned = np.rot90(images.reshape(-1, channels, height, width), axes=(2, 3)).reshape(len(images), -1)
    found = {"turned": np.ascontiguousarray(turned), "noise": noise}
    if dataset.name in OTHERS:
        found = {OTHERS[dataset.name]: load(OTHERS[dataset.name]).test_images, **found}
    return found
