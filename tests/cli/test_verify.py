"""The command verify: it finds the first number that differs."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import synflip
from synflip.cli import app
from synflip.devices import registry
from synflip.golden.cpu import Golden
from synflip.inference.device import Device
from synflip.inference.request import InferenceRequest, Progress
from synflip.inference.result import Result

from tests.cli.helpers import fails


def test_verify_golden_against_golden(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["verify", "m.safetensors", "--images", "x.npy", "--samples", "5", "--device", "golden"]
    assert app.main(arguments) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "logits 0 of 175 differ" in text
    assert "votes 0 of 35 differ" in text
    assert "used 0 of 7 differ" in text
    assert "verdict equal" in text
    assert app.main([*arguments, "--margin", "2"]) == 0


class Faulty(Golden):
    """The golden model with one number wrong."""

    name = "verilator"

    def __init__(self, geometry: synflip.Geometry, quantity: str, at: tuple[int, ...]) -> None:
        super().__init__(geometry)
        self.quantity, self.at = quantity, at

    def run(self, request: InferenceRequest, progress: Progress | None = None) -> Result:
        result = super().run(request, progress)
        if self.quantity == "cycles":
            return replace(result, cycles=result.cycles + 1)
        getattr(result, self.quantity)[self.at] += 1
        return result


@pytest.mark.parametrize(
    ("quantity", "at", "place"),
    [
        ("logits", (3, 5, 1), "logits: sample 3, image 5, class 1,"),
        ("votes", (6, 4), "votes: image 6, class 4,"),
        ("logit_sums", (0, 2), "logit sums: image 0, class 2,"),
        ("used", (2,), "used: image 2,"),
        ("cycles", (), "cycles:"),
    ],
)
def test_verify_prints_the_first_difference(
    files: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    quantity: str,
    at: tuple[int, ...],
    place: str,
) -> None:
    def open_faulty(name: str, geometry: synflip.Geometry) -> Device:
        return Golden(geometry) if name == "golden" else Faulty(geometry, quantity, at)

    monkeypatch.setattr(registry, "open_device", open_faulty)
    line = fails(capsys, "verify", "m.safetensors", "--images", "x.npy", "--samples", "5")
    match = re.fullmatch(rf"error: first difference: {place} golden (-?\d+), verilator (-?\d+)", line)
    assert match, line
    assert int(match[2]) == int(match[1]) + 1
