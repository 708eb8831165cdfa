"""The bench: what it finds has the right shape, lost cycles add up, and what is done is not done again."""

import json
import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synflip import modelfile
from synflip.benchmarks import (
    engine_cycles,
    golden_convolutions,
    lane_balance,
    memory,
    registry,
    scaling,
    simulator,
    start_up,
    tables,
)
from synflip.benchmarks.findings import Findings
from synflip.benchmarks.networks import QUICK_NOTE, Models
from synflip.benchmarks.plain_torch import PlainLoop, PlainNetwork
from synflip.benchmarks.plots import PLOTS
from synflip.benchmarks.timing import race
from synflip.cli import app
from synflip.data.dataset import Dataset
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.report.sections import find_section
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel, Layer

from tests.docs.pages import ROOT
from tests.networks import random_model

MACHINE = {"processor": "a", "cores": 1, "torch": "0"}


def sparse_images(count: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    return (rng.integers(0, 256, (count, width)) * (rng.random((count, width)) < 0.3)).astype(np.uint8)


@pytest.mark.parametrize("size", ["16x1", "16x8", "32x4"])
@pytest.mark.parametrize("sizes", [(40, 48, 33, 7), (200, 5), (24, 100, 20)])
def test_cycles_add_up(size: str, sizes: tuple[int, ...]) -> None:
    """All causes to all cycles, and those of the ideal to the ideal; cycles are those of inferences."""
    model, pixels, geometry = random_model(sizes), sparse_images(12, sizes[0]), Geometry.parse(size)
    found = engine_cycles.account(model, geometry, pixels, 5, (1, 4, 12))
    golden = Golden(geometry)
    golden.load(model)
    for batch, item in found.items():
        causes = item["causes"]
        assert tuple(causes) == engine_cycles.CAUSES
        assert sum(causes.values()) == item["cycles"]
        assert causes[engine_cycles.STREAMING] + causes[engine_cycles.IMBALANCE] == item["ideal"]
        assert item["passes"] == 60
        runs = [golden.infer(pixels[at : at + batch], 5, 0).cycles for at in range(0, 12, batch)]
        assert item["cycles"] == sum(runs)
        assert min(causes[name] for name in causes if name != engine_cycles.KEYS) >= 0
        assert (causes[engine_cycles.IMBALANCE] > 0) == (geometry.banks > 1)


def test_few_events_wait_for_keys() -> None:
    """A network of no work waits for every key; one image after the other, nothing else is shared."""
    model = random_model((256, 4))
    found = engine_cycles.account(model, Geometry.parse("16x1"), np.zeros((2, 256), np.uint8), 6, (1,))[1]
    assert found["ideal"] == 0
    assert found["causes"][engine_cycles.KEYS] > found["cycles"] / 2
    busy = engine_cycles.account(model, Geometry.parse("16x1"), np.full((2, 256), 255, np.uint8), 6, (1,))[1]
    assert busy["causes"][engine_cycles.KEYS] < found["causes"][engine_cycles.KEYS]


def test_the_plain_loop_is_the_same_network() -> None:
    """With coins that are never or always heads, its votes are the golden model's."""
    rng = np.random.default_rng(5)
    layers = tuple(
        Layer(
            (15 * rng.integers(0, 2, (outputs, rows))).astype(np.uint16),
            rng.integers(0, 2, (outputs, rows)).astype(np.uint8),
            rng.integers(-99, 99, outputs).astype(np.int32),
        )
        for rows, outputs in pairwise((30, 40, 20, 6))
    )
    model = CompiledModel(layers, 4, 8, (3, 2), tuple("abcdef"), 255)
    pixels = sparse_images(3000, 30)
    golden = Golden()
    golden.load(model)
    votes = golden.infer(pixels, 3, 1).votes
    assert len(set(votes.argmax(1))) > 1
    assert np.array_equal(PlainLoop(model, 1).votes(pixels, 3), votes)


def test_the_plain_network_is_the_same_network() -> None:
    """Its logits are the golden model's of the sample whose coins it has; about half of the hidden
    activations are above zero, so that neither side has an easy network."""
    model = golden_convolutions.network()
    x = np.random.default_rng(2).integers(0, 256, (5, model.inputs), dtype=np.uint8)
    with Golden() as golden:
        golden.load(model)
        coins = golden.coins(7, 0)
        wanted = golden.infer(x, 1, 7).logit_sums
        hidden = [inputs for inputs, _ in golden.layers(torch.from_numpy(x), coins)][1:]
    images = torch.from_numpy(x).view(-1, 32, 32, 3).permute(0, 3, 1, 2).to(torch.float32)
    assert PlainNetwork(model, coins).logits(images).tolist() == wanted.tolist()
    assert all(0.2 < (inputs > 0).float().mean() < 0.8 for inputs in hidden)


def test_tables_say_what_multiplies() -> None:
    rows = [
        {"images": 1000, "threads": 1, "way": way, "golden": golden, "plain": 0.02, "products": 0.002}
        for way, golden in (("int8", 0.004), ("avx2", 0.005))
    ]
    part = {"shape": "3-2", "flags": ["avx2", "avx512_vnni"], "ways": ["int8", "avx2"], "rows": rows}
    first, second = tables.TABLES["golden"](part)
    assert (
        first.title
        == "A network sample of 3-2, measured on this machine (avx2, avx512_vnni), products by int8"
    )
    assert second.title.endswith("products by avx2")
    assert first.rows == [("1,000", "1", "4.00", "20.00", "2.00", "5.0")]
    assert second.rows == [("1,000", "1", "5.00", "20.00", "2.00", "4.0")]
    (table,) = tables.TABLES["convolutions"](
        {"shape": "3-2", "flags": [], "way": "float32", "rows": rows[:1]}
    )
    assert table.title == "3-2, measured on this machine (no flags), products by float32"
    assert table.rows == [("1,000", "1", "4.00", "20.00", "0.20")]


def test_lines() -> None:
    line = scaling.fit([1, 2, 3], [5, 7, 9])
    assert line["slope"] == pytest.approx(2) and line["intercept"] == pytest.approx(3)
    assert line["residual"] == pytest.approx(0, abs=1e-12)
    assert scaling.fit([0, 1, 2], [0, 3, 0])["residual"] == pytest.approx(2 / 3)


def test_a_race_takes_turns() -> None:
    order: list[str] = []
    seconds = race({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b"] * 3
    assert seconds.keys() == {"a", "b"} and max(seconds.values()) < 1


def test_a_quick_bench_trains_on_few_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (5000, 784), dtype=np.uint8)
    data = Dataset(
        "mnist", pixels, rng.integers(0, 10, 5000), pixels, rng.integers(0, 10, 5000),
        tuple("0123456789"), 255, (28, 28),
    )  # fmt: skip
    seen = []

    def trained(data: Dataset, *rest: Any) -> Any:
        seen.append((len(data.train_images), len(data.train_labels), len(data.test_images)))
        raise KeyboardInterrupt

    monkeypatch.setattr("synflip.training.train.train", trained)
    for quick in (True, False):
        with pytest.raises(KeyboardInterrupt):
            Models(tmp_path, quick, _data={"mnist": data}).model("mnist-512")
    assert seen == [(3000, 3000, 5000), (5000, 5000, 5000)]


def test_findings_are_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def part(name: str) -> Any:
        def run(models: Models) -> dict[str, Any]:
            if name == "broken" and "broken" not in done:
                done.append(name)
                raise KeyboardInterrupt
            done.append(name)
            return {"of": name}

        return run

    monkeypatch.setattr(registry, "PARTS", {name: part(name) for name in ("one", "broken", "two")})
    path, models = tmp_path / "f.json", Models(tmp_path, quick=True)
    with pytest.raises(KeyboardInterrupt):
        registry.run(Findings(path, MACHINE, True), ["one", "broken", "two"], models)
    findings = Findings(path, MACHINE, True)
    assert list(findings.parts) == ["one"]
    assert registry.run(findings, ["one", "broken", "two"], models) == ["broken", "two"]
    assert done == ["one", "broken", "broken", "two"]
    found = json.loads(path.read_text())
    assert found["machine"] == MACHINE and found["quick"] is True
    assert [item["of"] for item in found["parts"].values()] == ["one", "broken", "two"]
    for machine, quick in (({"processor": "b"}, True), (MACHINE, False)):
        with pytest.raises(SynflipError, match="is of another bench"):
            Findings(path, machine, quick)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"parts": 1}', "[" * 100_000, "x" * (5 << 20)])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "f.json"
    path.write_text(content)
    with pytest.raises(SynflipError, match=r"f\.json is (not|too large to be) of (synflip|a) bench"):
        Findings(path, MACHINE, True)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, which is the working one, with a small network in place of each of the bench's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    modelfile.save(random_model((64, 40, 20, 10)), tmp_path / "m.safetensors")
    monkeypatch.setattr("synflip.benchmarks.networks.NETWORKS", {"digits": ("digits", (64, 128))})
    for module in (engine_cycles, lane_balance):
        monkeypatch.setattr(module, "NETWORKS", {"digits": None})
    for module in (memory, scaling, registry.golden_cpu):
        monkeypatch.setattr(module, "NETWORK", "digits")
    monkeypatch.setattr(scaling, "TURNS", 1)
    monkeypatch.setattr(registry.golden_cpu, "QUICK_IMAGES", (1, 3))
    monkeypatch.setattr(golden_convolutions, "QUICK_IMAGES", (2,))
    monkeypatch.setattr(memory, "QUICK_IMAGES", (10, 30))
    monkeypatch.setattr(simulator, "QUICK_GEOMETRIES", ())
    return tmp_path


def bench(*more: str) -> int:
    return app.main(["bench", "--quick", "--model", "digits=m.safetensors", "--out", "f.json", *more])


def test_the_page_of_the_docs_has_a_place_for_every_part() -> None:
    for name in registry.PARTS:
        for processor in ("-int8", "-avx2") if name in registry.BY_PROCESSOR else ("",):
            find_section(ROOT / "docs" / "results" / "performance.md", name + processor)


def test_the_command_fills_file_page_and_pictures(
    command: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("hls4ml", "distributed"):
        monkeypatch.setitem(sys.modules, package, None)
    names = registry.chosen(None)
    optional = ("gpu", "rivals", "cluster")
    assert [name for name in registry.PARTS if name not in optional] == [n for n in names if n != "gpu"]
    monkeypatch.setattr(registry, "kernels_for", lambda: ("float32", None))
    filled = [f"{name}-float32" if name in registry.BY_PROCESSOR else name for name in names]
    other = "<!-- begin golden-avx2 -->\nanother processor's\n<!-- end golden-avx2 -->"
    sections = "\n".join(f"<!-- begin {name} -->\n<!-- end {name} -->" for name in filled)
    Path("page.md").write_text(f"{sections}\n{other}\n")
    assert bench("--page", "page.md", "--pictures", "p") == 0
    text = capsys.readouterr().out
    missing = "left out: rivals, for the package hls4ml is missing: pip install 'synflip[benchmarks]'"
    assert text.splitlines().count(missing) == 1
    assert "over ideal" in text and "times as fast" in text
    assert QUICK_NOTE in text
    found = json.loads(Path("f.json").read_text())
    assert list(found["parts"]) == names
    assert all(len(item["load"]) == 2 for item in found["parts"].values())
    assert {item["images"] for item in found["parts"]["golden"]["rows"]} == {1, 3}
    assert all(item["bytes"] > 1 << 20 for item in found["parts"]["memory"]["rows"])
    starts = {row["command"]: row for row in found["parts"]["start"]["rows"]}
    assert len(starts) == 4 and starts.keys() > start_up.WANTED.keys()
    assert all(row["seconds"] > 0 for row in starts.values()) and starts["synflip run"]["processor"] > 0
    for item in found["parts"]["balance"]["rows"]:
        assert item["passes"] == 64
        assert 0.8 < item["after"] / item["before"] < 1.1
    assert len(found["parts"]["scale"]["lines"]) == 7
    assert sorted(path.name for path in Path("p").iterdir()) == [
        f"performance-{name}.png" for name in sorted(PLOTS)
    ]
    page = Path("page.md").read_text()
    assert page.count(QUICK_NOTE) == len(names) and other in page
    assert "| digits 64-40-20-10 | 64x8 | 16 |" in page
    titles = [line for line in page.splitlines() if line.endswith(":")]
    for line in titles:
        assert re.search("[Pp]redicted|[Mm]easured|[Ss]imulated|Where they go", line), line

    def again(models: Models) -> dict[str, Any]:
        raise AssertionError("measured again")

    monkeypatch.setattr(registry, "PARTS", dict.fromkeys(names, again))
    assert bench("--only", "engine", "--json", "n.json") == 0
    assert Path("f-engine.png").exists()
    asked = {**found, "parts": {"engine": found["parts"]["engine"]}}
    assert json.loads(Path("n.json").read_text()) == asked


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu(command: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("--only", "gpu") == 1
    assert "torch finds no CUDA GPU here; leave gpu out of --only" in capsys.readouterr().err


def test_gpu_table() -> None:
    rows = [{"images": 1000, "golden": 0.004, "votes": 0.001, "plain": 0.002}]
    table = tables.TABLES["gpu"]({"shape": "3-2", "gpu": "XYZ", "rows": rows})[0]
    assert "3-2 on an XYZ" in table.title
    assert table.rows == [("1,000", "4.00", "1.00", "2.00", "0.5", "2.0")]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--only", "engine,nothing"), "no part 'nothing' in the bench; there are engine, balance, golden"),
        (("--model", "digits"), "--model 'digits' is not NAME=M.safetensors"),
        (("--model", "a=b"), "no network 'a' in the bench; there are digits"),
        (("--only", "engine", "--page", "page.md"), "page.md has no section between the lines"),
    ],
)
def test_bad_requests(
    command: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], words: str
) -> None:
    Path("page.md").write_text("nothing")
    assert bench(*more) == 1
    _, error = capsys.readouterr()
    assert error.startswith("error: ") and error.count("\n") == 1 and words in error


def test_start_up_runs_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command in turn, and the least of its turns by each clock. One that fails stops the bench."""
    modelfile.save(random_model((64, 40, 20, 10)), tmp_path / "m.safetensors")
    asked: list[tuple[str, ...]] = []

    def command(folder: Path, text: str, *words: str) -> str:
        asked.append((text, *words))
        if words[:1] == ("run",):
            assert np.load(folder / "x.npy").shape == (100, 64)
            assert modelfile.load(folder / words[1]).shape == "64-40-20-10"
        return ""

    monkeypatch.setattr(start_up, "command", command)
    monkeypatch.setattr(start_up, "QUICK_TURNS", 2)
    part = start_up.run(Models(tmp_path, True, {"digits": tmp_path / "m.safetensors"}))
    assert len(asked) == 2 * 3 * 4  # two clocks, two turns and one before, four commands
    assert [words[1:2] for words in asked[:4]] == [(), ("--help",), (), ("run",)]
    assert [row["wanted"] for row in part["rows"]] == [None, 0.3, None, 2]
    (table,) = tables.TABLES["start"](part)
    assert "measured on this machine, the best turn of 2" in table.title
    assert [row[3] for row in table.rows] == ["-", "0.3 s", "-", "2 s"]
    monkeypatch.undo()
    assert start_up.command(tmp_path, "print(3)") == "3\n"
    assert "Usage" in start_up.command(tmp_path, start_up.SYNFLIP, "--help")
    with pytest.raises(SynflipError, match="synflip run nothing failed: error: Missing option"):
        start_up.command(tmp_path, start_up.SYNFLIP, "run", "nothing")


def test_the_processors_time_is_that_of_children(tmp_path: Path) -> None:
    """What a command computes counts once it has ended, what this process computes does not."""
    before = start_up._seconds_of_children()
    sum(range(1_000_000))
    assert start_up._seconds_of_children() == before
    start_up.command(tmp_path, "sum(range(3_000_000))")
    assert start_up._seconds_of_children() > before


def test_images_over_and_over(tmp_path: Path) -> None:
    pixels = sparse_images(4, 6)
    memory.write_images(tmp_path / "x.npy", pixels, 10)
    assert np.array_equal(np.load(tmp_path / "x.npy"), pixels[np.arange(10) % 4])


def test_the_simulator_is_timed_with_an_empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("SYNFLIP_CACHE", "mine")
    with simulator.empty_cache():
        inside = os.environ["SYNFLIP_CACHE"]
        assert inside != "mine" and not list(Path(inside).iterdir())
    assert os.environ["SYNFLIP_CACHE"] == "mine"
