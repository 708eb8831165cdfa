"""Margins of early stopping: the rule against sums done otherwise, against simulation, and on digits."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from synflip import modelfile
from synflip.cli import app
from synflip.compiler.compile import compile_network
from synflip.data.registry import load
from synflip.errors import SynflipError
from synflip.evaluation.margins import count, fit_shape, margins, try_margins, winners, wrong
from synflip.golden.cpu import Golden
from synflip.training.card import data_digest
from synflip.training.layers import SynapticNetwork
from synflip.training.train import train


@pytest.mark.parametrize(("shape", "votes", "lead"), [(0.5, 1, 1), (0.7, 9, 3), (2.0, 6, 0), (30.0, 64, 20)])
def test_the_leader_is_wrong(shape, votes, lead):
    """By integrating prior times likelihood."""
    ahead, behind = (votes + lead) / 2, (votes - lead) / 2

    def density(p):
        return p ** (ahead + shape - 1) * (1 - p) ** (behind + shape - 1)

    expected = quad(density, 0, 0.5)[0] / quad(density, 0, 1)[0]
    assert float(wrong(shape, np.array(votes), np.array(lead))) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", [0.02, 0.3, 4.0])
def test_shape_is_found_again(shape):
    rng = np.random.default_rng(1)
    p = rng.beta(shape, shape, 20_000)
    first = rng.binomial(40, p)
    votes = np.stack([first, 40 - first, np.zeros_like(first)], axis=1)
    assert fit_shape(rng.permuted(votes, axis=1)) == pytest.approx(shape, rel=0.1)


@pytest.mark.parametrize("error", [0.02, 0.002])
def test_the_error_is_what_was_asked_for(error):
    """Two classes, shares drawn as the rule takes them to be: of those that leave, no more are wrong."""
    rng = np.random.default_rng(2)
    shape, samples, images = 0.3, 400, 40_000
    p = rng.beta(shape, shape, images)
    table = margins(shape, samples, error)
    lead, left, wrongly = np.zeros(images, dtype=int), np.zeros(images, dtype=bool), 0
    for sample in range(samples):
        lead += np.where(rng.random(images) < p, 1, -1)
        leaves = ~left & (np.abs(lead) >= table[sample])
        wrongly += int(((lead > 0) != (p > 0.5))[leaves].sum())
        left |= leaves
    assert left.mean() > 0.9
    assert error / 3 < wrongly / left.sum() < error
    # One vote less ahead would be too many wrong ones.
    assert (wrong(shape, np.arange(samples) + 1, table - 1)[table > 1] > error).all()


def test_margins_grow_with_what_is_asked():
    loose, strict = margins(0.1, 64, 0.01), margins(0.1, 64, 0.0001)
    assert (loose <= strict).all() and (loose < strict).any()
    assert (np.diff(strict[strict < np.arange(1, 65)]) >= 0).all()
    # So sure that not even unanimous votes will do: nobody leaves.
    assert margins(50.0, 8, 0.001).tolist() == [2, 3, 4, 5, 6, 7, 8, 9]


def test_trial_by_hand():
    # Image 0: 1 1 0; image 1: 2 2 2; image 2: 0 1 1.
    seen = np.array([[1, 2, 0], [1, 2, 1], [0, 2, 1]])
    assert count(seen, 3).tolist() == [[1, 2, 0], [0, 0, 3], [1, 2, 0]]
    trial = try_margins(seen, np.array([2, 2, 1]), 3, labels=np.array([1, 2, 0]))
    assert (trial.images, trial.samples) == (3, pytest.approx((2 + 2 + 3) / 3))
    assert (trial.agrees, trial.accuracy, trial.full_accuracy) == (
        1,
        pytest.approx(2 / 3),
        pytest.approx(2 / 3),
    )
    hasty = try_margins(seen, np.array([1, 1, 1]), 3)
    assert (hasty.samples, hasty.agrees, hasty.accuracy) == (1, pytest.approx(2 / 3), None)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([1, 2], "2 labels for the votes of 3 images"),
        ([1, 2, 3], r"labels\[2\] is 3, not an integer in 0\.\.2"),
    ],
)
def test_labels_of_other_images(labels, expected):
    with pytest.raises(SynflipError, match=expected):
        try_margins(np.array([[1, 2, 0]]), np.array([1]), 3, labels)


@pytest.mark.parametrize("error", [0, 0.5, -1, float("nan")])
def test_senseless_errors(error):
    with pytest.raises(SynflipError, match=r"the error must be above 0 and below 0\.5"):
        margins(0.1, 8, error)


@pytest.mark.parametrize("votes", [np.zeros((0, 3), int), np.ones((2, 1), int) * 9, np.eye(3, dtype=int)])
def test_too_few_votes(votes):
    with pytest.raises(SynflipError, match="at least 2 votes"):
        fit_shape(votes)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On digits: what the trial says is what the golden model does with the file of margins."""
    data = load("digits")
    network = train(data, (32,), bits=3, epochs=4, seed=1)
    model = compile_network(network, data.classes, data.input_max, {})
    file, table = tmp_path / "m.safetensors", tmp_path / "margins.txt"
    modelfile.save(model, file)
    arguments = ["margins", str(file), "--data", "digits", "--samples", "32", "--error", "0.005"]
    assert app.main([*arguments, "--out", str(table)]) == 0
    lines = capsys.readouterr().out.splitlines()
    parts = (re.split(r" {2,}", line.strip(), maxsplit=1) for line in lines[1:])
    said = dict(pair for pair in parts if len(pair) == 2)  # a long list of margins goes on in the next line
    said = {name.strip(): value.strip() for name, value in said.items()}
    chosen = [int(number) for number in table.read_text().split(",")]
    assert len(chosen) == 32
    with Golden() as golden:
        golden.load(model)
        used = golden.infer(data.test_images, 32, 0, np.array(chosen)).used
        assert (winners(golden, data.test_images[:5], 3, 0) >= 0).all()
    assert said["samples an image, mean"] == f"{used[1::2].mean():.3f} of 32"

    images, result = tmp_path / "x.npy", tmp_path / "r.npz"
    np.save(images, data.test_images)
    arguments = ["run", str(file), "--images", str(images), "--out", str(result), "--margins", str(table)]
    assert app.main([*arguments, "--samples", "32"]) == 0
    assert np.array_equal(np.load(result)["used"], used)
    capsys.readouterr()
    assert app.main([*arguments, "--margin", "2"]) == 2
    assert "exclude each other" in capsys.readouterr().err
    assert app.main(["margins", str(file), "--images", str(images), "--data", "digits"]) == 2
    assert "give --data or --images" in capsys.readouterr().err
    assert app.main(["margins", str(file)]) == 1
    assert "does not say what data it was trained on: give --data" in capsys.readouterr().err


def test_the_data_that_the_model_file_names(tmp_path, capsys):
    data = load("digits")
    network = SynapticNetwork([64, 10], bits=4, activation_bits=4)
    source = {"data": data.title, "data_sha256": data_digest(data)}
    model = compile_network(network, data.classes, data.input_max, source)
    file, numbers = tmp_path / "m.safetensors", [tmp_path / "a.json", tmp_path / "b.json"]
    modelfile.save(model, file)
    for named, path in zip(([], ["--data", "digits"]), numbers, strict=True):
        assert app.main(["margins", str(file), "--samples", "2", "--json", str(path), *named]) == 0
        assert capsys.readouterr().out.startswith("64-10 on digits: early stopping")
    assert numbers[0].read_text() == numbers[1].read_text()
    # A folder of the user's, whose name is that of a set, leaves another hash.
    modelfile.save(replace(model, source=source | {"data_sha256": "0" * 64}), file)
    assert app.main(["margins", str(file), "--samples", "2"]) == 1
    assert "other data that are called digits: give them with --data" in capsys.readouterr().err
    assert app.main(["margins", str(file), "--samples", "2", "--data", "digits"]) == 0
