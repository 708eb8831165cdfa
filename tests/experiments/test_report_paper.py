"""The report: numbers by other means, what is kept, what is refused, and what a browser shows."""

import base64
import csv
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, expect
from sklearn.datasets import load_wine
from synflip import modelfile
from synflip.cli import app
from synflip.data.dataset import Dataset
from synflip.data.registry import load
from synflip.errors import SynflipError
from synflip.experiments import datasets, registry, targets
from synflip.experiments.blocks import Section
from synflip.experiments.coin_variants import ARRANGEMENTS, noisy, redrawn, requantised, unsampled_logits
from synflip.experiments.findings import Missing, ResultCache
from synflip.experiments.networks import Context
from synflip.experiments.pages.page import QUICK_WARNING, html
from synflip.experiments.predictions import float_logits
from synflip.experiments.recipes import QUICK, Coins, Float, digest
from synflip.golden.cpu import Golden
from synflip.report.tables import Table
from synflip.spec.coins import threshold
from synflip.spec.model import CompiledModel
from synflip.training import baseline, train
from synflip.uncertainty.scores import softmax
from torch.nn.functional import cross_entropy, nll_loss

from tests.browser import browser, complaints, window

HELD_OUT = QUICK.held_out
MAIN = Coins("digits", QUICK.hidden, QUICK.epochs, held_out=HELD_OUT)
ORDINARY = Float("digits", QUICK.hidden, QUICK.epochs, held_out=HELD_OUT)
CONV = Coins("digits", (), QUICK.conv, conv=True, held_out=HELD_OUT)
SWEEP = replace(MAIN, epochs=QUICK.sweep, held_out=0)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quick report."""
    out = tmp_path_factory.mktemp("paper") / "out"
    assert quick(out, "--json", str(out.with_name("numbers.json"))) == 0
    return out


@pytest.fixture(scope="module")
def model(folder: Path) -> CompiledModel:
    return modelfile.load(folder / "models" / f"digits-{digest(MAIN.settings)}.safetensors")


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "out"))


def rows(folder: Path, experiment: str, **settings: object) -> list[dict[str, Any]]:
    """Numbers of an experiment's rows with these settings."""
    settings = json.loads(json.dumps(settings))
    return [
        row["numbers"]
        for row in json.loads((folder / "numbers.json").read_text())
        if row["experiment"] == experiment and row["settings"].items() >= settings.items()
    ]


def quick(folder: Path, *arguments: str) -> int:
    return app.main(["report", "paper", "--quick", "--out", str(folder), *arguments])


def only_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(train, "train", refuse)
    monkeypatch.setattr(baseline, "fit_float", refuse)
    monkeypatch.setattr(Golden, "infer", refuse)


# What the numbers are


def test_numbers_are_what_the_golden_model_counts(
    folder: Path, model: CompiledModel, digits: Dataset
) -> None:
    with Golden() as golden:
        golden.load(model)
        result = golden.infer(digits.test_images, 8, 1, logits=True)
    z = result.logits
    assert z is not None and model.logit_scale is not None
    (found,) = rows(folder, "networks", **MAIN.settings)
    assert found["vote of 8"] == pytest.approx((result.winner == digits.test_labels).mean())
    assert found["vote of 8"] > 0.7
    assert found["one sample"] == pytest.approx((z.argmax(2) == digits.test_labels).mean())
    shares = np.mean([softmax(one, model.logit_scale) for one in z], axis=0)
    likely = shares[np.arange(len(shares)), digits.test_labels]
    assert found["mean softmax nll"] == pytest.approx(-np.log(likely).mean())
    (curve,) = rows(folder, "samples", **MAIN.settings)
    assert curve["vote"]["8"]["accuracy"] == found["vote of 8"]
    assert list(curve["vote"]) == ["1", "2", "4", "8", "16"]
    (soft,) = rows(folder, "soft-votes", **MAIN.settings)
    assert soft["mean softmax"]["distance"] == 0
    assert soft["soft votes, F = 8, 256 entries, P = 4"]["distance"] < 0.02 < soft["votes"]["distance"]


def test_sampled_convolutions_are_beside_those_that_are_not(folder: Path) -> None:
    """Every weight is a coin in the one network, only the dense layers' in the other."""
    sampled = replace(CONV, sampled=True)
    (found,) = rows(folder, "networks", **sampled.settings)
    assert found["network"] == "8x8x1-32(3x3, pad 1x1, pool 2x2)-100-10" and found["vote of 8"] > 0.3
    (beside,) = rows(folder, "networks", **CONV.settings)
    assert beside["network"] == "512-100-10"


def test_an_ensemble_is_the_mean_of_its_members(folder: Path, digits: Dataset) -> None:
    context = Context(QUICK, ResultCache(folder, "", ""))
    context.cache.making = False
    members = [context.ordinary(replace(ORDINARY, seed=seed)) for seed in (0, 1)]
    x = torch.from_numpy(digits.test_images).float() / 16
    with torch.no_grad():
        shares = torch.stack([member(x).double().softmax(1) for member in members]).mean(0).numpy()
    (found,) = rows(folder, "baselines", baseline="ensemble of 2")
    assert found["accuracy"] == pytest.approx((shares.argmax(1) == digits.test_labels).mean())
    assert found["brier"] == pytest.approx(((shares - np.eye(10)[digits.test_labels]) ** 2).sum(1).mean())
    together = [row for row in rows(folder, "together") if row["accuracy"] == found["accuracy"]]
    assert found in together and len(rows(folder, "together")) == 2  # as many seeds as members
    (dropped,) = rows(folder, "baselines", baseline="MC dropout, 8 passes")
    (one,) = rows(folder, "baselines", baseline="softmax")
    assert len({item["nll"] for item in (dropped, one, found)}) == 3


def test_out_of_distribution_images_are_found_by_what_the_names_say(
    folder: Path, model: CompiledModel, digits: Dataset
) -> None:
    (found,) = rows(folder, "out-of-distribution", **MAIN.settings)
    assert list(found) == ["noise", "turned"]
    (baseline,) = rows(folder, "baselines", baseline="coins, mean softmax")
    assert found["noise"]["entropy"] == pytest.approx(baseline["auroc noise"])
    assert model.logit_scale is not None
    scores = []
    for images in (digits.test_images, datasets.out_of_distribution(digits)["noise"]):
        with Golden() as golden:
            golden.load(model)
            result = golden.infer(images, 8, 1, logits=True)
        scores.append((result.energy, result.mutual_information))
    for score, (own, theirs) in zip(("energy", "mutual information"), zip(*scores, strict=True), strict=True):
        above = (theirs[:, None] > own).mean() + (theirs[:, None] == own).mean() / 2
        assert found["noise"][score] == pytest.approx(above)
    ordinary = [
        row for row in rows(folder, "out-of-distribution") if row["noise"]["mutual information"] is None
    ]
    assert len(ordinary) == 4  # one sample knows nothing of others: softmaxes, Laplace, SNGP
    (softmaxes,) = rows(folder, "baselines", baseline="softmax")
    assert softmaxes["auroc noise"] in [row["noise"]["entropy"] for row in ordinary]
    for recipe in (replace(CONV, sampled=sampled) for sampled in (False, True)):
        (behind,) = rows(folder, "out-of-distribution", **recipe.settings)
        assert behind["noise"]["energy"] is not None


def test_likelihoods_are_scaled_by_what_held_out_images_say(folder: Path, digits: Dataset) -> None:
    context = Context(QUICK, ResultCache(folder, "", ""))
    context.cache.making = False
    network = context.ordinary(ORDINARY)
    assert len(context.training_data("digits", HELD_OUT).train_labels) == len(digits.train_labels) - HELD_OUT
    scales = np.geomspace(0.05, 2, 200)
    with torch.no_grad():
        held_out, test = (
            [
                cross_entropy(network(torch.from_numpy(x).float() / 16) / t, torch.from_numpy(y)).item()
                for t in scales
            ]
            for x, y in (
                (digits.train_images[-HELD_OUT:], digits.train_labels[-HELD_OUT:]),
                (digits.test_images, digits.test_labels),
            )
        )
    best = int(np.argmin(held_out))
    (found,) = rows(folder, "baselines", baseline="softmax")
    assert found["temperature"] == pytest.approx(scales[best], rel=0.03)
    assert found["scaled nll"] == pytest.approx(test[best], rel=0.01) != found["nll"]
    everything = rows(folder, "baselines") + rows(folder, "method") + rows(folder, "together")
    assert len(everything) == 12 + 14 + 2 and all(row["scaled nll"] > 0 for row in everything)


def test_shares_of_noise_are_measured_on_held_out_images_too(folder: Path, digits: Dataset) -> None:
    """By torch's own cross entropy, of samples that were asked for one by one."""
    context = Context(QUICK, ResultCache(folder, "", ""))
    context.cache.making = False
    images, labels = digits.train_images[-HELD_OUT:], digits.train_labels[-HELD_OUT:]
    for noise in (0.0, 1.0):
        (found,) = rows(folder, "held-out", conv=False, noise=noise)
        model = context.coins(
            context.recipe("digits", QUICK.hidden, QUICK.sweep, held_out=HELD_OUT, noise=noise)
        )
        shares = torch.zeros(len(images), 10, dtype=torch.float64)
        with Golden() as golden:
            golden.load(model)
            for sample in range(QUICK.samples):
                logits = golden.infer(images, 1, 1, logits=True, first=sample).logits
                assert logits is not None and model.logit_scale is not None
                shares += torch.from_numpy(logits[0] / model.logit_scale).softmax(1) / QUICK.samples
        assert found["nll"] == pytest.approx(nll_loss(shares.log(), torch.from_numpy(labels)).item())
        assert found["accuracy"] == (shares.argmax(1).numpy() == labels).mean()


def test_the_methods_own_numbers(folder: Path) -> None:
    found = {
        row["settings"]["row"]: row["numbers"]
        for row in json.loads((folder / "numbers.json").read_text())
        if row["experiment"] == "method"
    }
    (coins,) = rows(folder, "baselines", baseline="coins, mean softmax")
    assert found["coins, mean softmax"] == coins
    assert len({row["nll"] for row in found.values()}) == len(found)
    assert found["coins, unsampled"]["accuracy"] > 0.7 < found["converted, fine-tuned, votes"]["accuracy"]
    models = [modelfile.load(path) for path in (folder / "models").glob("*.safetensors")]
    assert {model.source.get("made") for model in models} == {"trained", "converted", "flipped"}


def test_a_class_of_which_no_image_is_left_is_found_by_scores(folder: Path, digits: Dataset) -> None:
    (found,) = rows(folder, "removal", kept=0.0)
    assert found["accuracy of the class"] == 0
    kept = replace(SWEEP, kept=0.0)
    with Golden() as golden:
        golden.load(modelfile.load(folder / "models" / f"digits-{digest(kept.settings)}.safetensors"))
        energy = golden.infer(digits.test_images, 8, 1, logits=True).energy
    its = digits.test_labels == datasets.RARE
    above = (energy[its][:, None] > energy[~its]).mean() + (energy[its][:, None] == energy[~its]).mean() / 2
    assert found["auroc of energy"] == pytest.approx(above)


def test_passes_with_dropout_differ_and_one_pass_has_none(folder: Path, digits: Dataset) -> None:
    context = Context(QUICK, ResultCache(folder, "", ""))
    context.cache.making = False
    network = context.ordinary(replace(ORDINARY, dropout=QUICK.dropout))
    state = torch.get_rng_state()
    three = float_logits(context, [network], digits.test_images, "digits", 3)
    assert three.shape == (3, len(digits.test_labels), 10) and (three[0] != three[1]).mean() > 0.9
    assert np.array_equal(three, float_logits(context, [network], digits.test_images, "digits", 3))
    assert torch.equal(torch.get_rng_state(), state) and not network.training
    (one,) = float_logits(context, [network], digits.test_images, "digits")
    with torch.no_grad():
        wanted = network(torch.from_numpy(digits.test_images).float() / 16).numpy()
    assert one == pytest.approx(wanted, abs=1e-5)


def test_every_number_has_its_command_and_commit(folder: Path) -> None:
    found = json.loads((folder / "numbers.json").read_text())
    printed = json.loads(folder.with_name("numbers.json").read_text())  # of --json
    assert printed["rows"] == found and printed["command"] == "synflip report paper --quick --data digits"
    assert {row["command"] for row in found} == {"synflip report paper --quick --data digits"}
    assert all(re.fullmatch(r"[0-9a-f]{40}(-dirty)?|synflip .*", row["commit"]) for row in found)
    with (folder / "numbers.csv").open() as file:
        table = list(csv.DictReader(file))
    wanted = {
        (row["experiment"], row["numbers"]["vote of 8"]) for row in found if "vote of 8" in row["numbers"]
    }
    assert {
        (row["experiment"], float(row["value"])) for row in table if row["number"] == "vote of 8"
    } == wanted and wanted
    assert not re.search("NaN|Infinity", (folder / "numbers.json").read_text())


# What is kept


def test_the_same_again_makes_nothing_and_the_same_bytes(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ("index.html", "numbers.json", "numbers.csv")
    before = [(copied / name).read_bytes() for name in files]
    only_read(monkeypatch)
    assert quick(copied) == 0
    assert [(copied / name).read_bytes() for name in files] == before
    said = capsys.readouterr().out
    assert QUICK_WARNING in " ".join(said.split()) and max(map(len, said.splitlines())) <= 80


def test_interrupted_and_continued(copied: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = [replace(SWEEP, signed=signed) for signed in (True, False)]
    lost = [copied / "models" / f"digits-{digest(recipe.settings)}.safetensors" for recipe in recipes]
    for path in (*lost, *copied.glob("tensors/answers-*"), *copied.glob("rows/networks-*")):
        path.unlink()
    fit = train.train

    def interrupt(*args: Any, **kwargs: Any) -> Any:
        if not kwargs["signed"]:
            raise KeyboardInterrupt
        return fit(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(train, "train", interrupt)
        assert quick(copied, "--only", "signs") == app.INTERRUPTED
    assert [path.exists() for path in lost] == [True, False]
    assert not list(copied.rglob("*.partial"))
    kept = lost[0].stat().st_mtime_ns
    for path in (*copied.glob("tensors/answers-*"), *copied.glob("rows/networks-*")):
        path.unlink()
    assert quick(copied, "--only", "signs") == 0
    assert lost[0].stat().st_mtime_ns == kept
    assert [path.read_bytes() for path in lost] == [
        (folder / "models" / path.name).read_bytes() for path in lost
    ]


def test_workers_make_what_the_command_makes(
    copied: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(SWEEP, signed=False)
    lost = [copied / "models" / f"digits-{digest(recipe.settings)}.safetensors"]
    lost += copied.glob("rows/networks-*")
    for path in (*lost, *copied.glob("tensors/answers-*")):
        path.unlink()
    only_read(monkeypatch)  # here: the workers are other processes
    assert quick(copied, "--only", "signs", "--workers", "1") == 0
    assert lost[0].read_bytes() == (folder / "models" / lost[0].name).read_bytes()
    want, made = rows(folder, "networks"), rows(copied, "networks")
    assert made and all(row in want for row in made)
    assert not list(copied.glob(".cluster-*"))


def test_others_are_shown_if_they_are_there(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in copied.glob("rows/early-*"):
        path.unlink()
    only_read(monkeypatch)
    assert quick(copied, "--only", "bits") == 0
    page = (copied / "index.html").read_text()
    assert "table-digits-bits" in page and "table-digits-baselines" in page
    assert "table-digits-early" not in page
    assert "Early stopping" not in capsys.readouterr().out


TITLES = ("mnist. Signs; 5 epochs", "mnist. More", "digits. Signs, old", "cifar10 (JPEG quality 75). Signs")


def test_tables_into_a_page(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_read(monkeypatch)
    page = tmp_path / "page.md"
    others = [f"*{title}.*\n\n| weights |\n| --- |\n| {title} |\n\n" for title in TITLES]
    page.write_text(
        f"a\n<!-- begin paper signs -->\n{''.join(others)}<!-- end paper signs -->\n"
        "<!-- begin paper bits -->\nnot run\n<!-- end paper bits -->\nb\n"
    )
    assert quick(copied, "--only", "signs", "--page", str(page)) == 0
    text = page.read_text()
    assert text.startswith("a\n<!-- begin paper signs -->\n*mnist.") and text.endswith("-->\nb\n")
    assert others[0] + others[1] in text and others[3].strip() in text  # of data sets that are not here
    assert others[2] not in text and text.count("*digits. Signs") == 1
    assert text.index("*mnist.") < text.index("*digits.") < text.index("*cifar10 (JPEG")
    assert "-->\nnot run\n<!--" in text  # found before, but not asked for
    (signed,) = rows(copied, "networks", **replace(SWEEP, signed=False).settings)
    assert f"| [0, 1] | {100 * signed['one sample']:.2f} |" in text


def test_rows_that_were_not_run_stay_on_a_page(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Targets whose numbers another report found; others are those of this one."""
    only_read(monkeypatch)

    def missing(context: Context, data: str) -> float:
        raise Missing("nothing")

    found = targets.Target("found", "digits", 0.1, lambda context, data: 0.7)
    rest = [replace(found, what=what, found=missing) for what in ("before", "never")]
    monkeypatch.setattr(targets, "TARGETS", (found, *rest))
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- begin paper targets -->\n*digits. Targets.*\n\n|  | target | found | missed by |\n"
        "| --- | --- | --- | --- |\n| found | 1 | 1 |  |\n| before | 2 | 2 | 0 |\n"
        "<!-- end paper targets -->\n"
    )
    assert quick(copied, "--only", "targets", "--page", str(page)) == 0
    lines = page.read_text().splitlines()
    assert "| before | 2 | 2 | 0 |" in lines and "| found | at least 10.00 % | 70.00 % |  |" in lines
    assert "| never |  | not run |  |" in lines and "| found | 1 | 1 |  |" not in lines


def test_a_table_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its rows lie sorted by class, as tables often do; its file has a name that no page could hold."""
    file, out = tmp_path / "a (b). c's.csv", tmp_path / "out"
    table = load_wine(as_frame=True)
    table.data.assign(kind=table.target_names[table.target]).to_csv(file, index=False)
    assert quick(out, "--data", str(file), "--label", "kind") == 0
    assert "Left out" in capsys.readouterr().out
    page, numbers = (out / "index.html").read_text(), (out / "numbers.json").read_text()
    (name,) = set(re.findall(r'<section id="(a-b-c-s-[0-9a-f]{8})-', page))
    sections = set(re.findall(f'<section id="{name}-([^"]*)"', page))
    assert sections == {*registry.NAMES, registry.LEFT_OUT} - {"gallery", "targets", "convolutions"}
    assert "Convolutions; Images and their votes." in page
    assert "a quarter of each class held out by seed 0" in page
    assert not re.search("NaN|Infinity|turned", numbers) and "shuffled columns" in numbers
    asked = [row["settings"] for row in json.loads(numbers)]
    assert {row["augment"] for row in asked if "augment" in row} == {False}
    assert {row["held_out"] for row in asked if "held_out" in row} == {0, 26}  # a fifth of 133
    (found,) = rows(out, "networks", **replace(MAIN, data=name, augment=False, held_out=26).settings)
    assert found["one sample"] > 0.6  # of three classes


def test_own_data_have_pixels_and_an_order_and_a_name_of_their_own() -> None:
    rows = np.arange(60.0).reshape(20, 3)
    data = Dataset.of(rows, np.arange(20) // 10, rows, np.arange(20) // 10, name="x")
    own, other = datasets.own(data), datasets.own(replace(data, test_images=rows[::-1]))
    assert own.name != other.name and own.name[:2] == other.name[:2] == "x-"
    assert own.train_labels.tolist() != data.train_labels.tolist()
    assert sorted(map(tuple, own.train_images)) == sorted(map(tuple, data.train_pixels))
    assert np.array_equal(own.test_images, data.test_pixels) and own.input_quantizer is None
    strange = datasets.out_of_distribution(own)
    assert list(strange) == ["shuffled columns", "noise"]
    shuffled = strange["shuffled columns"]
    assert np.array_equal(np.sort(shuffled, axis=0), np.sort(own.test_images, axis=0))
    assert not np.array_equal(shuffled, own.test_images)
    with pytest.raises(SynflipError, match="the test part of x has one class"):
        datasets.own(replace(data, test_labels=np.zeros(20, int)))


# What is refused


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["report", "paper", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Example: synflip report paper --quick" in text and "--only" in text
    assert app.main(["--help"]) == 0
    assert " report " in capsys.readouterr().out
    assert app.main(["report"]) == 0
    assert " paper " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "cats"], "no experiment 'cats'; there are headline, baselines"),
        (["--only", "bits,,"], "--only 'bits,,' is not a list of names"),
        (["--data", "cats"], "'cats' is neither a file nor one of digits, mnist, fashion-mnist, cifar10"),
        (["--label", "kind"], "--label, --no-header and --size are of files, and --data names none"),
        (["--page", "none.md"], "none.md is missing"),
        (["--page", "none/x.md"], "none/x.md is missing"),
        (["--page", "empty.md", "--only", "signs"], "empty.md has no section for what is run"),
        (["--page", "half.md", "--only", "signs"], "half.md has no section between the lines"),
        (["--page", "broken.md", "--only", "signs"], "cannot read broken.md"),
    ],
)
def test_senseless(
    arguments: list[str],
    message: str,
    copied: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Said before the work."""
    monkeypatch.setattr("synflip.experiments.registry.run", lambda *rest: pytest.fail("it works"))
    monkeypatch.chdir(tmp_path)
    for name, content in (("empty", b"a"), ("half", b"<!-- begin paper signs -->"), ("broken", b"\xff")):
        (tmp_path / f"{name}.md").write_bytes(content)
    assert quick(copied, *arguments) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"numbers": 3}', '{"numbers": {}, "settings": {}}', "[" * 9999]
)
def test_a_row_that_is_none(content: str, copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = next(copied.glob("rows/early-*"))
    path.write_text(content)
    assert quick(copied, "--only", "early") == 1
    error = capsys.readouterr().err
    assert f"{path.name} is not a row of a report" in error and error.count("\n") == 1


def test_tensors_that_are_none(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in copied.glob("tensors/*"):
        path.write_bytes(b"\xff" * 100)
    assert quick(copied, "--only", "baselines") == 1
    assert "delete it to have it made again" in capsys.readouterr().err


def test_nothing_is_made_unless_it_may_be(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, "", "")
    cache.making = False
    with pytest.raises(Missing):
        cache.row("x", {}, lambda: {"a": 1})
    assert cache.rows() == []


# Data sets and coins, changed


def test_data_sets(digits: Dataset) -> None:
    rare = datasets.rarer(digits, 0.1)
    before, after = (np.bincount(data.train_labels) for data in (digits, rare))
    assert after[datasets.RARE] == round(0.1 * before[datasets.RARE])
    assert np.array_equal(np.delete(before, datasets.RARE), np.delete(after, datasets.RARE))
    left, images, labels = datasets.held_out(digits, 100)
    assert np.array_equal(np.concatenate([left.train_images, images]), digits.train_images)
    assert np.array_equal(np.concatenate([left.train_labels, labels]), digits.train_labels)
    others = datasets.out_of_distribution(digits)
    first = digits.test_images[0].reshape(8, 8)
    assert others["turned"][0].reshape(8, 8).tolist() == np.rot90(first).tolist()
    assert others["noise"].shape == digits.test_images.shape and set(np.unique(others["noise"])) == set(
        range(17)
    )


def test_bits_and_noise(model: CompiledModel, digits: Dataset) -> None:
    with Golden() as golden:

        def logits(changed: CompiledModel) -> list[Any]:
            golden.load(changed)
            return golden.infer(digits.test_images[:50], 3, 2, logits=True).logits.tolist()  # type: ignore[union-attr]

        assert logits(noisy(model, 0.0, 5)) == logits(model) == logits(requantised(model, 4))
        assert logits(noisy(model, 0.1, 5)) != logits(model)
    share = [threshold(layer.q, 16) / 65536 for layer in noisy(model, 0.1, 5).layers]
    off = share[0] - threshold(model.layers[0].q, 4) / 16
    inside = np.abs(threshold(model.layers[0].q, 4) / 16 - 0.5) < 0.2
    assert off[inside].std() == pytest.approx(0.1, rel=0.2) and abs(off[inside].mean()) < 0.03
    assert {int(t) for t in np.unique(threshold(requantised(model, 2).layers[0].q, 2))} <= {0, 1, 3, 4}


def test_a_network_without_samples_has_the_means_of_its_coins(model: CompiledModel, digits: Dataset) -> None:
    sure = requantised(model, 1)  # every coin is heads, or none
    with Golden() as golden:
        golden.load(sure)
        z = golden.infer(digits.test_images, 1, 2, logits=True).logits
    assert z is not None and np.array_equal(unsampled_logits(sure, digits.test_images), z)
    assert not np.array_equal(unsampled_logits(model, digits.test_images), z)


def test_weights_that_are_redrawn(model: CompiledModel) -> None:
    layer = model.layers[0]
    weight = threshold(layer.q, 4) / 16 * (1 - 2.0 * layer.sign)
    with Golden() as golden:
        golden.load(model)
        means = {}
        for precision in (1e9, 2.0):
            flow = redrawn(golden, 3, precision)
            means[precision] = np.mean([next(flow)[0].numpy() for _ in range(400)], axis=0)
    assert (means[1e9] - weight).std() < 0.05 and means[1e9][weight == 0].any() == 0
    normal = np.random.default_rng(0).normal(0, 0.5, (100_000, 1))
    for value in (0.0, 0.25, -0.25):
        drawn = value + normal
        wanted = (np.sign(drawn) * np.minimum(np.abs(drawn), 1)).mean()
        assert means[2.0][weight == value].mean() == pytest.approx(wanted, abs=0.05)


def test_related_samples(model: CompiledModel) -> None:
    with Golden() as golden:
        golden.load(model)
        flips = {}
        for name, arrange in ARRANGEMENTS.items():
            flow = arrange(golden, 9)
            flips[name] = [np.abs(next(flow)[0].numpy().astype(int)) for _ in range(32)]
        assert np.array_equal(flips["independent"][3], np.abs(golden.coins(9, 3)[0].numpy()))
    level = threshold(model.layers[0].q, 4)
    for first in (0, 16):
        assert np.array_equal(sum(flips["stratified"][first : first + 16]), level)
        # Of two, four, eight samples as many are heads as the probability says, to within one.
        for count in (2, 4, 8):
            heads = sum(flips["stratified"][first : first + count])
            assert (np.abs(heads - level * count / 16) < 1).all()
    assert not np.array_equal(flips["stratified"][0], flips["stratified"][16])
    pair = flips["antithetic"][0] + flips["antithetic"][1]
    assert np.array_equal(pair == 0, (pair == 0) & (level <= 8)) and (pair[level <= 8] <= 1).all()
    assert (pair[level >= 8] >= 1).all() and 0 < (pair == 1).mean() < 1
    # One word for all outputs of a row: of two outputs, the one with the larger threshold is heads if the
    # other is.
    for flip in flips["one word a row"]:
        ordered = np.take_along_axis(flip, np.argsort(level, axis=0, kind="stable"), axis=0)
        assert (np.diff(ordered, axis=0) >= 0).all()
    assert any((np.diff(np.take_along_axis(flip, np.argsort(level, 0, kind="stable"), 0), axis=0) < 0).any()
               for flip in flips["independent"])  # fmt: skip


def test_means_of_seeds_and_targets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context(QUICK, ResultCache(folder, "", ""))
    found = registry.EXPERIMENTS[0].section(context, "digits").tables[0].column("one sample %")
    assert found[2] == pytest.approx((found[0] + found[1]) / 2)
    aims = (
        targets.Target("a", "digits", 0.5, lambda context, data: 0.6),
        targets.Target("b", "digits", 0.5, lambda context, data: 0.4),
        targets.Target("c", "digits", lambda context, data: 0.01, lambda context, data: 0.012, False, False),
        targets.Target("d", "digits", 0.5, lambda context, data: float(
            context.cache.row("x", {}, lambda: {"y": 1.0})["y"])),
        targets.Target("e", "mnist", 0.5, lambda context, data: 0.6),
        targets.Target("f", "digits", 0.5, lambda context, data: 0.49997),
        targets.Target("g", "digits", 0.5, lambda context, data: 0.50004, False, False),
    )  # fmt: skip
    monkeypatch.setattr(targets, "TARGETS", aims)
    (table,) = targets.targets(context, "digits")
    assert isinstance(table, Table)
    assert table.rows == [
        ["a", "at least 50.00 %", "60.00 %", ""],
        ["b", "at least 50.00 %", "40.00 %", "10.00 points"],
        ["c", "at most 0.0100", "0.0120", "0.0020"],
        ["d", "", "not run", ""],
        ["f", "at least 50.00 %", "50.00 %", "less than 0.01 points"],
        ["g", "at most 0.5000", "0.5000", "less than 0.0001"],
    ]
    assert context.cache.making


# The page


def test_the_page_needs_nothing_else(folder: Path) -> None:
    page = (folder / "index.html").read_text()
    assert not re.search(r"<(script |link|iframe)|url\(|@import|https?:|fetch\(|import\(", page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    assert f"script-src 'sha256-{hash_of(script)}'\"" in page and "unsafe-eval" not in page
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)', page))
    assert "default-src 'none'" in page
    for content in re.findall(r"base64,([^\"]*)", page):
        assert base64.b64decode(content).startswith(b"\x89PNG")


def hash_of(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def test_every_number_of_a_table_leads_to_the_command_that_made_it(folder: Path) -> None:
    page = (folder / "index.html").read_text()
    rows = json.loads((folder / "numbers.json").read_text())
    (source,) = {f"{row['command']}</code> at <code>{row['commit']}</code>." for row in rows}
    made = re.findall(r'<p class="made" id="(made-digits-[^"]*)">Made by\s+<code>(.*?)</p>', page, re.S)
    assert made and {text for _, text in made} == {source}
    linked = set(re.findall(r'<td><a href="#([^"]*)">', page))
    assert linked <= {name for name, _ in made} and len(linked) > 10
    for line in re.findall(r"<tr>(<td>.*?)</tr>", page):
        for cell in re.findall(r"<td>(.*?)</td>", line)[1:]:
            assert cell.startswith('<a href="#made-') == bool(re.search(r"\d", re.sub("<[^>]*>", "", cell)))


def test_pictures_say_what_they_show(folder: Path) -> None:
    page = (folder / "index.html").read_text()
    captions = re.findall(r"<figcaption><strong>(.*?)\.</strong> (.*?)</figcaption>", page)
    assert len(captions) == len(FIGURES)
    assert all(", digits" in title and len(text) > 20 and text.endswith(".") for title, text in captions)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as found:
        yield found


def test_a_click_on_a_head_sorts_a_table(chromium: Browser, tmp_path: Path) -> None:
    """Numbers as numbers, what is none behind them; up, down, and as it was."""
    table = Table("T", ("", "n", "%"), [["b", 10_000, 0.5], ["c", 9, None], ["a", -2.5, 0.25]], "t")
    section = Section("x", "X", "About x.", "digits", "", [table], sources=[("synflip <x>", "abc")])
    text = html([section], "synflip report paper", "a commit")
    assert "<code>synflip &lt;x&gt;</code> at <code>abc</code>" in text
    (tmp_path / "page.html").write_text(text)
    with window(chromium) as page:
        page.goto((tmp_path / "page.html").as_uri())
        names = page.locator("tbody td:first-child")
        for column, way, order in (
            (1, "ascending", ["a", "c", "b"]),
            (1, "descending", ["b", "c", "a"]),
            (1, "none", ["b", "c", "a"]),
            (0, "ascending", ["a", "b", "c"]),
            (2, "ascending", ["a", "b", "c"]),
        ):
            head = page.get_by_role("columnheader").nth(column)
            head.get_by_role("button").click()
            expect(head).to_have_attribute("aria-sort", way)
            assert names.all_inner_texts() == order
        for scheme, ink in (("light", "rgb(34, 34, 34)"), ("dark", "rgb(221, 221, 221)")):
            page.emulate_media(color_scheme=scheme)
            expect(page.locator("body")).to_have_css("color", ink)
        assert complaints(page) == []


FIGURES = (
    "samples", "risk", "reliability", "entropy-vote", "entropy-mean-softmax", "second", "gallery-least-sure",
    "gallery-wrong-and-sure", "related", "bits", "noise", "front", "removal",
)  # fmt: skip
PROBE = """() => {
const shown = [...document.querySelectorAll("figure")].map(f => {
  const image = f.querySelector("img"), box = image.getBoundingClientRect();
  return [f.id, image.naturalWidth, box.width, box.height]; });
const tables = [...document.querySelectorAll(".wide")].map(box => [box.getBoundingClientRect().right,
  box.scrollWidth - box.clientWidth, getComputedStyle(box).overflowX, getComputedStyle(
  box.querySelector("td")).position, box.querySelector("caption").getBoundingClientRect().width]);
return {shown, tables, wide: document.documentElement.scrollWidth}; }"""


def probed(chromium: Browser, folder: Path, width: int) -> dict[str, Any]:
    """What PROBE finds on the page in a window of ``width`` pixels."""
    with window(chromium, width) as page:
        page.goto((folder / "index.html").as_uri())
        found: dict[str, Any] = page.evaluate(PROBE)
        assert complaints(page) == []
    return found


def test_a_browser_shows_every_figure(chromium: Browser, folder: Path) -> None:
    """On a page as wide as a phone."""
    probe = probed(chromium, folder, 390)
    sizes = {name: size for name, *size in probe["shown"]}
    assert set(sizes) == {f"figure-digits-{name}" for name in FIGURES}
    assert all(natural > 300 and width > 250 and height > 100 for natural, width, height in sizes.values())
    assert probe["wide"] == 390
    for right, hidden, overflow, first, caption in probe["tables"]:
        assert right <= 390 and caption <= 390
        # What is too wide can be moved, and says in its first column which row it is.
        assert not hidden or (overflow, first) == ("auto", "sticky")


def test_a_wide_browser_shows_every_table_whole(chromium: Browser, folder: Path) -> None:
    probe = probed(chromium, folder, 1200)
    assert probe["wide"] == 1200 and len(probe["tables"]) > 5
    for right, hidden, *_ in probe["tables"]:
        assert right <= 1200 and hidden == 0


def test_a_quick_report_says_that_its_networks_mean_nothing(folder: Path) -> None:
    assert f'<p class="note" id="warning">{QUICK_WARNING}</p>' in (folder / "index.html").read_text()
    assert "warning" not in html([], "synflip report paper", "a commit")
