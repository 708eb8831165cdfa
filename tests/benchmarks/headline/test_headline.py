"""The headline: its figures are those of the golden model's runs and of the builds' reports."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synflip import modelfile
from synflip.benchmarks.headline import figures, tables
from synflip.benchmarks.headline.published import NOT_SAID, PUBLISHED, SUPPLIES, Published, Supply
from synflip.cli import app
from synflip.data.dataset import Dataset
from synflip.data.registry import data_name
from synflip.errors import SynflipError
from synflip.evaluation import margins
from synflip.golden.cpu import Golden
from synflip.report.sections import find_section
from synflip.report.tables import section
from synflip.spec.fronts import Link
from synflip.spec.model import CompiledModel
from synflip.uncertainty.metrics import metrics

from tests.networks import random_model

PAGE = Path(__file__).parents[3] / "docs/results/headline.md"
IMAGES = 12
REPORT: dict[str, Any] = {
    "board": "ulx3s-85f",
    "device": "LFE5U-85F",
    "geometry": "16x2,bits=4,image_slots=4,margin_depth=16",
    "resources": {"LUTs": {"used": 1000}, "flip-flops": {"used": 900}, "block RAMs": {"used": 20}},
    "cells": {"LUT4": 1000, "MULT18X18D": 2, "ALU54B": 1, "TRELLIS_FF": 900},
    "clock_asked_hz": 50e6,
    "clock_reached_hz": 60e6,
}


def network(sizes: tuple[int, ...] = (64, 20, 16, 10)) -> CompiledModel:
    return replace(random_model(sizes), source={"data": "digits"})


def data() -> Dataset:
    rng = np.random.default_rng(4)
    pixels, labels = rng.integers(0, 17, (IMAGES, 64), dtype=np.uint8), np.arange(IMAGES) % 10
    return Dataset("digits", pixels, labels, pixels, labels, tuple("0123456789"), 16, (8, 8))


def write_report(folder: Path, **other: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(REPORT | other))
    return folder


@pytest.fixture
def build(tmp_path: Path) -> figures.Build:
    return figures.Build.read(write_report(tmp_path / "build"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a build, a network, and a page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(figures, "load", lambda name: data())
    write_report(Path("build"))
    Path("nets").mkdir()
    modelfile.save(network(), Path("nets/any.safetensors"))
    names = ("ours", "published")
    Path("page.md").write_text("\n".join(f"<!-- begin {name} -->\n<!-- end {name} -->" for name in names))
    return tmp_path


def fails(capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert app.main(["headline", *more]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


def test_a_build_is_what_its_report_says(build: figures.Build, tmp_path: Path) -> None:
    assert (build.luts, build.block_rams, build.dsps, build.clock, build.placed) == (1000, 20, 3, 50e6, True)
    assert build.coins_per_second == 16 * 2 * 50e6
    assert build.watts == pytest.approx(2.5)
    slow = figures.Build.read(write_report(tmp_path / "slow", clock_reached_hz=40e6, board="other"))
    assert slow.clock == 40e6 and slow.watts is None
    crab = figures.Build.read(write_report(tmp_path / "crab", board="orangecrab"))
    assert [item.serial_line for item in (build, slow, crab)] == [Link.ahead, Link.serial, None]
    bare = figures.Build.read(write_report(tmp_path / "bare", clock_reached_hz=None))
    assert bare.clock == 50e6 and not bare.placed
    (tmp_path / "bare" / "report.json").write_text(json.dumps({"board": "x"}))
    with pytest.raises(SynflipError, match="lacks some of board, device, geometry"):
        figures.Build.read(tmp_path / "bare")


@pytest.mark.parametrize("cell", ["MULT9X9", "ALU54B", "SB_MAC16", "DSP48E1"])
def test_what_multiplies_is_counted(tmp_path: Path, cell: str) -> None:
    build = figures.Build.read(write_report(tmp_path, cells={cell: 7, "CCU2C": 9, "ALU": 3, "SB_MUX": 1}))
    assert build.dsps == 7


def test_figures_are_those_of_the_golden_models_runs(build: figures.Build) -> None:
    model, dataset, most = network(), data(), figures.VOTES[-1]
    found = figures.figures(build, figures.Network(model, "digits", None), dataset, lambda *_: None)
    golden = Golden(build.geometry)
    golden.load(model)
    pixels, labels = dataset.test_images, dataset.test_labels
    for count in figures.VOTES:
        cycles = [golden.infer(pixels[i : i + 1], count, figures.SEED).cycles for i in range(IMAGES)]
        assert found.latency[count] == pytest.approx(np.mean(cycles) / build.clock)
    assert found.samples_per_second["single"] == pytest.approx(most * IMAGES * build.clock / sum(cycles))
    whole = golden.infer(pixels, most, figures.SEED, logits=True)
    batches = golden.infer(pixels, most, figures.SEED)
    assert found.samples_per_second["batch"] == pytest.approx(most * IMAGES * build.clock / batches.cycles)
    assert whole.logits is not None
    shares = (batches.votes + 0.1) / (most + 1)
    assert found.quality[most] == metrics(shares, labels)
    assert found.quality[1].accuracy == (whole.logits[0].argmax(1) == labels).mean()
    assert found.operations_per_second == pytest.approx(
        2 * (64 * 20 + 20 * 16 + 16 * 10) * found.samples_per_second["batch"]
    )
    assert found.joules_a_sample == pytest.approx(2.5 / found.samples_per_second["batch"])


def test_early_stopping_is_that_of_the_golden_models_runs(
    build: figures.Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each image in a run of its own; of at most as many samples as the accelerator has margins."""
    monkeypatch.setattr(figures, "ERROR", 0.2)  # so large that images leave at different samples
    model, dataset = network(), data()
    early = figures.Runs(build, model, dataset, lambda *_: None).early()
    golden = Golden(build.geometry)
    golden.load(model)
    most = build.geometry.margin_depth
    assert early["most"] == most == 16
    winners = margins.winners(golden, dataset.test_images, most, figures.SEED)
    table = margins.margins(margins.fit_shape(margins.count(winners[:, ::2], 10)), most, figures.ERROR)
    runs = [
        golden.infer(dataset.test_images[i : i + 1], most, figures.SEED, margin=table)
        for i in range(1, IMAGES, 2)
    ]
    seconds = np.array([run.cycles for run in runs]) / build.clock
    assert early["mean"] == pytest.approx(seconds.mean())
    assert early["slow"] == pytest.approx(np.percentile(seconds, 99))
    assert early["samples"] == pytest.approx(np.mean([run.used[0] for run in runs]))
    right = [run.winner[0] == label for run, label in zip(runs, dataset.test_labels[1::2], strict=True)]
    assert early["accuracy"] == pytest.approx(np.mean(right))
    assert len({run.used[0] for run in runs}) > 1


def test_a_network_runs_where_its_k_and_a_and_its_board_are(build: figures.Build) -> None:
    model = network()
    other = replace(build, geometry=replace(build.geometry, bits=3))
    assert figures.Network(model, "digits", None).meant_for(build)
    assert figures.Network(model, "digits", build.board).meant_for(build)
    assert not figures.Network(model, "digits", "icebreaker").meant_for(build)
    assert not figures.Network(model, "digits", None).meant_for(other)
    small = replace(build, geometry=replace(build.geometry, weight_depth=16))
    assert figures.Network(model, "digits", None).misfit(build) is None
    why = figures.Network(model, "digits", None).misfit(small)
    assert why is not None and why.endswith("weight entries a bank, there are 16")


def test_the_command_fills_the_page(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_report(Path("tiny"), geometry="16x2,bits=4,weight_depth=16", board="other")
    modelfile.save(network((64, 10)), Path("nets/icebreaker.safetensors"))
    write_report(Path("idle"), geometry="16x2,bits=3", board="without-networks")
    command = ["build", "tiny", "idle", "--networks", "nets", "--page", "page.md", "--json", "h.json"]
    assert app.main(["headline", *command]) == 0
    text, page = capsys.readouterr().out, Path("page.md").read_text()
    assert "VIBNN" in text and "predicted by the cycle model" in text
    assert "| ulx3s-85f | LFE5U-85F | 16x2, k = 4 | 50 | yes | 1,000 | 20 | 3 | 1.6 | 2.5 |" in page
    assert "| other | 16x2, k = 4 | digits 64-20-16-10 | does not fit: it needs " in page
    assert "| without-networks | LFE5U-85F | 16x2, k = 3 |" in page  # though no network has its k
    assert "digits 64-10" not in page  # it is the iCEBreaker's
    found = json.loads(Path("h.json").read_text())["builds"]
    assert [item["board"] for item in found] == ["ulx3s-85f", "other"]
    assert set(found[0]["latency_seconds"]) == {"1", "16", "64"} and "why" in found[1]
    link = f"| {found[0]['line_images_per_second']:,} |"
    row = next(line for line in page.splitlines() if line.startswith("| ulx3s-85f | 16x2") and link in line)
    assert f"| {round(found[0]['samples_per_second']['batch']):,} |" in row


def test_what_cannot_be_told_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ("build", "--networks")
    Path("empty").mkdir()
    assert "empty has no networks: make them" in fails(capsys, *common, "empty")
    assert "cannot read" in fails(capsys, "empty", "--networks", "nets")
    Path("bare.md").write_text("nothing")
    assert "has no section" in fails(capsys, *common, "nets", "--page", "bare.md")
    write_report(Path("build"), geometry="16x2,bits=3")
    assert "none of the networks runs on any" in fails(capsys, *common, "nets")
    modelfile.save(random_model((64, 10)), Path("nets/own.safetensors"))
    assert "own.safetensors does not say which of digits, mnist" in fails(capsys, *common, "nets")


def test_names_of_data_are_read_from_models() -> None:
    model = network()
    assert data_name(model) == "digits"
    assert data_name(replace(model, source={"data": "cifar10 (recompressed)"})) == "cifar10"
    for source in ({}, {"data": "wine.csv"}, {"data": 5}):
        assert data_name(replace(model, source=source)) is None


def test_published_figures_have_sources() -> None:
    names = [item.name for item in PUBLISHED]
    assert len(set(names)) == len(names) and names[0] == "VIBNN"
    assert all(item.source != NOT_SAID and item.like != NOT_SAID for item in PUBLISHED)
    assert all(getattr(item, field.name) for item in PUBLISHED for field in fields(Published))
    assert all(isinstance(item, Supply) and item.source for item in SUPPLIES.values())


def test_the_page_has_what_is_published() -> None:
    assert find_section(PAGE, "published")[1].strip() == section([tables.published()])
    find_section(PAGE, "ours")


def test_tables_hold_at_80_columns(build: figures.Build) -> None:
    item = figures.figures(build, figures.Network(network(), "digits", None), data(), lambda *_: None)
    misfit = figures.Misfit(
        build, "mnist 784-512-512-10", "it needs 5312 weight entries a bank, there are 2048"
    )
    for table in (*tables.ours([build], [item, misfit]), tables.published()):
        text = table.text(80)
        assert max(map(len, text.splitlines())) <= 80
        for cells in table.cells():
            for word in " ".join(cells).split():
                assert word in text.split()
