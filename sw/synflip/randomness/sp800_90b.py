"""Estimates of min-entropy from samples: NIST SP 800-90B (January 2018), section 6.3.

Each estimator gives bits of min-entropy a sample, as a lower bound; a source is credited with the smallest.
The standard has ten estimators and asks for 10^6 samples in a row. These four show what is wrong with a
junction: the share of its most common value, the time until a value comes again, which bit follows which, and
how often a tuple of bits comes.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

Z = 2.5758293035489008  # upper end of a 99 % interval, which the standard rounds to 2.576
MARKOV_STEPS = 128  # samples of the likeliest sequence
TUPLE_LEAST = 35  # a tuple's length counts if its most common one comes as often
TUPLE_BITS = 63


def most_common(samples: NDArray[np.integer]) -> float:
    """Section 6.3.1: -log2 of the upper end of the 99 % interval of the most common value's share."""
    share = float(np.bincount(samples).max()) / len(samples)
    return _entropy(_upper(share, len(samples)))


def collision(bits: NDArray[np.integer]) -> float:
    """Section 6.3.2, binary: from the mean time until a value comes again, 2 or 3 bits.

    Bits of probability p and 1 - p take 2 + 2 p (1 - p) bits on average: the standard's formula of incomplete
    gamma functions, for two values, in closed form. p is solved for at the lower end of the mean's interval.
    """
    equal = (bits[1:] == bits[:-1]).tolist()
    times = []
    place = 0
    while place + 1 < len(bits):  # of two unequal bits, the third equals one
        time = 2 if equal[place] else 3
        place += time
        if place <= len(bits):
            times.append(time)
    mean, spread = float(np.mean(times)), float(np.std(times, ddof=1))
    low = mean - Z * spread / math.sqrt(len(times))
    if low >= 2.5:
        return 1.0
    if low <= 2:
        return 0.0
    return _entropy(float(brentq(lambda p: 2 + 2 * p * (1 - p) - low, 0.5, 1.0)))


def markov(bits: NDArray[np.integer]) -> float:
    """Section 6.3.3, binary: probability of the likeliest sequence of 128 bits of a first-order chain with
    the shares that were counted, to the power 1/128. There is no interval in it."""
    ones = float(bits.mean())
    start = (1 - ones, ones)
    pairs = np.bincount(2 * bits[:-1].astype(np.int64) + bits[1:], minlength=4).reshape(2, 2)
    step = pairs / np.maximum(pairs.sum(1, keepdims=True), 1)
    best = [_log2(share) for share in start]
    for _ in range(MARKOV_STEPS - 1):
        best = [max(best[before] + _log2(step[before, now]) for before in (0, 1)) for now in (0, 1)]
    return min(max(0.0, -max(best) / MARKOV_STEPS), 1.0)


def t_tuple(samples: NDArray[np.integer], least: int = TUPLE_LEAST) -> float:
    """Section 6.3.5: over all lengths t of which some tuple comes at least ``least`` times, the largest share
    of a tuple to the power 1/t, its interval's upper end. Tuples up to TUPLE_BITS bits are looked at."""
    values = int(samples.max()) + 1
    base, length = max(values, 2), 0
    codes = np.zeros(len(samples) + 1, dtype=np.uint64)
    worst = 0.0
    while base ** (length + 1) < 1 << TUPLE_BITS and len(codes) > 1:
        codes = codes[:-1] * np.uint64(base) + samples[length:].astype(np.uint64)
        length += 1
        count = _most(codes)
        if count < least:
            break
        worst = max(worst, (count / len(codes)) ** (1 / length))
    return _entropy(_upper(worst, len(samples)))


def _most(codes: NDArray[np.uint64]) -> int:
    """How often the most common code comes."""
    ordered = np.sort(codes)
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
    return int(np.diff(starts).max())


def _upper(share: float, count: int) -> float:
    return min(1.0, share + Z * math.sqrt(share * (1 - share) / (count - 1)))


def _entropy(probability: float) -> float:
    return 0.0 if probability >= 1 else -math.log2(probability)


def _log2(share: float) -> float:
    return math.log2(share) if share > 0 else -math.inf
