"""Every example runs as its first lines say, and prints what it promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from synflip.report.sections import find_section
from synflip.report.tables import read_markdown
from synflip.spec.geometry import Geometry

from tests.examples.page import EXAMPLES, HEADS, PAGE, RUNS, SECTION, compared, row, run

pytestmark = pytest.mark.slow

LINES = 60
#: Roughly what the simulated line moves in real time: only time-outs follow from it.
BAUD = 50_000


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, str]:
    """The folder with the model of the first example, and what it printed."""
    folder = tmp_path_factory.mktemp("examples")
    return folder, run("train_and_compile.py", cwd=folder)


def test_examples_are_short():
    found = sorted(EXAMPLES.rglob("*.py"))
    assert len(found) >= 6
    assert {path.name: len(path.read_text().splitlines()) for path in found}
    assert not [path for path in found if len(path.read_text().splitlines()) >= LINES]


def test_train_and_compile(trained):
    folder, said = trained
    assert (folder / "digits.safetensors").is_file()
    accuracies = [float(text) for text in re.findall(r"votes: ([\d.]+)%", said)]
    assert len(accuracies) == 4 and accuracies[0] > 90 and accuracies[-1] > 95


def test_votes_and_uncertainty(trained):
    said = run("votes_and_uncertainty.py", cwd=trained[0])
    kept = [float(text) for text in re.findall(r"least certain +\d+%: ([\d.]+)%", said)]
    assert len(kept) == 4 and kept[-1] > kept[0]  # what is left out is what is wrong
    assert said.count("entropy") == 4


def test_convert_onnx(tmp_path):
    said = run("convert_onnx.py", cwd=tmp_path)
    shares = [float(text) for text in re.findall(r"([\d.]+)%", said)]
    network, read, as_it_is, one, vote, same, compiled = shares
    assert (
        abs(network - read) < 0.3
        and read > 94
        and as_it_is > 60
        and vote > network - 2
        and compiled > network - 3
    )
    assert one < vote and same > 93
    assert (tmp_path / "mlp.safetensors").is_file()


@pytest.mark.simulator
def test_run_on_board(trained):
    from synflip_sim.serial.pty import PtyDevice

    with PtyDevice(Geometry(16, 2)) as device:
        said = run("run_on_board.py", f"{device.path}@{BAUD}", cwd=trained[0])
    assert "16x2, k = 4" in said
    assert "The board gave exactly the golden model's numbers." in said


@pytest.mark.parametrize(
    ("words", "sizes"),
    [
        ("15", "427 training and 142 test images, 1x30"),
        ("15 wine", "133 training and 45 test images, 1x13"),
        ("5 wine thermometer", "133 training and 45 test images, 1x52"),
    ],
)
def test_table(tmp_path, words, sizes):
    said = run("table.py", *words.split(), cwd=tmp_path)
    assert sizes in said
    rows, aurocs = compared(said)
    assert min(right for right, _, _ in rows.values()) > 80
    assert max(ece for _, ece, _ in rows.values()) < 0.4 and max(nll for _, _, nll in rows.values()) < 0.8
    assert min(aurocs[:2]) > 0.6 and 0.45 < aurocs[2] < 0.55  # shuffled columns stay in their ranges
    names = ("class_0", "class_1", "class_2") if "wine" in words else ("benign", "malignant")
    assert re.search(", ".join(rf"'{name}': \d+" for name in names) + "} votes", said)


@pytest.mark.parametrize(
    ("name", "epochs", "least"), [("series.py", "100", 70), ("text.py", "3", 80), ("graph.py", "100", 60)]
)
def test_series_texts_and_a_graph(tmp_path, name, epochs, least):
    rows, aurocs = compared(run(name, epochs, cwd=tmp_path))
    for samples in (1, 64):
        right, ece, nll = rows[f"coins, samples: {samples}"]
        assert right > least and 0 <= ece < 0.3 and 0 < nll < 1.5
    # Spectra of coffee leave the ranges of hands; the others are told by entropy.
    assert aurocs[2 if name == "series.py" else 1] > 0.6


def test_the_page_has_the_table_of_all_runs():
    """``python -m tests.examples.page`` makes it, in minutes: here only that nothing is missing."""
    heads, *rows = read_markdown(find_section(PAGE, SECTION)[1].strip().splitlines())
    assert heads == list(HEADS)
    assert [tuple(cells[:2]) for cells in rows] == [(data, f"`{words}`") for data, words in RUNS]
    said = """Dataset x (a quarter)
  1,427 training and 1,142 test images, 1x30 features of any range
an ordinary network   97.2%   0.044   0.098
coins, samples: 1     96.5%   0.028   0.082
coins, samples: 64    97.9%   0.030   0.079
    entropy of an ordinary network    0.820
    entropy of coins                  0.803
    inputs outside the model's ranges 0.500
"""
    figures = "30 1,142 97.2 96.5 97.9 0.044 0.030 0.098 0.079 0.820 0.803 0.500"
    assert row("x", "t.py", said) == ("x", "`t.py`", *figures.split())


def test_add_a_board(tmp_path):
    said = run("add_a_board/acorn.py", "build", cwd=tmp_path)
    assert "set_io uart_0__tx__io 9" in said
    assert (tmp_path / "build" / "synflip.il").stat().st_size > 100_000


def test_an_installed_board_is_one_of_synflips(tmp_path):
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "--quiet"]
    installed = ["--target", str(tmp_path / "site"), str(EXAMPLES / "add_a_board")]
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, *installed], check=True)
    path = os.pathsep.join((str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")))

    def synflip(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "synflip.cli.app", *arguments]
        environment = os.environ | {"PYTHONPATH": path}
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)

    assert "an imaginary board (iCE40UP5K): 16x1" in " ".join(synflip("boards").stdout.split())
    assert "acorn" in synflip("simulate", "--board", "oak").stderr
    (tmp_path / "site" / "acorn.py").write_text("BOARD = 3\n")
    assert "the board acorn of acorn:BOARD is not a Board: 3" in synflip("boards").stderr


def test_add_a_coin_source(tmp_path):
    said = run("add_a_coin_source/judge.py", cwd=tmp_path)
    assert "100 keys are equal" in said
    assert "xorshift64: fair" in said
    assert "counter: NOT fair" in said
