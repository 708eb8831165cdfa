"""Soft votes and energies of every device's way to them, against the contract read loop by loop."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synflip.devices import parted
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.inference.compare import compare
from synflip.inference.parts import cut
from synflip.inference.pieces import Piece, Whole
from synflip.inference.request import InferenceRequest
from synflip.inference.result import Result
from synflip.inference.shards import Part, merge, save_part
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel
from synflip.spec.sizes import SOFT_DISTANCE_BITS
from synflip.uncertainty.soft_votes import SoftTable, posterior

from tests.devices.stand_in import StandIn
from tests.golden import reference
from tests.golden.test_cpu import expected, images, infer, network

RNG = np.random.default_rng(8)
MODEL = replace(network([20, 12, 5]), source={"logit_scale": 350.0})
PIXELS = images(MODEL, 6)


def scaled(model: CompiledModel, **source: float) -> CompiledModel:
    return replace(model, source=source)


def drawn(shift: int, fraction: int, precision: int, entries: int, sums: int, most: int) -> SoftTable:
    """Tables of any numbers, as no exponential makes them."""
    exponential = RNG.integers(0, (1 << fraction) + 1, entries)
    exponential[-1] = 0
    return SoftTable(shift, fraction, precision, exponential, RNG.integers(0, most, sums))


TABLES = {
    "of the scale": SoftTable.of(350.0, 5),
    "coarse": SoftTable.of(350.0, 5, fraction=4, entries=16, precision=0),
    "few entries": SoftTable.of(350.0, 5, entries=5),
    "any numbers": drawn(5, 8, 4, 64, 81, 4000),
    "no shift, one sum": drawn(0, 16, 16, 300, 1, 300),
    "ends of the words": drawn(31, 3, 0, 2, 2, 1 << SOFT_DISTANCE_BITS),
}


def same(result: Result, outcome: reference.Outcome, table: SoftTable) -> None:
    votes, energies = outcome.soft(reference.Tables.of(table))
    assert result.soft_votes is not None and result.energy_sums is not None
    assert result.soft_votes.dtype == result.energy_sums.dtype == np.int64
    np.testing.assert_array_equal(result.soft_votes, votes)
    np.testing.assert_array_equal(result.energy_sums, energies)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("margins", [None, [9, 1, 2, 1, 2, 1, 0]])
def test_golden_and_the_parts_of_a_network(name: str, margins: list[int] | None) -> None:
    table = TABLES[name]
    outcome = expected(MODEL, PIXELS, 7, 4, margins)
    assert margins is None or len(set(outcome.used)) > 1
    same(infer(MODEL, PIXELS, 7, 4, margin=margins, soft=table), outcome, table)
    geometry = Geometry(16, 2, weight_depth=10)
    request = InferenceRequest(MODEL, PIXELS, 7, 4, margins, soft=table)
    same(parted.run(StandIn(geometry), cut(MODEL, geometry), request), outcome, table)


def test_the_contracts_example() -> None:
    table = SoftTable(0, 2, 0, np.array([4, 2, 1, 0]), np.array([0, 1, 2]))
    votes, energies = table.counts(np.array([[5, 4, 4]], np.int32))
    assert (votes.tolist(), energies.tolist()) == ([[1, 0, 0]], [-7])
    assert reference.soft_votes([5, 4, 4], reference.Tables.of(table)) == ([1, 0, 0], -7)


def test_ends_of_the_logits() -> None:
    """Differences of 32 bits, and sums that do not fit 32."""
    model = network([8, 4], bits=1, q=0, bias=0)
    limit = 1 << 31
    bias = np.array([limit - 1, -limit, limit - 1, 0], np.int32)
    model = replace(model, layers=(replace(model.layers[0], bias=bias),))
    pixels = images(model, 1)
    for table in (SoftTable.of(1e8, 4), TABLES["ends of the words"], TABLES["no shift, one sum"]):
        same(infer(model, pixels, 3, 0, soft=table), expected(model, pixels, 3, 0), table)


def test_pieces_and_shards_add_up(tmp_path: Path) -> None:
    request = InferenceRequest(MODEL, PIXELS, 8, 4, soft=True)
    with Golden() as device:
        device.load(MODEL)
        want = device.run(request)
        whole, paths = Whole(request), []
        for images_of, samples in (((0, 6), (0, 3)), ((0, 2), (3, 8)), ((2, 6), (3, 8))):
            piece = Piece(range(*images_of), range(*samples))
            whole.add(piece, device.run(piece.of(request)))
        for index in (1, 2, 3):
            part = Part(index, 3, 8, 4, "0" * 64, "1" * 64)
            result = device.infer(PIXELS, part.past - part.first, 4, first=part.first, soft=True)
            paths.append(tmp_path / f"{index}.npz")
            save_part(result, part, paths[-1])
        save_part(device.infer(PIXELS, 3, 4), part, tmp_path / "bare.npz")
    compared = compare(want, whole.result(), "pieces")
    assert compared.compared["soft votes"] == 30 and compared.compared["energy sums"] == 6
    assert not compared.different["soft votes"] and not compared.different["energy sums"]
    merged = merge(paths)[0]
    assert not any(compare(want, merged, "shards").different[name] for name in ("soft votes", "energy sums"))
    assert merged.logit_scale == 350.0
    with pytest.raises(SynflipError, match="logits or soft votes are in one of them only"):
        merge([*paths[:2], tmp_path / "bare.npz"])


def test_a_difference_is_named() -> None:
    want = infer(MODEL, PIXELS, 3, 4, soft=True)
    assert want.soft_votes is not None and want.energy_sums is not None
    votes, energies = want.soft_votes.copy(), want.energy_sums.copy()
    votes[2, 1] += 1
    energies[3] -= 1
    first = compare(want, replace(want, soft_votes=votes), "x").first
    assert first is not None and first.startswith("soft votes: image 2, class 1, golden")
    first = compare(want, replace(want, energy_sums=energies), "x").first
    assert first is not None and first.startswith("energy sums: image 3, golden")


def test_posterior_and_energy_without_logits(tmp_path: Path) -> None:
    model = scaled(MODEL, logit_scale=350.0, energy_threshold=-4.0)
    want = infer(model, PIXELS, 40, 4, logits=True, soft=True)
    have = infer(model, PIXELS, 40, 4, soft=True)
    assert have.soft_votes is not None and have.logits is None
    np.testing.assert_array_equal(have.posterior, posterior(have.soft_votes))
    np.testing.assert_allclose(have.posterior, want.posterior, atol=0.01)
    np.testing.assert_allclose(have.energy, want.energy, atol=0.02)
    assert np.ptp(want.energy) > 0.2  # of which that is little
    np.testing.assert_array_equal(have.foreign, have.energy > -4.0)
    assert "soft_votes" in repr(have) and "energy, nats" in have._repr_html_()
    table = have.to_pandas()
    assert {"energy", "foreign"} <= set(table) and "mutual_information" not in table
    with pytest.raises(SynflipError, match="needs the logits"):
        _ = have.mutual_information
    have.save(tmp_path / "r.npz")
    again = Result.load(tmp_path / "r.npz")
    np.testing.assert_array_equal(again.foreign, have.foreign)
    np.testing.assert_array_equal(again.posterior, have.posterior)
    with pytest.raises(SynflipError, match=r"soft_votes has shape \[6, 4\], not \[6, 5\]"):
        replace(have, soft_votes=have.soft_votes[:, :4]).save(tmp_path / "odd.npz")
        Result.load(tmp_path / "odd.npz")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"fraction": 17}, "fraction 17"),
        ({"precision": 9}, "precision 9"),
        ({"shift": 32}, "shift 32"),
        ({"exponential": [0]}, "table exponential"),
        ({"exponential": [257, 0]}, "257, which is not in 0..256"),
        ({"exponential": [256, 1]}, "last entry"),
        ({"exponential": [0.5, 0]}, "table exponential of soft votes is float64"),
        ({"logarithm": []}, "table logarithm"),
        ({"logarithm": [-1]}, "-1..-1, which is not in 0.."),
        ({"logarithm": [1 << 31]}, "2147483648"),
    ],
)
def test_tables_that_are_none(change: dict[str, Any], line: str) -> None:
    fields = {"shift": 3, "fraction": 8, "precision": 4, "exponential": [256, 0], "logarithm": [0, 7]}
    SoftTable(**fields)  # type: ignore[arg-type]
    with pytest.raises(SynflipError, match=line):
        SoftTable(**fields | change)


def test_what_is_no_request() -> None:
    with pytest.raises(SynflipError, match="does not say"):
        InferenceRequest(network([8, 3]), images(network([8, 3]), 1), 1, 0, soft=True)
    with pytest.raises(SynflipError, match="soft must be True, False or a SoftTable, not 1"):
        InferenceRequest(MODEL, PIXELS, 1, 0, soft=1)  # type: ignore[arg-type]
    assert InferenceRequest(MODEL, PIXELS, 1, 0, soft=False).tables is None
    assert infer(MODEL, PIXELS, 2, 4).soft_votes is None
