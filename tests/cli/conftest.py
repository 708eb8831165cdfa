"""Files that commands are tried on."""

from pathlib import Path

import numpy as np
import pytest
from synflip import modelfile

from tests.networks import random_model


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, which is the working one, with a model m.safetensors and images x.npy: uint8 [7, 12]."""
    modelfile.save(random_model(), tmp_path / "m.safetensors")
    np.save(tmp_path / "x.npy", np.random.default_rng(2).integers(0, 256, (7, 12)).astype(np.uint8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path
