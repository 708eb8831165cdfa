"""NIST's tests and estimates against the worked examples of the standards, and on bits that are known."""

import math

import numpy as np
import pytest
from scipy import stats
from synflip.randomness import sp800_22, sp800_90b

#: The first 100 binary digits of pi, the example of most sections of SP 800-22 rev. 1a.
PI = "1100100100001111110110101010001000100001011010001100001000110100110001001100011001100010100010111000"
#: The example of section 2.4.8.
RUNS = (
    "1100110000010101011011000100110011100000000000100100110101010001"
    "0001001111010110100000001101011111001100111001101101100010110010"
)
#: The example of SP 800-90B, sections 6.3.2 and 6.3.3.
BINARY = "1000111001010101110011000111001010101110"


def bits(text: str) -> np.ndarray:
    return np.array([int(letter) for letter in text], dtype=np.uint8)


@pytest.mark.parametrize(
    ("found", "printed"),
    [
        (sp800_22.monobit(bits("1011010101")), [0.527089]),
        (sp800_22.monobit(bits(PI)), [0.109599]),
        (sp800_22.block_frequency(bits("0110011010"), 3), [0.801252]),
        (sp800_22.block_frequency(bits(PI), 10), [0.706438]),
        (sp800_22.runs(bits("1001101011")), [0.147232]),
        (sp800_22.runs(bits(PI)), [0.500798]),
        (sp800_22.longest_run(bits(RUNS)), [0.180609]),
        (sp800_22.serial(bits("0011011101"), 3), [0.808792, 0.670320]),
        (sp800_22.approximate_entropy(bits("0100110101"), 3), [0.261961]),
        (sp800_22.approximate_entropy(bits(PI), 2), [0.235301]),
        (sp800_22.cumulative_sums(bits(PI)), [0.219194, 0.114866]),
    ],
)
def test_examples_of_sp_800_22(found, printed):
    np.testing.assert_allclose(np.atleast_1d(found), printed, atol=2e-6)


def digits_of_e(count: int) -> np.ndarray:
    """Binary digits of e, 10.1011..., of the series of 1 / k!, summed by halves."""

    def split(first: int, past: int) -> tuple[int, int]:
        if past - first == 1:
            return 1, past
        middle = (first + past) // 2
        (p, q), (r, t) = split(first, middle), split(middle, past)
        return p * t + r, q * t

    guard, terms = 64, 1
    while math.lgamma(terms + 1) / math.log(2) < count + guard:
        terms *= 2
    p, q = split(0, terms)
    digits = ((p + q) << (count + guard - 2)) // q >> guard
    return np.frombuffer(bin(digits)[2:].encode(), dtype=np.uint8) - ord("0")


#: Appendix B of SP 800-22 rev. 1a: the first 1,000,000 binary digits of e.
P_OF_E = {
    "frequency": [0.953749],
    "block frequency": [0.211072],
    "runs": [0.561917],
    "longest run": [0.718945],
    "matrix rank": [0.306156],
    "spectral": [0.847187],
    "serial": [0.766182, 0.462921],
    "approximate entropy": [0.700073],
    "cumulative sums": [0.669887, 0.724266],
}


@pytest.fixture(scope="module")
def e():
    digits = digits_of_e(1_000_000)
    assert digits[:20].tolist() == bits("10101101111110000101").tolist()
    return digits


@pytest.mark.parametrize("name", P_OF_E)
def test_a_million_digits_of_e(name, e):
    found = sp800_22.serial(e, 16) if name == "serial" else sp800_22.TESTS[name](e)
    # The standard's longest runs have shares rounded to four places.
    np.testing.assert_allclose(
        np.atleast_1d(found), P_OF_E[name], atol=1e-3 if name == "longest run" else 2e-6
    )


def test_linear_complexity_of_e(e):
    """The standard rounds 1/96 to 0.01047."""
    assert sp800_22.linear_complexity(e, 500, 2000) == pytest.approx(0.826335, abs=1e-3)


def test_the_register_of_the_example():
    assert sp800_22.shortest_register(bits("1101011110001")) == 4


@pytest.mark.parametrize("length", [1, 7, 31, 64])
def test_registers_are_found(length):
    rng = np.random.default_rng(length)
    taps = np.concatenate([[1], rng.integers(0, 2, length - 1)]) if length > 1 else np.array([1])
    made = [*rng.integers(0, 2, length - 1).tolist(), 1]
    while len(made) < 4 * length:
        made.append(int((taps * made[-length:]).sum() % 2))
    assert sp800_22.shortest_register(np.array(made, dtype=np.uint8)) <= length
    flipped = np.array(made, dtype=np.uint8)
    flipped[-1] ^= 1
    assert sp800_22.shortest_register(flipped) > length


def test_ranks_are_those_of_elimination():
    """Of one matrix: its rank decides which of three p-values there is."""

    def rank(matrix):
        rows, found = [int("".join(map(str, row)), 2) for row in matrix], 0
        while rows:
            pivot = rows.pop()
            if pivot:
                found += 1
                low = pivot & -pivot
                rows = [row ^ pivot if row & low else row for row in rows]
        return found

    seen = {}
    for seed in range(40):
        matrix = np.random.default_rng(seed).integers(0, 2, (32, 32)).astype(np.uint8)
        if seed % 4 == 0:
            matrix[5] = matrix[9] ^ matrix[30]
        p = sp800_22.rank(matrix.reshape(-1))
        seen.setdefault(min(32 - rank(matrix), 2), set()).add(round(p, 12))
    assert sorted(seen) == [0, 1, 2]
    assert all(len(values) == 1 for values in seen.values())
    assert len(set.union(*seen.values())) == 3


def test_p_values_of_fair_bits_are_uniform():
    rng = np.random.default_rng(1)
    values = {name: [] for name in sp800_22.TESTS}
    for _ in range(80):
        sequence = rng.integers(0, 2, 1 << 17, dtype=np.uint8)
        for name, test in sp800_22.TESTS.items():
            values[name].append(np.atleast_1d(test(sequence))[0])
    for name, found in values.items():
        assert stats.kstest(found, "uniform").pvalue > 1e-3, name


def some(x, rng, share, others):
    """``x`` with this share of its bits replaced."""
    return np.where(rng.random(x.size) < share, others, x)


def repeated_rows(x, rng):
    """Two rows of each 32x32 matrix are equal."""
    rows = x.reshape(-1, 32, 32).copy()
    rows[:, 7] = rows[:, 20]
    return rows.reshape(-1)


DAMAGE = {
    "frequency": lambda x, rng: some(x, rng, 0.02, 1),
    "block frequency": lambda x, rng: some(x, rng, 0.1, np.arange(x.size) // 128 % 2),
    "runs": lambda x, rng: some(x, rng, 0.03, np.roll(x, 1)),
    "longest run": lambda x, rng: np.where(np.arange(x.size) % 500 < 14, 1, x),
    "matrix rank": repeated_rows,
    "spectral": lambda x, rng: np.where(np.arange(x.size) % 10 == 0, np.arange(x.size) // 10 % 2, x),
    "serial": lambda x, rng: some(x, rng, 0.1, np.roll(x, 7) ^ np.roll(x, 3)),
    "approximate entropy": lambda x, rng: some(x, rng, 0.1, np.roll(x, 7) ^ np.roll(x, 3)),
    "cumulative sums": lambda x, rng: some(x, rng, 0.05, np.arange(x.size) < x.size / 2),
}


@pytest.mark.parametrize("seen_by", sp800_22.TESTS)
def test_each_test_can_fail(seen_by):
    rng = np.random.default_rng(2)
    fair = rng.integers(0, 2, 1 << 18, dtype=np.uint8)
    bad = DAMAGE[seen_by](fair, rng).astype(np.uint8)
    assert np.min(sp800_22.TESTS[seen_by](fair)) > 1e-3
    assert np.min(sp800_22.TESTS[seen_by](bad)) < 1e-6


def test_linear_complexity_sees_a_short_register():
    rng = np.random.default_rng(3)
    made = rng.integers(0, 2, 100, dtype=np.uint8).tolist()
    while len(made) < 50_000:
        made.append(made[-100] ^ made[-37] ^ made[-3] ^ made[-1])
    assert sp800_22.linear_complexity(np.array(made, dtype=np.uint8)) < 1e-12
    assert sp800_22.linear_complexity(rng.integers(0, 2, 50_000, dtype=np.uint8)) > 1e-3


def test_examples_of_sp_800_90b():
    """Sections 6.3.1, 6.3.2, 6.3.3 and 6.3.5, the last with a cut-off of 3."""
    assert sp800_90b.most_common(bits("01120122010110221021")) == pytest.approx(0.5363, abs=1e-4)
    assert sp800_90b.collision(bits(BINARY)) == pytest.approx(0.4483, abs=1e-4)
    assert sp800_90b.markov(bits(BINARY)) == pytest.approx(0.761, abs=5e-4)
    assert sp800_90b.t_tuple(bits("220102012120121001000"), 3) == pytest.approx(0.273, abs=5e-4)


def test_estimates_are_near_what_is_known():
    rng = np.random.default_rng(4)
    fair = rng.integers(0, 2, 1_000_000, dtype=np.uint8)
    least = {"most_common": 0.99, "markov": 0.99, "t_tuple": 0.9, "collision": 0.85}
    for name, bound in least.items():
        assert bound < getattr(sp800_90b, name)(fair) <= 1
    biased = (rng.random(1_000_000) < 0.7).astype(np.uint8)
    known = -np.log2(0.7)
    for estimate in (sp800_90b.most_common, sp800_90b.collision, sp800_90b.markov):
        assert estimate(biased) == pytest.approx(known, abs=0.02)
    # Sticky bits: the next one is the same with probability 0.8. Only what looks at the order sees it.
    sticky = np.cumsum(rng.random(1_000_000) < 0.2) % 2
    assert sp800_90b.markov(sticky) == pytest.approx(-np.log2(0.8), abs=0.01)
    assert sp800_90b.t_tuple(sticky) < 0.4 < 0.98 < sp800_90b.most_common(sticky)


@pytest.mark.parametrize("value", [0, 1])
def test_a_stuck_device_has_no_entropy(value):
    stuck = np.full(10_000, value, dtype=np.uint8)
    for estimate in (sp800_90b.most_common, sp800_90b.collision, sp800_90b.markov, sp800_90b.t_tuple):
        assert estimate(stuck) == 0


@pytest.mark.parametrize("length", [1_000, 20_001, 50_000])
@pytest.mark.parametrize("kind", ["fair", "biased", "sticky"])
def test_estimates_are_those_of_nists_own_program(kind, length):
    """The package sp800-90b wraps the C++ sources of NIST's entropy assessment. It is built from source, so
    it is installed by hand: docs/explanation/coins.md says how."""
    nist = pytest.importorskip("sp800_90b", reason="NIST's estimators are not installed")
    rng = np.random.default_rng(length)
    sequence = {
        "fair": rng.integers(0, 2, length),
        "biased": rng.random(length) < 0.7,
        "sticky": np.cumsum(rng.random(length) < 0.2) % 2,
    }[kind].astype(np.uint8)
    oracle = nist.Data(sequence.tobytes(), bits_per_symbol=1)
    assert sp800_90b.most_common(sequence) == pytest.approx(oracle.h_most_common(), abs=1e-9)
    assert sp800_90b.collision(sequence) == pytest.approx(oracle.h_collision(), abs=1e-9)
    assert sp800_90b.markov(sequence) == pytest.approx(oracle.h_markov(), abs=1e-9)
    assert sp800_90b.t_tuple(sequence) == pytest.approx(oracle.h_t_tuple_and_lrs()[0], abs=1e-9)
