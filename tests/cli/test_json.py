"""--json: the numbers that a command prints, for programs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synflip import modelfile
from synflip.cli import app


def written(*words: str) -> dict[str, Any]:
    """The file that a command writes."""
    file = Path("deep/n.json")  # its folder is made
    assert app.main([*words, "--json", str(file)]) == 0
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_info(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = modelfile.load("m.safetensors")
    found = written("info", "m.safetensors")
    assert found["network"] == model.shape and found["shifts"] == list(model.shifts)
    assert found["classes"] == list(model.classes) and found["source"] == model.source
    assert f"{found['synapses']:,}, of which {found['synapses_without_heads']:,}" in capsys.readouterr().out


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


def test_what_is_read_is_not_overwritten(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("info m.safetensors", "verify m.safetensors --images x.npy --device golden"):
        assert app.main([*words.split(), "--json", "m.safetensors"]) == 1
        error = capsys.readouterr().err
        assert "m.safetensors" in error and error.count("\n") == 1
    modelfile.load("m.safetensors")
