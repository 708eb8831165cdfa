"""Clusters on the command line."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from distributed import LocalCluster
from synflip import modelfile
from synflip.cli import app
from synflip.cluster import clients
from synflip.cluster.worker import Keeper

from tests.cli.helpers import fails
from tests.networks import random_model

RUN = ["run", "m.safetensors", "--images", "x.npy", "--samples", "6", "--seed", "3", "--logits"]


def test_workers_write_what_one_machine_writes(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([*RUN, "--out", "one.npz"]) == 0
    assert app.main([*RUN, "--workers", "1", "--geometry", "16x2", "--out", "r.npz", "--json", "r.json"]) == 0
    said = capsys.readouterr()
    assert "12-20-5 on golden of a cluster, 16x2" in said.out and "of all devices together" in said.out
    assert said.err == ""
    with np.load("one.npz") as want, np.load("r.npz") as have:
        assert all((want[name] == have[name]).all() for name in ("votes", "logit_sums", "used", "logits"))
    assert json.loads(Path("r.json").read_text())["geometry"] == "16x2"


def test_an_evaluation_by_workers_is_one_machine_s(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table, the numbers and the picture, byte for byte."""
    source = {"data": "digits", "logit_scale": 700.0}
    model = replace(random_model((64, 12, 10)), classes=tuple("0123456789"), source=source, input_max=16)
    modelfile.save(model, files / "digits.safetensors")

    def evaluated(*where: str) -> list[bytes]:
        words = ["evaluate", "digits.safetensors", "--samples", "4", "--seed", "3", "--out", "e", *where]
        assert app.main([*words, "--json", "e.json"]) == 0
        said = capsys.readouterr()
        assert said.err == ""
        found = [Path(name).read_bytes() for name in ("e.json", "e/evaluation.json", "e/evaluation.png")]
        return [said.out.encode(), *found]

    want = evaluated()
    assert evaluated("--workers", "2") == want
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as cluster:
        assert evaluated("--cluster", cluster.scheduler_address) == want
        assert cluster.workers[0].plugins[Keeper.name]._device is not None  # it was asked


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("--cluster tcp://127.0.0.1:1", "no scheduler answers at 'tcp://127.0.0.1:1'"),
        ("--cluster nonsense://x", "no scheduler answers at 'nonsense://x'"),
        ("--workers 2 --device /dev/ttyUSB7", "2 workers cannot share /dev/ttyUSB7: ask for one"),
    ],
)
def test_one_line(
    files: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: str,
    line: str,
) -> None:
    monkeypatch.setattr(clients, "CONNECT", 0.2)
    assert line in fails(capsys, *RUN, *options.split(), "--out", "r.npz")


def test_one_way_at_a_time(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = ("--workers", "2", "--cluster", "tcp://127.0.0.1:1")
    assert "exclude each other" in fails(capsys, *RUN, *both, "--out", "r.npz", status=2)


def test_workers_keep_the_memory_of_their_arrays() -> None:
    """Dask's own settings, which give it back, made a piece take nearly twice as long."""
    with clients.local_workers(1) as client:
        (there,) = client.run(lambda: {name: os.environ.get(name) for name in clients.GIVEN_BACK}).values()
    assert there == {name: str(size) for name, size in clients.GIVEN_BACK.items()}
