"""Metrics and aggregates against sums written out, and the command on digits."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synflip import modelfile
from synflip.cli import app
from synflip.compiler.compile import compile_network
from synflip.data.registry import load
from synflip.errors import SynflipError
from synflip.evaluation.evaluate import evaluate
from synflip.golden.cpu import Golden
from synflip.training.train import train
from synflip.uncertainty.aggregate import AGGREGATES, TRIM, powers
from synflip.uncertainty.metrics import BINS, metrics, outside_auroc, risk_coverage
from synflip.uncertainty.scores import softmax
from synflip.util.outputs import says

RNG = np.random.default_rng(5)
SHARES = RNG.dirichlet(np.full(4, 0.3), 300)
LABELS = np.array([RNG.choice(4, p=p) if n % 3 else n % 4 for n, p in enumerate(SHARES)])


def bits(p):
    return -sum(q * np.log2(q) for q in p if q > 0)


def test_measures_by_hand():
    found = metrics(SHARES, LABELS)
    wrong = [int(p.argmax()) != label for p, label in zip(SHARES, LABELS, strict=True)]
    uncertainty = [bits(p) for p in SHARES]
    assert found.accuracy == pytest.approx(1 - np.mean(wrong))
    assert found.nll == pytest.approx(
        np.mean([-np.log(max(p[y], 1e-12)) for p, y in zip(SHARES, LABELS, strict=True)]), rel=1e-6
    )
    assert found.brier == pytest.approx(
        np.mean(
            [sum((q - (c == y)) ** 2 for c, q in enumerate(p)) for p, y in zip(SHARES, LABELS, strict=True)]
        )
    )
    pairs = [(a > b) + 0.5 * (a == b) for a, w in zip(uncertainty, wrong, strict=True) if w
             for b, v in zip(uncertainty, wrong, strict=True) if not v]  # fmt: skip
    assert found.auroc == pytest.approx(np.mean(pairs))
    # Calibration: of the images whose largest share lies in a bin, how far are share and accuracy apart?
    gap = 0.0
    for low in np.arange(BINS) / BINS:
        inside = [n for n, p in enumerate(SHARES) if low < p.max() <= low + 1 / BINS]
        if inside:
            gap += len(inside) * abs(
                np.mean([SHARES[n].max() for n in inside]) - np.mean([not wrong[n] for n in inside])
            )
    assert found.ece == pytest.approx(gap / len(SHARES), abs=1e-6)
    order = sorted(range(len(uncertainty)), key=lambda n: uncertainty[n])
    risks = [np.mean([wrong[n] for n in order[: m + 1]]) for m in range(len(order))]
    assert found.aurc == pytest.approx(np.mean(risks))
    coverage, risk = risk_coverage(np.array(uncertainty), np.array(wrong))
    assert (
        coverage[-1] == 1
        and risk[-1] == pytest.approx(np.mean(wrong))
        and risk.tolist() == pytest.approx(risks)
    )


def test_all_right_leaves_nothing_to_find():
    found = metrics(np.eye(3), np.arange(3))
    assert (found.accuracy, found.nll, found.brier, found.ece, found.aurc) == pytest.approx(
        (1, 0, 0, 0, 0), abs=1e-9
    )
    assert np.isnan(found.auroc) and np.isnan(found.aupr)


def test_outside():
    assert outside_auroc(np.array([0.1, 0.2]), np.array([0.3, 0.2, 0.15])) == pytest.approx(4.5 / 6)


@pytest.mark.parametrize(
    ("shares", "labels", "message"),
    [
        (np.full((2, 2), 0.5), np.zeros(3, int), "do not go with"),
        (np.full((2, 2), 0.6), np.zeros(2, int), "add up to 1"),
    ],
)
def test_senseless(shares, labels, message):
    with pytest.raises(SynflipError, match=message):
        metrics(shares, labels)


def test_aggregates_by_hand():
    logits, scale = RNG.integers(-500, 500, (20, 3, 4)).astype(np.int32), 150.0
    found = {name: make(logits, scale) for name, make in AGGREGATES.items()}
    for image in range(3):
        z = logits[:, image]
        each = [[np.exp(v / scale) / sum(np.exp(w / scale) for w in row) for v in row] for row in z]
        winners = [max(range(4), key=lambda c, row=row: row[c]) for row in z]
        votes = [(winners.count(c) + 0.25) / 21 for c in range(4)]
        mean = [np.mean([row[c] for row in each]) for c in range(4)]
        weights = [
            0.25 + sum(row[w] for row, w in zip(each, winners, strict=True) if w == c) for c in range(4)
        ]
        total = [sum(row[c] for row in z) / 20 for c in range(4)]
        cut = int(TRIM * 20)
        middle = [np.mean(sorted(row[c] for row in each)[cut:-cut]) for c in range(4)]
        wanted = {
            "vote": votes,
            "mean softmax": mean,
            "weighted vote": np.array(weights) / sum(weights),
            "logit sum": [np.exp(v / scale) / sum(np.exp(w / scale) for w in total) for v in total],
            "trimmed mean softmax": np.array(middle) / sum(middle),
        }
        assert set(wanted) == set(found)
        for name, shares in wanted.items():
            assert found[name][image] == pytest.approx(np.array(shares)), name
    assert [list(powers(n)) for n in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = load("digits")
    network = train(data, (24,), bits=3, epochs=4, seed=1)
    file, out = tmp_path / "m.safetensors", tmp_path / "out"
    model = compile_network(network, data.classes, data.input_max, {})
    modelfile.save(model, file)
    arguments = ["evaluate", str(file), "--data", "digits", "--outside", "digits", "--samples", "6"]
    assert app.main([*arguments, "--seed", "3", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    numbers = json.loads((out / "evaluation.json").read_text())
    assert says(out / "evaluation.json", '"aggregates": {')  # a second evaluation replaces it
    with Golden() as golden:
        golden.load(model)
        result = golden.infer(data.test_images, 6, 3, logits=True)
    z = result.logits
    accuracy = (z.sum(0).argmax(1) == data.test_labels).mean()
    assert numbers["aggregates"]["logit sum"]["6"]["accuracy"] == pytest.approx(accuracy)
    assert list(numbers["aggregates"]["vote"]) == ["1", "2", "4", "6"]
    assert f"  {accuracy:.4f}  " in printed
    assert max(map(len, printed.partition("AUROC")[0].splitlines())) <= 80
    mean = softmax(z, model.logit_scale).mean(0)
    wrong = mean.argmax(1) != data.test_labels
    second = np.argsort(-mean, 1)[:, 1]
    missed = []
    for votes, sums, label in zip(result.votes, result.logit_sums, data.test_labels, strict=True):
        first, rest = int(votes.argmax()), set(range(10)) - {int(votes.argmax())}
        if first != label:
            missed.append(max(rest, key=lambda c: (votes[c], sums[c], -c)) == label)
    assert numbers["second choice"]["vote"] == pytest.approx(np.mean(missed))
    assert numbers["second choice"]["mean softmax"] == pytest.approx(
        (second == data.test_labels)[wrong].mean()
    )
    assert numbers["entropy"]["mean softmax"]["wrong"] == pytest.approx(
        np.mean([bits(p) for p in mean[wrong]])
    )
    assert numbers["outside"]["auroc"]["vote"] == pytest.approx(0.5)  # of itself it knows as much
    assert numbers["outside"]["auroc by"] == pytest.approx({"mutual information": 0.5, "energy": 0.5})
    assert (out / "evaluation.png").read_bytes().startswith(b"\x89PNG")
    again = (out / "evaluation.json").read_bytes(), (out / "evaluation.png").read_bytes()
    assert app.main([*arguments, "--seed", "3", "--out", str(out)]) == 0
    assert ((out / "evaluation.json").read_bytes(), (out / "evaluation.png").read_bytes()) == again
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin evaluation -->\nold\n<!-- end evaluation -->\nafter\n")
    copy = tmp_path / "copy.png"
    assert (
        app.main([*arguments, "--seed", "3", "--out", str(out), "--page", str(page), "--picture", str(copy)])
        == 0
    )
    text = page.read_text()
    row = next(line for line in text.splitlines() if line.startswith("| logit sum |"))
    assert row.split(" | ")[1] == f"{accuracy:.2%}" and "0.5000" in row
    assert text.startswith("before\n<!-- begin") and text.endswith("-->\nafter\n") and "old" not in text
    assert f"*64-24-10, k = 3; {len(data.test_labels)} test images of digits, seed 3;" in text
    assert copy.read_bytes() == (out / "evaluation.png").read_bytes()
    page.write_text("no marks")
    assert app.main([*arguments, "--out", str(out), "--page", str(page)]) == 1


def test_data_of_other_classes_are_refused():
    digits = load("digits")
    model = compile_network(train(digits, (4,), epochs=1), digits.classes, 16)
    few = replace(
        digits,
        train_labels=digits.train_labels % 2,
        test_labels=digits.test_labels % 2,
        classes=("even", "odd"),
    )
    swapped = replace(digits, classes=("0", "1", "3", "2", *digits.classes[4:]))
    with pytest.raises(SynflipError, match="class 2 of digits is 3, that of the model 2: give data of the"):
        evaluate(model, swapped, 2)
    with pytest.raises(SynflipError, match="the model has 10 classes and digits has 2: give the data"):
        evaluate(model, few, 2)
    with pytest.raises(SynflipError, match="the data are the text 'mnist'"):
        evaluate(model, digits, 2, outside="mnist")


def test_a_device_that_is_none_is_refused():
    digits = load("digits")
    model = compile_network(train(digits, (4,), epochs=1), digits.classes, 16)
    with pytest.raises(SynflipError, match=r"device must be an open device, .* not 'golden:64x8'"):
        evaluate(model, digits, 2, device="golden:64x8")
