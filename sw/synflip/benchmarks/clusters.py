"""Clusters: what a task and a byte cost, one worker against two, and a plan for many.

The plan is a model of three lines. Workers compute at once, so they need

    compute = images x samples / (speed x workers)

seconds. Client and scheduler are one line that all tasks and all bytes go through:

    line = tasks x seconds a task + bytes / (bytes a second)

Both go on together, and at the end the last task is waited for:

    seconds = model bytes x log2(workers + 1) / (bytes a second) + max(compute, line) + seconds of a task

``check`` compares it with a cluster whose tasks sleep as long as they would compute.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from distributed import Client, LocalCluster

from synflip.benchmarks.networks import SEED, Models
from synflip.cluster.clients import local_workers, quiet
from synflip.cluster.device import PIECE_BYTES, TASKS_A_WORKER, ClusterDevice
from synflip.cluster.worker import Load, run_piece
from synflip.golden.cpu import Golden
from synflip.inference.pieces import PIECE_SECONDS, Piece
from synflip.inference.request import InferenceRequest
from synflip.inference.result import Result, Tally
from synflip.spec.model import CompiledModel
from synflip.util.threads import one_thread

NETWORK, QUICK_NETWORK = "mnist-512", "digits"
SAMPLES = 64
PLANNED_IMAGES = 1_000_000_000
PLANNED_WORKERS = (10, 100, 1_000)
TASKS = 300  # of which the overhead of one is measured
MEASURED_BYTES = 16  # times PIECE_BYTES
SLEEPERS = (4, 16)
SLEEP_SECONDS = 6.0  # that the sleeping workers compute


@dataclass(frozen=True)
class Costs:
    """What is measured. speed: network samples times images a second, of a worker. task: seconds of client
    and scheduler a task. rate: bytes a second that go through them."""

    speed: float
    task: float
    rate: float


@dataclass(frozen=True)
class Plan:
    """A run of many tasks. seconds: predicted. compute, line: of these, as above. tasks: their number.
    in_flight: bytes of images and results that are under way at most."""

    workers: int
    tasks: int
    compute: float
    line: float
    seconds: float
    in_flight: int


def plan(
    costs: Costs, workers: int, images: int, samples: int, image_bytes: int, model_bytes: int, piece: int = 0
) -> Plan:
    """The cost of a run. image_bytes: of one image and its results, as they go through the client. piece:
    images of a task; 0: as ``synflip.cluster`` cuts them."""
    longest = max(int(PIECE_SECONDS * costs.speed / samples), 1)
    piece = piece or min(max(PIECE_BYTES // image_bytes, 1), longest, max(images // (2 * workers), 1))
    tasks = math.ceil(images / piece)
    compute = images * samples / (costs.speed * workers)
    line = tasks * costs.task + images * image_bytes / costs.rate
    last = piece * samples / costs.speed
    start = model_bytes * math.log2(workers + 1) / costs.rate
    in_flight = TASKS_A_WORKER * workers * piece * image_bytes
    return Plan(workers, tasks, compute, line, start + max(compute, line) + last, in_flight)


def run(models: Models) -> dict[str, Any]:
    """Costs, one worker against two, the plan for many, and its check."""
    name = QUICK_NETWORK if models.quick else NETWORK
    model = models.model(name)
    count = 1_000 if models.quick else 10_000
    pixels = models.images(name, count)
    models.say("cluster: one worker against two")
    alone = _alone(model, pixels)
    scaling = _scaling(model, pixels, alone)
    models.say("cluster: tasks and bytes")
    costs = Costs(count * SAMPLES / alone, *_line_costs(model, 0.2 if models.quick else 1.0))
    width, classes = model.inputs, len(model.classes)
    size = sum(tensor.nbytes for tensor in model.tensors().values())
    plans = [
        {"images": where, **asdict(plan(costs, workers, PLANNED_IMAGES, SAMPLES, each, size))}
        for where, each in (("client", width + 12 * classes + 4), ("workers", 12 * classes + 4))
        for workers in PLANNED_WORKERS
    ]
    models.say("cluster: workers that sleep")
    check = [
        _check(costs, workers, model, slow, 1.0 if models.quick else SLEEP_SECONDS)
        for workers in SLEEPERS
        for slow in (1.0, 0.05)
    ]
    return {
        "network": name,
        "shape": model.shape,
        "samples": SAMPLES,
        "planned_images": PLANNED_IMAGES,
        "costs": asdict(costs),
        "model_bytes": size,
        "alone": alone,
        "scaling": scaling,
        "plans": plans,
        "check": check,
    }


def _alone(model: CompiledModel, pixels: np.ndarray) -> float:
    """Seconds of one golden model with one thread."""
    with one_thread(), Golden() as device:
        device.load(model)
        device.infer(pixels[:100], SAMPLES, SEED)
        began = time.perf_counter()
        device.infer(pixels, SAMPLES, SEED)
        return time.perf_counter() - began


def _scaling(model: CompiledModel, pixels: np.ndarray, alone: float) -> list[dict[str, Any]]:
    """Seconds of the same images (strong) and of as many a worker (weak) on one worker and on two."""
    seconds: dict[tuple[str, int], float] = {}
    for workers in (1, 2):
        with local_workers(workers) as client, ClusterDevice(client) as device:
            device.load(model)
            device.infer(pixels, SAMPLES, SEED)  # until every worker has the model
            for kind, images in (("strong", pixels), ("weak", np.concatenate([pixels] * workers))):
                began = time.perf_counter()
                device.infer(images, SAMPLES, SEED)
                seconds[kind, workers] = time.perf_counter() - began
    return [
        {
            "kind": kind,
            "workers": workers,
            "images": len(pixels) * (workers if kind == "weak" else 1),
            "seconds": taken,
            "over_one": seconds[kind, 1] / taken,
            "over_alone": alone * (workers if kind == "weak" else 1) / taken,
        }
        for (kind, workers), taken in seconds.items()
    ]


class _Sleepers(ClusterDevice):
    """A cluster whose workers sleep as long as a piece would take at ``speed``, and vote for nothing."""

    def __init__(self, client: Client, chunk: int, speed: float) -> None:
        super().__init__(client, chunk=chunk)
        self._speed = speed

    def _submit(self, function: Any, *arguments: Any, **options: Any) -> Any:
        if function is run_piece:
            return super()._submit(_sleep, *arguments, self._speed, **options)
        return super()._submit(function, *arguments, **options)


def _sleep(
    load: Load, model: str, request: InferenceRequest, piece: Piece, images: Any, speed: float
) -> tuple[Result, float]:
    time.sleep(piece.size / speed)
    tally = Tally.zeros(len(piece.samples), len(piece.images), len(request.model.classes), False)
    return tally.result(0, request.model, None), piece.size / speed


@contextmanager
def _threads(workers: int) -> Iterator[Client]:
    """A cluster in this process, whose messages go over loopback all the same."""
    with (
        quiet(),
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def _seconds(device: ClusterDevice, pixels: np.ndarray, samples: int) -> float:
    began = time.perf_counter()
    device.infer(pixels, samples, SEED)
    return time.perf_counter() - began


def _line_costs(model: CompiledModel, share: float) -> tuple[float, float]:
    """Seconds a task, and bytes a second, of tasks that do nothing."""
    tasks = int(share * TASKS)
    images = max(int(share * MEASURED_BYTES), 2) * PIECE_BYTES // model.inputs
    with _threads(2) as client:
        for chunk in (1, PIECE_BYTES // model.inputs):
            with _Sleepers(client, chunk, math.inf) as device:
                device.load(model)
                if chunk == 1:
                    _seconds(device, np.zeros((10, model.inputs), np.uint8), 1)
                    task = _seconds(device, np.zeros((tasks, model.inputs), np.uint8), 1) / tasks
                else:
                    taken = _seconds(device, np.zeros((images, model.inputs), np.uint8), 1)
                    rest = max(taken - images / chunk * task, 1e-9)
    return task, images * model.inputs / rest


def _check(costs: Costs, workers: int, model: CompiledModel, task: float, seconds: float) -> dict[str, Any]:
    """A run of some seconds whose tasks take ``task`` seconds: predicted and measured."""
    piece = 16
    images = int(seconds / task) * workers * piece
    slow = Costs(piece * SAMPLES / task, costs.task, costs.rate)
    each = model.inputs + 12 * len(model.classes) + 4
    planned = plan(slow, workers, images, SAMPLES, each, 0, piece)
    with _threads(workers) as client, _Sleepers(client, piece * SAMPLES, slow.speed) as device:
        device.load(model)
        taken = _seconds(device, np.zeros((images, model.inputs), np.uint8), SAMPLES)
    return {"task_seconds": task, **asdict(planned), "measured": taken}
