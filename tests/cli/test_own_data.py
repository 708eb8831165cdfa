"""Commands on the user's own files: a table and a folder of pictures, from training to margins."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from synflip import modelfile
from synflip.cli import app
from synflip.data import Dataset
from torch import nn

from tests.cli.helpers import fails
from tests.networks import random_network

pandas = pytest.importorskip("pandas")

RNG = np.random.default_rng(6)
KIND = np.array(["low", "high"])[np.arange(80) % 2]
FRAME = pandas.DataFrame(
    {
        "size": RNG.normal(-40, 1, 80) + 10 * (KIND == "high"),
        "kind": KIND,
        "colour": np.array(["red", "blue"])[RNG.integers(0, 2, 80)],
    }
)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    FRAME.to_csv("t.csv", index=False)
    return tmp_path


TRAIN = ("train", "--data", "t.csv", "--label", "kind", "--hidden", "16", "--epochs", "60", "--seed", "3")


def test_a_table_from_training_to_margins(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([*TRAIN, "--out", "m.safetensors"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "t (a quarter of each class held out by seed 3), 3-16-2" in said
    assert app.main(["info", "m.safetensors"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for words in (
        "column: size -4",
        "column: colour blue, red",
        "column of labels kind",
        "classes high, low",
    ):
        assert words in said
    FRAME[["colour", "size"]].to_csv("turned.csv", index=False)
    for images in ("t.csv", "turned.csv"):
        assert app.main(["run", "m.safetensors", "--images", images, "--out", f"{images}.npz"]) == 0
    with np.load("t.csv.npz") as one, np.load("turned.csv.npz") as other:
        assert np.array_equal(one["votes"], other["votes"]) and len(one["votes"]) == 80
        assert (one["votes"].argmax(1) == (KIND == "low")).mean() > 0.95
    words = ["verify", "m.safetensors", "--images", "turned.csv", "--device", "golden:16x2"]
    assert app.main(words) == 0
    assert app.main(["margins", "m.safetensors", "--data", "t.csv"]) == 0
    assert app.main(["margins", "m.safetensors", "--images", "turned.csv"]) == 0
    capsys.readouterr()
    line = fails(capsys, "margins", "m.safetensors")
    assert "trained on t (a quarter of each class held out by seed 3), a file or folder of your own" in line
    FRAME.drop(columns="size").to_csv("less.csv", index=False)
    line = fails(capsys, "run", "m.safetensors", "--images", "less.csv", "--out", "r.npz")
    assert line == "error: less.csv: the table lacks the column size"
    FRAME[:0].to_csv("none.csv", index=False)
    line = fails(capsys, "run", "m.safetensors", "--images", "none.csv", "--out", "r.npz")
    assert line == "error: none.csv has 0 rows; at least 1 are needed"


@pytest.mark.parametrize("command", ["train", "convert"])
def test_quantiles(table: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    torch.export.save(
        torch.export.export(nn.Sequential(nn.Linear(3, 2)).eval(), (torch.zeros(1, 3),)), "n.pt2"
    )
    words = {
        "train": ["train", "--hidden", "4", "--epochs", "1"],
        "convert": ["convert", "n.pt2", "--epochs", "0"],
    }
    given = [*words[command], "--data", "t.csv", "--label", "kind", "--out", "m.safetensors", "--quantiles"]
    assert app.main([*given, "0.1,0.9"]) == 0
    model = modelfile.load("m.safetensors")
    found, wanted = model.input_quantizer, Dataset.of(FRAME, "kind", quantiles=(0.1, 0.9)).input_quantizer
    assert found is not None and wanted is not None and found.quantiles == (0.1, 0.9)
    assert np.array_equal(found.low, wanted.low) and np.array_equal(found.high, wanted.high)
    assert model.source["quantiles"] == [0.1, 0.9]
    capsys.readouterr()
    assert app.main(["info", "m.safetensors"]) == 0
    assert "quantiles 0.1..0.9 of the training rows" in " ".join(capsys.readouterr().out.split())
    if command == "train":
        assert fails(capsys, *given, "0.1").endswith("--quantiles '0.1' is not L,H, such as 0.01,0.99")
        assert "quantiles must be two shares" in fails(capsys, *given, "0.9,0.1")
        given[given.index("t.csv")] = "digits"
        assert "size and quantiles are of files" in fails(capsys, *given[:5], *given[5:7], *given[9:], "0,1")


def test_evaluation_holds_out_what_training_held_out(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert app.main([*TRAIN, "--out", "m.safetensors"]) == 0
    capsys.readouterr()
    assert app.main(["evaluate", "m.safetensors", "--data", "t.csv", "--samples", "2", "--out", "e"]) == 0
    assert "t (a quarter of each class held out by seed 3)" in " ".join(capsys.readouterr().out.split())


def test_data_that_have_changed_are_warned_of(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([*TRAIN[:-4], "--epochs", "1", "--seed", "3", "--out", "m.safetensors"]) == 0
    margins = ["margins", "m.safetensors", "--samples", "4", "--data"]
    assert app.main([*margins, "t.csv"]) == 0
    assert "warning" not in capsys.readouterr().err
    FRAME.to_csv("other.csv", index=False)
    FRAME[1:].to_csv("t.csv", index=False)
    assert app.main([*margins, "other.csv"]) == 0
    assert "warning" not in capsys.readouterr().err
    assert app.main([*margins, "t.csv"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "warning: t is not what the model was trained on, by the hash in its file: rows of the training may "
        "be in the test part"
    ]


def test_the_rows_that_python_held_out_are_held_out_again(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the seed of the data, whatever that of the training; a file that says none is warned of."""
    data = Dataset.of(FRAME, "kind", name="t", seed=3)
    network = random_network(RNG, (3, 2))
    for source, said in (
        ({"data": data.title, "seed": 0}, "t (a quarter of each class held out by seed 3)"),
        ({"data": "t", "seed": 3}, "t (a quarter of each class held out by seed 3)"),
        ({}, "t (a quarter of each class held out by seed 0)"),
    ):
        model = dataclasses.replace(
            network, input_quantizer=data.input_quantizer, classes=data.classes, source=source
        )
        modelfile.save(model, Path("m.safetensors"))
        assert app.main(["margins", "m.safetensors", "--samples", "4", "--data", "t.csv"]) == 0
        captured = capsys.readouterr()
        assert said in " ".join(captured.out.split())
        assert ("does not say which rows were held out" in captured.err) == (not source)


@pytest.mark.parametrize("label", ["1", "kind"])
def test_columns_that_are_called_by_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str
) -> None:
    """As pandas writes an array: the header stays one after training, with and without it in the file."""
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    numbers = np.where(KIND == "high", 1, 0)
    frame = pandas.DataFrame({"0": FRAME["size"], label: numbers})
    frame.to_csv("t.csv", index=False)
    frame[["0"]].to_csv("bare.csv", index=False, header=False)
    np.save("t.npy", frame[["0"]].to_numpy())
    words = ["--data", "t.csv", "--hidden", "4", "--epochs", "1", "--out", "m.safetensors"]
    assert app.main(["train", *words]) == 0
    for images in ("t.csv", "bare.csv", "t.npy"):
        words = ["--images", images, "--out", f"{images}.npz"]
        assert app.main(["run", "m.safetensors", *words, *(["--no-header"] * (images == "bare.csv"))]) == 0
    with np.load("t.csv.npz") as one, np.load("bare.csv.npz") as two, np.load("t.npy.npz") as three:
        assert np.array_equal(one["votes"], three["votes"]) and np.array_equal(two["votes"], three["votes"])
    words = ["--data", "t.csv", "--samples", "16", "--out", "e", "--json", "e.json"]
    assert app.main(["evaluate", "m.safetensors", *words]) == 0
    assert json.loads(Path("e.json").read_text())["images"] == 20


def test_convert_on_a_table(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = nn.Sequential(nn.Linear(3, 2))
    with torch.no_grad():  # high above -35; features are size, blue, red
        network[0].weight.copy_(torch.tensor([[0.5, 0, 0], [0.0, 0, 0]]))
        network[0].bias.copy_(torch.tensor([17.5, 0.0]))
    torch.export.save(torch.export.export(network.eval(), (torch.zeros(1, 3),)), "n.pt2")
    words = [
        "convert",
        "n.pt2",
        "--data",
        "t.csv",
        "--label",
        "kind",
        "--epochs",
        "0",
        "--out",
        "c.safetensors",
    ]
    assert app.main(words) == 0
    quantizer = modelfile.load("c.safetensors").input_quantizer
    assert quantizer is not None and quantizer.label == "kind"
    assert "accuracy of the network as it was 100.00%" in " ".join(capsys.readouterr().out.split())


def test_a_folder_of_pictures(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, least in (("dark", 0), ("light", 128)):
        (table / "pictures" / name).mkdir(parents=True)
        for index in range(8):
            pixels = RNG.integers(least, least + 128, (6, 6), dtype=np.uint8)
            Image.fromarray(pixels).save(table / "pictures" / name / f"{index}.png")
    words = ["train", "--data", "pictures", "--size", "4x4", "--hidden", "4", "--epochs", "2"]
    assert app.main([*words, "--out", "p.safetensors"]) == 0
    assert modelfile.load("p.safetensors").rows[0] == 16
    capsys.readouterr()
    line = fails(capsys, *words[:4], "4", "--out", "p.safetensors")
    assert line == "error: --size '4' is not HxW, such as 32x32"


def test_what_is_no_data(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for data, words in (
        ("t.csv", "t.csv: the table has no column 'class'; it has size, kind, colour"),
        ("digits", "digits has its own labels and sizes"),
    ):
        assert words in fails(capsys, "train", "--data", data, "--label", "class", "--out", "m.safetensors")
    line = fails(capsys, "train", "--data", "nosuch", "--out", "m.safetensors", status=2)
    assert "'nosuch' is neither a file nor one of digits, mnist, fashion-mnist, cifar10" in line
    assert "t.csv" in fails(capsys, "train", "--data", "t.csv", "--out", "t.csv")  # no input is overwritten
    pytest.importorskip("matplotlib")
    paper = ("report", "paper", "--data", "t.csv")
    assert "has no column 'class'" in fails(capsys, *paper, "--label", "class", "--out", "p")
    assert "t.csv" in fails(capsys, *paper, "--page", "t.csv", "--out", "p")
    assert pandas.read_csv("t.csv").shape == FRAME.shape
