"""Data sets: digits as they ship, idx files as strangers send them."""

import dataclasses
import gzip
import hashlib
import os
import tracemalloc
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from synflip.data import idx, registry
from synflip.data.dataset import Dataset
from synflip.errors import SynflipError
from synflip.spec.input_quantizer import InputQuantizer

from tests.networks import random_model

RNG = np.random.default_rng(0)
ARRAYS = {
    "train-images": RNG.integers(0, 256, (6, 3, 2), np.uint8),
    "train-labels": RNG.integers(0, 10, 6, np.uint8),
    "t10k-images": RNG.integers(0, 256, (4, 3, 2), np.uint8),
    "t10k-labels": RNG.integers(0, 10, 4, np.uint8),
}


def idx_bytes(array: np.ndarray) -> bytes:
    return (
        bytes((0, 0, 8, array.ndim))
        + b"".join(size.to_bytes(4, "big") for size in array.shape)
        + array.tobytes()
    )


CONTENTS = {name: idx_bytes(array) for name, array in ARRAYS.items()}
Put = Callable[..., Path]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Put:
    """A data set called tiny, of the four ARRAYS; calling it writes one of its files."""
    files = tuple(
        idx.IdxFile(name, ARRAYS[name].shape, hashlib.sha256(CONTENTS[name]).hexdigest()) for name in ARRAYS
    )
    source = idx.IdxSource("https://tiny.invalid/", tuple("0123456789"), files)
    monkeypatch.setitem(registry.IDX_SOURCES, "tiny", source)
    monkeypatch.setenv("SYNFLIP_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def put(name: str, content: bytes | None = None, folder: str = "tiny", packed: bool = True) -> Path:
        path = tmp_path / "data" / folder / (name + ".gz" * packed)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = CONTENTS[name] if content is None else content
        path.write_bytes(gzip.compress(content) if packed else content)
        return path

    return put


def check_tiny(dataset: Dataset) -> None:
    assert np.array_equal(dataset.train_images, ARRAYS["train-images"].reshape(6, 6))
    assert np.array_equal(dataset.test_images, ARRAYS["t10k-images"].reshape(4, 6))
    assert np.array_equal(dataset.train_labels, ARRAYS["train-labels"])
    assert np.array_equal(dataset.test_labels, ARRAYS["t10k-labels"])
    assert dataset.train_labels.dtype == dataset.test_labels.dtype == np.int64
    assert (dataset.shape, dataset.input_max, dataset.name) == ((3, 2), 255, "tiny")
    assert dataset.train_images.flags.writeable  # torch takes no read-only array without a warning


def refusal() -> str:
    with pytest.raises(SynflipError) as caught:
        registry.load("tiny")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_digits_are_split_by_class_and_nothing_is_lost() -> None:
    from sklearn.datasets import load_digits

    digits = registry.load("digits")
    whole = load_digits()
    assert digits.shape == (8, 8) and digits.input_max == whole.data.max() == 16
    assert digits.train_images.dtype == np.uint8 and digits.train_labels.dtype == np.int64
    per_class = np.bincount(digits.test_labels, minlength=10)
    assert np.array_equal(per_class, np.bincount(whole.target) // 4)

    def rows(images: np.ndarray, labels: np.ndarray) -> list[tuple[int, ...]]:
        return sorted((int(label), *map(int, image)) for image, label in zip(images, labels, strict=True))

    both = rows(digits.train_images, digits.train_labels) + rows(digits.test_images, digits.test_labels)
    assert sorted(both) == rows(whole.data, whole.target)
    # The split is part of every published number: the fourth 0 of the file is the first image tested for a 0.
    fourth = whole.data[whole.target == 0][3]
    assert np.array_equal(digits.test_images[digits.test_labels == 0][0], fourth)


def test_unknown_name() -> None:
    with pytest.raises(SynflipError, match=r"no data set 'emnist'; there are digits, mnist, fashion-mnist"):
        registry.load("emnist")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("folder", ["tiny", "."])
def test_from_a_folder(tiny: Put, folder: str, packed: bool) -> None:
    for name in ARRAYS:
        tiny(name, folder=folder, packed=packed)
    check_tiny(registry.load("tiny"))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("setting", ["data", "data/Tiny", "data/Tiny/raw"])
def test_from_where_torchvision_puts_them(
    tiny: Put, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str, packed: bool
) -> None:
    source = dataclasses.replace(registry.IDX_SOURCES["tiny"], folders=("Tiny/raw",))
    monkeypatch.setitem(registry.IDX_SOURCES, "tiny", source)
    monkeypatch.setenv("SYNFLIP_DATA", str(tmp_path / setting))
    for name in ARRAYS:
        tiny(name, folder="Tiny/raw", packed=packed)
    check_tiny(registry.load("tiny"))


def test_folders_of_torchvision() -> None:
    """As torchvision.datasets.MNIST and FashionMNIST name them, below their ``root``."""
    assert {name: source.folders for name, source in registry.IDX_SOURCES.items()} == {
        "mnist": ("MNIST/raw",),
        "fashion-mnist": ("FashionMNIST/raw",),
    }


def test_a_home_is_expanded(tiny: Put, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ARRAYS:
        tiny(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SYNFLIP_DATA", "~/data")
    check_tiny(registry.load("tiny"))
    monkeypatch.setenv("SYNFLIP_DATA", "~nobody-of-this-name/data")
    assert "SYNFLIP_DATA is ~nobody-of-this-name/data, and that home is not known" in refusal()


def test_a_setting_that_is_no_folder(tiny: Put, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYNFLIP_DATA", str(tmp_path / "none"))
    assert "none, which does not exist: set it to a folder with data sets, or unset it" in refusal()
    monkeypatch.setenv("SYNFLIP_DATA", str(tiny("train-images")))
    assert "train-images.gz, which is a file" in refusal()


def test_shapes_that_models_know() -> None:
    model = random_model((64, 3))
    for data, shape in (("digits", (8, 8)), ("mnist", None), (["digits"], None), (None, None)):
        source = {} if data is None else {"data": data}
        assert registry.image_form(dataclasses.replace(model, source=source)) == (shape, model.input_max)


def test_the_data_that_a_model_names() -> None:
    model = random_model((64, 3))
    title = "cifar10 (JPEG quality 75)"
    assert registry.data_of(dataclasses.replace(model, source={"data": title})) == "cifar10"
    for data in (None, 5, ""):
        with pytest.raises(SynflipError, match="does not say what data it was trained on: give --data"):
            registry.data_of(dataclasses.replace(model, source={"data": data}))
    table = InputQuantizer(np.zeros(64), np.ones(64), (1, 64))  # of digits.csv, say
    for own in (
        dataclasses.replace(model, source={"data": "my\nown (a quarter held out)"}),
        dataclasses.replace(model, source={"data": "digits (a quarter held out)"}, input_quantizer=table),
    ):
        with pytest.raises(SynflipError, match=r"^the model was trained on .*, a file or folder of your own"):
            registry.data_of(own)


def test_missing_files_are_named(tiny: Put) -> None:
    tiny("train-images")
    tiny("t10k-labels")
    message = refusal()
    assert "train-labels.gz, t10k-images.gz" in message and "SYNFLIP_DATA" in message
    assert "train-images" not in message


def corrupted(content: bytes, at: int, value: int) -> bytes:
    return content[:at] + bytes((value,)) + content[at + 1 :]


LABELS = CONTENTS["train-labels"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (LABELS[:-1], f"holds {len(LABELS) - 1} bytes, not {len(LABELS)}"),
        (LABELS + b"\0", f"holds more than {len(LABELS)} bytes"),
        (b"", "holds 0 bytes"),
        (corrupted(LABELS, 2, 13), "not an idx file of uint8 [6]: it starts with 00000d0100000006"),
        (corrupted(LABELS, 3, 3), "not an idx file"),
        (corrupted(LABELS, 4, 255), "not an idx file"),
        (corrupted(LABELS, 7, 7), "not an idx file"),
        (corrupted(LABELS, 8, 11), "is not the original: its SHA-256 is"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_hostile_contents(tiny: Put, content: bytes, expected: str, packed: bool) -> None:
    for name in ARRAYS:
        tiny(name)
    (tiny("train-labels")).unlink()
    path = tiny("train-labels", content, packed=packed)
    message = refusal()
    assert expected in message and str(path) in message


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: b"not gzip at all",
        lambda packed: packed[:-9],
        lambda packed: packed[:12],
        lambda packed: corrupted(packed, len(packed) - 6, packed[-6] ^ 1),
        lambda packed: packed[:10] + b"\xff" * 20,
        lambda packed: packed + b"trailing",
    ],
)
def test_hostile_gzip(tiny: Put, damage: Callable[[bytes], bytes]) -> None:
    for name in ARRAYS:
        path = tiny(name)
    path.write_bytes(damage(path.read_bytes()))
    assert f"cannot read {path}" in refusal()


def test_a_gzip_bomb_is_not_unpacked(tiny: Put) -> None:
    for name in ARRAYS:
        tiny(name)
    path = tiny("train-labels", LABELS + bytes(1 << 26))
    tracemalloc.start()
    try:
        message = refusal()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert f"{path} holds more than {len(LABELS)} bytes" in message
    assert peak < 1 << 22


def test_offline_says_how_to_get_them(tiny: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(url: str, timeout: float) -> BytesIO:
        raise URLError("no network")

    monkeypatch.delenv("SYNFLIP_DATA")
    monkeypatch.setattr("urllib.request.urlopen", offline)
    message = refusal()
    assert "cannot be fetched from https://tiny.invalid/train-images.gz" in message
    assert (
        "set SYNFLIP_DATA to a folder that holds train-images.gz, train-labels.gz, t10k-images.gz" in message
    )


def test_fetched_once(tiny: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def serve(url: str, timeout: float) -> BytesIO:
        asked.append(url)
        return BytesIO(gzip.compress(CONTENTS[url.rsplit("/", 1)[1].removesuffix(".gz")]))

    monkeypatch.delenv("SYNFLIP_DATA")
    monkeypatch.setattr("urllib.request.urlopen", serve)
    check_tiny(registry.load("tiny"))
    check_tiny(registry.load("tiny"))
    assert asked == [f"https://tiny.invalid/{name}.gz" for name in ARRAYS]


def test_an_endless_download_stops(tiny: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNFLIP_DATA")
    monkeypatch.setattr(idx, "MAX_DOWNLOAD_BYTES", 1000)
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: BytesIO(bytes(1001)))
    assert "more than 1000 bytes" in refusal()


@pytest.mark.skipif(not os.environ.get("SYNFLIP_DATA"), reason="SYNFLIP_DATA is not set")
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_originals(name: str) -> None:
    dataset = registry.load(name)
    assert dataset.train_images.shape == (60000, 784) and dataset.test_images.shape == (10000, 784)
    assert set(dataset.train_labels) == set(range(10)) and len(dataset.classes) == 10
