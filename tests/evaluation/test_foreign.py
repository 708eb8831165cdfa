"""The energy threshold: its false alarms by hand, and its way from training through files to the command."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from synflip import modelfile
from synflip.cli import app
from synflip.compiler.compile import compile_network
from synflip.data.dataset import Dataset
from synflip.data.registry import load
from synflip.errors import SynflipError
from synflip.evaluation import foreign
from synflip.evaluation.evaluate import evaluate
from synflip.evaluation.foreign import fit_energy_threshold
from synflip.golden.cpu import Golden
from synflip.inference.result import Result
from synflip.spec.model import CompiledModel
from synflip.training.train import train

DIGITS = load("digits")


@pytest.fixture(scope="module")
def model() -> CompiledModel:
    return compile_network(train(DIGITS, (24,), epochs=8, seed=1), DIGITS.classes, DIGITS.input_max)


def energies(model: CompiledModel, images, samples: int) -> list[float]:
    """Minus the logarithm of the sum of exponentials, of each sample, and their mean: written out."""
    with Golden() as golden:
        golden.load(model)
        z = golden.infer(images, samples, 0, logits=True).logits
    shares = [[-np.log(sum(np.exp(v / model.logit_scale) for v in row)) for row in one] for one in z]
    return [float(np.mean(of_image)) for of_image in zip(*shares, strict=True)]


def test_at_most_the_share_of_training_images_is_above_it(model, monkeypatch):
    monkeypatch.setattr(foreign, "IMAGES", 40)
    found = fit_energy_threshold(model, DIGITS, 0.1, samples=3)
    last = len(DIGITS.train_images) - 1
    chosen = DIGITS.train_images[[last * place // 39 for place in range(40)]]
    above = sorted(energies(model, chosen, 3), reverse=True)
    # 10 % of 40 images are 4: they are above the fifth.
    assert found.energy_threshold == pytest.approx(above[4]) and above[3] > above[4]
    assert found.source["false_alarms"] == 0.1 and found.source["energy_samples"] == 3
    assert {**found.source} == {**model.source, **found.source}


def test_foreign_images_are_found_on_every_way(model, tmp_path):
    found = fit_energy_threshold(model, DIGITS)
    file = tmp_path / "m.safetensors"
    modelfile.save(found, file)
    noise = np.random.default_rng(1).permuted(DIGITS.test_images[:60], axis=1)
    with Golden() as golden:
        golden.load(file)
        own = golden.infer(DIGITS.test_images, 8, 0, logits=True)
        result = golden.infer(noise, 8, 0, logits=True)
        bare = golden.infer(noise, 8, 0)
    assert result.foreign.tolist() == (result.energy > found.energy_threshold).tolist()
    assert own.foreign.mean() < 0.1 and result.foreign.mean() > 0.3
    assert result.to_pandas()["foreign"].tolist() == result.foreign.tolist()
    result.save(tmp_path / "r.npz")
    assert Result.load(tmp_path / "r.npz").foreign.tolist() == result.foreign.tolist()
    with pytest.raises(SynflipError, match="call infer with logits=True"):
        _ = bare.foreign
    numbers = evaluate(found, DIGITS, 8, seed=0).numbers
    assert numbers["foreign"] == {"digits": pytest.approx(own.foreign.mean())}
    assert "foreign" not in evaluate(model, DIGITS, 2).numbers


def test_parts_put_together_find_the_same(model, tmp_path, capsys):
    found = fit_energy_threshold(model, DIGITS)
    file, images = tmp_path / "m.safetensors", tmp_path / "x.npy"
    modelfile.save(found, file)
    np.save(images, DIGITS.test_images[:20])
    arguments = ["run", str(file), "--images", str(images), "--samples", "6", "--logits", "--out"]
    whole, *parts = (str(tmp_path / f"{name}.npz") for name in ("whole", "one", "two"))
    assert app.main([*arguments, whole]) == 0
    for part, name in enumerate(parts, 1):
        assert app.main([*arguments, name, "--shards", f"{part}/2"]) == 0
    assert app.main(["merge", *parts, "--out", str(tmp_path / "merged.npz")]) == 0
    one, other = Result.load(whole), Result.load(tmp_path / "merged.npz")
    assert other.foreign.tolist() == one.foreign.tolist()
    assert other.posterior.tolist() == one.posterior.tolist()


def test_training_writes_it_and_evaluate_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    file, out = tmp_path / "m.safetensors", tmp_path / "out"
    assert app.main(["train", "--hidden", "16", "--epochs", "2", "--out", str(file)]) == 0
    trained = modelfile.load(file)
    assert trained.energy_threshold is not None and trained.source["false_alarms"] == 0.01
    arguments = ["evaluate", str(file), "--outside", "digits", "--samples", "4", "--out", str(out)]
    assert app.main(arguments) == 0
    share = json.loads((out / "evaluation.json").read_text())["foreign"]["digits"]
    printed = capsys.readouterr().out
    assert re.search(rf"foreign by energy \(the model's threshold\) +{share:.1%} of digits", printed)


@pytest.mark.parametrize(
    ("data", "share", "message"),
    [
        (DIGITS, 0, "above 0 and below 1, such as 0.01, not 0"),
        (DIGITS, 1.0, "above 0 and below 1, such as 0.01, not 1.0"),
        (DIGITS, float("nan"), "not nan"),
        (DIGITS, "0.1", "not '0.1'"),
        ("digits", 0.01, "the data are the text 'digits'"),
    ],
)
def test_what_is_refused(model, data: Dataset, share: float, message: str) -> None:
    with pytest.raises(SynflipError, match=message):
        fit_energy_threshold(model, data, share)


def test_the_path_of_a_model_will_do(model, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    modelfile.save(model, path)
    found = fit_energy_threshold(path, DIGITS, np.float32(0.25), samples=1)
    modelfile.save(found, path)  # numpy's share is a number of JSON
    assert found.source == fit_energy_threshold(model, DIGITS, 0.25, samples=1).source
    assert evaluate(path, DIGITS, 1).numbers == evaluate(found, DIGITS, 1).numbers
    for measure in (lambda: evaluate({}, DIGITS, 1), lambda: fit_energy_threshold(None, DIGITS)):
        with pytest.raises(SynflipError, match="what runs is a compiled model or the path of one, not a "):
            measure()


@pytest.mark.parametrize("value", [None, True, "1", [1], float("inf")])
def test_a_source_is_not_trusted(model, value):
    from dataclasses import replace

    assert replace(model, source={**model.source, "energy_threshold": value}).energy_threshold is None
    result = Result(np.ones((1, 2), np.int32), np.ones((1, 2)), np.ones(1, np.int32), 0)
    with pytest.raises(SynflipError, match=r"no energy threshold: .*synflip.fit_energy_threshold"):
        _ = result.foreign
