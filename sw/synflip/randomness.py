"""Statistical tests of keys and of the words that coins are decided by.

Each test gives a p-value, uniform on 0..1 if the coins are fair: a source fails if the smallest of n p-values
is below alpha / n (Bonferroni). What is tested is what the contract promises of words: uniform, independent
between any two lanes of a row, two rows, two tiles, two network samples.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from synflip.spec.coins import word_taps

#: (output, bit) -> the three key bits whose XOR is that bit of the output's word.
Taps = Callable[[int, int], tuple[int, int, int]]
ALPHA = 0.001  # of all tests of one source together


@dataclass(frozen=True)
class Finding:
    """One test. effect: what was measured, in words of ``measure``; p: probability of as much by chance."""

    name: str
    measure: str
    effect: float
    p: float


def verdict(findings: list[Finding]) -> bool:
    """Whether nothing was found: the smallest p-value is as large as chance allows."""
    return min(finding.p for finding in findings) * len(findings) >= ALPHA


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


def key_findings(keys: NDArray[np.uint64]) -> Iterator[Finding]:
    """Bits of the keys as one stream: share of ones, runs, serial correlation, bytes."""
    bits = np.unpackbits(keys.astype("<u8").view(np.uint8), bitorder="little")
    n = bits.size
    share = float(bits.mean())
    yield Finding("ones", "share of ones - 1/2", share - 0.5, _two_sided((share - 0.5) * 2 * np.sqrt(n)))
    columns = bits.reshape(-1, 64).mean(0)
    chi = float((((columns - 0.5) * 2) ** 2 * len(keys)).sum())
    yield Finding("ones of each key bit", "chi-square / 64", chi / 64, float(stats.chi2.sf(chi, 64)))
    runs = int((bits[1:] != bits[:-1]).sum()) + 1
    expected = 2 * n * share * (1 - share) + 1
    spread = 2 * np.sqrt(n) * share * (1 - share)
    yield Finding("runs", "runs / expected - 1", runs / expected - 1, _two_sided((runs - expected) / spread))
    signs = bits.astype(np.float32) * 2 - 1
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(signs, size)
    lags = np.fft.irfft(np.abs(spectrum) ** 2, size)[1:257] / np.sqrt(n)
    worst = int(np.abs(lags).argmax())
    yield Finding(
        "serial correlation, lags 1 to 256",
        f"largest, at lag {worst + 1}",
        float(lags[worst] / np.sqrt(n)),
        min(1.0, 256 * _two_sided(float(lags[worst]))),
    )
    yield _uniform("bytes", keys.astype("<u8").view(np.uint8), 256)


def word_findings(
    keys: NDArray[np.uint64], bits: int = 4, taps: Taps = word_taps, seed: int = 0
) -> Iterator[Finding]:
    """Words of ``bits`` bits: uniform, and pairs and triples of them independent, in each direction."""
    rng = np.random.default_rng(seed)
    levels = 1 << bits
    lanes = np.sort(rng.choice(1024, 24, replace=False))
    table = words(keys, lanes, bits, taps)
    yield _uniform(f"{bits}-bit words", table.reshape(-1), levels)

    def pairs(name: str, first: NDArray[np.uint16], second: NDArray[np.uint16]) -> Finding:
        joint = first.astype(np.int64) * levels + second
        return _uniform(name, joint.reshape(-1), levels * levels)

    neighbours = words(keys, np.array([0, 1, 16, 17, 32, 64, 128]), bits, taps)
    yield pairs("pairs: lanes 0 and 1", neighbours[:, 0], neighbours[:, 1])
    yield pairs("pairs: lanes 0 and 16", neighbours[:, 0], neighbours[:, 2])
    yield pairs("pairs: tiles of 64", neighbours[:, 0], neighbours[:, 5])
    worst = min(
        (
            pairs(f"{a}, {b}", table[:, a], table[:, b])
            for a in range(len(lanes))
            for b in range(a + 1, len(lanes))
        ),
        key=lambda finding: finding.p,
    )
    count = len(lanes) * (len(lanes) - 1) // 2
    yield Finding(f"pairs: {count} pairs of lanes", worst.measure, worst.effect, min(1.0, worst.p * count))
    even, odd = table[: len(table) // 2 * 2 : 2], table[1::2][: len(table) // 2]
    yield pairs("pairs: rows next to each other", even[:, 0], odd[:, 0])
    half = len(table) // 2
    yield pairs("pairs: samples far apart", table[:half, 0], table[half : 2 * half, 0])
    coins = (table < levels // 2).astype(np.int64)
    worst_p, worst_effect = 1.0, 0.0
    triples = [tuple(rng.choice(len(lanes), 3, replace=False)) for _ in range(500)]
    for a, b, c in triples:
        product = float(((2 * coins[:, a] - 1) * (2 * coins[:, b] - 1) * (2 * coins[:, c] - 1)).mean())
        p = _two_sided(product * np.sqrt(len(coins)))
        if p < worst_p:
            worst_p, worst_effect = p, product
    yield Finding(
        "triples: 500 triples of lanes",
        "largest mean product",
        worst_effect,
        min(1.0, worst_p * len(triples)),
    )


def _two_sided(z: float) -> float:
    return float(2 * stats.norm.sf(abs(z)))


def _uniform(name: str, values: NDArray[np.integer], levels: int) -> Finding:
    counts = np.bincount(values, minlength=levels)
    expected = values.size / levels
    chi = float(((counts - expected) ** 2 / expected).sum())
    p = float(stats.chi2.sf(chi, levels - 1))
    return Finding(name, "chi-square / freedom", chi / (levels - 1), p)
