"""The order of an image's pixels: channels first or last. What is not in the model's order is put into it, or
refused in one line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synflip import modelfile
from synflip.cli import app
from synflip.data.dataset import Dataset
from synflip.data.registry import image_form
from synflip.errors import SynflipError
from synflip.evaluation.evaluate import evaluate
from synflip.golden.cpu import Golden
from synflip.spec.convolution import Convolution
from synflip.spec.model import CompiledModel, from_tensors

from tests.cli.helpers import fails
from tests.networks import convolution_layer, random_layers, random_network, small_convolutional_network

LAST = replace(small_convolutional_network(), source={"logit_scale": 50.0})  # of images 5x4 in 2 channels
FIRST = replace(LAST, channels_first=True)
PICTURES = np.random.default_rng(5).integers(0, 256, (9, 2, 5, 4)).astype(np.uint8)  # [N, C, H, W]
CHW, HWC = PICTURES.reshape(9, -1), np.ascontiguousarray(PICTURES.transpose(0, 2, 3, 1)).reshape(9, -1)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is the working one, and a wide terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def sums(model: CompiledModel, pixels: Any) -> list[list[int]]:
    with Golden() as golden:
        golden.load(model)
        found: list[list[int]] = golden.infer(pixels, 3, 1).logit_sums.tolist()
    return found


WANTED = sums(LAST, HWC)


def test_the_two_orders_differ() -> None:
    assert sums(LAST, CHW) != WANTED


@pytest.mark.parametrize(("model", "rows"), [(FIRST, CHW), (LAST, HWC)])
@pytest.mark.parametrize("made", [np.asarray, torch.from_numpy, np.ndarray.tolist])
def test_every_form_of_the_same_images(
    model: CompiledModel, rows: np.ndarray, made: Callable[[np.ndarray], Any]
) -> None:
    """Flat rows in the model's own order, and pictures with channels first and last."""
    for given in (rows, PICTURES, np.ascontiguousarray(PICTURES.transpose(0, 2, 3, 1))):
        assert sums(model, made(given)) == WANTED


@pytest.mark.parametrize(("model", "rows", "other"), [(FIRST, CHW, (0, 3, 1, 2)), (LAST, HWC, (0, 2, 3, 1))])
def test_files(
    files: None, capsys: pytest.CaptureFixture[str], model: CompiledModel, rows: np.ndarray, other: tuple
) -> None:
    """Rows and pictures in the model's order are taken; pictures in the other are refused, with the way."""
    modelfile.save(model, "m.safetensors")
    shape = model.image_shape
    assert shape is not None and image_form(model) == (shape, 255)
    for given in (rows, rows.reshape(-1, *shape)):
        np.save("x.npy", given)
        assert sums(model, "x.npy") == WANTED
        assert app.main(["run", "m.safetensors", "--images", "x.npy", "--out", "r.npz"]) == 0
    wrong = np.moveaxis(rows.reshape(-1, *shape), 1, 3) if model.channels_first else PICTURES
    np.save("x.npy", wrong)
    capsys.readouterr()
    line = fails(capsys, "run", "m.safetensors", "--images", "x.npy", "--out", "r.npz")
    assert f"transpose{other}" in line and "channels come" in line
    with pytest.raises(SynflipError) as caught:
        sums(model, "x.npy")
    assert f"transpose{other}" in str(caught.value)
    np.save("x.npy", wrong.transpose(other).reshape(len(wrong), -1))  # as the line says
    assert sums(model, "x.npy") == WANTED


def test_pictures_that_could_be_either_are_in_the_models_order() -> None:
    rng = np.random.default_rng(1)
    layer = convolution_layer(rng, 2, Convolution((3, 3, 3), (2, 2)))
    last = CompiledModel((layer, *random_layers(rng, (8, 2))), 4, 8, (3,), ("a", "b"), 255)
    pixels = rng.integers(0, 256, (4, 3, 3, 3))
    for model in (last, replace(last, channels_first=True)):
        assert sums(model, pixels) == sums(model, pixels.reshape(4, 27))


def test_the_file_says_the_order(files: None, capsys: pytest.CaptureFixture[str]) -> None:
    for model, text in (
        (FIRST, "rows in the order channel, y, x"),
        (LAST, "rows in the order y, x, channel"),
    ):
        modelfile.save(model, "m.safetensors")
        back = modelfile.load("m.safetensors")
        assert back.channels_first == model.channels_first
        assert ("order" in json.loads(model.metadata()["synflip"])["input"]) == model.channels_first
        assert app.main(["info", "m.safetensors"]) == 0
        assert text in capsys.readouterr().out


@pytest.mark.parametrize("order", ["hwc", "", None, 1, [], {"a": 1}])
def test_other_orders_are_refused(order: Any) -> None:
    header = json.loads(FIRST.metadata()["synflip"])
    header["input"]["order"] = order
    with pytest.raises(SynflipError, match=r"`order` of the input is .*, not 'cyx' or 'yxc'"):
        from_tensors(FIRST.tensors(), {"synflip": json.dumps(header)})
    header["input"]["order"] = "yxc"
    assert not from_tensors(FIRST.tensors(), {"synflip": json.dumps(header)}).channels_first


def test_dense_networks_have_no_order() -> None:
    dense = random_network(np.random.default_rng(0), (6, 3))
    with pytest.raises(SynflipError, match=r"`order` of the input is 'cyx', and there is no convolution"):
        replace(dense, channels_first=True)
    header = json.loads(dense.metadata()["synflip"])
    for order in ("cyx", "yxc"):
        header["input"]["order"] = order
        with pytest.raises(SynflipError, match=rf"`order` of the input is '{order}', and there is no convol"):
            from_tensors(dense.tensors(), {"synflip": json.dumps(header)})


def test_data_sets_are_put_into_the_models_order(
    files: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever has the data set knows the order of its rows: evaluate, and margins --data."""
    labels = [0, 1, 2] * 3
    data = Dataset("x", PICTURES, labels, PICTURES, labels, ("a", "b", "c"), 255, (2, 5, 4))
    first, last = (evaluate(model, data, 8, 1, data).numbers for model in (FIRST, LAST))
    assert first == last
    monkeypatch.setattr("synflip.data.registry.load", lambda *arguments: data)
    said = []
    for model in (FIRST, LAST):
        modelfile.save(model, "m.safetensors")
        assert app.main(["margins", "m.safetensors", "--data", "digits", "--samples", "8"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]


def test_images_in_colour_are_written_as_pictures(
    files: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that who reads the file sees where the channels are."""
    labels = [0, 1, 2] * 3
    data = Dataset("cifar10", PICTURES, labels, PICTURES, labels, ("a", "b", "c"), 255, (2, 5, 4))
    monkeypatch.setattr("synflip.data.registry.load", lambda *arguments: data)
    assert app.main(["images", "cifar10", "--count", "4", "--out", "x.npy"]) == 0
    assert np.array_equal(np.load("x.npy"), PICTURES[:4])
    modelfile.save(FIRST, "m.safetensors")
    assert app.main(["run", "m.safetensors", "--images", "x.npy", "--out", "r.npz"]) == 0
    modelfile.save(LAST, "m.safetensors")
    assert "channels come last" in fails(
        capsys, "run", "m.safetensors", "--images", "x.npy", "--out", "r.npz"
    )
