"""What a run is predicted to take."""

from pathlib import Path

import pytest
from synflip.inference.end_to_end import EARLY_MOST, EARLY_SAMPLES, line_rate, rate, table_rows
from synflip.inference.throughput import activities, run_cycles, shape_only
from synflip.spec.cycles import WHOLE
from synflip.spec.fronts import Link
from synflip.spec.geometry import Geometry


@pytest.mark.parametrize("link", [Link.serial, Link.ahead])
def test_a_line_that_limits_brings_what_it_brings_at_most(link):
    geometry = Geometry(64, 8)
    for activity in activities()[:2]:
        found = rate(geometry, 100e6, activity, link, 1)
        model = shape_only(activity["rows"], activity["outputs"], 4)
        events = activity["loads"]["16x1"][0][WHOLE]
        assert found.limit == "link"
        assert line_rate(model, geometry, events, link) == pytest.approx(found.images)


def test_the_slower_of_link_and_array_limits():
    geometry, clock = Geometry(64, 8), 100e6
    mnist = activities()[1]
    for samples in (1, 64, 8192):
        found = {link: rate(geometry, clock, mnist, link, samples) for link in Link}
        array = 8 * clock / run_cycles(geometry, mnist, 8, samples)  # 8 of 16 slots: two batches take turns
        assert found[Link.serial].images < found[Link.ahead].images < found[Link.axi].images < array
        assert (found[Link.axi].limit, found[Link.axi].images > 0.95 * array) == (
            ("link", False) if samples == 1 else ("array", True)
        )
        assert found[Link.serial].limit == ("array" if samples == 8192 else "link")
    small = Geometry(32, 4)
    four, early, one = (
        rate(small, clock, mnist, Link.axi, samples, samples == EARLY_MOST).images
        for samples in (4, EARLY_MOST, 1)
    )
    assert four < early < one


def test_networks_that_do_not_fit_have_no_rate():
    rows = table_rows("a board", Geometry(16, 1, weight_depth=2048, event_depth=64), 1e7, [Link.serial])
    links = (Link.serial, Link.axi)
    assert [row[:4] for row in rows] == [("a board", "4", link, "digits 64-64-128-10") for link in links]


def test_the_samples_of_early_stopping_are_those_of_the_page():
    page = Path(__file__).parents[2] / "docs" / "results" / "uncertainty.md"
    section = page.read_text().partition("<!-- begin paper early -->")[2]
    assert f"at most {EARLY_MOST} samples" in section.splitlines()[1]
    assert f"| 784-512-512-10 | 0.0030 | {EARLY_SAMPLES:.4f} |" in section.partition("*fashion")[0]
