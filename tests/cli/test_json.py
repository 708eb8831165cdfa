"""--json: the numbers that a command prints, for programs."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synflip import modelfile
from synflip.cli import app
from synflip.cli.reference import commands
from synflip.spec.input_quantizer import Column, InputQuantizer
from synflip.training.ladder import VOTES
from synflip_hdl.boards.catalogue import every_board
from torch import nn

from tests.cli.helpers import ROOT
from tests.networks import random_network


def written(*words: str) -> dict[str, Any]:
    """The file that a command writes."""
    file = Path("deep/n.json")  # its folder is made
    file.unlink(missing_ok=True)
    assert app.main([*words, "--json", str(file)]) == 0
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_the_page_names_the_commands() -> None:
    page = (ROOT / "docs/reference/cli.md").read_text()
    names = page.partition("that a command prints. ")[2].partition(" take it.")[0]
    taking = {
        words.removeprefix("synflip ")
        for words, command in commands()
        if any("--json" in item.opts for item in command.params)
    }
    assert set(re.findall("`(.+?)`", names)) == taking


def test_every_command_that_prints_figures_takes_it() -> None:
    """But for those that print none."""
    none = {"verilog", "simulate", "program", "diagram blocks", "diagram pass", "diagram waves", "serve"}
    without = {
        words.removeprefix("synflip ")
        for words, command in commands()
        if not any("--json" in item.opts for item in command.params)
    }
    assert without == none


def test_images_and_arrays_for_c(files: Path) -> None:
    assert written("images", "digits", "--count", "3", "--out", "d.npy")["shape"] == [3, 64]
    found = written("export-c", "m.safetensors", "--out", "c")
    assert {path.name for path in Path("c").iterdir()} == set(found["files"]) and found["bytes"] > 100


def test_evaluate(files: Path) -> None:
    assert (
        app.main(["train", "--hidden", "8", "--epochs", "1", "--samples", "2", "--out", "t.safetensors"]) == 0
    )
    found = written("evaluate", "t.safetensors", "--samples", "2", "--out", "e")
    assert found == json.loads(Path("e/evaluation.json").read_text()) and found["aggregates"]


def test_info(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = modelfile.load("m.safetensors")
    found = written("info", "m.safetensors")
    assert found["network"] == model.shape and found["shifts"] == list(model.shifts)
    assert found["classes"] == list(model.classes) and found["source"] == model.source
    assert f"{found['synapses']:,}, of which {found['synapses_without_heads']:,}" in capsys.readouterr().out


def test_info_of_features(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All classes and all ranges, in both."""
    quantizer = InputQuantizer(np.array([-1.5, 0]), np.array([2.5, 9]), (1, 2), (Column("a"), Column("b")))
    model = replace(random_network(np.random.default_rng(1), (2, 30)), input_quantizer=quantizer)
    modelfile.save(model, Path("f.safetensors"))
    found = written("info", "f.safetensors")
    assert (found["input"]["low"], found["input"]["high"]) == ([-1.5, 0], [2.5, 9])
    said = " ".join(capsys.readouterr().out.split())
    assert f"classes {', '.join(map(str, range(30)))}" in said and "column: a -1.5..2.5" in said


def test_run(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("run", "m.safetensors", "--images", "x.npy", "--samples", "3", "--seed", "5")
    found = written(*words, "--geometry", "16x2", "--out", "r.npz")
    with np.load("r.npz") as result:
        assert found["samples_used"] == result["used"].sum() and found["cycles"] == result["cycles"]
    assert f"cycles            {found['cycles']:,} predicted" in capsys.readouterr().out.replace(
        "  cycles", "cycles"
    )
    assert (found["seed"], found["samples"], found["geometry"], found["device"]) == (5, 3, "16x2", "golden")


def test_verify_and_margins(files: Path) -> None:
    words = ("m.safetensors", "--images", "x.npy", "--samples", "4")
    found = written("verify", *words, "--device", "golden", "--geometry", "16x2")
    assert found["equal"] is True and set(found["different"].values()) == {0}
    assert found["compared"]["votes"] > 0 and found["cycles_predicted"] == found["cycles_counted"]
    found = written("margins", *words, "--out", "margins.txt")
    assert ",".join(map(str, found["margins"])) == Path("margins.txt").read_text().strip()
    assert found["trial"]["accuracy"] is None and 0 < found["trial"]["samples"] <= 4


def test_train_and_convert(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--epochs", "1", "--samples", "2", "--out", "t.safetensors")
    found = written("train", "--hidden", "8", *words)
    said = capsys.readouterr().out
    assert found["network"] == "64-8-10" and found["files"] == ["t.safetensors"]
    assert found["source"] == modelfile.load("t.safetensors").source
    assert f"{found['source']['accuracy_of_the_vote']:.2%}" in said
    assert f"{found['training_seconds']:.1f} s" in said and f" {found['test_images']} " in said
    network = nn.Sequential(nn.Linear(64, 10)).eval()
    torch.export.save(torch.export.export(network, (torch.zeros(2, 64),)), "n.pt2")
    found = written("convert", "n.pt2", *words)
    assert f"{found['source']['accuracy_before_fine_tuning']:.2%}" in capsys.readouterr().out
    assert found["votes_of_the_ladder"] == VOTES


def test_merge(files: Path) -> None:
    words = ("run", "m.safetensors", "--images", "x.npy", "--samples", "4", "--seed", "5")
    for part in ("1", "2"):
        written(*words, "--shards", f"{part}/2", "--out", f"r{part}.npz")
    found = written("merge", "r1.npz", "r2.npz", "--out", "r.npz")
    with np.load("r.npz") as result:
        assert found == {"parts": 2, "seed": 5, "images": 7, "samples": 4, "cycles": int(result["cycles"])}


def test_boards(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = written("boards")
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    for model in found["models"]:
        board, *numbers = model.values()
        assert [board, *(f"{number:,}" for number in numbers)] in said
    assert [board["board"] for board in found["boards"]] == [*every_board()]
    names = ("models", "parts", "end to end")
    sections = (f"<!-- {side} {name} -->" for name in names for side in ("begin", "end"))
    Path("page.md").write_text("\n".join(sections))
    assert written("boards", "--page", "page.md") == found


def test_the_map_and_the_netlist(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = written("map", "--format", "c", "--out", "synflip.h")
    defined = Path("synflip.h").read_text()
    for kind, prefix in (("registers", "REG"), ("axi_registers", "AXI"), ("regions", "REGION")):
        assert len(found[kind]) >= 3
        for item in found[kind]:
            assert f"#define SYNFLIP_{prefix}_{item['name']} {item['address']:#x}u" in defined
    cells = {"SB_LUT4": 9, "SB_DFF": 3}
    monkeypatch.setattr("synflip_sim.simulators.netlist.synthesize", lambda *arguments: cells)
    found = written("netlist", "--family", "ice40", "--geometry", "16x2", "--out", "netlist")
    assert found == {"geometry": "16x2,bits=4,activation_bits=8", "family": "ice40", "cells": cells}


def test_fuzz(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = written("fuzz", "--minutes", "0", "--device", "golden:16x2", "--seed", "3")
    assert f"{found['cases']} on {found['accelerators']} accelerators" in capsys.readouterr().out
    assert (found["seed"], found["device"], found["failures"]) == (3, "golden:16x2", [])


def test_what_is_read_is_not_overwritten(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("info m.safetensors", "verify m.safetensors --images x.npy --device golden"):
        assert app.main([*words.split(), "--json", "m.safetensors"]) == 1
        error = capsys.readouterr().err
        assert "m.safetensors" in error and error.count("\n") == 1
    modelfile.load("m.safetensors")
