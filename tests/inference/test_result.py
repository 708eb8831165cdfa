"""What a device gives back."""

from pathlib import Path

import numpy as np
import pytest
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
