"""Commands with a network that the accelerator has no room for at once."""

from pathlib import Path

import numpy as np
import pytest
from synflip import modelfile
from synflip.cli import app

from tests.cli.helpers import fails
from tests.networks import small_convolutional_network

pytestmark = pytest.mark.simulator

MODEL = ("m.safetensors", "--images", "x.npy", "--samples", "5", "--seed", "3")
DEVICE = ("--device", "verilator:16x2")


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modelfile.save(small_convolutional_network(), tmp_path / "m.safetensors")
    np.save(tmp_path / "x.npy", np.random.default_rng(2).integers(0, 256, (3, 40)).astype(np.uint8))
    monkeypatch.chdir(tmp_path)


def test_run_says_what_it_will_take_and_verify_finds_no_difference(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert app.main(["run", *MODEL, "--out", "r.npz", *DEVICE]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    said = " ".join(lines)
    assert said.startswith(
        "5x4x2-3(3x3, pad 1x1, pool 2x2)-4(2x1)-3 on 16x2 runs in parts, predicted: 3 parts, "
    )
    assert "counted" in said
    assert app.main(["verify", *MODEL, *DEVICE]) == 0
    assert app.main(["verify", *MODEL, "--margin", "2", *DEVICE]) == 0
    assert app.main(["run", *MODEL, "--out", "golden.npz", "--device", "golden:16x2"]) == 0
    with np.load("r.npz") as counted, np.load("golden.npz") as predicted:
        for name in predicted.files:
            np.testing.assert_array_equal(counted[name], predicted[name])


def test_shards() -> None:
    names = []
    for shard in ("1/2", "2/2"):
        names.append(f"r{shard[0]}.npz")
        assert app.main(["run", *MODEL, "--shards", shard, "--logits", "--out", names[-1], *DEVICE]) == 0
    assert app.main(["merge", *names, "--out", "merged.npz"]) == 0
    assert app.main(["run", *MODEL, "--logits", "--out", "whole.npz", "--device", "golden:16x2"]) == 0
    with np.load("merged.npz") as merged, np.load("whole.npz") as whole:
        for name in ("votes", "logit_sums", "used", "logits"):
            np.testing.assert_array_equal(merged[name], whole[name])


def test_what_no_part_fits_is_refused_before_anything_is_built(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synflip.devices.registry.open_device", lambda *asked: pytest.fail("opened"))
    tiny = "verilator:16x2,log_depth=2,result_depth=2"
    line = fails(capsys, "run", *MODEL, "--out", "r.npz", "--device", tiny)
    assert "does not fit the 16x2 accelerator, not even in parts: of layer 2 (8 rows, 3 outputs)" in line
