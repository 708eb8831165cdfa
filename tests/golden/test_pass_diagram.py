"""The picture of a pass has, in each row, a bar for each cycle of the golden trace."""

from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from synflip.errors import SynflipError
from synflip.golden.pass_diagram import LEFT, OTHERS, RIGHT, WIDTH, pass_diagram
from synflip.golden.trace import Trace, cycle_trace
from synflip_sim.testbenches.runs import RUNS

from tests.hdl.diagrams.test_diagrams import GEOMETRY, PIXELS, SVG
from tests.networks import random_model


def bars(picture: str, grey: bool) -> dict[str, list[tuple[float, float]]]:
    """By row, its bars: left and width in pixels. grey: those of other passes, else those of this one."""
    root = ElementTree.fromstring(picture)
    names = {
        float(element.get("y", 0)) - 11: "".join(element.itertext())
        for element in root.iter(f"{SVG}text")
        if element.get("class") == "left"
    }
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in names.values()}
    for element in root.iter(f"{SVG}rect"):
        if element.get("x") and (element.get("fill") == OTHERS) == grey:
            rows[names[float(element.get("y", 0))]].append(
                (float(element.get("x", 0)), float(element.get("width", 0)))
            )
    return rows


@pytest.mark.parametrize("flight", [1, 2, 4])
@pytest.mark.parametrize(("image", "sample"), [(0, 0), (2, 1), (1, 2)])
def test_a_pass_is_drawn_cycle_by_cycle(image: int, sample: int, flight: int) -> None:
    trace = cycle_trace(random_model(), replace(GEOMETRY, flight=flight), PIXELS, 3, 1)
    others = drawn_as_traced(trace, image, sample)
    if flight == 4 and sample:
        assert others["outputs to the lists"] and others["logits"]


def test_a_pass_with_convolutions_is_drawn_cycle_by_cycle() -> None:
    run = RUNS["16x2-maps"]
    trace = cycle_trace(run.model(), run.geometry, run.pixels(), run.samples, 1)
    assert not drawn_as_traced(trace, 0, 1)["outputs to the lists"]  # it is alone


def drawn_as_traced(trace: Trace, image: int, sample: int) -> dict[str, list[int]]:
    """Compares the picture with the trace. Returns the cycles that other passes have in it."""

    def here(table: Any) -> Any:
        return table[(table["slot"] == image) & (table["sample"] == sample)]

    first, last = int(here(trace.picks)["cycle"][0]), int(here(trace.votes)["cycle"][0])
    scale = (WIDTH - LEFT - RIGHT) / (last + 1 - first)
    picture = pass_diagram(trace, image, sample)

    def drawn(grey: bool) -> dict[str, list[int]]:
        return {
            name: sorted(
                first + round((left - LEFT) / scale) + more
                for left, width in row
                for more in range(round(width / scale))
            )
            for name, row in bars(picture, grey).items()
        }

    events, opens = here(trace.events), here(trace.opens)
    # The lists of its pass in flight are filled from its pick until its last layer opens them.
    drains = trace.drains["cycle"][trace.drains["set"] // 2 == opens["member"][0]]
    expected = {
        "lists are opened": opens["cycle"].tolist(),
        **{f"bank {bank}: events": events["cycle"][events["bank"] == bank].tolist() for bank in range(2)},
        "sums are captured": here(trace.tiles)["cycle"].tolist(),
        "outputs to the lists": drains[(drains > first) & (drains <= opens["cycle"].max())].tolist(),
        "logits": here(trace.logits)["cycle"].tolist(),
        "vote": [last],
    }
    mine, others = drawn(False), drawn(True)
    assert {name: mine[name] for name in expected} == expected

    # What else goes on between its pick and its vote, of all passes, is grey.
    def meanwhile(table: Any) -> list[int]:
        return [cycle for cycle in table["cycle"].tolist() if first <= cycle <= last]

    every = {
        "lists are opened": trace.opens,
        **{f"bank {bank}: events": trace.events[trace.events["bank"] == bank] for bank in range(2)},
        "sums are captured": trace.tiles,
        "outputs to the lists": trace.drains,
        "logits": trace.logits,
        "vote": trace.votes,
    }
    for name, table in every.items():
        assert sorted(mine[name] + others[name]) == meanwhile(table), name
    return others


def test_a_pass_that_is_not_there() -> None:
    trace = cycle_trace(random_model(), GEOMETRY, PIXELS, 2, 1)
    for image, sample in ((3, 0), (0, 2)):
        with pytest.raises(SynflipError, match=f"image {image} has no sample {sample} in this run"):
            pass_diagram(trace, image, sample)
