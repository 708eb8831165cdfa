"""Ordinary networks made networks of coins, features in front of coins, and the files that hold them."""

import hashlib
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import synflip
import torch
from synflip import modelfile
from synflip.cli import app
from synflip.compiler.compile import compile_network
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.spec.features import quantised
from synflip.training import convnets
from synflip.training.card import data_digest
from synflip.training.ordinary import Ordinary
from torch import nn

from tests.training.digits_networks import DATA, SHARES, fitted

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def dense() -> nn.Sequential:
    torch.manual_seed(1)
    layers = (nn.Linear(64, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Dropout(0.1), nn.Linear(48, 10))
    return fitted(nn.Sequential(nn.Flatten(), *layers))


@pytest.fixture(scope="module")
def features() -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()).eval()


def compiled(network):
    return compile_network(network, DATA.classes, DATA.input_max, {})


def accuracy(model, samples: int = 16) -> float:
    with Golden() as golden:
        golden.load(model)
        return float((golden.infer(DATA.test_images, samples, 3).winner == DATA.test_labels).mean())


def test_coins_compute_what_the_network_did(dense):
    with torch.no_grad():
        x = torch.from_numpy(DATA.test_images).float() / DATA.input_max
        before = float((dense(x).argmax(1).numpy() == DATA.test_labels).mean())
    as_it_is = accuracy(compiled(synflip.convert(dense, data=DATA, epochs=0)))
    tuned = accuracy(compiled(synflip.convert(dense, data=DATA, epochs=6)))
    assert before > 0.9
    assert as_it_is > before - 0.1 and tuned > before - 0.03 and tuned >= as_it_is


def test_the_mean_over_coins_is_the_networks_logit(dense):
    """With many bits and samples; near only, as a ReLU of a noisy sum is more than one of its mean."""
    coins = synflip.convert(dense, data=DATA, epochs=0, bits=8)
    model = compiled(coins)
    with Golden() as golden, torch.no_grad():
        golden.load(model)
        z = golden.infer(DATA.test_images[:50], 400, 1).logit_sums / 400 / model.logit_scale
        wanted = dense(torch.from_numpy(DATA.test_images[:50]).float() / DATA.input_max).numpy()
    assert np.corrcoef(z.ravel(), wanted.ravel())[0, 1] > 0.9
    assert 0.5 < np.polyfit(wanted.ravel(), z.ravel(), 1)[0] < 1.1


def test_mean_and_std_are_folded_into_the_first_layer(dense):
    """The same function of the pixels, written for normalised ones."""
    (_, weight, bias, *_), last = (astuple(layer) for layer in Ordinary(dense, (64,)).layers)
    moved = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    with torch.no_grad():
        moved[0].weight.copy_(weight * 0.3)
        moved[0].bias.copy_(bias + weight.sum(1) * 0.1)
        moved[2].weight.copy_(last[1])
        moved[2].bias.copy_(last[2])
    a = compiled(synflip.convert(dense, data=DATA, epochs=0))
    b = compiled(synflip.convert(moved, data=DATA, epochs=0, mean=0.1, std=0.3))
    same = [(x.q == y.q).mean() for x, y in zip(a.layers, b.layers, strict=True)]
    assert min(same) > 0.999
    assert all(np.abs(x.bias - y.bias).max() <= 1 for x, y in zip(a.layers, b.layers, strict=True))


def test_the_same_seed_gives_the_same_bytes_and_the_network_stays(dense, features, tmp_path):
    before = [value.clone() for value in dense.state_dict().values()]
    head = fitted(nn.Sequential(nn.Linear(64, 10)), features(SHARES.view(-1, 1, 8, 8)).detach(), 30)
    for number in range(2):
        modelfile.save(
            compiled(synflip.convert(dense, data=DATA, epochs=1)), tmp_path / f"{number}.safetensors"
        )
        both = synflip.convert(features, head, data=DATA, epochs=1)
        modelfile.save(compiled(both), tmp_path / f"f{number}.safetensors")
    for name in ("{}.safetensors", "f{}.safetensors", "f{}.features.pt2"):
        assert (tmp_path / name.format(0)).read_bytes() == (tmp_path / name.format(1)).read_bytes()
    assert all(torch.equal(a, b) for a, b in zip(before, dense.state_dict().values(), strict=True))
    assert not dense.training


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nn.Conv2d(1, 2, 3)], "the last of 1 operations must be a Linear, whose outputs are the logits"),
        ([nn.Linear(64, 8), nn.Sigmoid(), nn.Linear(8, 10)], r"module 1 \(Sigmoid\) cannot"),
        ([nn.Linear(64, 8), nn.Linear(8, 10)], r"module 1 \(Linear\) comes after a Linear without a ReLU"),
        (
            [nn.Linear(64, 8), nn.ReLU(), nn.Linear(9, 10)],
            r"module 2 \(Linear\) takes 9 inputs; what comes before it gives 8",
        ),
        ([nn.Linear(64, 10), nn.ReLU()], "the last of 2 operations must be a Linear"),
        ([nn.Linear(63, 10)], r"module 0 \(Linear\) takes 63 inputs; what comes before it gives 64"),
        ([nn.Linear(64, 9)], "the last Linear gives 9 logits; digits has 10"),
        ([nn.Flatten(0), nn.Unflatten(0, (-1, 64)), nn.Linear(64, 10)], r"module 0 \(Flatten\) mixes images"),
    ],
)
def test_what_cannot_be_coins_is_named(layers, message):
    with pytest.raises(SynflipError, match=message):
        synflip.convert(nn.Sequential(*layers), data=DATA, epochs=0)


def test_other_senseless_requests(dense, features):
    with pytest.raises(SynflipError, match="not a Sequential"):
        synflip.convert([nn.Linear(64, 10)], data=DATA)
    with pytest.raises(SynflipError, match="epochs must not be negative"):
        synflip.convert(dense, data=DATA, epochs=-1)
    with pytest.raises(SynflipError, match="neither a Sequential nor"):
        synflip.convert(features, "100", data=DATA)
    with pytest.raises(SynflipError, match="augment needs features that are made anew"):
        synflip.convert(features, [16], data=DATA, augment=True)
    with pytest.raises(SynflipError, match=r"std is 0\.0, not positive"):
        synflip.convert(dense, data=DATA, std=0.0)
    below = nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
    with pytest.raises(SynflipError, match="end the extractor with a ReLU"):
        synflip.convert(below, [16], data=DATA)


class Branch(nn.Module):
    def forward(self, x):
        return (x if x.sum() > 0 else -x).flatten(1)


def test_an_extractor_that_cannot_be_followed(capfd):
    """What torch says of it is in the error, and nowhere else."""
    with pytest.raises(SynflipError, match=r"the features cannot be exported for images \[N, 1, 8, 8\]: "):
        synflip.convert(nn.Sequential(Branch(), nn.Linear(64, 5), nn.ReLU()), [16], data=DATA)
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def of_features(features, tmp_path_factory) -> tuple[Path, np.ndarray]:
    """A model of features in its two files, and its votes."""
    model = compiled(synflip.convert(features, [24], data=DATA, epochs=6))
    path = tmp_path_factory.mktemp("features") / "m.safetensors"
    modelfile.save(model, path)
    with Golden() as golden:
        golden.load(model)
        votes = golden.infer(DATA.test_images, 8, 2).votes
    assert (votes.argmax(1) == DATA.test_labels).mean() > 0.8
    return path, votes


def test_features_travel_beside_the_model(of_features, features):
    path, votes = of_features
    model = modelfile.load(path)
    with Golden() as golden:
        golden.load(model)
        assert np.array_equal(golden.infer(DATA.test_images, 8, 2).votes, votes)
        # What the accelerator sees are the features, in steps: floor(feature / step + 1/2), cut off.
        with torch.no_grad():
            raw = features.double()(torch.from_numpy(DATA.test_images[:9] / 16.0).view(-1, 1, 8, 8)).numpy()
        features.float()
        rows = np.clip(np.floor(raw / 2.0**model.features.log2_step + 0.5), 0, 255)
        assert np.abs(rows - model.activations(DATA.test_images[:9]).astype(int)).max() <= 1
        # Few images give what many do.
        assert np.array_equal(golden.infer(DATA.test_images[:3], 8, 2).votes, votes[:3])


def test_a_conversion_exports_the_extractor_once(features, monkeypatch):
    exports, real = [], torch.export.export
    monkeypatch.setattr(
        torch.export, "export", lambda *args, **how: exports.append(args) or real(*args, **how)
    )
    synflip.convert(features, [12], data=DATA, epochs=0)
    assert len(exports) == 1


def test_the_extractors_file_is_not_trusted(of_features, tmp_path):
    path, votes = of_features
    beside = path.with_name("m.features.pt2")
    model, extractor = tmp_path / "m.safetensors", tmp_path / "m.features.pt2"
    model.write_bytes(path.read_bytes())
    alone = modelfile.load(model)
    with pytest.raises(SynflipError, match=r"put its M\.features\.pt2 beside"):
        alone.activations(DATA.test_images[:1])
    changed = bytearray(beside.read_bytes())
    changed[len(changed) // 2] ^= 1
    extractor.write_bytes(changed)
    with pytest.raises(SynflipError, match="is not this model's: its SHA-256 is"):
        modelfile.load(model).activations(DATA.test_images[:1])
    extractor.write_bytes(beside.read_bytes())
    with Golden() as golden:
        golden.load(modelfile.load(model))
        assert np.array_equal(golden.infer(DATA.test_images[:5], 8, 2).votes, votes[:5])


def test_convolutions_train_with_the_coins_behind_them():
    network = convnets.train(DATA, (32,), (6,), epochs=6, seed=1)
    model = compiled(network)
    assert model.rows[0] == 6 * 4 * 4
    assert accuracy(model, 8) > 0.85
    assert (
        accuracy(
            replace(model, layers=(*model.layers[:-1], replace(model.layers[-1], q=model.layers[-1].q * 0)))
        )
        < 0.5
    )
    assert convnets.float_baseline(DATA, (32,), (6,), epochs=6, seed=1) > 0.85
    with pytest.raises(SynflipError, match="each convolution needs at least one filter, and each maximum"):
        convnets.train(DATA, (32,), (6, 6, 6, 6), epochs=1)


def exported(network: nn.Module, example: torch.Tensor, path: Path) -> Path:
    program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.export.save(program, path)
    return path


def test_commands(dense, features, tmp_path, capsys):
    file = exported(dense, SHARES[:2], tmp_path / "net.pt2")
    front = exported(features, SHARES[:2].view(-1, 1, 8, 8), tmp_path / "front.pt2")
    torch.manual_seed(3)
    head = exported(nn.Sequential(nn.Linear(64, 10)).eval(), torch.rand(2, 64), tmp_path / "head.pt2")
    out, images = tmp_path / "m.safetensors", tmp_path / "x.npy"
    np.save(images, DATA.test_images[:4])
    assert app.main(["convert", str(file), "--epochs", "2", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "accuracy of the network as it was" in said and "vote of 8" in said
    assert app.main(["info", str(out)]) == 0
    card = modelfile.load(out).source
    assert card["network_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert 0.9 < card["accuracy_of_the_network"] < 1 and 0.8 < card["agreement_with_the_network"] < 1
    assert f"{card['accuracy_of_the_vote']:.2%}" in said and card["data_sha256"] == data_digest(DATA)
    told = capsys.readouterr().out
    assert all(f"source: {name}" in told for name in card), told
    onnx = tmp_path / "net.onnx"
    with pytest.warns(DeprecationWarning):
        torch.onnx.export(dense, (SHARES[:2],), onnx, dynamo=False)
    assert app.main(["convert", str(onnx), "--epochs", "2", "--out", str(tmp_path / "o.safetensors")]) == 0
    same = modelfile.load(tmp_path / "o.safetensors").source
    assert (
        same["accuracy_of_the_network"] == card["accuracy_of_the_network"] and same["network"] == "net.onnx"
    )
    arguments = ["--features", str(front), "--epochs", "1", "--out", str(tmp_path / "f.safetensors")]
    assert app.main(["convert", str(head), *arguments]) == 0
    arguments = ["--features", "conv", "--hidden", "16", "--epochs", "1"]
    assert app.main(["train", *arguments, "--out", str(tmp_path / "c.safetensors")]) == 0
    card = modelfile.load(tmp_path / "f.safetensors").source
    assert (card["network"], card["features"]) == ("head.pt2", "front.pt2")
    assert card["features_sha256"] == hashlib.sha256(front.read_bytes()).hexdigest()
    assert (tmp_path / "f.features.pt2").is_file() and (tmp_path / "c.features.pt2").is_file()
    for name in ("m", "f", "c"):
        arguments = [str(tmp_path / f"{name}.safetensors"), "--images", str(images)]
        assert app.main(["run", *arguments, "--out", str(tmp_path / "r.npz"), "--samples", "3"]) == 0
        assert np.load(tmp_path / "r.npz")["votes"].sum() == 12


def test_pickles_are_refused(dense, tmp_path, capsys):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"state": Trap()}, tmp_path / "trap.pt2")
    assert app.main(["convert", str(tmp_path / "trap.pt2"), "--out", str(tmp_path / "m.safetensors")]) == 1
    line = capsys.readouterr().err
    assert line.startswith("error: ") and line.count("\n") == 1 and "trap.pt2" in line
    assert not (tmp_path / "sprung").exists() and not (tmp_path / "m.safetensors").exists()


def test_steps_are_rounded_and_cut_off():
    features = np.array([-3.0, 0.249, 0.25, 0.749, 0.75, 1e30])
    assert quantised(features, -1, 15).tolist() == [0, 0, 1, 1, 2, 15]


def test_features_in_training_stay_so(features):
    features.train()
    synflip.convert(features, [16], data=DATA, epochs=0)
    assert features.training and all(module.training for module in features)
    features.eval()
