"""MNIST and Fashion-MNIST: idx files from a folder, or fetched once, checked by SHA-256."""

import gzip
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synflip.data.dataset import FOLDER_VARIABLE
from synflip.errors import SynflipError

DIGITS = tuple("0123456789")

GARMENTS = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

MAX_DOWNLOAD_BYTES = 64 << 20

TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class _Idx:
    """One idx file: its name without ``.gz``, its sizes, and the SHA-256 of its decompressed bytes."""

    name: str
    sizes: tuple[int, ...]
    sha256: str

    @property
    def header(self) -> bytes:
        """Two zero bytes, type 8 (uint8), the number of sizes, then each in 4 bytes, big end first."""
        return bytes((0, 0, 8, len(self.sizes))) + b"".join(size.to_bytes(4, "big") for size in self.sizes)

    @property
    def length(self) -> int:
        """Decompressed bytes."""
        return len(self.header) + int(np.prod(self.sizes))


def _files(*hashes: str) -> tuple[_Idx, _Idx, _Idx, _Idx]:
    train_images, train_labels, test_images, test_labels = hashes
    return (
        _Idx("train-images-idx3-ubyte", (60000, 28, 28), train_images),
        _Idx("train-labels-idx1-ubyte", (60000,), train_labels),
        _Idx("t10k-images-idx3-ubyte", (10000, 28, 28), test_images),
        _Idx("t10k-labels-idx1-ubyte", (10000,), test_labels),
    )


#: Name, where it is fetched from, class names, files.
_MNIST_LIKE: dict[str, tuple[str, tuple[str, ...], tuple[_Idx, _Idx, _Idx, _Idx]]] = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        DIGITS,
        _files(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    "fashion-mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        GARMENTS,
        _files(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
}


def _locate(name: str, files: tuple[_Idx, ...]) -> list[tuple[Path, _Idx]]:
    """Where each file lies; fetches them if no folder was given."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return [(_fetch(name, idx), idx) for idx in files]
    found: list[tuple[Path, _Idx]] = []
    missing: list[str] = []
    for idx in files:
        candidates = [
            Path(folder, *under, idx.name + suffix) for under in ((name,), ()) for suffix in ("", ".gz")
        ]
        path = next((candidate for candidate in candidates if candidate.is_file()), None)
        if path is None:
            missing.append(idx.name + ".gz")
        else:
            found.append((path, idx))
    if missing:
        raise SynflipError(
            f"{name}: {', '.join(missing)} not in {folder} ({FOLDER_VARIABLE}) nor in its folder {name}; "
            f"put them there, or unset {FOLDER_VARIABLE} to have them fetched"
        )
    return found


def _fetch(name: str, idx: _Idx) -> Path:
    """The cached file, downloaded first if it is not there."""
    import pooch

    pooch.get_logger().setLevel("ERROR")  # it would ask for a hash of the .gz, which differs between mirrors
    address, _, files = _MNIST_LIKE[name]
    url = f"{address}{idx.name}.gz"
    folder = pooch.os_cache("synflip") / name
    try:
        return Path(
            pooch.retrieve(url, known_hash=None, fname=f"{idx.name}.gz", path=folder, downloader=_download)
        )
    except OSError as error:
        names = ", ".join(f"{file.name}.gz" for file in files)
        raise SynflipError(
            f"{name} is not here and cannot be fetched from {url} ({error}); "
            f"set {FOLDER_VARIABLE} to a folder that holds {names}"
        ) from None


def _download(url: str, output: str, _pooch: object) -> None:
    """Fetch ``url`` into the file ``output``. Raises OSError if it is larger than any of ours can be."""
    from urllib.request import urlopen

    with urlopen(url, timeout=TIMEOUT_SECONDS) as response:
        content = response.read(MAX_DOWNLOAD_BYTES + 1)
    if len(content) > MAX_DOWNLOAD_BYTES:
        raise OSError(f"more than {MAX_DOWNLOAD_BYTES} bytes")
    Path(output).write_bytes(content)


def _read(path: Path, idx: _Idx) -> NDArray[np.uint8]:
    """The array [*sizes] in an idx file. It is not trusted: no more is decompressed than it may hold."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(idx.length + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise SynflipError(f"cannot read {path}: {error}; delete it and get it again") from None
    if len(content) != idx.length:
        size = f"more than {idx.length}" if len(content) > idx.length else str(len(content))
        raise SynflipError(f"{path} holds {size} bytes, not {idx.length}; delete it and get it again")
    header = content[: len(idx.header)]
    if header != idx.header:
        raise SynflipError(
            f"{path} is not an idx file of uint8 {list(idx.sizes)}: it starts with {header.hex()}, "
            f"not {idx.header.hex()}; delete it and get it again"
        )
    digest = hashlib.sha256(content).hexdigest()
    if digest != idx.sha256:
        raise SynflipError(
            f"{path} is not the original: its SHA-256 is {digest}, not {idx.sha256}; "
            "delete it and get it again"
        )
    return np.frombuffer(bytearray(content), dtype=np.uint8, offset=len(idx.header)).reshape(idx.sizes)
