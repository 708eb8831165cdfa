"""The command train, and what can be done with the model that it writes."""

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from synflip import __version__, modelfile
from synflip.cli import app
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.inference.plan import check_fit, largest_hidden, shortage
from synflip.report.sections import find_section
from synflip_hdl.boards.catalogue import BOARDS
from torch import nn

from tests.cli.helpers import fails


def test_train_then_info_then_run(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["train", "--hidden", "16", "--epochs", "1", "--out", "t.safetensors"]) == 0
    text = capsys.readouterr().out
    assert "digits, 64-16-10, k = 4, A = 8" in text
    assert "accuracy of the vote of 8" in text
    assert app.main(["images", "digits", "--count", "9", "--out", "t.npy", "--labels", "l.npy"]) == 0
    assert np.load("t.npy").shape == (9, 64)
    assert np.load("l.npy").shape == (9,)
    assert app.main(["info", "t.safetensors"]) == 0
    assert "64-16-10" in capsys.readouterr().out
    assert app.main(["run", "t.safetensors", "--images", "t.npy", "--out", "r.npz"]) == 0
    with np.load("r.npz") as counts:
        assert counts["votes"].sum() == 9 * 16


def test_the_file_says_what_it_was_trained_on_and_how_good_it_is(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", "--hidden", "16", "--epochs", "1", "--seed", "7", "--samples", "3"]
    assert app.main([*words, "--out", "t.safetensors"]) == 0
    text, card = capsys.readouterr().out, modelfile.load("t.safetensors").source
    assert (card["seed"], card["epochs"], card["votes"]) == (7, 1, 3)
    assert card["synflip"] == __version__ and len(card["data_sha256"]) == 64
    assert f"{card['accuracy_of_one_sample']:.2%}" in text and f"{card['accuracy_of_the_vote']:.2%}" in text

    def stopped(*others: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Golden, "infer", stopped)  # the training is not lost
    assert app.main([*words, "--out", "s.safetensors"]) == 130
    assert "s.checkpoint.safetensors keeps the training; to go on: synflip train" in capsys.readouterr().err
    left = modelfile.load("s.safetensors").source
    assert {name for name in card if name not in left} == {
        "votes",
        "accuracy_of_one_sample",
        "accuracy_of_the_vote",
        "energy_threshold",
        "false_alarms",
        "energy_samples",
    }


@pytest.mark.parametrize("features", [[], ["--features", "conv"]])
def test_train_with_teachers(files: Path, features: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", *features, "--hidden", "16", "--epochs", "1", "--teachers", "2"]
    assert app.main([*words, "--out", "t.safetensors"]) == 0
    assert "digits" in capsys.readouterr().out
    assert modelfile.load(Path("t.safetensors")).source["teachers"] == 2


def test_networks_with_convolutions(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Trained, described, run, evaluated, and their margins computed."""
    words = ["train", "--network", "conv", "--hidden", "16", "--epochs", "1", "--samples", "2", "--balance"]
    assert app.main([*words, "--out", "c.safetensors"]) == 0
    shape = "8x8x1-32(3x3, pad 1x1, pool 2x2)-16-10"
    text = capsys.readouterr().out
    assert f"digits, {shape}, k = 4, A = 8" in text and "accuracy of the vote of 2" in text
    model = modelfile.load("c.safetensors")
    assert model.shape == shape and model.source["votes"] == 2
    assert app.main(["info", "c.safetensors"]) == 0
    assert shape in capsys.readouterr().out
    assert app.main(["images", "digits", "--count", "9", "--out", "t.npy"]) == 0
    assert app.main(["run", "c.safetensors", "--images", "t.npy", "--out", "r.npz"]) == 0
    assert app.main(["margins", "c.safetensors", "--data", "digits", "--samples", "4"]) == 0
    capsys.readouterr()
    assert app.main(["evaluate", "c.safetensors", "--samples", "2", "--out", "e"]) == 0
    assert f"{shape} on digits" in capsys.readouterr().out


def test_filters_that_are_asked_for(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--filters",
        "4,6",
        "--hidden",
        "none",
        "--epochs",
        "1",
        "--samples",
        "2",
        "--out",
        "t.safetensors",
    ]
    assert app.main(["train", "--network", "conv", *words]) == 0
    shape = "8x8x1-4(3x3, pad 1x1, pool 2x2)-6(3x3, pad 1x1, pool 2x2)-10"
    assert modelfile.load("t.safetensors").shape == shape
    for network in ("dense", "conv-deep"):
        assert "is of --network conv; give that" in fails(capsys, "train", "--network", network, *words)


def test_convolutions_are_converted(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 10))
    torch.export.save(torch.export.export(network.eval(), (torch.rand(2, 1, 8, 8),)), "net.pt2")
    words = ["convert", "net.pt2", "--epochs", "1", "--out", "t.safetensors"]
    assert "leave out --for" in fails(capsys, *words, "--for", "ulx3s-85f")
    assert app.main(words) == 0
    assert modelfile.load("t.safetensors").shape == "8x8x1-3(3x3, pool 2x2)-10"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--features", "conv"], "--network conv and --features conv do not go together"),
        (["--for", "ulx3s-85f"], "--network conv and --for ulx3s-85f do not go together"),
        (["--filters", "4,x"], "--filters '4,x' is not a list of layer sizes"),
        (["--filters", "none"], "--filters none leaves no convolution: leave out --network conv, too"),
        (["--filters", "8,8,8,8"], "each maximum halves the image"),
        (["--data", "t.csv"], "t has rows of 3 numbers; convolutions need pictures"),
        (["--data", "t.csv", "--teachers", "1"], "t has rows of 3 numbers; convolutions need pictures"),
    ],
)
def test_what_does_not_go_with_convolutions(
    files: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    rows = "".join(f"{n},{n % 3},{n * n},{'ab'[n % 2]}\n" for n in range(12))
    Path("t.csv").write_text("a,b,c,label\n" + rows)
    assert expected in fails(capsys, "train", "--network", "conv", *words, "--out", "t.safetensors")


#: The command line, which is sent a signal while it trains.
STOPPED_IN_THE_MIDDLE = """
import os, signal, sys
from synflip.cli import app
from synflip.training.loop import TrainStep
def stop_at_step_40(step):
    if step.step == 40:
        os.kill(os.getpid(), signal.SIGTERM)
    return ""
TrainStep.words = property(stop_at_step_40)
sys.exit(app.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("last", "error"),
    [
        ("synflip.compiler.compile.compile_network", KeyboardInterrupt()),
        ("synflip.modelfile.save", SynflipError("cannot write t.safetensors: No space left on device")),
    ],
)
def test_stopped_before_the_model_is_written(
    files: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    last: str,
    error: BaseException,
) -> None:
    """The training is over, and yet not lost."""

    def stopped(*arguments: object, **more: object) -> None:
        raise error

    words = ["train", "--hidden", "8", "--epochs", "1", "--samples", "2", "--out", "t.safetensors"]
    with monkeypatch.context() as patch:
        patch.setattr(last, stopped)
        line = fails(capsys, *words, status=130 if isinstance(error, KeyboardInterrupt) else 1)
    if isinstance(error, KeyboardInterrupt):
        assert "stopped; t.checkpoint.safetensors keeps the training; to go on: synflip train" in line
    assert not Path("t.safetensors").exists()
    assert app.main([*words, "--resume"]) == 0 and not Path("t.checkpoint.safetensors").exists()
    whole = [*words[:-1], "whole.safetensors"]
    assert app.main(whole) == 0
    assert Path("t.safetensors").read_bytes() == Path("whole.safetensors").read_bytes()


def test_stopped_by_a_signal(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a process of its own, by a signal while it trains; then --resume makes what no stop made."""
    words = ["train", "--hidden", "64", "--epochs", "30"]
    assert app.main([*words, "--out", "whole.safetensors"]) == 0
    capsys.readouterr()
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_IN_THE_MIDDLE, *words, "--out", "t.safetensors"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 130
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: stopped after step ")
    assert line.endswith("to go on: synflip train --hidden 64 --epochs 30 --out t.safetensors --resume")
    assert Path("t.checkpoint.safetensors").is_file() and not Path("t.safetensors").exists()
    assert "go on with --resume" in fails(capsys, *words, "--out", "t.safetensors")
    assert app.main([*words, "--out", "t.safetensors", "--resume"]) == 0
    assert Path("t.safetensors").read_bytes() == Path("whole.safetensors").read_bytes()
    assert not Path("t.checkpoint.safetensors").exists()


@pytest.mark.parametrize("board", list(BOARDS))
def test_every_board_has_digits_that_fit(board: str) -> None:
    default = BOARDS[board].geometry
    hidden = largest_hidden(64, 10, default)
    assert hidden and min(hidden) >= 48
    # 16 more outputs in each layer are too many for the board, or more than 512.
    more = [size + 16 for size in hidden]
    assert max(more) > 512 or shortage([64, *more, 10], default)


def test_train_for_a_board(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--for", "ice40-hx8k", "--epochs", "1", "--out", "t.safetensors"]
    assert app.main(words) == 0
    model = modelfile.load(Path("t.safetensors"))
    assert (model.bits, model.activation_bits, model.shape) == (2, 2, "64-96-10")
    check_fit(model, BOARDS["ice40-hx8k"].geometry)
    capsys.readouterr()
    assert "train or convert it with --activation-bits 2" in fails(capsys, *words, "--activation-bits", "8")
    assert "train or convert it with --bits 2" in fails(capsys, *words, "--bits", "4")
    line = fails(capsys, *words, "--hidden", "64,64")
    assert "64-64-64-10 does not fit ice40-hx8k: it needs 3 layers, there are 2; try --hidden 96" in line
    line = fails(capsys, *words, "--features", "conv")
    assert "512-100-10 does not fit ice40-hx8k" in line and "no network on digits fits" in line
    assert "no board 'nobody'" in fails(capsys, "train", "--for", "nobody", "--out", "t.safetensors")


def test_convert_for_a_board(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def exported(*sizes: int) -> str:
        layers = [layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
        network = nn.Sequential(*layers[:-1]).eval()
        rows = {0: torch.export.Dim("n")}
        program = torch.export.export(network, (torch.rand(2, 64),), dynamic_shapes=(rows,))
        torch.export.save(program, "net.pt2")
        return "net.pt2"

    words = [
        "convert",
        exported(64, 16, 10),
        "--for",
        "ice40-hx8k",
        "--epochs",
        "1",
        "--out",
        "t.safetensors",
    ]
    assert app.main(words) == 0
    model = modelfile.load(Path("t.safetensors"))
    assert (model.bits, model.activation_bits, model.shape) == (2, 2, "64-16-10")
    capsys.readouterr()
    assert "train or convert it with --bits 2" in fails(capsys, *words, "--bits", "4")
    exported(64, 32, 16, 10)
    line = fails(capsys, *words)
    assert "64-32-16-10 does not fit ice40-hx8k: it needs 3 layers, there are 2; convert a smaller" in line


def test_networks_of_boards_are_those_of_train(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synflip.training.loop.default_epochs", lambda dataset: 1)
    monkeypatch.setattr("synflip_hdl.boards.catalogue.BOARDS", {"ice40-hx8k": BOARDS["ice40-hx8k"]})
    Path("page.md").write_text("<!-- begin networks -->\n<!-- end networks -->\n")
    assert app.main(["boards", "--networks", "out", "--page", "page.md"]) == 0
    assert app.main(["train", "--for", "ice40-hx8k", "--samples", "64", "--out", "t.safetensors"]) == 0
    assert Path("out/ice40-hx8k.safetensors").read_bytes() == Path("t.safetensors").read_bytes()
    one, vote = re.findall(r"accuracy of .* (\d+\.\d\d)%", capsys.readouterr().out)
    row = f"| ice40-hx8k | 2 | 2 | 64-96-10 | {64 * 96 + 960:,} | {one} | {vote} |"
    assert row in Path("page.md").read_text().splitlines()
    Path("other.md").touch()
    line = fails(capsys, "boards", "--networks", "new", "--page", "other.md")
    assert "has no section between the lines <!-- begin networks -->" in line
    assert not Path("new").exists()  # said before the training
    assert "takes neither folders of builds" in fails(capsys, "boards", "out", "--networks", "out")


def test_the_page_of_boards_has_a_network_for_each() -> None:
    page = Path(__file__).parents[2] / "docs/results/boards.md"
    _, section, _ = find_section(page, "networks")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.strip().splitlines()[2:]]
    assert [row[0] for row in rows] == list(BOARDS)
    for name, bits, activation_bits, shape, synapses, one, vote in rows:
        geometry = BOARDS[name].geometry
        sizes = [64, *(largest_hidden(64, 10, geometry) or ()), 10]
        assert shape == "-".join(map(str, sizes))
        assert (int(bits), int(activation_bits)) == (geometry.bits, geometry.activation_bits)
        assert int(synapses.replace(",", "")) == sum(a * b for a, b in pairwise(sizes))
        assert 90 < float(one) < float(vote) < 100


def test_the_page_of_boards_has_their_models(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs/results/boards.md"
    copy = tmp_path / "boards.md"
    copy.write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    assert app.main(["boards", "--page", str(copy)]) == 0
    assert copy.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")
    assert "| icebreaker | 2 | 2 | 4 | 64 | 256 | 256 | 65,536 |" in copy.read_text(encoding="utf-8")
