"""What a device gives back."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from synflip.errors import SynflipError
from synflip.inference.result import Result
from synflip.uncertainty import second_choice


def result(votes: list[list[int]], **other) -> Result:
    table = np.array(votes, dtype=np.int32)
    return Result(
        votes=table,
        logit_sums=table.astype(np.int64) * 10,
        used=table.sum(1, dtype=np.int32),
        cycles=123,
        **other,
    )


def test_winner_and_runner_up_by_hand() -> None:
    outcome = result([[1, 5, 2], [3, 0, 4], [0, 0, 7], [9, 1, 0]])
    assert outcome.winner.tolist() == [1, 2, 2, 0]
    assert outcome.runner_up.tolist() == [2, 0, 0, 1]


def test_ties_go_to_the_lowest_index() -> None:
    outcome = result([[4, 4, 0], [0, 4, 4], [2, 2, 2], [1, 5, 1], [0, 0, 0]])
    assert outcome.winner.tolist() == [0, 1, 0, 1, 0]
    assert outcome.runner_up.tolist() == [1, 2, 1, 0, 1]


def test_second_choices_of_tied_votes_come_from_the_sums_of_the_logits() -> None:
    votes = [[7, 0, 0, 0], [0, 0, 7, 0], [3, 3, 1, 0], [0, 2, 2, 2], [5, 1, 1, 0]]
    sums = [[90, -40, -10, -30], [-5, -3, 20, -9], [10, 50, 99, 0], [99, 1, 5, 8], [50, 6, 6, 99]]
    table = np.array(votes, dtype=np.int32)
    outcome = Result(table, np.array(sums), table.sum(1, dtype=np.int32), 1)
    assert outcome.runner_up.tolist() == [2, 1, 1, 3, 1]
    assert outcome.winner.tolist() == [0, 2, 0, 1, 0]  # which sums do not change
    assert second_choice(table).tolist() == [1, 0, 1, 2, 1]  # without sums the lowest class
    assert second_choice(np.zeros((0, 4)), np.zeros((0, 4))).shape == (0,)


def test_one_class_has_no_other_runner_up() -> None:
    outcome = result([[8], [8]])
    assert outcome.winner.tolist() == [0, 0]
    assert outcome.runner_up.tolist() == [0, 0]
    assert outcome.entropy.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("votes", "bits"),
    [
        ([8, 0, 0, 0], 0.0),  # all agree
        ([4, 4, 0, 0], 1.0),  # a fair coin
        ([2, 2, 2, 2], 2.0),  # two fair coins
        ([4, 2, 1, 1], 1.75),  # 1/2 * 1 + 1/4 * 2 + 2 * 1/8 * 3
        ([6, 2, 0, 0], 2 - 0.75 * np.log2(3)),  # 3/4 * (2 - log2 3) + 1/4 * 2
        ([0, 0, 0, 0], 0.0),  # no votes: nothing to disagree about
    ],
)
def test_entropy_by_hand(votes: list[int], bits: float) -> None:
    entropy = result([votes]).entropy
    assert entropy.shape == (1,)
    assert entropy[0] == pytest.approx(bits, abs=1e-12)
    assert not np.signbit(entropy[0])  # prints as 0.0, not as -0.0


def test_looking_does_not_change_the_votes() -> None:
    outcome = result([[1, 5, 2]])
    _ = outcome.winner, outcome.runner_up, outcome.entropy
    assert outcome.votes.tolist() == [[1, 5, 2]]


def read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def test_file_has_what_the_result_has(tmp_path: Path) -> None:
    logits = np.arange(-12, 12, dtype=np.int32).reshape(4, 2, 3)
    outcome = result([[1, 2, 1], [0, 4, 0]], logits=logits)
    outcome.save(tmp_path / "r.npz")
    stored = read(tmp_path / "r.npz")
    assert set(stored) == {"votes", "logit_sums", "used", "cycles", "logits"}
    for name in ("votes", "logit_sums", "used", "logits"):
        expected = getattr(outcome, name)
        assert stored[name].dtype == expected.dtype
        assert stored[name].tolist() == expected.tolist()
    assert stored["cycles"].dtype == np.int64
    assert stored["cycles"].shape == ()
    assert int(stored["cycles"]) == 123


def test_file_has_no_logits_if_none_were_kept(tmp_path: Path) -> None:
    result([[1, 2]]).save(tmp_path / "r.npz")
    assert set(read(tmp_path / "r.npz")) == {"votes", "logit_sums", "used", "cycles"}


def test_file_has_the_name_that_was_asked_for(tmp_path: Path) -> None:
    """numpy appends ``.npz`` to names of its own accord; a command that was given a name keeps it."""
    result([[1, 2]]).save(str(tmp_path / "votes.out"))
    assert [path.name for path in tmp_path.iterdir()] == ["votes.out"]
    assert read(tmp_path / "votes.out")["votes"].tolist() == [[1, 2]]


def test_cycles_beyond_32_bits_survive(tmp_path: Path) -> None:
    outcome = Result(np.zeros((1, 1), np.int32), np.full((1, 1), -(2**40)), np.zeros(1, np.int32), 2**40)
    outcome.save(tmp_path / "r.npz")
    stored = read(tmp_path / "r.npz")
    assert int(stored["cycles"]) == 2**40
    assert int(stored["logit_sums"][0, 0]) == -(2**40)


@pytest.mark.parametrize("kept", [False, True])
def test_a_result_is_read_as_it_was_written(tmp_path: Path, kept: bool) -> None:
    logits = np.arange(-12, 12, dtype=np.int32).reshape(4, 2, 3)
    keys = np.arange(8, dtype=np.uint64).reshape(4, 2) + np.uint64(2**63)
    outcome = result(
        [[1, 2, 1], [0, 4, 0]], **({"logits": logits, "keys": keys, "logit_scale": 2.5} if kept else {})
    )
    outcome.save(tmp_path / "r.npz")
    again = Result.load(str(tmp_path / "r.npz"))
    for name in ("votes", "logit_sums", "used", "cycles", "logits", "keys", "logit_scale"):
        want, have = getattr(outcome, name), getattr(again, name)
        assert (have is None) == (want is None)
        assert np.array_equal(have, want) and getattr(have, "dtype", None) == getattr(want, "dtype", None)
    if kept:
        assert np.array_equal(again.posterior, outcome.posterior)


def test_a_result_of_the_command_line_and_of_no_images(tmp_path: Path) -> None:
    empty = Result(np.zeros((0, 3), np.int32), np.zeros((0, 3), np.int64), np.zeros(0, np.int32), -1)
    empty.save(tmp_path / "r.npz")
    assert Result.load(tmp_path / "r.npz").votes.shape == (0, 3)
    assert repr(empty).startswith("Result of 0 images, 3 classes, 0 samples")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"votes": None}, "it has no array votes"),
        ({"cycles": None}, "it has no array cycles"),
        ({"votes": np.zeros((2, 3), np.int64)}, r"votes holds int64 \[2, 3\]"),
        ({"used": np.zeros(3, np.int32)}, r"used has shape \[3\], not \[2\]"),
        ({"logits": np.zeros((4, 2, 2), np.int32)}, r"logits has shape \[4, 2, 2\], not \[4, 2, 3\]"),
        ({"votes": np.array([["a"]], dtype=object)}, "votes holds object|not as numpy writes it"),
        (
            {name: np.zeros((2, 0), t) for name, t in (("votes", np.int32), ("logit_sums", np.int64))},
            "no class",
        ),
    ],
)
def test_a_file_that_is_no_result(tmp_path: Path, change: dict, line: str) -> None:
    arrays = result([[1, 2, 1], [0, 4, 0]]).arrays() | change
    np.savez(tmp_path / "r.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(SynflipError, match=line) as error:
        Result.load(tmp_path / "r.npz")
    assert "r.npz" in str(error.value) and "\n" not in str(error.value)


def test_no_file_and_no_archive(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no archive")
    for name, line in (("none", "No such file"), ("text", "is not a result"), ("", "directory")):
        with pytest.raises(SynflipError, match=line):
            Result.load(tmp_path / name)


def test_a_repr_is_three_short_lines() -> None:
    votes = np.full((1000, 100), 3).tolist()
    text = repr(result(votes, logits=np.zeros((4, 1000, 100), np.int32)))
    assert len(text.splitlines()) == 3 and max(map(len, text.splitlines())) < 100
    assert "1,000 images, 100 classes, 300 samples" in text and text.endswith("entropy, logits")


def test_a_table_needs_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synflip.util.extras.find_spec", lambda module: None)
    with pytest.raises(SynflipError, match=r"pandas is missing: pip install 'synflip\[pandas\]'"):
        result([[1, 2]]).to_pandas()


def test_a_table_has_a_row_for_each_image() -> None:
    pytest.importorskip("pandas")
    frame = result([[1, 5, 2], [3, 0, 4]]).to_pandas(["a", "b", "c"])
    assert frame.index.name == "image" and frame.index.tolist() == [0, 1]
    assert frame["winner"].tolist() == ["b", "c"] and frame["runner_up"].tolist() == ["c", "a"]
    assert frame["votes"].tolist() == [5, 4] and frame["votes: a"].tolist() == [1, 3]
    assert frame["used"].tolist() == [8, 7] and "energy" not in frame
    assert result([[1, 5]]).to_pandas()["winner"].tolist() == [1]
    with pytest.raises(SynflipError, match="2 class names for 3 classes"):
        result([[1, 5, 2]]).to_pandas(["a", "b"])
    for names in ("abc", 5):
        with pytest.raises(SynflipError, match=f"classes must be a list of 3 names, not {names!r}"):
            result([[1, 5, 2]]).to_pandas(names)  # type: ignore[arg-type]
    logits = np.zeros((3, 1, 2), np.int32)
    assert result([[1, 2]], logits=logits, logit_scale=1.0).to_pandas()["mutual_information"].tolist() == [
        0.0
    ]


# In a notebook


class Seen(HTMLParser):
    """The cells of a table's rows, and the parts of the bars in percent."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.bars: list[list[float]] = []
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        self.tags |= {tag, *said}
        if tag == "br":
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        if said.get("role") == "img":
            self.bars.append([])
        elif tag == "span":
            self.bars[-1].append(float(re.findall(r";width:([\d.]+)%", said["style"] or "")[0]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"th", "td"} & set(self.open):
            self.rows[-1][-1] += data


def test_a_notebook_sees_votes_as_bars() -> None:
    shown = Seen(result([[1, 5, 2, 0], [0, 0, 8, 0]])._repr_html_())
    assert shown.rows[0] == ["image", "votes", "", "samples", "entropy, bits"]
    assert shown.rows[1] == ["0", "", "1: 5, 2: 2, 0: 1", "8", "1.299"]
    assert shown.rows[2] == ["1", "", "2: 8", "8", "0.000"]
    assert shown.bars == [[62.5, 25.0, 12.5], [100.0]]
    assert not shown.tags & {"script", "id", "class", "link", "onclick"}


def test_a_notebook_sees_the_second_choice_of_tied_votes_second() -> None:
    votes = np.array([[1, 6, 1, 1], [4, 0, 4, 1]], dtype=np.int32)
    outcome = Result(votes, np.array([[5, 9, 1, 7], [0, 0, 99, 0]]), votes.sum(1, dtype=np.int32), 1)
    shown = Seen(outcome._repr_html_())
    assert [row[2] for row in shown.rows[1:]] == ["1: 6, 3: 1, 0: 1, 1 more", "0: 4, 2: 4, 3: 1"]
    pytest.importorskip("matplotlib")
    assert [text.get_text() for text in outcome.plot().axes[0].texts] == [
        "1",
        "3",
        "others",
        "0",
        "2",
        "others",
    ]


def test_a_notebook_sees_only_some_rows_and_classes() -> None:
    shown = Seen(result(np.ones((1234, 40), int).tolist())._repr_html_())
    assert len(shown.rows) == 1 + 10 + 1 and shown.rows[-1] == ["... 1,224 more"]
    assert shown.rows[1][2] == "0: 1, 1: 1, 2: 1, 37 more"
    assert Seen(result([[0, 0, 0]])._repr_html_()).bars == [[]]


def test_names_of_classes_are_escaped_and_cut() -> None:
    text = result([[1, 5]], classes=("<script>alert(1)</script>" * 9, '"><b>'))._repr_html_()
    assert Seen(text).tags.isdisjoint({"script", "b"})
    assert "&lt;script&gt;alert(1)&lt;/scr..." in text and "&quot;&gt;&lt;b&gt;: 5" in text


def test_a_notebook_sees_how_sure_to_be() -> None:
    logits = np.array([[[9, 0]], [[0, 9]]], np.int32)
    shown = Seen(result([[1, 1]], logits=logits, logit_scale=1.0, energy_threshold=-8.0)._repr_html_())
    assert shown.rows[0][4:] == ["entropy, bits", "mutual information, bits", "energy, nats", "foreign"]
    assert shown.rows[1][4:] == ["1.000", "0.998", "-9.00", "no"]


def test_a_picture_of_votes() -> None:
    pytest.importorskip("matplotlib")
    outcome = result([[1, 5, 2], [3, 0, 4], [0, 9, 0]], classes=("a", "b", "c"))
    figure = outcome.plot([2, 0])
    bars, histogram = figure.axes
    assert [(bar.get_x(), bar.get_width()) for bar in bars.patches] == [(0, 9), (0, 5), (5, 2), (7, 1)]
    assert [text.get_text() for text in bars.texts] == ["b", "b", "c", "others"]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["image 2", "image 0"]
    assert sum(bar.get_height() for bar in histogram.patches) == 3
    assert figure._repr_png_() == outcome.plot(np.array([2, 0]))._repr_png_()  # type: ignore[attr-defined]
    assert [text.get_text() for text in outcome.plot([2], ["x", "y", "z"]).axes[0].texts] == ["y"]
    assert len(result(np.ones((30, 2), int).tolist()).plot().axes[0].get_yticklabels()) == 10


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (([3],), "there is no image 3: there are 3"),
        (([-1],), "there is no image -1"),
        (([],), "shows 1 to 10 images, not 0"),
        ((range(11),), "shows 1 to 10 images, not 11"),
        (([0], ["a"]), "1 class names for 2 classes"),
        (([0], 5), "classes must be a list of 2 names, not 5"),
        ((5,), "images must be a list of their numbers, not 5"),
        (("01",), "images must be a list of their numbers, not '01'"),
        (([0.5],), "the number of an image must be an integer, not 0.5"),
    ],
)
def test_a_picture_that_makes_no_sense(arguments: tuple, line: str) -> None:
    with pytest.raises(SynflipError, match=line):
        result([[1, 2]] * 3).plot(*arguments)


def test_a_picture_needs_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synflip.util.extras.find_spec", lambda module: None)
    with pytest.raises(SynflipError, match=r"matplotlib is missing: pip install 'synflip\[report\]'"):
        result([[1, 2]]).plot()
