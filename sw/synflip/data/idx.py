"""Data sets in MNIST's layout: four idx files from a folder, or fetched once, checked by SHA-256."""

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synflip.data.dataset import Dataset
from synflip.data.folder import FOLDER_VARIABLE, data_folder
from synflip.errors import SynflipError
from synflip.util.cache import cache_folder, cached_file

MAX_DOWNLOAD_BYTES = 64 << 20  # of one file; the largest of Fashion-MNIST has 26 MB
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class IdxFile:
    """One idx file: its name without ``.gz``, its sizes, and the SHA-256 of its decompressed bytes."""

    name: str
    sizes: tuple[int, ...]
    sha256: str

    @property
    def header(self) -> bytes:
        """The file's first bytes: two zeros, type 8 (uint8), the number of sizes, then each size in 4 bytes,
        big end first (yann.lecun.com/exdb/mnist)."""
        return bytes((0, 0, 8, len(self.sizes))) + b"".join(size.to_bytes(4, "big") for size in self.sizes)

    @property
    def length(self) -> int:
        """Number of decompressed bytes."""
        return len(self.header) + int(np.prod(self.sizes))


@dataclass(frozen=True)
class IdxSource:
    """A data set in MNIST's layout.

    address: the URL, with a slash at its end, that file names with ``.gz`` are appended to. classes: a name
    for each label. files: training images, training labels, test images, test labels. folders: where else
    they may lie in the folder of data sets: where torchvision puts them.
    """

    address: str
    classes: tuple[str, ...]
    files: tuple[IdxFile, IdxFile, IdxFile, IdxFile]
    folders: tuple[str, ...] = ()


def load_idx(name: str, source: IdxSource) -> Dataset:
    """The data set ``name``, read from the folder in SYNFLIP_DATA, or fetched once if that is not set.

    In the folder the files lie as ``<name>/<file>``, in one of ``source.folders``, as ``raw/<file>`` or as
    ``<file>``, each as it is or with ``.gz``. Fetched files are kept in the cache. Raises SynflipError for a
    file that is missing, cannot be fetched, or is not the original one.
    """
    train_images, train_labels, test_images, test_labels = (
        read_idx(path, file) for path, file in _locate(name, source)
    )
    height, width = source.files[0].sizes[1:]
    return Dataset(
        name=name,
        train_images=train_images.reshape(-1, height * width),
        train_labels=train_labels.astype(np.int64),
        test_images=test_images.reshape(-1, height * width),
        test_labels=test_labels.astype(np.int64),
        classes=source.classes,
        input_max=255,
        shape=(height, width),
    )


def _locate(name: str, source: IdxSource) -> list[tuple[Path, IdxFile]]:
    """Where each file lies; fetches them if no folder was given."""
    folder = data_folder()
    if folder is None:
        return [(_fetch(name, file, source), file) for file in source.files]
    found: list[tuple[Path, IdxFile]] = []
    missing: list[str] = []
    for file in source.files:
        path = next((place for place in places(folder, name, source, file) if place.is_file()), None)
        if path is None:
            missing.append(file.name + ".gz")
        else:
            found.append((path, file))
    if missing:
        raise SynflipError(
            f"{name}: {', '.join(missing)} not in {folder} ({FOLDER_VARIABLE}) nor in its "
            f"{' or '.join((name, *source.folders))}; "
            f"put them there, or unset {FOLDER_VARIABLE} to have them fetched"
        )
    return found


def places(folder: Path, name: str, source: IdxSource, file: IdxFile) -> list[Path]:
    """Where ``file`` of the data set ``name`` may lie in ``folder``; the first that is there is read."""
    return [
        folder / under / (file.name + suffix)
        for under in (name, *source.folders, "raw", "")
        for suffix in ("", ".gz")
    ]


def _fetch(name: str, file: IdxFile, source: IdxSource) -> Path:
    """The cached file, downloaded first if it is not there."""
    import pooch

    pooch.get_logger().setLevel("ERROR")  # it would ask for a hash of the .gz, which differs between mirrors
    url = f"{source.address}{file.name}.gz"
    if found := cached_file(name, f"{file.name}.gz"):
        return found
    folder = cache_folder(name)
    try:
        return Path(
            pooch.retrieve(url, known_hash=None, fname=f"{file.name}.gz", path=folder, downloader=_download)
        )
    except OSError as error:
        names = ", ".join(f"{other.name}.gz" for other in source.files)
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


def read_idx(path: Path, file: IdxFile) -> NDArray[np.uint8]:
    """The array uint8 [*sizes] in the idx file at ``path``, which must be ``file`` byte for byte.

    It is not trusted: no more is decompressed than ``file`` holds. Raises SynflipError.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            content = stream.read(file.length + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise SynflipError(f"cannot read {path}: {error}; delete it and get it again") from None
    if len(content) != file.length:
        size = f"more than {file.length}" if len(content) > file.length else str(len(content))
        raise SynflipError(f"{path} holds {size} bytes, not {file.length}; delete it and get it again")
    header = content[: len(file.header)]
    if header != file.header:
        raise SynflipError(
            f"{path} is not an idx file of uint8 {list(file.sizes)}: it starts with {header.hex()}, "
            f"not {file.header.hex()}; delete it and get it again"
        )
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256:
        raise SynflipError(
            f"{path} is not the original: its SHA-256 is {digest}, not {file.sha256}; get it again, or set "
            f"{FOLDER_VARIABLE} to a folder that holds it if this one is of another data set"
        )
    return np.frombuffer(bytearray(content), dtype=np.uint8, offset=len(file.header)).reshape(file.sizes)
