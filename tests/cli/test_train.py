"""The command train, and what can be done with the model that it writes."""

from pathlib import Path

import numpy as np
import pytest
from synflip import modelfile
from synflip.cli import app


def test_train_then_info_then_run(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["train", "--hidden", "16", "--epochs", "1", "--out", "t.safetensors"]) == 0
    text = capsys.readouterr().out
    assert "digits, 64-16-10, k = 4, A = 8" in text
    assert "accuracy of the vote of 8" in text
    assert app.main(["images", "digits", "--count", "9", "--out", "t.npy", "--labels", "l.npy"]) == 0
    assert np.load("t.npy").shape == (9, 64)
    assert np.load("l.npy").shape == (9,)
    assert app.main(["info", "t.safetensors"]) == 0
    assert "64-16-10" in capsys.readouterr().out
    assert app.main(["run", "t.safetensors", "--images", "t.npy", "--out", "r.npz"]) == 0
    with np.load("r.npz") as counts:
        assert counts["votes"].sum() == 9 * 16


@pytest.mark.parametrize("features", [[], ["--features", "conv"]])
def test_train_with_teachers(files: Path, features: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", *features, "--hidden", "16", "--epochs", "1", "--teachers", "2"]
    assert app.main([*words, "--out", "t.safetensors"]) == 0
    assert "digits" in capsys.readouterr().out
    assert modelfile.load(Path("t.safetensors")).source["teachers"] == 2
