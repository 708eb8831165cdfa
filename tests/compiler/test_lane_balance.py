"""Rows dealt to banks: the same network, and less to do for the fullest bank."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from synflip import modelfile
from synflip.cli import app
from synflip.compiler.lane_balance import balance, deal
from synflip.data import load
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.spec.convolution import Convolution
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel, Layer

from tests.networks import convolution_layer, random_layers


def uneven(certain: bool = False) -> tuple[CompiledModel, np.ndarray]:
    """A network whose hidden outputs are busiest in bank 0 of 8, and images. certain: coins never fall
    otherwise."""
    rng = np.random.default_rng(2)
    layers = []
    for rows, outputs in pairwise((30, 64, 45, 5)):
        q = rng.integers(0, 16, (outputs, rows))
        bias = np.where(np.arange(outputs) % 8 == 0, 4000, -1200)
        layers.append(
            Layer(
                (np.where(q > 7, 15, 0) if certain else q).astype(np.uint16),
                rng.integers(0, 2, (outputs, rows)).astype(np.uint8),
                (bias if outputs > 5 else rng.integers(-50, 50, outputs)).astype(np.int32),
            )
        )
    model = CompiledModel(tuple(layers), 4, 8, (6, 5), tuple("abcde"), 255, {"data": "none"})
    return model, rng.integers(0, 256, (300, 30)).astype(np.uint8)


def infer(model: CompiledModel, pixels: np.ndarray, size: str = "16x8"):
    with Golden(Geometry.parse(size)) as golden:
        golden.load(model)
        return golden.infer(pixels, 4, 1, logits=True)


def test_nothing_but_the_order_changes() -> None:
    """With coins that are never or always heads every logit is the same; each layer's outputs are there."""
    model, pixels = uneven(certain=True)
    made = balance(model, pixels)
    assert np.array_equal(infer(model, pixels).logits, infer(made, pixels).logits)
    for before, after in zip(model.layers[:-1], made.layers[:-1], strict=True):
        assert not np.array_equal(before.bias, after.bias) or not np.array_equal(before.q, after.q)
        assert np.array_equal(np.sort(before.bias), np.sort(after.bias))
    assert np.array_equal(model.layers[-1].bias, made.layers[-1].bias)
    assert made.source == {"data": "none", "balanced": "for 8 banks"}
    assert replace(made, layers=model.layers, source=model.source).metadata() == model.metadata()


def test_dense_layers_behind_convolutions() -> None:
    """The same answers with coins that are never or always heads; the convolutions stay."""
    rng = np.random.default_rng(3)

    def certain(layer: Layer) -> Layer:
        return replace(layer, q=np.where(layer.q > 7, 15, 0).astype(np.uint16))

    kernels = convolution_layer(rng, 4, Convolution((5, 4, 1), (2, 2)))
    layers = tuple(map(certain, (kernels, *random_layers(rng, (48, 30, 3)))))
    model = CompiledModel(layers, 4, 8, (3, 6), tuple("abc"), 255)
    pixels = rng.integers(0, 256, (40, 20)).astype(np.uint8)
    made = balance(model, pixels)
    assert np.array_equal(infer(model, pixels).logits, infer(made, pixels).logits)
    assert made.layers[0] is model.layers[0] and not np.array_equal(made.layers[1].q, layers[1].q)


@pytest.mark.parametrize("size", ["16x8", "16x4"])
def test_the_fullest_bank_has_less_to_do(size: str) -> None:
    model, pixels = uneven()
    made = balance(model, pixels[:150])
    assert infer(made, pixels[150:], size).cycles < 0.9 * infer(model, pixels[150:], size).cycles


def test_the_same_seed_gives_the_same_order() -> None:
    model, pixels = uneven()
    one, two = balance(model, pixels), balance(model, pixels)
    other = balance(model, pixels, seed=1)
    assert all(np.array_equal(a.q, b.q) for a, b in zip(one.layers, two.layers, strict=True))
    assert not all(np.array_equal(a.q, b.q) for a, b in zip(one.layers, other.layers, strict=True))


@pytest.mark.parametrize(("outputs", "banks"), [(1, 8), (5, 8), (45, 8), (32, 1), (30, 4)])
def test_an_order_is_never_worse(outputs: int, banks: int) -> None:
    active = np.random.default_rng(outputs).random((40, outputs)) < np.linspace(0, 1, outputs)
    order = deal(active, banks, np.random.default_rng(0))
    assert sorted(order) == list(range(outputs))

    def fullest(bits: np.ndarray) -> int:
        return int(np.stack([bits[:, bank::banks].sum(1) for bank in range(banks)]).max(0).sum())

    assert fullest(active[:, order]) <= fullest(active)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"model": 5}, "a compiled model or the path of one, not a int"),
        ({"pixels": load("digits")}, "balance takes images: give those of training, dataset.train_images"),
        ({"pixels": 5}, "images"),
        ({"banks": 3}, "banks must be 1, 2, 4 or 8, not 3"),
    ],
)
def test_what_cannot_be_dealt_is_refused_in_one_line(change: dict, line: str) -> None:
    model, pixels = uneven()
    with pytest.raises(SynflipError, match=line):
        balance(**({"model": model, "pixels": pixels} | change))


def test_a_network_without_hidden_layers_stays_as_it_is() -> None:
    model, pixels = uneven()
    alone = replace(model, layers=(replace(model.layers[0]),), shifts=(), classes=tuple(map(str, range(64))))
    assert np.array_equal(balance(alone, pixels).layers[0].q, alone.layers[0].q)


def test_train_balances_if_asked(tmp_path: Path) -> None:
    common = ["train", "--hidden", "24", "--epochs", "1", "--samples", "1"]
    assert app.main([*common, "--out", str(tmp_path / "a.safetensors")]) == 0
    assert app.main([*common, "--balance", "--out", str(tmp_path / "b.safetensors")]) == 0
    plain, made = (modelfile.load(tmp_path / name) for name in ("a.safetensors", "b.safetensors"))
    assert "balanced" not in plain.source and made.source["balanced"] == "for 8 banks"
    one, other = (sorted(model.layers[0].q.tolist()) for model in (plain, made))
    assert one == other and not np.array_equal(plain.layers[0].q, made.layers[0].q)
