"""Tests of a sequence of bits: NIST SP 800-22 rev. 1a, section 2. Each gives a p-value.

All tests but those with templates (2.7, 2.8), the universal test (2.9) and random excursions (2.14, 2.15).
``bits``: uint8 of 0 and 1.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import gammaincc

from synflip.randomness.statistical_tests import TestResult

Bits = NDArray[np.uint8]
SEQUENCE = 1 << 20  # bits of a sequence; fewer if there are fewer
SEQUENCES = 16  # number of sequences that are tested, at most
RANK = 32  # rows and columns of a matrix
COMPLEXITY_BLOCK, COMPLEXITY_BLOCKS = 500, 500
#: Section 3.10: shares of blocks with T in -inf, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, inf.
COMPLEXITY_SHARES = (1 / 96, 1 / 32, 1 / 8, 1 / 2, 1 / 4, 1 / 16, 1 / 48)


def results(bits: Bits) -> Iterator[TestResult]:
    """The result of every test, each on up to SEQUENCES sequences of SEQUENCE bits.

    Fewer bits than that are one sequence. A result's p is the smallest of a test's p-values times their
    number.
    """
    length = min(SEQUENCE, bits.size)
    sequences = bits[: bits.size // length * length].reshape(-1, length)[:SEQUENCES]
    for name, test in TESTS.items():
        p_values = np.array([test(sequence) for sequence in sequences])
        worst = float(p_values.min())
        yield TestResult(f"SP 800-22: {name}", "smallest p", worst, min(1.0, worst * p_values.size))
    worst = linear_complexity(sequences[0])
    yield TestResult("SP 800-22: linear complexity", "p", worst, worst)


def monobit(bits: Bits) -> float:
    """Section 2.1."""
    return math.erfc(abs(2 * int(bits.sum()) - bits.size) / math.sqrt(2 * bits.size))


def block_frequency(bits: Bits, block: int = 128) -> float:
    """Section 2.2."""
    blocks = bits.size // block
    shares = bits[: blocks * block].reshape(blocks, block).mean(1)
    return float(gammaincc(blocks / 2, 2 * block * ((shares - 0.5) ** 2).sum()))


def runs(bits: Bits) -> float:
    """Section 2.3; 0 if the share of ones already fails."""
    n, share = bits.size, float(bits.mean())
    if abs(share - 0.5) >= 2 / math.sqrt(n):
        return 0.0
    count = 1 + int((bits[1:] != bits[:-1]).sum())
    even = 2 * n * share * (1 - share)
    return math.erfc(abs(count - even) / (2 * math.sqrt(2 * n) * share * (1 - share)))


def longest_run(bits: Bits) -> float:
    """Section 2.4. The probabilities of its tables are computed here, by ``_at_most``."""
    block, least, most = (
        (10_000, 10, 16) if bits.size >= 750_000 else (128, 4, 9) if bits.size >= 6272 else (8, 1, 4)
    )
    blocks = bits[: bits.size // block * block].reshape(-1, block)
    run = np.zeros(len(blocks), dtype=np.int64)
    longest = run.copy()
    for column in blocks.T:
        run = (run + 1) * column
        np.maximum(longest, run, out=longest)
    counts = np.bincount(np.clip(longest, least, most) - least, minlength=most - least + 1)
    below = [_at_most(block, r) for r in range(least, most)]
    shares = np.diff([0.0, *below, 1.0])
    return _goodness(counts, shares)


def _at_most(length: int, longest: int) -> float:
    """Probability that fair bits have no more than ``longest`` ones in a row."""
    chances = [1.0] * (longest + 1) + [1 - 0.5 ** (longest + 1)]
    while len(chances) <= length:
        chances.append(chances[-1] - 0.5 ** (longest + 2) * chances[-longest - 2])
    return chances[length]


def rank(bits: Bits) -> float:
    """Section 2.5: ranks of 32x32 matrices over GF(2)."""
    count = bits.size // RANK**2
    rows = np.packbits(bits[: count * RANK**2].reshape(count, RANK, RANK), axis=2).view(">u4")
    rows = rows.reshape(count, RANK).astype(np.uint32)
    ranks = np.zeros(count, dtype=np.int64)
    every = np.arange(count)
    for bit in range(RANK):
        has = (rows >> np.uint32(bit) & 1).astype(bool)
        pivot = has.argmax(1)
        found = has.any(1)
        chosen = np.where(found, rows[every, pivot], 0).astype(np.uint32)
        rows ^= np.where(has, chosen[:, None], 0).astype(np.uint32)  # the pivot itself becomes 0
        ranks += found
    product = [math.prod(1 - 2.0**-place for place in range(start, RANK + 1)) for start in (1, 2)]
    full = product[0]
    less = 2.0**-1 * product[0] * (1 - 2.0**-RANK) / (1 - 2.0**-1) ** 2 * (1 - 2.0**-RANK)
    counts = np.array([(ranks == RANK).sum(), (ranks == RANK - 1).sum(), (ranks < RANK - 1).sum()])
    return _goodness(counts, np.array([full, less, 1 - full - less]))


def spectral(bits: Bits) -> float:
    """Section 2.6: how many peaks of the spectrum are below the height that 95 % of fair ones stay below."""
    n = bits.size
    heights = np.abs(np.fft.rfft(bits.astype(np.float64) * 2 - 1))[: n // 2]
    low = int((heights < math.sqrt(math.log(1 / 0.05) * n)).sum())
    return math.erfc(abs(low - 0.95 * n / 2) / math.sqrt(n * 0.95 * 0.05 / 4) / math.sqrt(2))


def linear_complexity(bits: Bits, block: int = COMPLEXITY_BLOCK, most: int = COMPLEXITY_BLOCKS) -> float:
    """Section 2.10, of the first ``most`` blocks."""
    count = min(bits.size // block, most)
    mean = block / 2 + (9 - (-1) ** block) / 36 - (block / 3 + 2 / 9) / 2**block
    values = [
        (-1) ** block * (shortest_register(part) - mean) + 2 / 9
        for part in bits[: count * block].reshape(count, block)
    ]
    counts, _ = np.histogram(values, [-math.inf, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, math.inf])
    return _goodness(counts, np.array(COMPLEXITY_SHARES))


def shortest_register(bits: Bits) -> int:
    """Length of the shortest LFSR that makes these bits (Berlekamp and Massey); polynomials are integers."""
    connection, before, length, last = 1, 1, 0, -1
    seen = 0  # the bits so far, the latest in bit 0
    for place, bit in enumerate(bits.tolist()):
        seen = seen << 1 | bit
        if (connection & seen).bit_count() & 1:
            kept = connection
            connection ^= before << (place - last)
            if 2 * length <= place:
                length, last, before = place + 1 - length, place, kept
    return length


def serial(bits: Bits, width: int = 10) -> list[float]:
    """Section 2.11: both p-values."""
    sums = []
    for m in (width, width - 1, width - 2):
        counts = _patterns(bits, m).astype(np.float64)
        sums.append((counts**2).sum() * 2**m / bits.size - bits.size if m else 0.0)
    first, second = sums[0] - sums[1], sums[0] - 2 * sums[1] + sums[2]
    return [float(gammaincc(2 ** (width - 2), first / 2)), float(gammaincc(2 ** (width - 3), second / 2))]


def approximate_entropy(bits: Bits, width: int = 10) -> float:
    """Section 2.12."""
    phi = []
    for m in (width, width + 1):
        shares = _patterns(bits, m) / bits.size
        shares = shares[shares > 0]
        phi.append(float((shares * np.log(shares)).sum()))
    chi = 2 * bits.size * (math.log(2) - (phi[0] - phi[1]))
    return float(gammaincc(2 ** (width - 1), chi / 2))


def cumulative_sums(bits: Bits) -> list[float]:
    """Section 2.13: both p-values, forward and backward."""
    steps = bits.astype(np.int64) * 2 - 1
    return [_excursion(int(np.abs(np.cumsum(walk)).max()), bits.size) for walk in (steps, steps[::-1])]


def _excursion(distance: int, n: int) -> float:
    """p-value of the largest ``distance`` of a walk of n steps from 0."""
    root = math.sqrt(n)
    first = np.arange((-n // distance + 1) // 4, (n // distance - 1) // 4 + 1)
    second = np.arange((-n // distance - 3) // 4, (n // distance - 1) // 4 + 1)
    cdf = stats.norm.cdf
    inside = (cdf((4 * first + 1) * distance / root) - cdf((4 * first - 1) * distance / root)).sum()
    beyond = (cdf((4 * second + 3) * distance / root) - cdf((4 * second + 1) * distance / root)).sum()
    return float(np.clip(1 - inside + beyond, 0, 1))


def _patterns(bits: Bits, width: int) -> NDArray[np.int64]:
    """Counts [2**width] of the patterns of ``width`` bits; the sequence's end is joined to its start."""
    ring = np.concatenate([bits, bits[: max(width - 1, 0)]]).astype(np.int64)
    codes = np.zeros(bits.size, dtype=np.int64)
    for place in range(width):
        codes = codes << 1 | ring[place : place + bits.size]
    return np.bincount(codes, minlength=1 << width)


def _goodness(counts: NDArray[np.integer], shares: NDArray[np.float64]) -> float:
    expected = counts.sum() * shares
    return float(stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), len(counts) - 1))


TESTS: dict[str, Callable[[Bits], float | list[float]]] = {
    "frequency": monobit,
    "block frequency": block_frequency,
    "runs": runs,
    "longest run": longest_run,
    "matrix rank": rank,
    "spectral": spectral,
    "serial": serial,
    "approximate entropy": approximate_entropy,
    "cumulative sums": cumulative_sums,
}
