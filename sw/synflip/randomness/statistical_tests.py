"""Statistical tests of keys and of the words that coins are decided by.

Each test gives a p-value, uniform on 0..1 if the coins are fair: a source fails if the smallest of n p-values
is below alpha / n (Bonferroni). The contract promises that words are uniform, and independent between any two
lanes of a row, two rows, two tiles, two network samples; that is tested.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from synflip.spec.coins import word_taps
from synflip.spec.sizes import log2_ceil

#: (output, bit) -> the three key bits whose XOR is that bit of the output's word.
Taps = Callable[[int, int], tuple[int, int, int]]
ALPHA = 0.001  # of all tests of one source together
LANES = 24  # number of lanes of a tile that are tested: NEAR_LANES and others that are drawn
NEAR_LANES = (0, 1, 2, 3, 16, 17, 32, 48)
ROWS = 512  # keys between words of different network samples
PAIRS, TRIPLES = 200, 300  # of each direction, at most


@dataclass(frozen=True)
class TestResult:
    """The outcome of one statistical test, called ``name``.

    measure: what the test measures, in words; effect: the measured number, in the unit that ``measure`` says.
    p: probability, 0..1, that fair coins give an effect at least as large. A test of many numbers at once
    reports the worst of them: interval is its 95 % interval, widened for how many there are (Bonferroni), and
    bound the size that, with 95 % confidence, none of the effects exceeds. Both are None where the effect has
    no size of its own, such as a smallest p.
    """

    __test__ = False  # pytest would collect it in files that import it, because of its name

    name: str
    measure: str
    effect: float
    p: float
    interval: tuple[float, float] | None = None
    bound: float | None = None


def verdict(results: list[TestResult]) -> bool:
    """Whether the coins pass: the smallest of n p-values, times n, is at least ALPHA (Bonferroni)."""
    return min(result.p for result in results) * len(results) >= ALPHA


def words(
    keys: NDArray[np.uint64], outputs: NDArray[np.integer], bits: int, taps: Taps
) -> NDArray[np.uint16]:
    """The words of these outputs for each key: uint16 [len(keys), len(outputs)]."""
    result = np.zeros((len(keys), len(outputs)), dtype=np.uint16)
    for column, output in enumerate(outputs.tolist()):
        for bit in range(bits):
            a, b, c = (np.uint64(tap) for tap in taps(output, bit))
            xor = (keys >> a ^ keys >> b ^ keys >> c) & np.uint64(1)
            result[:, column] |= (xor << np.uint64(bits - 1 - bit)).astype(np.uint16)
    return result


def key_bits(keys: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """The keys as one sequence of bits, bit 0 of each first."""
    return np.unpackbits(keys.astype("<u8").view(np.uint8), bitorder="little")


def key_results(keys: NDArray[np.uint64]) -> Iterator[TestResult]:
    """Tests of the keys' bits as one stream: share of ones, runs, serial correlation, bytes."""
    bits = key_bits(keys)
    n = bits.size
    share = float(bits.mean())
    yield TestResult("ones", "share of ones - 1/2", share - 0.5, _two_sided((share - 0.5) * 2 * np.sqrt(n)))
    columns = bits.reshape(-1, 64).mean(0)
    chi = float((((columns - 0.5) * 2) ** 2 * len(keys)).sum())
    yield TestResult("ones of each key bit", "chi-square / 64", chi / 64, float(stats.chi2.sf(chi, 64)))
    runs = int((bits[1:] != bits[:-1]).sum()) + 1
    expected = 2 * n * share * (1 - share) + 1
    spread = 2 * np.sqrt(n) * share * (1 - share)
    yield TestResult(
        "runs", "runs / expected - 1", runs / expected - 1, _two_sided((runs - expected) / spread)
    )
    signs = bits.astype(np.float32) * 2 - 1
    size = 1 << log2_ceil(2 * n)
    spectrum = np.fft.rfft(signs, size)
    lags = np.fft.irfft(np.abs(spectrum) ** 2, size)[1:257] / np.sqrt(n)
    worst = int(np.abs(lags).argmax())
    yield TestResult(
        "serial correlation, lags 1 to 256",
        f"largest, at lag {worst + 1}",
        float(lags[worst] / np.sqrt(n)),
        min(1.0, 256 * _two_sided(float(lags[worst]))),
    )
    yield _uniform("bytes", keys.astype("<u8").view(np.uint8), 256)


def word_results(
    keys: NDArray[np.uint64], bits: int = 4, taps: Taps = word_taps, seed: int = 0
) -> Iterator[TestResult]:
    """Tests that words of ``bits`` bits are uniform, and that pairs and triples of them are independent.

    The words of a pair or triple lie in different lanes of a tile, tiles of 64 lanes, rows, or network
    samples (keys that are ROWS apart): half are neighbours, half are drawn with ``seed``.
    """
    rng = np.random.default_rng(seed)
    levels = 1 << bits
    others = np.setdiff1d(np.arange(64), NEAR_LANES)
    lanes = np.sort([*NEAR_LANES, *rng.choice(others, LANES - len(NEAR_LANES), replace=False)])
    outputs = [*lanes, *(lane + 64 * tile for lane in lanes[:2] for tile in range(1, 16))]
    table = np.asfortranarray(words(keys, np.array(outputs), bits, taps).astype(np.int64))
    yield _uniform(f"{bits}-bit words", table.reshape(-1), levels)
    samples = min(len(keys) // ROWS, 64) // 2
    # A word is a column of the table and a distance in keys.
    directions = {
        "lanes": [(column, 0) for column in range(LANES)],
        "tiles": [
            (column, 0)
            for lane in (0, 1)
            for column in (lane, *range(LANES + 15 * lane, LANES + 15 * lane + 15))
        ],
        "rows": [(column, away) for column in range(3) for away in range(32)],
        "samples": [(column, away * ROWS) for column in range(3) for away in range(samples)],
    }
    for group, (name, count) in ((2, ("pairs", PAIRS)), (3, ("triples", TRIPLES))):
        # At least ten expected in each cell: of few keys only the top bits.
        kept = min(bits, int(np.log2(len(keys) / 10)) // group)
        top = table >> (bits - kept)
        for direction, places in directions.items():
            near = [tuple(range(first, first + group)) for first in range(len(places) - group + 1)]
            chosen = {near[i] for i in rng.permutation(len(near))[: count // 2]}
            chosen |= {
                tuple(sorted(rng.choice(len(places), group, replace=False))) for _ in range(count // 2)
            }
            found = [
                _joint([top[away:, column] for column, away in (places[i] for i in one)], 1 << kept)
                for one in sorted(chosen)
            ]
            effect, p = min(found, key=lambda one: one[1])
            yield TestResult(
                f"{name}: {len(found)} {name} of {direction}",
                "largest chi-square / freedom",
                effect,
                min(1.0, p * len(found)),
            )


def _joint(columns: list[NDArray[np.int64]], levels: int) -> tuple[float, float]:
    """Test that tuples of these words are uniform: chi-square / degrees of freedom, and p."""
    length = min(len(column) for column in columns)
    code = np.zeros(length, dtype=np.int64)
    for column in columns:
        code *= levels
        code += column[:length]
    result = _uniform("", code, levels ** len(columns))
    return result.effect, result.p


def _two_sided(z: float) -> float:
    return float(2 * stats.norm.sf(abs(z)))


def _uniform(name: str, values: NDArray[np.integer], levels: int) -> TestResult:
    counts = np.bincount(values, minlength=levels)
    expected = values.size / levels
    chi = float(((counts - expected) ** 2 / expected).sum())
    p = float(stats.chi2.sf(chi, levels - 1))
    return TestResult(name, "chi-square / freedom", chi / (levels - 1), p)
