"""A cluster as a device: its workers compute pieces of a request, whose results are added up as they come."""

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client, Future

from synflip.cluster.store import Store, check_store
from synflip.cluster.tasks import Crew, Tasks, check_versions, compute, result_of, submit
from synflip.cluster.worker import Keeper, Load, load_model, run_piece, same, versions
from synflip.devices.registry import DeviceName
from synflip.errors import SynflipError
from synflip.inference.device import Device, loaded
from synflip.inference.pieces import Piece, Uncut, Whole, piece_size
from synflip.inference.plan import most_images
from synflip.inference.request import InferenceRequest, Margin, Pixels, Progress, Unread, as_images
from synflip.inference.result import Result
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel
from synflip.uncertainty.soft_votes import SoftTable
from synflip.util.arrays import whole_number

TASKS_A_WORKER = 2  # one that runs, and one that waits
PIECE_BYTES = 1 << 23  # of a task's images and results: what is under way does not grow with N
FAILURES = 2  # times that a piece is computed again if it raises


def infer(
    client: Client,
    model: CompiledModel | str | Path,
    images: Pixels,
    samples: int,
    seed: int,
    device: str = "golden",
    geometry: Geometry | None = None,
    margin: Margin | None = None,
    logits: bool = False,
    chunk: int | None = None,
    progress: Progress | bool | None = None,
    out: str | Path | None = None,
    soft: SoftTable | bool | None = None,
) -> Result:
    """Votes of S network samples for N images, computed by the workers of a Dask cluster: equal to the bit to
    what ``device`` gives on one machine, but for ``cycles``, which are the sum over all tasks, -1 if one does
    not know them.

    client: any ``distributed.Client`` that is not asynchronous. model: compiled, or the path of its file.
    images: integers in 0..model.input_max, [N, I], or in another shape that its pixels have; of a model with
        an input quantizer finite numbers of any range. An array, a list, a torch tensor, a frame, or the path
        of a file, of which blocks are read as tasks need them; or a ``dask.array``, whose blocks the workers
        make.
    samples: S, network samples, at least 1. seed: of the coins, 0..2**64-1.
    margin: early stopping. An image leaves after the first sample in which its leader is at least margin, or
        margin[s], votes ahead of its runner-up. None: all images take all samples. With a margin images are
        cut, samples are not.
    logits: keep the logits of every network sample, int32 [S, N, C]. soft: add up soft votes and energies,
        from which the result has its posterior and its energy without logits.
    device: what each worker opens, by its name, such as ``golden`` or ``verilator:16x2``. geometry: in place
        of one in the name. chunk: network samples times images of a task; None: by the measured speed of
        the first ones.
    progress: True shows a bar; or a function that is called with (done, total), network samples times images.
    out: a folder, which is made. The arrays of the result are written into it as they come, as .npy files,
        and those of the Result are maps of these files. They have their names when the last piece is there.

    Raises SynflipError, in one line, for what a device would refuse, for a worker with another version of
    synflip, torch or numpy, for a piece that kills its workers, if no worker or no scheduler is left, and if
    ``out`` cannot take the result, or has an array of another run that this one would not replace.
    """
    cluster = ClusterDevice(client, device, geometry, chunk, out)
    if out is not None:
        named = [Path(given) for given in (model, images) if isinstance(given, str | os.PathLike)]
        check_store(Path(out), named)
    cluster.load(model)
    lazy = _lazy(loaded(cluster.model), images)
    return cluster.infer(lazy, samples, seed, margin, logits, progress, soft=soft)


class ClusterDevice(Device):
    """The workers of a Dask cluster as one device. Each opens ``device`` once, and keeps it.

    geometry: after a load that of a worker's device.
    """

    def __init__(
        self,
        client: Client,
        device: str = "golden",
        geometry: Geometry | None = None,
        chunk: int | None = None,
        out: str | Path | None = None,
    ) -> None:
        """device, geometry: as of ``open_device``. Only workers with the resources that ``tags`` names are
        asked. chunk: network samples times images of a task, or None. out: a folder for the arrays of the
        latest result, or None. Raises SynflipError."""
        if not isinstance(client, Client):
            raise SynflipError(
                f"a cluster is reached by a distributed.Client, not by a {type(client).__name__}: give "
                "Client(ADDRESS) or Client(CLUSTER)"
            )
        if client.asynchronous:
            raise SynflipError("the client is asynchronous: give a Client that is not")
        if chunk is not None and (chunk := whole_number(chunk, "chunk")) < 1:
            raise SynflipError(f"chunk must be at least 1, not {chunk}")
        if not isinstance(device, str):
            raise SynflipError(f"device must be a name, such as golden, not a {type(device).__name__}")
        if out is not None and not isinstance(out, str | os.PathLike):
            raise SynflipError(f"out must be the path of a folder, not a {type(out).__name__}")
        self.name = f"cluster:{device}"
        self.geometry = geometry or Geometry()
        self._asked = geometry
        self._client, self._device, self._chunk = client, device, chunk
        self._out = None if out is None else Path(out)
        self._tags = tags(device)
        self._load: Future | None = None

    def prepare(self, model: CompiledModel) -> None:
        """Send ``model`` to the cluster, and load it into one worker's device; the others load it with their
        first piece. Raises SynflipError for a model that the device refuses, for a worker with other versions
        and if there is none."""
        self.model, self._load = None, None
        crew = Crew(self._client, self._tags)
        check_versions(self._client)
        self._client.register_plugin(Keeper())
        load = Load(self._device, self._asked, model, versions())
        self._digest = load.digest
        # A task, not scattered data: if all workers that hold it die, the scheduler sends it again.
        held = self._submit(same, load)
        answered = self._submit(load_model, held, self._digest, resources=self._tags)
        self.geometry, self.numbered = result_of(answered, crew, "loading the model")
        self.model, self._load = model, held

    def run(self, request: InferenceRequest, progress: Progress | None = None) -> Result:
        """Carry out ``request``, of the model that is loaded. Ctrl-C cancels what is under way; pieces that
        workers have begun are computed to their end.

        progress: called with (done, total), in network samples times images, after each piece. Raises
        SynflipError.
        """
        with ExitStack() as stack:
            store = None if self._out is None else stack.enter_context(Store(self._out, request))
            run = _Run(self, request, store)
            stack.callback(run.cancel)
            run.go(progress)
            result = run.whole.result()
            return result if store is None else store.finished(result)

    def close(self) -> None:
        """Forget the model. The workers keep their devices open, for the next run."""
        self.model, self._load = None, None

    def _submit(self, function: Any, *arguments: Any, **options: Any) -> Future:
        return submit(self._client, function, *arguments, **options)


class _Run:
    """One request, while workers compute its pieces."""

    def __init__(self, cluster: ClusterDevice, request: InferenceRequest, store: Store | None) -> None:
        self._cluster, self._request, self._store = cluster, request, store
        self._model, self._digest = cluster._load, cluster._digest
        self._crew = Crew(cluster._client, cluster._tags)
        self._tasks = Tasks(cluster._client, self._crew)
        self._empty = cluster._submit(same, _without_images(request))
        self._uncut = Uncut(request, cluster.numbered)
        self.whole = Whole(request, None if store is None else store.tally)
        self._total = self._uncut.size
        self._size = self._seconds = 0.0  # of all pieces that are done

    def go(self, progress: Progress | None) -> None:
        """Compute all pieces."""
        done = 0
        while self._uncut or self._tasks:
            while self._uncut and len(self._tasks) < TASKS_A_WORKER * max(self._crew.count, 1):
                self._begin(self._uncut.take(self._next_size()))
            piece, (result, seconds) = self._tasks.next()
            self.whole.add(piece, result)
            if self._store is not None:
                self._store.let_go()
            self._size, self._seconds = self._size + piece.size, self._seconds + seconds
            done += piece.size
            if progress is not None:
                progress(done, self._total)

    def cancel(self) -> None:
        """Tell the cluster that nobody waits for what is under way."""
        self._tasks.cancel()

    def _begin(self, piece: Piece) -> None:
        images: Any = piece.images_of(self._request)
        if isinstance(self._request.pixels, Unread):
            images = compute(self._cluster._client, images)
        future = self._cluster._submit(
            run_piece, self._model, self._digest, self._empty, piece, images,
            resources=self._cluster._tags, retries=FAILURES,
        )  # fmt: skip
        self._tasks.add(future, piece, f"images {piece.images.start}..{piece.images.stop - 1}")

    def _next_size(self) -> int:
        """Network samples times images of the next task."""
        request, workers = self._request, max(self._crew.count, 1)
        if self._cluster._chunk is not None:
            return self._cluster._chunk
        least = max(most_images(request.model, self._cluster.geometry), 1) * request.samples
        least = min(least, max(self._total // (2 * workers), 1))
        if self._seconds:
            least = piece_size(self._uncut.size / workers, self._size / self._seconds, least)
        return min(least, max(PIECE_BYTES // image_bytes(request), 1) * request.samples)


def tags(device: str) -> dict[str, float]:
    """Resources that a worker must have to be asked for ``device``: ``{"cuda": 1}`` for a GPU, the same with
    its path for a serial port, for a pool those of its members; none for others. Raises SynflipError."""
    name = DeviceName.parse(device)
    parts = [DeviceName.parse(member) for member in name.members] or [name]
    return {part.kind: 1 for part in parts if part.port or part.kind == "cuda"}


def image_bytes(request: InferenceRequest) -> int:
    """Bytes that one image of a request and its results take on their way."""
    pixels, classes = request.pixels, len(request.model.classes)
    width = 0 if isinstance(pixels, Unread) else pixels.shape[1] * pixels.dtype.itemsize
    logits = 4 * classes * request.samples if request.logits else 0
    soft = 8 * (classes + 1) if request.tables is not None else 0
    return width + 12 * classes + 4 + logits + soft


def _without_images(request: InferenceRequest) -> InferenceRequest:
    model = request.model
    width = model.inputs if model.features is None else model.features.pixels
    return replace(request, pixels=np.zeros((0, width), dtype=np.uint8))


def _lazy(model: CompiledModel, images: Any) -> Any:
    """``images``; if they are a ``dask.array``, such that nothing of it is made here. Raises SynflipError."""
    if not hasattr(images, "__dask_graph__"):
        return images
    if not images.ndim or images.shape[0] != images.shape[0]:
        raise SynflipError("the lazy array does not know how many images it has: call compute_chunk_sizes()")
    as_images(model, np.empty((0, *images.shape[1:]), dtype=images.dtype))  # refuses another shape or type
    return Unread(images)
