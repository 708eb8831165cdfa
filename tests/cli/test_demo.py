"""The demo: its choice of images, its picture, its verdict."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from synflip.cli import demo
from synflip.data.dataset import Dataset
from synflip.evaluation.vote_figure import by_certainty, chosen, draw_votes
from synflip.inference.compare import accuracies, compare
from synflip.inference.result import Result

pytestmark = pytest.mark.simulator


def synthetic(images: int = 12, classes: int = 10, samples: int = 16) -> tuple[Result, Dataset]:
    """Votes that spread more from image to image, over images of noise."""
    rng = np.random.default_rng(3)
    logits = np.zeros((samples, images, classes), dtype=np.int32)
    winners = (
        np.array([np.arange(samples) * image // images % classes + image for image in range(images)])
        % classes
    )
    np.put_along_axis(logits, winners.T[:, :, None], 100, axis=2)
    votes = np.stack([np.bincount(row, minlength=classes) for row in winners]).astype(np.int32)
    result = Result(
        votes, logits.sum(0, dtype=np.int64), np.full(images, samples, dtype=np.int32), 99, logits
    )
    pixels = rng.integers(0, 17, (images, 64)).astype(np.uint8)
    labels = rng.integers(0, classes, images)
    names = tuple(f"class {index}" for index in range(classes))
    return result, Dataset("noise", pixels, labels, pixels, labels, names, 16, (8, 8))


def test_certainty_orders_by_entropy_then_by_lead() -> None:
    votes = np.array([[4, 4, 0], [8, 0, 0], [7, 1, 0], [0, 8, 0]], dtype=np.int32)
    sums = np.array([[50, 40, 0], [50, 40, 0], [90, 0, 0], [0, 80, 0]], dtype=np.int64)
    result = Result(votes, sums, np.full(4, 8, dtype=np.int32), 0)
    assert by_certainty(result).tolist() == [3, 1, 2, 0]
    certain, uncertain = chosen(result, 3)
    assert certain == [3, 1, 2]
    assert uncertain == [0, 2, 1]


def test_the_most_certain_are_of_different_classes() -> None:
    result, _ = synthetic(40)
    certain, uncertain = chosen(result, 5)
    assert len({int(result.winner[image]) for image in certain}) == 5
    assert result.entropy[certain].max() <= result.entropy[uncertain].min()


@pytest.mark.parametrize(("images", "classes"), [(12, 10), (2, 3), (1, 1)])
def test_picture(tmp_path: Path, images: int, classes: int) -> None:
    from PIL import Image

    result, data = synthetic(images, classes)
    draw_votes(result, data, tmp_path / "votes.any")
    assert (tmp_path / "votes.any").stat().st_size < 150_000
    with Image.open(tmp_path / "votes.any") as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24) or []}
    assert len(colours) > 2


def test_accuracies_by_hand() -> None:
    logits = np.array(
        [[[3, 1], [3, 1]], [[1, 3], [3, 1]], [[3, 1], [1, 3]]], dtype=np.int32
    )  # winners 0 0, 1 0, 0 1
    result = Result(
        np.array([[2, 1], [2, 1]], dtype=np.int32), logits.sum(0), np.full(2, 3, dtype=np.int32), 0, logits
    )
    assert accuracies(result, np.array([0, 1])) == (3 / 6, 1 / 2)


def test_compare_counts_and_shapes() -> None:
    result, _ = synthetic()
    same = compare(result, result, "other")
    assert same.equal and same.first is None
    assert same.compared == {"logits": 16 * 120, "logit sums": 120, "votes": 120, "used": 12, "cycles": 1}
    short = Result(result.votes, result.logit_sums, result.used, result.cycles, result.logits[:-1])
    assert (
        compare(result, short, "other").first == "logits: golden has shape [16, 12, 10], other [15, 12, 10]"
    )
    none = Result(result.votes, result.logit_sums, result.used, result.cycles)
    assert not compare(result, none, "other").equal


def test_demo_on_the_golden_model_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = demo.open_device
    monkeypatch.setattr(demo, "open_device", lambda name, geometry: real("golden", geometry))
    assert demo.demo(tmp_path / "a" / "b", console=Console(width=100), json=tmp_path / "n.json")
    text = " ".join(capsys.readouterr().out.split())
    assert "mismatches of votes, golden and Verilator │ 0 of 4,450" in text
    page = Path(__file__).parents[2] / "docs/start/first_run.md"
    labels = re.findall(r"(?m)^│ (.*?) +│", page.read_text())
    assert len(labels) == 12 and all(f"│ {label} │" in text for label in labels)
    numbers = json.loads((tmp_path / "n.json").read_text())
    assert numbers["cycles_predicted"] == numbers["cycles_counted"] > 0
    assert f"accuracy of the vote of 16 │ {numbers['accuracy_of_the_vote']:.2%}" in text
    assert set(numbers["different"].values()) == {0} and numbers["images"] == 445
    names = sorted(path.name for path in (tmp_path / "a" / "b").iterdir())
    assert names == ["digits.safetensors", "images.npy", "labels.npy", "votes.png"]
    assert demo.is_demos(tmp_path / "a" / "b" / "digits.safetensors")  # a second demo replaces them
    assert np.load(tmp_path / "a" / "b" / "images.npy").shape == (445, 64)
