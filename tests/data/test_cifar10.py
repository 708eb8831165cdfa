"""CIFAR-10 in its two layouts, small and made up, and what is refused of them."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synflip.data import cifar10
from synflip.data.registry import load
from synflip.errors import SynflipError

COUNT = 20
RNG = np.random.default_rng(4)
#: Smooth, as photographs are, with some noise.
SLOPES = np.linspace(0, 200, 32)[None, None, None] * RNG.random((COUNT, 3, 32, 1))
PIXELS = np.clip(SLOPES + RNG.normal(20, 12, (COUNT, 3, 32, 32)), 0, 255).astype(np.uint8)
LABELS = (np.arange(COUNT) % 10).astype(np.uint8)


def jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(file, "JPEG", quality=75)
    return file.getvalue()


def through_jpeg(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg(pixels)))).transpose(2, 0, 1)


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Files of COUNT images, and one training file."""
    monkeypatch.setattr(cifar10, "BATCH_IMAGES", COUNT)
    monkeypatch.setattr(cifar10, "TRAIN_FILES", ("data_batch_1.bin",))
    monkeypatch.setenv("SYNFLIP_DATA", str(tmp_path))


def write_batches(folder: Path, pixels: np.ndarray) -> Path:
    folder = folder / "cifar-10-batches-bin"
    folder.mkdir()
    records = np.concatenate([LABELS[:, None], pixels.reshape(COUNT, -1)], axis=1)
    for name in ("data_batch_1.bin", "test_batch.bin"):
        records.tofile(folder / name)
    return folder


def write_packed(folder: Path, **changes) -> Path:
    folder = folder / "cifar10-jpeg75"
    folder.mkdir(exist_ok=True)
    files = [jpeg(pixels) for pixels in PIXELS]
    arrays = {
        "jpeg": np.frombuffer(b"".join(files), dtype=np.uint8),
        "end": np.cumsum([len(file) for file in files]).astype(np.int64),
        "label": LABELS,
    }
    arrays |= changes
    for name in ("train.npz", "test.npz"):
        np.savez(folder / name, **{key: value for key, value in arrays.items() if value is not None})
    return folder


def test_binary_batches(tmp_path):
    write_batches(tmp_path, PIXELS)
    data = load("cifar10")
    assert np.array_equal(data.test_images.reshape(PIXELS.shape), PIXELS)
    assert data.train_labels.tolist() == LABELS.tolist() and data.shape == (3, 32, 32)
    assert data.title == "cifar10" and data.classes[3] == "cat"


def test_images_that_went_through_jpeg_say_so(tmp_path):
    write_batches(tmp_path, np.stack([through_jpeg(pixels) for pixels in PIXELS]))
    assert load("cifar10").title == "cifar10 (JPEG quality 75)"


def test_packed(tmp_path):
    write_packed(tmp_path)
    data = load("cifar10")
    assert data.title == "cifar10 (JPEG quality 75)"
    for image, pixels in zip(data.test_images, PIXELS, strict=True):
        assert np.array_equal(image.reshape(3, 32, 32), through_jpeg(pixels))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": LABELS + 1}, "label 9 is 10, not in 0..9"),
        ({"label": LABELS[:-1]}, r"label holds uint8 \[19\]"),
        ({"label": LABELS.astype(np.int64)}, r"label holds int64 \[20\]"),
        ({"end": np.arange(COUNT)}, "`end` does not part `jpeg` into 20 images"),
        ({"end": None}, "has no array end"),
        ({"end": np.array([None] * COUNT)}, r"end holds object \[20\]"),
        (
            {"jpeg": np.zeros(COUNT * 9, np.uint8), "end": 9 * np.arange(1, COUNT + 1)},
            "image 0 is no 32x32 JPEG",
        ),
    ],
)
def test_packed_files_are_not_trusted(changes, message, tmp_path):
    write_packed(tmp_path, **changes)
    with pytest.raises(SynflipError, match=message) as said:
        load("cifar10")
    assert "\n" not in str(said.value) and "train.npz" in str(said.value)


def test_a_large_image_is_refused_before_it_is_decoded(tmp_path):
    large = jpeg(np.zeros((3, 64, 64), np.uint8))
    files = [large] + [jpeg(pixels) for pixels in PIXELS[1:]]
    ends = np.cumsum([len(file) for file in files]).astype(np.int64)
    write_packed(tmp_path, jpeg=np.frombuffer(b"".join(files), np.uint8), end=ends)
    with pytest.raises(SynflipError, match="it has 64x64 pixels"):
        load("cifar10")


def test_batches_are_not_trusted(tmp_path):
    folder = write_batches(tmp_path, PIXELS)
    file = folder / "test_batch.bin"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(SynflipError, match=rf"has {len(whole) - 1} bytes, not {len(whole)}"):
        load("cifar10")
    file.write_bytes(b"\x0a" + whole[1:])
    with pytest.raises(SynflipError, match=r"label 0 is 10, not in 0\.\.9"):
        load("cifar10")
    file.unlink()
    with pytest.raises(SynflipError, match="cannot read"):
        load("cifar10")


def test_no_folder(tmp_path, monkeypatch):
    with pytest.raises(SynflipError, match="no cifar-10-batches-bin in"):
        load("cifar10")
    monkeypatch.delenv("SYNFLIP_DATA")
    with pytest.raises(SynflipError, match="cifar10 is not fetched: set SYNFLIP_DATA"):
        load("cifar10")


def test_the_folder_of_batches_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNFLIP_DATA", str(write_batches(tmp_path, PIXELS)))
    assert np.array_equal(load("cifar10").test_images, PIXELS.reshape(COUNT, -1))


def test_pickled_batches_are_named(tmp_path, monkeypatch):
    """torchvision fetches them; their folder may be named too."""
    (tmp_path / "cifar-10-batches-py").mkdir()
    for folder in (tmp_path, tmp_path / "cifar-10-batches-py"):
        monkeypatch.setenv("SYNFLIP_DATA", str(folder))
        with pytest.raises(SynflipError, match=r"has cifar-10-batches-py, which are pickles .* put cifar-10"):
            load("cifar10")
