"""The plan of a cluster: by hand, and its tables."""

from pathlib import Path

import pytest
from synflip import modelfile
from synflip.benchmarks import tables
from synflip.benchmarks.clusters import Costs, plan
from synflip.cli import app

from tests.networks import random_model

COSTS = Costs(speed=1000.0, task=0.01, rate=1e6)


def test_workers_are_what_is_waited_for() -> None:
    """1000 images x 10 samples on 2 workers of 1000 a second: 5 s, and the last task's 1 s."""
    found = plan(COSTS, 2, 1000, 10, 100, 0, piece=100)
    assert (found.tasks, found.compute, found.seconds) == (10, 5.0, 6.0)
    assert found.line == pytest.approx(10 * 0.01 + 1000 * 100 / 1e6)
    assert found.in_flight == 2 * 2 * 100 * 100


def test_or_client_and_scheduler() -> None:
    """The same on 100 workers: 0.1 s of work, 0.2 s of tasks and bytes; a model of 1 MB reaches 3 in 2 s."""
    found = plan(COSTS, 100, 1000, 10, 100, 0, piece=100)
    assert found.compute == 0.1 and found.seconds == pytest.approx(0.2 + 1.0)
    assert plan(COSTS, 3, 1000, 10, 100, 10**6, piece=100).seconds == pytest.approx(2 + 10 / 3 + 1)


def test_rounds_of_samples_cost_more() -> None:
    """1000 images x 64 samples on 2 workers, none of which stops early: at once, and as four rounds of 16."""
    whole = plan(COSTS, 2, 1000, 64, 100, 0, piece=100)
    rounds = [plan(COSTS, 2, 1000, 16, 100, 0, piece=100) for _ in range(4)]
    assert sum(one.compute for one in rounds) == whole.compute
    assert sum(one.tasks for one in rounds) == 4 * whole.tasks
    assert sum(one.line for one in rounds) == pytest.approx(4 * whole.line)
    assert sum(one.seconds for one in rounds) >= whole.seconds


def test_pieces_are_those_of_the_cluster() -> None:
    """Ten seconds, 8 MiB, or half of a worker's share."""
    assert plan(COSTS, 1, 10**6, 10, 1, 0).tasks == 1000
    assert plan(COSTS, 1, 10**4, 1, 1 << 20, 0).tasks == 1250
    assert plan(COSTS, 10, 100, 10, 1, 0).tasks == 20


def test_the_tables_have_every_row() -> None:
    row = {"workers": 10, "tasks": 2, "compute": 1.0, "line": 1.0, "seconds": 2.0, "in_flight": 5}
    part = {
        "shape": "12-5", "samples": 64, "planned_images": 10**9, "model_bytes": 7,
        "costs": {"speed": 1e5, "task": 0.002, "rate": 1e8},
        "scaling": [
            {"kind": "weak", "workers": 2, "images": 8, "seconds": 1.0, "over_one": 0.9, "over_alone": 1.8}
        ],
        "plans": [{"images": "workers", **row}],
        "check": [{"task_seconds": 0.05, "measured": 3.0, **row}],
    }  # fmt: skip
    scaling, plans, check = (table.text(200) for table in tables.cluster(part))
    assert "weak, 8 images" in scaling and "1.80" in scaling
    assert "1,000,000,000 images x 64" in plans and "2.00 ms" in plans and "by the workers" in plans
    assert "1.50" in check


@pytest.mark.nightly
def test_the_part_of_the_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    modelfile.save(random_model((64, 20, 10)), "m.safetensors")
    Path("page.md").write_text("<!-- begin cluster -->\n<!-- end cluster -->")
    words = ["bench", "--quick", "--only", "cluster", "--model", "digits=m.safetensors"]
    assert app.main([*words, "--out", "f.json", "--page", "page.md"]) == 0
    page = Path("page.md").read_text()
    assert page.count("| strong") == page.count("| weak") == 2 and page.count("by the workers |") == 3
