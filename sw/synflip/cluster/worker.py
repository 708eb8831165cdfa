"""What runs on a worker: one device, which is kept with its model from piece to piece."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, cast

import numpy as np
from distributed import Worker, WorkerPlugin, get_worker
from numpy.typing import NDArray

import synflip
from synflip._version import __version__
from synflip.devices.registry import open_device
from synflip.errors import SynflipError
from synflip.inference.device import Device
from synflip.inference.pieces import Piece
from synflip.inference.request import InferenceRequest
from synflip.inference.result import Result
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel
from synflip.util.arrays import digest
from synflip.util.text import first_line, one_line

PACKAGES = ("synflip", "torch", "numpy")  # that are the same everywhere


def versions() -> dict[str, str]:
    """Versions of PACKAGES in this process; torch's without its suffix, such as ``+cpu``, and synflip's with
    its ``sources``, because two commits may have one version."""
    mine = f"{__version__} of sources {sources()}"
    return {"synflip": mine, **{name: version(name).split("+")[0] for name in PACKAGES[1:]}}


@cache
def sources() -> str:
    """The first twelve digits, hexadecimal, of the SHA-256 of this process's synflip: of the names and the
    content of its modules, as they were at the first call."""
    folder, found = Path(synflip.__file__).parent, hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        name, content = file.relative_to(folder).as_posix(), file.read_bytes()
        found.update(f"{name} {len(content)} ".encode() + content)
    return found.hexdigest()[:12]


def other_version(name: str, there: str, wanted: str) -> str:
    """The line for a worker that has another version of a package, or ``none``."""
    return f"it has {name} {there}, the client {wanted}: install {wanted} there"


@dataclass(frozen=True, eq=False)
class Load:
    """What a device is opened with.

    device, geometry: as of ``open_device``. model: what it loads. versions: of the client.
    """

    device: str
    geometry: Geometry | None
    model: CompiledModel
    versions: dict[str, str]

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the model."""
        words = json.dumps(self.model.metadata(), sort_keys=True).encode()
        return digest([*self.model.tensors().values(), np.frombuffer(words, dtype=np.uint8)])


class Keeper(WorkerPlugin):
    """Keeps a worker's device open, until another one is asked for or the worker ends. One piece at a time
    has it."""

    name = "synflip"
    idempotent = True

    def setup(self, worker: Worker) -> None:
        """Begin without a device."""
        self._lock = Lock()
        self._device: Device | None = None
        self._opened: tuple[str, Geometry | None] | None = None
        self._loaded = ""

    def teardown(self, worker: Worker) -> None:
        """Close the device."""
        self.close()

    def close(self) -> None:
        """Close the device, if there is one."""
        device, self._device = self._device, None
        if device is not None:
            device.close()

    @contextmanager
    def device(self, load: Load, model: str) -> Iterator[Device]:
        """The device of ``load``, with its model, whose digest is ``model``. If the block raises, the device
        is opened again for the next one: its memories may have lost the model."""
        with self._lock:
            try:
                if self._device is None or self._opened != (load.device, load.geometry):
                    self.close()
                    self._opened, self._loaded = (load.device, load.geometry), ""
                    self._device = open_device(load.device, load.geometry)
                if self._loaded != model:
                    self._loaded = ""
                    self._device.load(load.model)
                    self._loaded = model
                yield self._device
            except BaseException:
                self.close()
                raise


@contextmanager
def explained(what: str, wanted: Mapping[str, str]) -> Iterator[Worker]:
    """Raises SynflipError, which names the worker and ``what`` it does, for other versions than those that
    are ``wanted``, and for what the block or the worker's memory refuses. The block is given the worker."""
    worker = get_worker()
    try:
        for name, there in versions().items():
            if there != wanted[name]:
                raise SynflipError(other_version(name, there, wanted[name]))
        yield worker
    except MemoryError:
        raise SynflipError(f"worker {worker.address}, {what}: not enough memory") from None
    except (SynflipError, OSError) as error:  # a class of its own may need more than a text to be unpickled
        raise SynflipError(f"worker {worker.address}, {what}: {one_line(first_line(error))}") from None


@contextmanager
def _opened(load: Load, model: str, what: str) -> Iterator[Device]:
    """The worker's device, with the model. Raises SynflipError."""
    with explained(what, load.versions) as worker:
        keeper = cast(Keeper, worker.plugins[Keeper.name])
        with keeper.device(load, model) as device:
            yield device


def load_model(load: Load, model: str) -> tuple[Geometry, bool]:
    """Open the device and load the model. Returns the device's geometry, and whether its samples are
    ``numbered``. Raises SynflipError."""
    with _opened(load, model, f"loading {load.device}") as device:
        return device.geometry, device.numbered


def run_piece(
    load: Load, model: str, request: InferenceRequest, piece: Piece, images: NDArray[Any]
) -> tuple[Result, float]:
    """The result of a piece, and the seconds that the device ran.

    request: the whole one, without its images. images: the piece's. Raises SynflipError.
    """
    what = f"images {piece.images.start}..{piece.images.stop - 1}"
    with _opened(load, model, what) as device:
        asked = piece.of(request, images)
        began = monotonic()
        return device.run(asked), monotonic() - began


def same(value: Any) -> Any:
    """``value``, as a task: what a task made is made again if the worker that holds it dies."""
    return value
