"""What goes wrong in a cluster ends in the same result, or in one line; nothing is left behind."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import dask
import dask.array
import numpy as np
import pytest
from distributed import Client, LocalCluster, Worker, WorkerPlugin
from distributed.core import Status
from synflip import cluster as room
from synflip import modelfile
from synflip.cluster import tasks
from synflip.cluster.worker import versions
from synflip.errors import SynflipError
from synflip.experiments import clusters, registry
from synflip.experiments.findings import ResultCache
from synflip.experiments.networks import Context
from synflip.experiments.recipes import QUICK
from synflip.inference.request import InferenceRequest, Progress
from synflip.inference.result import Result

from tests.cluster.networks import IMAGES, MODEL, golden, same


@pytest.fixture(scope="module")
def client(processes: LocalCluster) -> Iterator[Client]:
    with Client(processes) as connected:
        yield connected


@pytest.mark.nightly
def test_workers_that_are_killed_again_and_again(processes: LocalCluster, client: Client) -> None:
    """Dask gives up a worker that dies while it starts: each has joined again before the next is killed."""
    killed: list[int] = []

    def kill(done: int, total: int) -> None:
        if done * 4 > total * (len(killed) + 1) and len(killed) < 3:
            nanny = processes.workers[len(killed) % 2]
            client.wait_for_workers(2, timeout=300)
            while nanny.status != Status.running:
                time.sleep(0.1)
            if nanny.pid is not None and nanny.pid not in killed:
                os.kill(nanny.pid, signal.SIGKILL)
                killed.append(nanny.pid)

    found = room.infer(client, MODEL, IMAGES, 8, 3, logits=True, chunk=16, progress=kill)
    assert len(killed) == 3 and same(found, golden(logits=True))
    client.wait_for_workers(2, timeout=300)


@contextmanager
def on_workers(client: Client, change: Callable[[], None], back: Callable[[], None]) -> Iterator[None]:
    client.run(change)
    try:
        yield
    finally:
        client.run(back)


def older(package: str) -> Callable[[], None]:
    """What Dask finds, before the work."""

    def change() -> None:
        from distributed import versions

        found = versions._version_cached
        versions.today = found  # type: ignore[attr-defined]
        versions._version_cached = lambda name: "0.0.1" if name == package else found(name)  # type: ignore[assignment]

    return change


def today() -> None:
    from distributed import versions

    versions._version_cached = versions.today  # type: ignore[attr-defined]


def late() -> None:
    """What a worker finds that joins later."""
    from synflip.cluster import worker

    worker.__version__ = "0.0.1"


def in_time() -> None:
    from synflip import _version
    from synflip.cluster import worker

    worker.__version__ = _version.__version__


def other_sources() -> None:
    """Of another commit, whose version is the same."""
    from synflip.cluster import worker

    worker.todays_sources = worker.sources  # type: ignore[attr-defined]
    worker.sources = lambda: "0123456789ab"  # type: ignore[assignment]


def todays_sources() -> None:
    from synflip.cluster import worker

    worker.sources = worker.todays_sources  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "back", "line"),
    [
        (older("synflip"), today, "it has synflip 0.0.1, the client"),
        (older("torch"), today, "it has torch 0.0.1, the client"),
        (late, in_time, r"loading golden: it has synflip 0.0.1 of sources \w+, the client"),
        (
            other_sources,
            todays_sources,
            r"loading golden: it has synflip \S+ of sources 0123456789ab, the client",
        ),
    ],
    ids=["synflip", "torch", "late", "sources"],
)
def test_another_version_is_refused(
    client: Client, change: Callable[[], None], back: Callable[[], None], line: str
) -> None:
    with (
        on_workers(client, change, back),
        pytest.raises(SynflipError, match=rf"^worker tcp://\S+[:,] {line} .*: install .* there$"),
    ):
        room.infer(client, MODEL, IMAGES, 4, 3)
    assert same(room.infer(client, MODEL, IMAGES, 8, 3), golden())


def broken(error: str) -> Callable[[], None]:
    def change() -> None:
        from synflip.golden.cpu import Golden

        def run(self: Golden, request: InferenceRequest, progress: Progress | None = None) -> Result:
            raise {"bus": OSError("unplugged"), "memory": MemoryError(), "defect": ZeroDivisionError()}[error]

        Golden.whole_run = Golden.run  # type: ignore[attr-defined]
        Golden.run = run  # type: ignore[method-assign]

    return change


def whole() -> None:
    from synflip.golden.cpu import Golden

    Golden.run = Golden.whole_run  # type: ignore[attr-defined,method-assign]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("bus", r"^worker tcp://\S+, images \d+..\d+: unplugged$"),
        ("memory", r"^worker tcp://\S+, images .*: not enough memory$"),
    ],
)
def test_a_task_that_raises(client: Client, error: str, line: str) -> None:
    with on_workers(client, broken(error), whole), pytest.raises(SynflipError, match=line):
        room.infer(client, MODEL, IMAGES, 4, 3)
    assert same(room.infer(client, MODEL, IMAGES, 8, 3), golden())


def test_a_defect_is_raised_as_it_is(client: Client) -> None:
    with on_workers(client, broken("defect"), whole), pytest.raises(ZeroDivisionError):
        room.infer(client, MODEL, IMAGES, 4, 3)


def once() -> None:
    from synflip.golden.cpu import Golden

    run, failed = Golden.run, []

    def fails_once(self: Golden, request: InferenceRequest, progress: Progress | None = None) -> Result:
        if not failed:
            failed.append(1)
            raise OSError("unplugged for a moment")
        return run(self, request, progress)

    Golden.whole_run = run  # type: ignore[attr-defined]
    Golden.run = fails_once  # type: ignore[method-assign]


def test_a_device_that_fails_once_is_asked_again(client: Client) -> None:
    with on_workers(client, once, whole):
        assert same(room.infer(client, MODEL, IMAGES, 8, 3, chunk=64), golden())


def test_a_bad_pixel_of_lazy_images_names_them(client: Client, tmp_path: Path) -> None:
    wide = IMAGES.astype(np.int32)
    wide[77, 3] = 256
    lazy = dask.array.from_array(wide, chunks=(50, 12))
    with pytest.raises(SynflipError, match=r"images 72..79: pixel 3 of image 5 is 256"):
        room.infer(client, MODEL, lazy, 8, 3, chunk=64, out=tmp_path)
    assert list(tmp_path.iterdir()) == []  # nothing that is not whole


def test_no_worker_has_the_device(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "PATIENCE", 0.0)
    with pytest.raises(SynflipError, match=r"has 2 workers, none of them with --resources '/dev/ttyUSB7=1'"):
        room.infer(client, MODEL, IMAGES, 8, 3, device="/dev/ttyUSB7")


def test_a_worker_without_the_device_it_promised(client: Client) -> None:
    """The workers of the tests say that they have a GPU."""
    with pytest.raises(SynflipError, match=r"worker tcp://\S+, loading cuda: "):
        room.infer(client, MODEL, IMAGES, 8, 3, device="cuda")


class Eats(WorkerPlugin):
    """Every new worker computes until its memory is full."""

    def setup(self, worker: object) -> None:
        from synflip.golden.cpu import Golden

        def run(self: Golden, request: InferenceRequest, progress: Progress | None = None) -> Result:
            eaten = []
            while True:
                eaten.append(np.ones(1 << 21))

        Golden.run = run  # type: ignore[method-assign]


@pytest.mark.nightly
def test_a_piece_that_eats_all_memory(tmp_path: Path) -> None:
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=None, silence_logs=50, memory_limit="900MB"
        ) as small,
        Client(small) as client,
    ):
        client.register_plugin(Eats())
        with pytest.raises(SynflipError, match=r"images \d+\.\.\d+: 4 workers died while .* enough memory"):
            room.infer(client, MODEL, IMAGES, 8, 3)


@contextmanager
def command(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process in a session of its own, of which nothing is left after the block."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def session(leader: int) -> list[int]:
    """Processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getsid(int(entry.name)) == leader:
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                found += [int(entry.name)] if state != "Z" else []
        except (OSError, IndexError):
            continue
    return found


@pytest.mark.nightly
def test_a_scheduler_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    start = "import sys; from distributed.cli.{0} import main; sys.argv[0] = 'dask'; main()"
    with command("-c", start.format("dask_scheduler"), "--no-dashboard", "--port", "0") as scheduler:
        assert scheduler.stderr is not None
        address = next(line.split()[-1] for line in scheduler.stderr if "Scheduler at:" in line)
        with (
            command("-c", start.format("dask_worker"), address, "--no-nanny", "--nthreads", "1"),
            Client(address) as client,
        ):

            def cut(done: int, total: int) -> None:
                if scheduler.poll() is None:
                    os.killpg(scheduler.pid, signal.SIGKILL)

            with pytest.raises(SynflipError, match=f"the connection to the scheduler at {address} is lost"):
                room.infer(client, MODEL, IMAGES, 8, 3, chunk=16, progress=cut)


@contextmanager
def cable(address: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """An address that leads to another one, and what cuts all connections through it for ever."""
    host, port = address.removeprefix("tcp://").split(":")
    open_ends: list[socket.socket] = []

    def carry(here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while part := here.recv(1 << 16):
                there.sendall(part)
        with suppress(OSError):
            there.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with suppress(OSError):
            while True:
                ends = server.accept()[0], socket.create_connection((host, int(port)))
                open_ends.extend(ends)
                for pair in (ends, ends[::-1]):
                    threading.Thread(target=carry, args=pair, daemon=True).start()

    def cut() -> None:
        for end in (server, *open_ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"tcp://127.0.0.1:{server.getsockname()[1]}", cut
        finally:
            cut()


@pytest.mark.nightly
def test_a_connection_that_is_cut(processes: LocalCluster, client: Client) -> None:
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        cable(processes.scheduler_address) as (address, cut),
        Client(address) as far,
        pytest.raises(SynflipError, match=f"the connection to the scheduler at {address} is lost"),
    ):
        room.infer(far, MODEL, IMAGES, 8, 3, chunk=16, progress=lambda *_: cut())
    assert same(room.infer(client, MODEL, IMAGES, 8, 3), golden())  # the others go on


def pause(dask_worker: Worker) -> None:
    """It finds that its memory is nearly full."""
    dask_worker.memory_manager.memory_pause_fraction = 1e-9


def go_on(dask_worker: Worker) -> None:
    dask_worker.memory_manager.memory_pause_fraction = 0.99


@pytest.mark.nightly
def test_workers_that_are_all_paused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def until(status: str) -> None:
        while {worker["status"] for worker in client.scheduler_info()["workers"].values()} != {status}:
            time.sleep(0.05)

    monkeypatch.setattr(tasks, "PATIENCE", 0.0)
    with on_workers(client, pause, go_on):
        until("paused")
        with pytest.raises(SynflipError, match="has 2 workers, all of them paused"):
            room.infer(client, MODEL, IMAGES, 8, 3)
    until("running")
    assert same(room.infer(client, MODEL, IMAGES, 8, 3), golden())


def test_no_worker_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "PATIENCE", 1.0)
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=":0", silence_logs=50) as small,
        Client(small) as client,
    ):

        def leave(done: int, total: int) -> None:
            small.scale(0)

        with pytest.raises(SynflipError, match="has had no worker for 1 s: start some with dask worker"):
            room.infer(client, MODEL, np.repeat(IMAGES, 20, 0), 8, 3, chunk=16, progress=leave)


def dies_once(context: Context, data: str) -> tuple[()]:
    """An experiment whose first worker is killed."""
    mark = context.cache.folder / f"{data}.died"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    context.cache.row("signs", {"data": data}, lambda: {"accuracy": 0.5})
    return ()


class Experiments(WorkerPlugin):
    """Every worker, also one that joins later, makes rows in that way."""

    name = "experiments"

    def setup(self, worker: Worker) -> None:
        self.before = registry.EXPERIMENTS
        registry.EXPERIMENTS = tuple(replace(item, run=dies_once) for item in registry.EXPERIMENTS)

    def teardown(self, worker: Worker) -> None:
        registry.EXPERIMENTS = self.before


@pytest.mark.nightly
def test_rows_of_a_report_whose_workers_are_killed(client: Client, tmp_path: Path) -> None:
    context = Context(QUICK, ResultCache(tmp_path, "synflip report paper", "0123"))
    seen: list[tuple[str, int, int]] = []
    client.register_plugin(Experiments())
    try:
        clusters.fill(client, context, ["digits"], ["headline", "signs"], lambda *step: seen.append(step))
    finally:
        client.unregister_worker_plugin("experiments")
        client.wait_for_workers(2)
    assert seen == [("headline, digits", 1, 2), ("signs, digits", 2, 2)]
    assert [row["settings"] for row in context.cache.rows()] == [{"data": "digits"}]
    assert (tmp_path / "digits.died").exists() and not list(tmp_path.glob(".cluster-*"))


def test_a_folder_that_a_worker_does_not_share(client: Client, tmp_path: Path) -> None:
    here = clusters.Surroundings(QUICK, tmp_path, "", "", (), tmp_path / "not here", versions())
    with pytest.raises(
        SynflipError, match=rf"signs, digits: {tmp_path} is another folder here: --out must be"
    ):
        client.submit(clusters.run_experiment, here, "signs", "digits", pure=False).result()


SLOW = """
import signal, sys
from synflip.cli.app import main
from synflip.cluster import clients, device
class Told(device._Run):
    def _begin(self, piece):
        print("begun", flush=True)
        super()._begin(piece)
class Starts(clients.LocalCluster):
    def __init__(self, **options):
        print("begun", flush=True)
        super().__init__(**options)
if sys.argv.pop(1) == "starts":
    clients.LocalCluster = Starts
else:
    device._Run = Told
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it
    sys.exit(main(sys.argv[1:]))
"""


def all_of(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does


@pytest.mark.parametrize(
    ("when", "end"),
    [
        ("runs", all_of),
        pytest.param("starts", all_of, marks=pytest.mark.nightly),
        pytest.param("runs", subprocess.Popen.terminate, marks=pytest.mark.nightly),
        pytest.param("runs", subprocess.Popen.kill, marks=pytest.mark.nightly),
        pytest.param("far", all_of, marks=pytest.mark.nightly),
    ],
    ids=["Ctrl-C", "Ctrl-C at the start", "SIGTERM", "SIGKILL", "Ctrl-C of a cluster's client"],
)
def test_a_command_that_is_ended_is_one_line_and_no_process_is_left(
    processes: LocalCluster,
    client: Client,
    tmp_path: Path,
    when: str,
    end: Callable[[subprocess.Popen[str]], None],
) -> None:
    modelfile.save(MODEL, tmp_path / "m.safetensors")
    np.save(tmp_path / "x.npy", np.resize(IMAGES, (200_000, 12)))
    (tmp_path / "slow.py").write_text(SLOW)
    where = ["--cluster", processes.scheduler_address] if when == "far" else ["--workers", "1"]
    words = ["--samples", "2000", *where, "--out", str(tmp_path / "r.npz")]
    files = [str(tmp_path / "m.safetensors"), "--images", str(tmp_path / "x.npy")]
    with command(str(tmp_path / "slow.py"), when, "run", *files, *words) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "begun\n"
        end(process)
        killed = end is subprocess.Popen.kill
        said = process.stderr.read()
        assert "Traceback" not in said if killed else said == "error: interrupted\n"
        assert process.wait() == (-signal.SIGKILL if killed else 130)
        for _ in range(300):  # workers, and multiprocessing's own process, end when they see that it has
            if not session(process.pid):
                break
            time.sleep(0.1)
        assert session(process.pid) == []
    assert not (tmp_path / "r.npz").exists()
    if when == "far":
        assert same(room.infer(client, MODEL, IMAGES, 8, 3), golden())  # the workers go on


def test_ctrl_c_from_python(client: Client) -> None:
    def interrupt(done: int, total: int) -> None:
        signal.raise_signal(signal.SIGINT)

    # A background job of a shell ignores it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            room.infer(client, MODEL, IMAGES, 8, 3, chunk=16, progress=interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert same(room.infer(client, MODEL, IMAGES, 8, 3), golden())
