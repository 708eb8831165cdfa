"""A cluster's result is one machine's, to the bit, however it is cut and whatever the images are."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dask.array
import dask.config
import numpy as np
import pytest
from distributed import Client, LocalCluster, Worker, get_worker
from synflip import cluster as room
from synflip import modelfile
from synflip.cluster import device, tasks, worker
from synflip.cluster.clients import connected
from synflip.cluster.device import ClusterDevice, image_bytes, tags
from synflip.cluster.worker import Keeper
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.inference import pieces
from synflip.inference.request import InferenceRequest, Progress
from synflip.inference.result import Result
from synflip.spec.geometry import Geometry
from synflip.spec.input_quantizer import Column, InputQuantizer

from tests.cluster.networks import IMAGES, MODEL, golden, same

#: The client's peak of resident memory after runs of few and of many images, and the bytes of the latter's
#: results, in kB.
PEAK = """
import re, sys
from pathlib import Path
import numpy as np
from distributed import Client
from synflip import cluster
from tests.cluster.networks import MODEL
with Client(sys.argv[1]) as client:
    for images in (80_000, 480_000):
        file, out = Path(sys.argv[2], f"{images}.npy"), Path(sys.argv[2], str(images))
        np.save(file, np.zeros((images, 12), dtype=np.uint8))
        result = cluster.infer(client, MODEL, file, 2, 3, logits=True, chunk=80_000, out=out)
        print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
        assert int(result.used[-1]) == 2
print(sum(file.stat().st_size for file in out.iterdir()) // 1024)
"""


@pytest.fixture(scope="module")
def client(threads: LocalCluster) -> Iterator[Client]:
    with Client(threads) as connected:
        yield connected


@pytest.mark.parametrize("chunk", [None, 64])
@pytest.mark.parametrize("options", [{"logits": True}, {"margin": 3, "logits": True}], ids=["all", "early"])
def test_equal_to_the_bit(client: Client, chunk: int | None, options: dict[str, object]) -> None:
    seen: list[tuple[int, int]] = []
    found = room.infer(
        client, MODEL, IMAGES, 8, 3, chunk=chunk, progress=lambda *step: seen.append(step), **options
    )  # type: ignore[arg-type]
    want = golden(**options)
    assert same(found, want) and found.cycles > 0
    assert seen[-1] == (1600, 1600) and len(seen) > 1 and seen == sorted(seen)
    if chunk:
        assert len(seen) == 25  # of eight images each
        assert found.cycles == sum(
            golden(IMAGES[first : first + 8], **options).cycles for first in range(0, 200, 8)
        )


def test_samples_of_one_image_are_cut_but_not_with_early_stopping(client: Client) -> None:
    seen: list[int] = []
    for margin, steps in ((None, [16, 32, 48, 64]), (100, [64])):
        seen.clear()
        found = room.infer(
            client,
            MODEL,
            IMAGES[:1],
            64,
            3,
            margin=margin,
            chunk=16,
            progress=lambda done, _: seen.append(done),
        )
        assert same(found, golden(IMAGES[:1], 64, margin=margin)) and seen == steps


def test_samples_of_tunnel_junctions_are_not_cut(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Golden, "numbered", False)
    seen: list[int] = []
    room.infer(client, MODEL, IMAGES[:1], 64, 3, chunk=16, progress=lambda done, _: seen.append(done))
    assert seen == [64]


def test_no_images(client: Client) -> None:
    assert same(room.infer(client, MODEL, IMAGES[:0], 4, 3), golden(IMAGES[:0], 4))


def test_lazy_images_are_made_by_the_workers_and_results_come_to_disk(client: Client, tmp_path: Path) -> None:
    lazy = dask.array.from_array(IMAGES.reshape(-1, 2, 6), chunks=(70, 2, 6))
    lazy = lazy.map_blocks(_only_on_a_worker, dtype=np.uint8)
    found = room.infer(client, MODEL, lazy, 8, 3, logits=True, chunk=300, out=tmp_path / "r")
    want = golden(logits=True)
    assert same(found, want) and isinstance(found.votes, np.memmap)
    for name in ("votes", "logit_sums", "used", "logits"):
        assert np.array_equal(np.load(tmp_path / "r" / f"{name}.npy"), getattr(want, name))
    assert np.load(tmp_path / "r" / "cycles.npy") == found.cycles
    np.save(tmp_path / "x.npy", IMAGES)
    assert same(room.infer(client, MODEL, np.load(tmp_path / "x.npy", mmap_mode="r"), 8, 3), golden())
    assert same(room.infer(client, MODEL, tmp_path / "x.npy", 8, 3), golden())


def test_results_replace_none_of_what_is_read(client: Client, tmp_path: Path) -> None:
    modelfile.save(MODEL, tmp_path / "votes.npy")
    np.save(tmp_path / "used.npy", IMAGES)
    for model, images in ((tmp_path / "votes.npy", IMAGES), (MODEL, str(tmp_path / "used.npy"))):
        with pytest.raises(SynflipError, match=r"cannot write \S+/(votes|used).npy: it is read too"):
            room.infer(client, model, images, 8, 3, out=tmp_path)
    assert np.array_equal(np.load(tmp_path / "used.npy"), IMAGES)
    assert modelfile.load(tmp_path / "votes.npy").shape == MODEL.shape


def _only_on_a_worker(block: np.ndarray) -> np.ndarray:
    from distributed import get_worker

    if block.size > 1:  # not of an example, from which dask learns the type
        get_worker()
    return block


def test_features_of_any_range(client: Client) -> None:
    quantizer = InputQuantizer(
        np.full(12, -4.0), np.full(12, 4.0), (1, 12), tuple(Column(f"c{i}") for i in range(12))
    )
    model = replace(MODEL, input_quantizer=quantizer)
    rows = np.random.default_rng(4).normal(0, 2, (50, 12))
    with Golden() as alone:
        alone.load(model)
        want = alone.infer(rows, 4, 3)
    for features in (rows, dask.array.from_array(rows, chunks=(20, 12))):
        assert same(room.infer(client, model, features, 4, 3, chunk=44), want)


def test_a_stream_of_blocks_and_the_hosts_keys(client: Client) -> None:
    with ClusterDevice(client) as shared:
        shared.load(MODEL)
        blocks = [IMAGES[:90], IMAGES[90:]]
        for block, found in zip(blocks, shared.stream(blocks, 8, 3, logits=True), strict=True):
            assert same(found, golden(block, logits=True))
        kept = shared.infer(IMAGES[:3], 4, 3, keep_keys=True)
        assert np.array_equal(kept.keys, InferenceRequest(MODEL, IMAGES[:3], 4, 3).sample_keys)
        assert same(shared.infer(IMAGES, 4, 5, keys=kept.keys), golden(IMAGES, 4))


def test_a_worker_keeps_its_device_and_its_model(client: Client) -> None:
    def opened(dask_worker: object) -> int:
        return id(dask_worker.plugins[Keeper.name]._device)  # type: ignore[attr-defined]

    for _ in range(2):  # until both have had a piece
        room.infer(client, MODEL, IMAGES, 8, 3, chunk=64)
    before = client.run(opened)
    room.infer(client, MODEL, IMAGES, 8, 4, chunk=64)
    assert client.run(opened) == before
    room.infer(client, MODEL, IMAGES, 8, 4, chunk=64, geometry=Geometry(16, 1))
    assert client.run(opened) != before


@pytest.mark.parametrize("boards", [1, 2])
def test_only_the_worker_that_has_the_device_is_asked(
    client: Client, monkeypatch: pytest.MonkeyPatch, boards: int
) -> None:
    (has, _), asked, run = client.scheduler_info()["workers"], set(), Golden.run

    async def promise(dask_worker: Worker, **resources: float) -> None:
        await dask_worker.set_resources(**resources)

    def told(self: Golden, request: InferenceRequest, progress: Progress | None = None) -> Result:
        asked.add(get_worker().address)
        return run(self, request, progress)

    monkeypatch.setattr(device, "tags", lambda name: {"board": 1})
    monkeypatch.setattr(tasks, "PATIENCE", 0.0)
    client.run(promise, board=boards, workers=[has])
    try:
        with monkeypatch.context() as patch:
            patch.setattr(Golden, "run", told)
            found = room.infer(client, MODEL, IMAGES, 8, 3, chunk=64)
        assert same(found, golden()) and asked == {has}
        client.run(promise, board=0.5, workers=[has])
        with pytest.raises(SynflipError, match="none of them with --resources 'board=1'"):
            room.infer(client, MODEL, IMAGES, 8, 3, chunk=64)
    finally:
        client.run(promise, board=0, workers=[has])


def test_the_geometry_is_the_workers(client: Client) -> None:
    with ClusterDevice(client, "golden:16x2") as shared:
        shared.load(MODEL)
        assert (shared.geometry.lanes, shared.geometry.banks) == (16, 2)


def test_the_guide_s_numbers() -> None:
    assert (pieces.PIECE_SECONDS, pieces.LEAST_SECONDS, device.PIECE_BYTES) == (10, 0.2, 8 << 20)
    assert (device.TASKS_A_WORKER, device.FAILURES, tasks.PATIENCE) == (2, 2, 60)
    assert dask.config.get("distributed.scheduler.allowed-failures") == 3
    assert image_bytes(InferenceRequest(MODEL, IMAGES, 4, 3)) == 12 + 12 * 5 + 4


def test_messages_that_a_client_keeps(threads: LocalCluster, client: Client) -> None:
    with connected(threads.scheduler_address) as own:
        assert own.scheduler_comm.recent_message_log.maxlen == 0
    kept = client.scheduler_comm.recent_message_log
    assert kept.maxlen == 1000  # those below 1 MB, says its source
    room.infer(client, MODEL, IMAGES, 8, 3, chunk=8)  # 200 tasks
    assert len(kept) < 30  # those after the last task


def test_tags() -> None:
    assert tags("golden") == tags("pool:golden,golden") == {}
    assert tags("cuda:16x2") == {"cuda": 1}
    assert tags("pool:/dev/ttyUSB0@9600,golden,cuda") == {"/dev/ttyUSB0": 1, "cuda": 1}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say peaks of memory")
def test_the_client_s_peak_of_memory_does_not_grow_with_the_images(
    threads: LocalCluster, tmp_path: Path
) -> None:
    arguments = [sys.executable, "-c", PEAK, threads.scheduler_address, str(tmp_path)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    few, many, results = map(int, done.stdout.split())
    assert results > 40_000 and many - few < results / 2, (few, many, results)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"samples": 0}, "samples must be in 1"),
        ({"chunk": 0}, "chunk must be at least 1"),
        ({"chunk": "x"}, "chunk must be an integer, not 'x'"),
        ({"chunk": 2.5}, "chunk must be an integer"),
        ({"chunk": True}, "chunk must be an integer"),
        ({"device": 3}, "device must be a name"),
        ({"out": 3}, "out must be the path"),
        ({"device": "gold"}, "no device 'gold'"),
        ({"images": IMAGES[:, :5]}, "images have shape"),
        ({"images": dask.array.from_array(IMAGES[:, :5])}, "images have shape"),
        ({"images": dask.array.from_array(IMAGES / 255)}, "images are float64"),
        ({"images": dask.array.from_array(IMAGES)[dask.array.from_array(IMAGES)[:, 0] > 9]}, "compute_chunk"),
    ],
    ids=str,
)
def test_what_a_device_refuses_a_cluster_refuses(
    client: Client, arguments: dict[str, object], line: str
) -> None:
    asked = {"images": IMAGES, "samples": 4, "seed": 3} | arguments
    with pytest.raises(SynflipError, match=line):
        room.infer(client, MODEL, **asked)  # type: ignore[arg-type]


def test_what_is_no_client(threads: LocalCluster) -> None:
    for other, name in ((threads.scheduler_address, "str"), (threads, "LocalCluster"), (None, "NoneType")):
        with pytest.raises(SynflipError, match=rf"not by a {name}: give Client\(ADDRESS\)"):
            room.infer(other, MODEL, IMAGES, 4, 3)  # type: ignore[arg-type]


def test_a_client_that_is_closed(threads: LocalCluster) -> None:
    with Client(threads) as closed, ClusterDevice(closed) as shared:
        shared.load(MODEL)
        closed.close()
        for again in (lambda: shared.infer(IMAGES, 4, 3), lambda: shared.load(MODEL)):
            with pytest.raises(SynflipError, match="the client is closed: connect another"):
                again()


def test_a_client_that_is_closed_in_the_middle(threads: LocalCluster) -> None:
    with Client(threads) as closed, pytest.raises(SynflipError, match=r"is closed|is lost"):
        room.infer(closed, MODEL, IMAGES, 8, 3, chunk=16, progress=lambda *_: closed.close())


def test_sources_are_of_all_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = []
    for text in ("x = 1", "x = 2", "x = 1"):
        (tmp_path / "room").mkdir(exist_ok=True)
        (tmp_path / "__init__.py").touch()
        (tmp_path / "room" / "module.py").write_text(text)
        monkeypatch.setattr(worker.synflip, "__file__", str(tmp_path / "__init__.py"))
        found.append(worker.sources.__wrapped__())
    assert found[0] == found[2] != found[1]
