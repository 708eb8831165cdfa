"""Clients of clusters: of one that runs somewhere, and of workers that are started here for a while."""

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker

import dask
from distributed import Client, LocalCluster

from synflip.cluster.device import tags
from synflip.devices.registry import DeviceName
from synflip.errors import SynflipError
from synflip.util.text import first_line, one_line

KEPT_MESSAGES = "distributed.admin.low-level-log-length"  # of a connection, 1,000 unless set
CONNECT = 20.0  # seconds that a scheduler has to answer
#: Bytes from which on a worker's malloc gives memory back. With Dask's, 64 KiB and 128 KiB, the arrays of
#: every network sample are new pages of the system.
GIVEN_BACK = {"MALLOC_TRIM_THRESHOLD_": 1 << 28, "MALLOC_MMAP_THRESHOLD_": 1 << 25}


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of the scheduler at ``address``, such as tcp://10.0.0.1:8786. Raises SynflipError if none
    answers there."""
    with quiet():
        try:
            client = Client(address, timeout=CONNECT)
        except (OSError, ValueError, TypeError) as error:
            why = one_line(first_line(error))
            raise SynflipError(
                f"no scheduler answers at {address!r}, an address is tcp://HOST:PORT: {why}"
            ) from None
        try:
            yield client
        finally:
            client.close()


@contextmanager
def local_workers(count: int, device: str = "golden") -> Iterator[Client]:
    """A client of ``count`` workers, processes of one thread each, which end with the block.

    device: what they are for; each may open it. Raises SynflipError if several were to open one serial port.
    """
    wanted = tags(device)
    ports = [name for name in wanted if DeviceName.parse(name).port]
    if ports and count > 1:
        raise SynflipError(f"{count} workers cannot share {ports[0]}: ask for one")
    given_back = {f"distributed.nanny.pre-spawn-environ.{name}": size for name, size in GIVEN_BACK.items()}
    with quiet(), ExitStack() as stack:
        with _interrupts_held(), dask.config.set(given_back):  # an interrupt at its end ends the workers
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    silence_logs=logging.CRITICAL,
                    resources=wanted,
                )
            )
        yield stack.enter_context(Client(cluster))


@contextmanager
def quiet() -> Iterator[None]:
    """What Dask says on stderr is for its own users: here every failure is one line. Nor does it keep the
    messages that it has sent, with the images in them."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), dask.config.set({KEPT_MESSAGES: 0}):
            warnings.filterwarnings("ignore", module="distributed")
            yield
    finally:
        logging.disable(before)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C in a terminal goes to every process. Threads that begin in the block, and so the processes that
    they start, also later, never see it: only the caller's thread does, after the block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its start, at the first process, would let the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
