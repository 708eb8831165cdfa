"""The comparison with hls4ml, which is not installed where tests run: a stand-in computes in its place."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from synflip import modelfile
from synflip.benchmarks import registry, tables
from synflip.benchmarks.networks import SEED, Models
from synflip.benchmarks.rivals import c_simulation, comparison
from synflip.benchmarks.rivals.dropout import DROPOUT, Forward, MaskedNetwork, monte_carlo
from synflip.data.registry import load
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.spec.geometry import Geometry
from synflip.training.baseline import float_network

from tests.networks import random_model

HIDDEN = (12, 8)


@pytest.fixture
def masked() -> MaskedNetwork:
    return MaskedNetwork(float_network(load("digits"), HIDDEN, 3, DROPOUT)).eval()


@pytest.fixture
def images() -> NDArray[np.float32]:
    return load("digits").test_pixels[:5].astype(np.float32) / np.float32(16)


def test_masks_do_what_dropout_does(images: NDArray[np.float32]) -> None:
    """With masks that keep all and do not scale: the network in evaluation mode. With a unit's mask at 0: the
    network without that unit."""
    plain = float_network(load("digits"), HIDDEN, 3, DROPOUT).eval()
    masked = MaskedNetwork(plain)
    ones = [np.ones((5, width), np.float32) for width in HIDDEN]
    assert masked.widths() == [64, *HIDDEN]
    with torch.no_grad():
        whole = masked.logits(images, *ones)
        assert np.array_equal(whole, plain(torch.from_numpy(images)).numpy())
        for at, mask in zip((0, 3), ones, strict=True):
            layer = plain[at]
            unit = int(plain[: at + 2](torch.from_numpy(images)).sum(0).argmax())  # one that is not silent
            mask[:, unit] = 0
            without = masked.logits(images, *ones)
            assert not np.allclose(without, whole, atol=1e-3)
            layer.weight[unit] = layer.bias[unit] = 0
            assert np.allclose(plain(torch.from_numpy(images)).numpy(), without, atol=1e-6)
            whole = without


def test_passes_have_masks_of_their_own_and_a_seed_has_always_the_same(
    masked: MaskedNetwork, images: NDArray[np.float32]
) -> None:
    seen: list[NDArray[np.float32]] = []

    def forward(*inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        seen.extend(inputs[1:])
        return masked.logits(*inputs)

    shares = monte_carlo(forward, images, HIDDEN, 20, 1)
    assert shares.shape == (5, 10) and np.allclose(shares.sum(1), 1)
    assert [mask.shape for mask in seen] == [(5, 12), (5, 8)] * 20
    assert all(set(np.unique(mask)) == {0, 1 / (1 - DROPOUT)} for mask in seen)
    assert len({mask.tobytes() for mask in seen}) == len(seen)
    assert 0.9 < np.mean([mask.mean() for mask in seen]) < 1.1
    assert np.array_equal(monte_carlo(masked.logits, images, HIDDEN, 20, 1), shares)
    assert not np.array_equal(monte_carlo(masked.logits, images, HIDDEN, 20, 2), shares)


def one_class(*inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.eye(10, dtype=np.float32)[np.zeros(len(inputs[0]), int)]


@pytest.mark.parametrize("is_right", [True, False])
def test_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_right: bool) -> None:
    """A rival that computes what its float model does agrees with it; one that always says 0 does not, and is
    right as often as there is a 0. A Verilator with other coins does not agree with the golden model."""

    @contextmanager
    def simulation(network: MaskedNetwork) -> Iterator[tuple[Forward, float]]:
        yield network.logits if is_right else one_class, 5.0

    class OtherCoins(Golden):
        def infer(self, pixels: Any, samples: int, seed: int = 0, **rest: Any) -> Any:
            return super().infer(pixels, samples, seed + (not is_right), **rest)

    def opened(name: str, geometry: Geometry) -> Golden:
        assert name == "verilator"
        return OtherCoins(geometry)

    model = random_model((64, 40, 20, 10))
    modelfile.save(model, tmp_path / "m.safetensors")
    monkeypatch.setattr("synflip.benchmarks.networks.EPOCHS", {"digits": 5})
    monkeypatch.setattr(comparison, "NETWORK", "digits")
    monkeypatch.setattr(comparison, "open_device", opened)
    monkeypatch.setattr(c_simulation, "simulation", simulation)
    monkeypatch.setattr(c_simulation, "version", lambda: "1.2.3")
    models = Models(tmp_path, True, {"digits": tmp_path / "m.safetensors"})
    found = comparison.run(models)
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == ["hls4ml", "float", "golden", "verilator"]
    assert all(row["seconds"] > 0 for row in rows.values())
    assert rows["hls4ml"]["build"] == 5 and rows["float"]["build"] is None and rows["golden"]["build"] is None
    labels = models.labels("digits", 40)
    with Golden() as golden:
        golden.load(model)
        votes = golden.infer(models.images("digits", 40), 16, SEED).votes
    assert rows["golden"]["accuracy"] == (votes.argmax(1) == labels).mean()
    assert rows["float"]["accuracy"] > 0.5
    assert rows["golden"]["agrees"] is None
    if is_right:
        assert rows["hls4ml"]["agrees"] == rows["verilator"]["agrees"] == 1
        assert rows["hls4ml"]["accuracy"] == rows["float"]["accuracy"]
    else:
        assert rows["hls4ml"]["agrees"] < 0.5 and rows["verilator"]["agrees"] < 1
        assert rows["hls4ml"]["accuracy"] == (labels == 0).mean()
    (table,) = tables.TABLES["rivals"](found)
    assert "simulated and measured" in table.title and "4 images at once" in table.title
    assert [row[1] for row in table.rows][:3] == ["5.0 s", "-", "-"]
    assert "hls4ml 1.2.3" in table.rows[0][0] and "16x1" in table.rows[3][0]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A module in place of hls4ml, which keeps what it is called with. ``compile`` may be replaced."""
    kept = SimpleNamespace(calls=[], compile=lambda: print("Writing HLS project"))

    def config(network: MaskedNetwork, shapes: Any, **options: Any) -> dict[str, Any]:
        kept.calls.append((shapes, options))
        return {"Model": {"Strategy": "Latency"}}

    def convert(network: MaskedNetwork, **options: Any) -> SimpleNamespace:
        kept.calls.append(options)

        def predict(inputs: list[NDArray[np.float32]]) -> NDArray[np.float32]:
            assert all(one.flags.c_contiguous for one in inputs)
            return network.logits(*inputs).squeeze()  # as hls4ml does with a single image

        return SimpleNamespace(compile=lambda: kept.compile(), predict=predict)

    module: Any = ModuleType("hls4ml")
    module.utils = SimpleNamespace(config_from_pytorch_model=config)
    module.converters = SimpleNamespace(convert_from_pytorch_model=convert)
    monkeypatch.setitem(sys.modules, "hls4ml", module)
    monkeypatch.setattr(c_simulation, "require", lambda name: None)
    return kept


def test_what_hls4ml_is_asked_for(
    stand_in: SimpleNamespace,
    masked: MaskedNetwork,
    images: NDArray[np.float32],
    capsys: pytest.CaptureFixture[str],
) -> None:
    masks = [np.ones((5, width), np.float32) for width in HIDDEN]
    with c_simulation.simulation(masked) as (forward, seconds):
        (shapes, first), second = stand_in.calls
        assert shapes == [(64,), (12,), (8,)] and first["default_precision"] == c_simulation.PRECISION
        assert second["hls_config"]["Model"]["Strategy"] == c_simulation.STRATEGY
        folder = Path(second["output_dir"]).parent
        assert folder.is_dir() and seconds >= 0
        assert np.array_equal(forward(images, *masks), masked.logits(images, *masks))
        one = [given[:1] for given in (images, *masks)]
        assert forward(*one).shape == (1, 10)
    assert not folder.exists()
    assert capsys.readouterr().out == ""


def test_a_build_that_fails_is_one_line(stand_in: SimpleNamespace, masked: MaskedNetwork) -> None:
    def fails() -> None:
        print("./build_lib.sh: line 9: g++: command not found")
        raise Exception("Failed to compile project")

    stand_in.compile = fails
    with (
        pytest.raises(SynflipError, match=r"hls4ml fails: Failed to compile project .*g\+\+: command not"),
        c_simulation.simulation(masked),
    ):
        pass


def test_who_asks_for_it_without_the_package_is_told_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hls4ml", None)
    with pytest.raises(SynflipError, match=r"pip install 'synflip\[benchmarks\]'"):
        registry.chosen("engine,rivals")
    assert registry.chosen("engine") == ["engine"]
    with pytest.raises(SynflipError, match="hls4ml is missing"):
        c_simulation.version()
