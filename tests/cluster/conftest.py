"""Clusters on loopback, with two workers each: in this process, and as processes under nannies."""

import logging
import os
from collections.abc import Iterator
from typing import Any

import dask.config
import pytest
from distributed import LocalCluster

#: A busy machine may be silent for long. The variables are for the workers that are processes.
PATIENT = {"distributed.comm.timeouts.tcp": "10 minutes", "distributed.scheduler.worker-ttl": "30 minutes"}
for name, value in PATIENT.items():
    os.environ["DASK_" + name.upper().replace("-", "_").replace(".", "__")] = value
dask.config.set(PATIENT)

OPTIONS: dict[str, Any] = {
    "n_workers": 2,
    "threads_per_worker": 1,
    "dashboard_address": None,
    "silence_logs": logging.CRITICAL,
    "resources": {"cuda": 1},
}


@pytest.fixture(scope="module")
def threads() -> Iterator[LocalCluster]:
    """Workers that are threads, which talk over loopback all the same: quick to start."""
    with LocalCluster(processes=False, protocol="tcp", **OPTIONS) as started:
        yield started


@pytest.fixture(scope="module")
def processes() -> Iterator[LocalCluster]:
    """Workers that are processes, and can be killed."""
    with LocalCluster(**OPTIONS) as started:
        yield started
