"""Early stopping by sums: who leads, when an image leaves, and the bounds that are fitted, by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from synflip.experiments import soft_votes
from synflip.experiments.soft_votes import FACTORS, Race, fit_root

#: [S, N, C]: an image that is sure at once, one whose leader changes after one sample, one that is tied.
ADDED = np.array(
    [
        [[4, 0], [3, 1], [2, 2]],
        [[4, 0], [0, 4], [2, 2]],
        [[4, 0], [0, 4], [2, 2]],
        [[4, 0], [0, 4], [1, 3]],
    ]
)


def test_an_image_leaves_at_the_first_lead_that_is_enough() -> None:
    race = Race.of(ADDED)
    assert race.leads.tolist() == [[4, 2, 0], [8, 2, 0], [12, 6, 0], [16, 10, 2]]
    assert race.leaders.tolist() == [[0, 0, 0], [0, 1, 0], [0, 1, 0], [0, 1, 1]] and race.most == 4
    used, decided = race.stopped(np.array([3, 5, 6, 100]))
    assert used.tolist() == [1, 3, 4] and decided.tolist() == [0, 1, 1]
    used, decided = race.stopped(np.array([2, 0, 0, 0]))
    assert used.tolist() == [1, 1, 2] and decided.tolist() == [0, 0, 0]


def test_bounds_grow_as_the_root_and_are_as_low_as_the_error_allows() -> None:
    race = Race.of(ADDED)
    with_none = fit_root(race, 0.0)
    assert with_none[3] / with_none[0] == pytest.approx(2)
    # The second image must stay in the first sample, where it leads by 2, and the third one to the end.
    assert (race.stopped(with_none)[1] == race.leaders[-1]).all()
    lower = with_none * (1 - 0.02 / (with_none[0] / race.most))
    assert (race.stopped(lower)[1] != race.leaders[-1]).any()
    assert fit_root(race, 1.0)[0] == pytest.approx(FACTORS[0] * race.most)


def test_both_tables_share_their_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def logits(*rest: object) -> np.ndarray:
        made.append(rest)
        return np.random.default_rng(1).integers(-99, 99, (4, 8, 3), dtype=np.int32)

    data = SimpleNamespace(test_images=None, test_labels=np.arange(8) % 3, classes="abc")
    cache = SimpleNamespace(row=lambda name, settings, make: make())
    for name, stand_in in (
        ("logits", logits),
        ("main_coins", lambda *rest: None),
        ("answer_settings", lambda *rest: {}),
        ("scale_of", lambda model: 30.0),
    ):
        monkeypatch.setattr(soft_votes, name, stand_in)
    context = SimpleNamespace(
        budget=SimpleNamespace(samples=4), data=lambda name: data, coins=lambda recipe: None, cache=cache
    )
    tables = soft_votes.soft_votes(context, "digits")  # type: ignore[arg-type]
    assert [table.name for table in tables] == ["soft-votes", "soft-early"] and len(made) == 1
