"""Data sets that users put together: what is taken as it is meant, and what is refused in one line."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synflip.data import Dataset, load
from synflip.errors import SynflipError
from synflip.spec.model import pixels_to_activations
from synflip.training.baseline import float_accuracy, float_network
from synflip.training.convert import convert
from synflip.training.train import train

from tests.data.arrays import read_only

RNG = np.random.default_rng(3)
IMAGES = RNG.integers(0, 17, (30, 12), np.uint8)
IMAGES[0, :3] = (0, 1, 16)
LABELS = np.arange(30) % 3
GOOD = Dataset("mine", IMAGES, LABELS, IMAGES[:6], LABELS[:6], ("a", "b", "c"), 16, (3, 4))


def changed(**changes: Any) -> Dataset:
    return dataclasses.replace(GOOD, **changes)


def mapped(path: Path) -> np.ndarray:
    np.save(path, IMAGES)
    return np.load(path, mmap_mode="r")


def test_what_is_right_is_not_copied() -> None:
    assert np.shares_memory(GOOD.train_images, IMAGES) and np.shares_memory(GOOD.train_labels, LABELS)


@pytest.mark.parametrize(
    "images",
    [
        IMAGES.tolist(),
        tuple(map(tuple, IMAGES.tolist())),
        list(IMAGES),
        torch.from_numpy(IMAGES),
        torch.from_numpy(IMAGES).to(torch.bfloat16),
        list(torch.from_numpy(IMAGES)),
        IMAGES.astype(np.int64),
        IMAGES.astype(np.float64),  # as scikit-learn's digits are
        IMAGES.astype(">f4"),
        IMAGES.astype(">u2"),
        np.asfortranarray(IMAGES),
        np.repeat(IMAGES, 2, axis=0)[::2],
        IMAGES[::-1][::-1],
        read_only(IMAGES),
        np.ma.masked_array(IMAGES, mask=False),
        IMAGES.reshape(-1, 3, 4),
        IMAGES.reshape(-1, 1, 3, 4),
        IMAGES.reshape(-1, 3, 4, 1),
        torch.from_numpy(IMAGES).view(-1, 1, 3, 4),
        IMAGES.reshape(-1, 3, 4).tolist(),
    ],
)
def test_images_are_taken_as_they_are_meant(images: Any) -> None:
    check_images(changed(train_images=images))


def test_images_mapped_from_a_file(tmp_path: Path) -> None:
    check_images(changed(train_images=mapped(tmp_path / "x.npy")))


def check_images(data: Dataset) -> None:
    assert type(data.train_images) is np.ndarray and data.train_images.dtype == np.uint8
    assert data.train_images.flags.c_contiguous and data.train_images.flags.writeable
    assert np.array_equal(data.train_images, IMAGES)


@pytest.mark.parametrize(
    "labels",
    [
        LABELS.tolist(),
        torch.from_numpy(LABELS),
        list(torch.from_numpy(LABELS)),
        LABELS.astype(np.int32),
        LABELS.astype(np.uint8),
        LABELS.astype(">i8"),
        LABELS.astype(float),
        np.repeat(LABELS, 2)[::2],
    ],
)
def test_labels_are_taken_as_they_are_meant(labels: Any) -> None:
    found = changed(train_labels=labels).train_labels
    assert type(found) is np.ndarray and found.dtype == np.int64 and found.flags.c_contiguous
    assert np.array_equal(found, LABELS)


def test_sizes_and_names_are_taken_as_they_are_meant() -> None:
    data = changed(input_max=np.float64(16), shape=np.array([3, 4]), classes=np.array(["a", "b", "c"]))
    assert (data.input_max, data.shape, data.classes) == (16, (3, 4), ("a", "b", "c"))
    assert type(data.input_max) is int and {type(item) for item in (*data.shape, *data.classes)} == {int, str}
    black = changed(train_images=IMAGES > 8, test_images=IMAGES[:6] > 8, input_max=1)
    assert black.train_images.dtype == np.uint8 and np.array_equal(black.train_images, IMAGES > 8)
    deep = changed(train_images=IMAGES.astype(int) * 100, input_max=1600)
    assert deep.train_images.dtype == np.int32 and deep.train_images.max() == 1600


def at(array: np.ndarray, row: int, column: int, value: float) -> np.ndarray:
    array = array.astype(float)
    array[row, column] = value
    return array


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"train_images": IMAGES.astype(np.int16) - 16}, "mine: train_images[0, 0] is -16, not an integer"),
        ({"test_images": IMAGES[:6].astype(np.int8) - 1}, "mine: test_images[0, 0] is -1, not an integer"),
        ({"input_max": 15}, "[0, 2] is 16, not an integer in 0..15; they go up to 16: is that input_max?"),
        ({"train_images": at(IMAGES, 4, 7, 2.5)}, "train_images[4, 7] is 2.5, not an integer in 0..16"),
        ({"train_images": at(IMAGES, 4, 7, np.nan)}, "train_images[4, 7] is nan, not an integer in 0..16"),
        ({"train_images": at(IMAGES, 4, 7, np.inf)}, "train_images[4, 7] is inf, not an integer in 0..16"),
        ({"train_images": IMAGES / 16}, "0..1, pixels are integers in 0..16: multiply by 16 and round"),
        ({"train_images": IMAGES / 16, "input_max": 1}, "multiply by 255 and round, then astype(np.uint8)"),
        ({"train_images": IMAGES / 8 - 1}, "-1..1, pixels are integers in 0..16: undo the normalisation"),
        ({"train_images": IMAGES > 8}, "train_images are bool; they are 0..1"),
        ({"train_images": (IMAGES > 8) * 1.0}, "train_images are float64; they are 0..1"),
        ({"train_images": IMAGES * 1j}, "train_images hold complex numbers, not numbers"),
        ({"train_images": np.where(IMAGES == 7, None, IMAGES)}, " is None, not a number: put a number there"),
        ({"train_images": [[1, 2], [3]]}, "train_images: row 1 (from 0) has length 1"),
        ({"train_images": "x.npy"}, "train_images must be an array of numbers, not 'x.npy'"),
        ({"train_images": None}, "train_images must be an array of numbers, not None"),
        ({"train_images": torch.ones(30, 12, requires_grad=True)}, "requires grad: give train_images.det"),
        ({"train_images": torch.ones(30, 12).to_sparse()}, "train_images are a sparse"),
        ({"train_images": np.ma.masked_equal(IMAGES, 1)}, "train_images[0, 1] is masked"),
        ({"train_images": IMAGES[0]}, "[12], not [N, 12] or [N, 3, 4]: one image is train_images.reshape(1"),
        ({"train_images": IMAGES[:, 0]}, "train_images have shape [30], not [N, 12] or [N, 3, 4]"),
        ({"train_images": IMAGES.reshape(-1, 4, 3)}, "train_images have shape [30, 4, 3], not [N, 12]"),
        ({"train_images": IMAGES[:, :11]}, "train_images have shape [30, 11], not [N, 12]"),
        ({"test_images": IMAGES[:0], "test_labels": LABELS[:0]}, "test_images are empty"),
        ({"train_images": IMAGES[:0], "train_labels": LABELS[:0]}, "train_images are empty"),
        ({"train_images": []}, "train_images have shape [0]"),
        ({"train_labels": LABELS[1:]}, "30 train_images and 29 train_labels"),
        ({"train_labels": LABELS + 1}, "[2] is 3, not an integer in 0..2: labels start at 0, so give"),
        ({"train_labels": LABELS - 1}, "[0] is -1, not an integer in 0..2: the data set has 3 classes"),
        ({"train_labels": LABELS.astype(np.uint64) - 1}, "train_labels[0] is 18446744073709551615"),
        ({"train_labels": LABELS + 0.5}, "train_labels[0] is 0.5, not an integer in 0..2"),
        ({"train_labels": np.where(LABELS == 2, np.nan, LABELS)}, "train_labels[2] is nan"),
        ({"train_labels": np.eye(3)[LABELS]}, "[30, 3], not [N], a number for each image: of one-hot rows"),
        ({"train_labels": LABELS[:, None]}, "[30, 1], not [N], a number for each image: train_labels.resh"),
        ({"train_labels": list("abc") * 10}, "train_labels[0] is 'a', not a number"),
        ({"train_labels": 3}, "train_labels have shape [], not [N]"),
        ({"classes": ("a", "b")}, "train_labels[2] is 2, not an integer in 0..1: the data set has 2 classes"),
        ({"classes": "abc"}, "classes must be a list with a name for each label, not 'abc'"),
        ({"classes": 3}, "classes must be a list with a name for each label, not 3"),
        ({"classes": (0, 1, 2)}, "classes[0] is 0, not a name: give text, '0'"),
        ({"classes": ()}, "classes are empty"),
        ({"shape": (30,)}, "shape is [30], not [H, W] or [C, H, W]: rows that are no pictures are (1, 30)"),
        ({"shape": 12}, "shape must be [H, W] or [C, H, W] of an image, not 12"),
        ({"shape": (4, 4)}, "train_images have shape [30, 12], not [N, 16] or [N, 4, 4]"),
        ({"shape": (3, 0)}, "shape[1] must be an integer in 1..1048576, not 0"),
        ({"shape": (28, 28, 3)}, "shape is [28, 28, 3]: channels come first, (3, 28, 28)"),
        ({"shape": (1, 1, 3, 4)}, "shape is [1, 1, 3, 4], not [H, W] or [C, H, W]"),
        ({"input_max": 0}, "input_max must be an integer in 1..65535, not 0"),
        ({"input_max": True}, "input_max must be an integer in 1..65535, not True"),
        ({"input_max": 16.5}, "input_max must be an integer in 1..65535, not 16.5"),
        ({"input_max": "16"}, "input_max must be an integer in 1..65535, not '16'"),
        ({"name": 7}, "name of the data set must be text, not 7"),
    ],
)  # fmt: skip
def test_refusals(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(SynflipError) as caught:
        changed(**change)
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_channels_last_are_not_taken_for_channels_first() -> None:
    pixels = RNG.integers(0, 17, (30, 8, 8, 3), np.uint8)
    common = {"test_images": pixels[:6].transpose(0, 3, 1, 2), "shape": (3, 8, 8)}
    with pytest.raises(SynflipError, match=r"channels come first, train_images\.transpose\(0, 3, 1, 2\)"):
        changed(train_images=pixels, **common)
    data = changed(train_images=pixels.transpose(0, 3, 1, 2), **common)
    assert np.array_equal(data.train_images[5].reshape(3, 8, 8)[2], pixels[5, :, :, 2])


def test_the_advice_for_shares_keeps_the_images() -> None:
    digits = load("digits")
    with pytest.raises(SynflipError, match=r"multiply by 16 and round, then astype\(np\.uint8\)"):
        dataclasses.replace(digits, train_images=digits.train_images / 16)
    followed = np.round(digits.train_images / 16 * 16).astype(np.uint8)
    assert np.array_equal(
        dataclasses.replace(digits, train_images=followed).train_images, digits.train_images
    )


def test_other_arrays_train_the_same_network() -> None:
    others = {
        "train_images": torch.from_numpy(IMAGES.astype(np.float32)).view(-1, 1, 3, 4),
        "train_labels": LABELS.astype(">i4").tolist(),
    }
    first, second = (train(data, (5,), epochs=2, augment=True) for data in (GOOD, changed(**others)))
    for one, two in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_repr_of_three_lines() -> None:
    assert repr(dataclasses.replace(GOOD, note="small")) == (
        "Dataset mine (small)\n  30 training and 6 test images, 3x4 pixels in 0..16\n  3 classes: a, b, c"
    )
    many = changed(classes=[f"c{number}" for number in range(1000)])
    assert repr(many).endswith("1000 classes: c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, ...")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("digits", r"the data are the text 'digits': give synflip\.data\.load\('digits'\)"),
        ((IMAGES, LABELS), r"the data are a tuple, not a synflip\.data\.Dataset"),
        (None, r"the data are a NoneType, not a synflip\.data\.Dataset"),
    ],
)
def test_what_is_no_data_set(data: Any, expected: str) -> None:
    network = float_network(GOOD, [4])
    for call in (train, lambda data: float_accuracy(network, data), lambda data: convert(network, data=data)):
        with pytest.raises(SynflipError, match=expected):
            call(data)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"hidden": 8}, "hidden must be a list of layer sizes such as"),
        ({"hidden": (8.5,)}, r"hidden\[0\] must be an integer, not 8.5"),
        ({"epochs": 0.5}, "epochs must be an integer, not 0.5"),
        ({"epochs": True}, "epochs must be an integer, not True"),
        ({"bits": "4"}, "bits must be an integer, not '4'"),
        ({"seed": None}, "the seed must be an integer, not None"),
    ],
)
def test_numbers_of_training(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(SynflipError, match=expected):
        train(GOOD, **({"hidden": (4,), "epochs": 1} | options))


def test_numbers_of_numpy_train_the_same_network() -> None:
    plain = train(GOOD, (4,), 3, 8, 1, 2)
    other = train(GOOD, np.array([4]), np.int64(3), np.int8(8), np.int32(1), np.uint64(2))  # type: ignore[arg-type]
    assert torch.equal(plain.linear[0].weight, other.linear[0].weight)
    assert type(other.bits) is int and type(other.activation_bits) is int  # they travel in the model's file


def test_negative_pixels_are_not_white() -> None:
    """As indices, -1 and -16 would be the table's last entries."""
    for pixels in ([[-1, -16, 0, 16]], [[17, 0]], [[0.5, 1]]):
        with pytest.raises(SynflipError, match=r"pixels are"):
            pixels_to_activations(np.array(pixels), 16, 8)
