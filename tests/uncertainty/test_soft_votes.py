"""Soft votes against the contract's proposed words done one number at a time, and against the softmax."""

import math

import numpy as np
import pytest
from synflip.errors import SynflipError
from synflip.uncertainty.scores import softmax
from synflip.uncertainty.soft_votes import SoftTable, posterior
from synflip.uncertainty.temperature import fit_scale

RNG = np.random.default_rng(3)


def slow(table: SoftTable, z: list[int]) -> list[int]:
    half = 2 ** (table.shift - 1) if table.shift else 0

    def look_up(behind: int) -> int:
        return int(table.exponential[min((behind + half) // 2**table.shift, len(table.exponential) - 1)])

    behind = [max(z) - value for value in z]
    total = sum(look_up(d) for d in behind)
    index = min(total // 2 ** (table.fraction - table.precision), len(table.logarithm) - 1)
    return [look_up(d + int(table.logarithm[index])) for d in behind]


@pytest.mark.parametrize(
    ("scale", "settings"),
    [
        (700.0, {}),
        (0.4, {"fraction": 5, "entries": 9}),
        (9000.0, {"fraction": 4, "entries": 16, "precision": 2}),
    ],
)
def test_every_integer(scale: float, settings: dict[str, int]) -> None:
    table = SoftTable.of(scale, 6, **settings)
    logits = np.rint(RNG.normal(0, 3 * scale, (5, 40, 6))).astype(np.int32)
    logits[0, 0] = 7  # all the same
    found = table.votes(logits)
    assert found.tolist() == [[slow(table, z) for z in sample] for sample in logits.tolist()]
    assert table.exponential[0] == 1 << table.fraction and table.exponential[-1] == 0
    assert (np.diff(table.exponential) <= 0).all() and (np.diff(table.logarithm) >= 0).all()
    assert table.votes(np.array([2**31 - 1, -(2**31)], np.int32)).tolist() == [1 << table.fraction, 0]
    assert table.bits == len(table.exponential) * (table.fraction + 1) + sum(
        int(table.logarithm[-1]).bit_length() for _ in table.logarithm
    )
    assert table.plain(np.array([5, 5], np.int32)).tolist() == [1 << table.fraction] * 2
    found, energies = table.counts(logits)
    assert found.tolist() == table.votes(logits).tolist() and energies.shape == logits.shape[:2]
    exact = np.logaddexp.reduce(logits / scale, axis=-1)
    assert np.abs(-energies / scale - exact).max() < 0.5 + 1 / scale  # whose table is of whole numbers


def test_near_the_softmax() -> None:
    scale = 700.0
    logits = np.rint(RNG.normal(0, 2 * scale, (64, 300, 10))).astype(np.int32)
    wanted = np.mean([softmax(z, scale) for z in logits], axis=0)
    errors = {}
    for fraction, entries in ((4, 16), (8, 64), (10, 256)):
        shares = posterior(SoftTable.of(scale, 10, fraction, entries).votes(logits).sum(0))
        assert shares.sum(1) == pytest.approx(1)
        errors[entries] = np.abs(shares - wanted).max()
    assert errors[64] < 0.03 and errors[256] < errors[64] < errors[16]
    plain = posterior(SoftTable.of(scale, 10).plain(logits).sum(0))
    assert np.abs(plain - wanted).max() > 2 * errors[64]  # a sample that is not sure counts for more


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0.0, 10), "scale of 0"), ((5.0, 10, 17), "fraction 17"), ((5.0, 10, 4, 1), "entries 1"),
     ((5.0, 10, 4, 16, 5), "precision 5"), ((1e12, 10), "more than integers")],
)  # fmt: skip
def test_senseless(arguments: tuple[float, int], message: str) -> None:
    with pytest.raises(SynflipError, match=message):
        SoftTable.of(*arguments)


@pytest.mark.parametrize("samples", [1, 12])
def test_the_scale_is_found_again(samples: int) -> None:
    scale = 250.0
    middle = RNG.normal(0, 500, (1, 20_000, 4))
    logits = np.rint(middle + RNG.normal(0, 100, (samples, 20_000, 4))).astype(np.int32)
    shares = np.mean([softmax(z, scale) for z in logits], axis=0)
    labels = (RNG.random((20_000, 1)) > shares.cumsum(1)).sum(1).clip(0, 3)
    assert fit_scale(logits, labels, 100.0) == pytest.approx(scale, rel=0.04)


def test_no_scale() -> None:
    with pytest.raises(SynflipError, match=r"logits \[2, 3, 4\] and labels \[2\]"):
        fit_scale(np.zeros((2, 3, 4), np.int32), np.zeros(2, np.int64), 1.0)
    assert math.isfinite(fit_scale(np.zeros((1, 2, 3), np.int32), np.zeros(2, np.int64), 1.0))
