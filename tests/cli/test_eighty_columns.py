"""What commands print holds in 80 columns, whatever their files are called."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from synflip.cli import app

NAME = "measurements of the second laboratory, cleaned and sorted by day.csv"
COMMANDS = (
    f"train --data '{NAME}' --hidden 24,16 --epochs 1 --samples 2 --out m.safetensors",
    "info m.safetensors",
    f"evaluate m.safetensors --data '{NAME}' --samples 4 --out out",
    f"margins m.safetensors --data '{NAME}' --samples 8 --out m.npy",
    f"images digits --count 3 --out '{NAME}.npy'",
    "boards",
    "map --out map.md",
)


def test_lines_are_no_wider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    rng = np.random.default_rng(0)
    rows = [f"{a:.3f},{b:.3f},{'warm' if a > b else 'cold'}" for a, b in rng.random((200, 2))]
    Path(NAME).write_text("\n".join(("inside,outside,weather", *rows)))
    for command in COMMANDS:
        assert app.main(shlex.split(command)) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) > 1
        assert [line for line in lines if len(line) > 80] == [], command
