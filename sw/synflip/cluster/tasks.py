"""Tasks of a Dask cluster: their results as they come, and in one line why there are none."""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

from distributed import Client, Future, KilledWorker
from distributed.client import ClosedClientError

from synflip.cluster.worker import PACKAGES, other_version
from synflip.errors import SynflipError

LOOK = 2.0  # seconds between two looks at which workers there are
PATIENCE = 60.0  # seconds without a worker after which a run ends


def submit(client: Client, function: Any, *arguments: Any, **options: Any) -> Future:
    """Give a task to the cluster. options: of ``Client.submit``. Raises SynflipError if the client is
    closed."""
    key = f"synflip-{function.__name__}-{uuid4().hex}"
    with _connected(client):
        if client.scheduler_comm is not None:
            # What a client has sent it keeps for whoever debugs Dask: 1,000 messages, with images in them.
            client.scheduler_comm.recent_message_log.clear()
        return client.submit(function, *arguments, key=key, pure=False, **options)


def compute(client: Client, lazy: Any) -> Future:
    """Let the cluster make a lazy array. Raises SynflipError if the client is closed."""
    with _connected(client):
        return client.compute(lazy)


class Crew:
    """The workers that can be given tasks. count: how many they were at the last look."""

    def __init__(self, client: Client, resources: Mapping[str, float]) -> None:
        """resources: that a worker must have. Waits until there is one; raises SynflipError as ``look``."""
        self._client, self._resources = client, resources
        self.count = 0
        self._looked = float("-inf")
        self._alone = time.monotonic()
        self.look()
        while not self.count:
            time.sleep(LOOK)
            self.look()

    def look(self) -> None:
        """Count them, if that is not just done. Raises SynflipError if there was none for PATIENCE, and if
        the scheduler is gone."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return
        self._looked = now
        with _connected(self._client):
            workers = self._client.scheduler_info().get("workers", {}).values()
        running = [item for item in workers if item["status"] == "running"]
        able = [item for item in running if self._has_resources(item["resources"])]
        self.count = len(able)
        if able:
            self._alone = now
        elif now - self._alone >= PATIENCE:
            raise SynflipError(self._why(len(workers), len(running)))

    def _has_resources(self, there: Mapping[str, float]) -> bool:
        """Whether a worker has what a task takes, or more: it may have two GPUs."""
        return all(there.get(name, 0) >= wanted for name, wanted in self._resources.items())

    def _why(self, workers: int, running: int) -> str:
        where = f"the scheduler at {_address(self._client)}"
        if running:
            words = ",".join(f"{name}={value:g}" for name, value in self._resources.items())
            return f"{where} has {running} workers, none of them with --resources {words!r}: start one"
        if workers:
            return (
                f"{where} has {workers} workers, all of them paused: they need more memory (--memory-limit)"
            )
        return f"{where} has had no worker for {PATIENCE:.0f} s: start some with dask worker"


class Tasks:
    """Tasks that are under way. Each has a note of the caller's, and a name for messages."""

    def __init__(self, client: Client, crew: Crew) -> None:
        self._client, self._crew = client, crew
        self._under_way: dict[Future, tuple[Any, str]] = {}
        self._done: SimpleQueue[Future] = SimpleQueue()

    def __len__(self) -> int:
        return len(self._under_way)

    def add(self, future: Future, note: Any, what: str) -> None:
        """Wait for ``future`` too."""
        self._under_way[future] = (note, what)
        future.add_done_callback(self._done.put)

    def next(self) -> tuple[Any, Any]:
        """Wait for one of them; its note, and what it gives. Raises as ``result_of``."""
        while True:
            self._crew.look()
            try:
                future = self._done.get(timeout=LOOK)
            except Empty:
                continue
            note, what = self._under_way[future]
            value = result_of(future, self._crew, what)
            del self._under_way[future]
            return note, value

    def cancel(self) -> None:
        """Tell the cluster that nobody waits for them any more."""
        if self._under_way:
            with suppress(Exception):  # whatever is wrong with the cluster was said already
                self._client.cancel(list(self._under_way), force=True)


def result_of(future: Future, crew: Crew, what: str) -> Any:
    """What a task gives. Raises SynflipError if its workers died, and if the cluster is gone."""
    while True:
        try:
            return future.result(timeout=LOOK)
        except TimeoutError:
            crew.look()
        except (CancelledError, UnboundLocalError):
            # The second is what distributed raises of a future that is cancelled while it is waited for.
            if not future.cancelled():
                raise
            raise SynflipError(_gone(future.client)) from None
        except KilledWorker as error:
            raise SynflipError(
                f"{what}: {error.allowed_failures + 1} workers died while they computed it, the last at "
                f"{error.last_worker.address}: do they have enough memory?"
            ) from None


def check_versions(client: Client) -> None:
    """Raise SynflipError if a worker has another version of one of PACKAGES, or none."""
    found: dict[str, Any] = client.get_versions(packages=list(PACKAGES))  # type: ignore[assignment]
    for address, worker in sorted(found["workers"].items()):
        for name in PACKAGES:
            there, wanted = (
                (side["packages"][name] or "none").split("+")[0] for side in (worker, found["client"])
            )
            if there != wanted:
                raise SynflipError(f"worker {address}: {other_version(name, there, wanted)}")


@contextmanager
def _connected(client: Client) -> Iterator[None]:
    """Raises SynflipError if the scheduler is gone, and if the client is closed."""
    try:
        if client.status in ("closing", "closed"):  # of which not every call complains
            raise ClosedClientError
        yield
    except (OSError, CancelledError):
        raise SynflipError(_gone(client)) from None
    except ClosedClientError:
        raise SynflipError("the client is closed: connect another one to the scheduler") from None


def _gone(client: Client) -> str:
    return f"the connection to the scheduler at {_address(client)} is lost: nothing more comes from it"


def _address(client: Client) -> str:
    return str(client.scheduler.address) if client.scheduler else "its address"
