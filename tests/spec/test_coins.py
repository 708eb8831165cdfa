"""Thresholds, probability words, taps and words."""

import random
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synflip.spec import coins
from synflip.spec.sizes import MAX_OUTPUTS

from tests.golden import reference

BITS = range(1, 17)
WORDS = 1024  # of one key: outputs of the largest layer that the contract allows


def every_q(bits: int) -> np.ndarray:
    return np.arange(1 << bits, dtype=np.uint16)


@pytest.mark.parametrize("bits", BITS)
def test_threshold_of_every_probability_word(bits: int) -> None:
    """T(q) = q + floor(q / 2**(k-1)), in Python's own integers."""
    assert coins.threshold(every_q(bits), bits).tolist() == [q + q // 2 ** (bits - 1) for q in range(2**bits)]


@pytest.mark.parametrize("bits", BITS)
def test_thresholds_reach_never_and_always_but_not_half(bits: int) -> None:
    """T takes every value of 0..2**k once, 2**(k-1) excepted: never and always are exact."""
    reached = coins.threshold(every_q(bits), bits).tolist()
    assert reached == [value for value in range(2**bits + 1) if value != 2 ** (bits - 1)]


@pytest.mark.parametrize("bits", BITS)
def test_reference_threshold_agrees(bits: int) -> None:
    expected = [reference.threshold(q, bits) for q in range(2**bits)]
    assert coins.threshold(every_q(bits), bits).tolist() == expected


@pytest.mark.parametrize("bits", range(1, 9))
def test_probability_of_heads_is_exactly_t(bits: int) -> None:
    """Of the 2**k words, T are heads."""
    for q in range(2**bits):
        level = reference.threshold(q, bits)
        assert sum(u < level for u in range(2**bits)) == level


def nearest_words(probability: Fraction, bits: int) -> set[int]:
    """Every q whose T(q) / 2**k is as near to ``probability`` as can be."""
    distance = {q: abs(Fraction(reference.threshold(q, bits), 2**bits) - probability) for q in range(2**bits)}
    least = min(distance.values())
    return {q for q, d in distance.items() if d == least}


@pytest.mark.parametrize("bits", range(1, 8))
def test_probability_word_is_the_nearest(bits: int) -> None:
    """A grid much finer than the words', so that the gap at one half is met from both sides."""
    steps = 16 * 2**bits
    words = coins.probability_word(np.arange(steps + 1) / steps, bits)
    assert words.dtype == np.uint16
    for number, q in enumerate(words.tolist()):
        assert q in nearest_words(Fraction(number, steps), bits), f"p = {number}/{steps}, k = {bits}"


@pytest.mark.parametrize("bits", BITS)
def test_probability_word_of_what_can_be_written_is_exact(bits: int) -> None:
    q = every_q(bits)
    assert (coins.probability_word(coins.threshold(q, bits) / 2**bits, bits) == q).all()


@pytest.mark.parametrize("bits", BITS)
def test_probability_word_near_one_half(bits: int) -> None:
    """One half itself becomes the next smaller T; what lies above it the next larger one."""
    half = 2 ** (bits - 1)
    p = np.array([0.5 - 0.4 / 2**bits, 0.5, 0.5 + 0.4 / 2**bits])
    assert coins.threshold(coins.probability_word(p, bits), bits).tolist() == [half - 1, half - 1, half + 1]


@pytest.mark.parametrize("bits", range(1, 8))
def test_widened_word_decides_every_coin_alike(bits: int) -> None:
    """Every q, every wider k up to 10, every wide random word: its top bits decide as before."""
    for wide in range(bits, 11):
        u = np.arange(1 << wide)
        before = (u >> (wide - bits))[None, :] < coins.threshold(every_q(bits), bits)[:, None]
        q = coins.widen(every_q(bits), bits, wide)
        assert int(q.max()) < 1 << wide
        assert (before == (u[None, :] < coins.threshold(q, wide)[:, None])).all()


@pytest.mark.parametrize("bits", BITS)
def test_widened_threshold_is_the_threshold_shifted(bits: int) -> None:
    """What the exhaustive test shows for few bits, as a number for all: T times 2**(wide-k)."""
    for wide in range(bits, 17):
        q = coins.widen(every_q(bits), bits, wide)
        assert q.dtype == np.uint16
        expected = [reference.threshold(value, bits) * 2 ** (wide - bits) for value in range(2**bits)]
        assert coins.threshold(q, wide).tolist() == expected


@pytest.mark.parametrize(("bits", "wide"), [(4, 3), (16, 17), (1, 0)])
def test_widening_beyond_reason_is_refused(bits: int, wide: int) -> None:
    with pytest.raises(ValueError, match=f"{bits} bits to {wide}"):
        coins.widen([0], bits, wide)


def test_taps_are_three_different_key_bits() -> None:
    assert len(coins.TAPS) == coins.TAP_LANES == 16
    for lane in coins.TAPS:
        assert len(lane) == 16
        for taps in lane:
            assert len(set(taps)) == 3
            assert all(0 <= tap < 64 for tap in taps)


def test_a_tile_only_rotates_the_key() -> None:
    for output in range(WORDS):
        for bit in range(16):
            taps = [(tap + output // 16) % 64 for tap in reference.TAPS[output % 16][bit]]
            assert list(coins.word_taps(output, bit)) == taps


def functionals(output: int) -> list[int]:
    """The 16 linear functionals of a key that make one output's word: masks of three of its bits."""
    return [sum(1 << tap for tap in coins.word_taps(output, bit)) for bit in range(16)]


def rotated(masks: list[int], turn: int) -> list[int]:
    return [(mask << turn | mask >> (64 - turn)) & (2**64 - 1) for mask in masks]


def rank(masks: list[int], basis: dict[int, int] | None = None) -> int:
    """Rank over GF(2). ``basis`` maps the leading bit of vectors known to be independent to the vector."""
    basis = dict(basis or {})
    for mask in masks:
        while mask:
            pivot = basis.get(mask.bit_length())
            if pivot is None:
                basis[mask.bit_length()] = mask
                break
            mask ^= pivot
    return len(basis)


def basis_of(masks: list[int]) -> dict[int, int]:
    basis: dict[int, int] = {}
    for mask in masks:
        while mask and mask.bit_length() in basis:
            mask ^= basis[mask.bit_length()]
        if mask:
            basis[mask.bit_length()] = mask
    return basis


def test_rank_by_hand() -> None:
    assert rank([0b110, 0b011, 0b101]) == 2  # the third is the sum of the others
    assert rank([0b100, 0b110, 0b111]) == 3
    assert rank([0, 1, 1]) == 1


def test_any_two_words_of_a_key_are_jointly_uniform() -> None:
    """All 523,776 pairs. Rotating the key moves both words of a pair alike and keeps the rank (and that tiles
    rotate is tested above), so a pair counts by its lanes and the distance of its tiles alone."""
    lanes = [functionals(lane) for lane in range(16)]
    pairs = 0
    for first in range(16):
        basis = basis_of(lanes[first])
        assert len(basis) == 16
        for second in range(16):
            for distance in range(64):
                if (second, distance) == (first, 0):
                    continue
                independent = rank(rotated(lanes[second], distance), basis)
                assert independent == 32, f"outputs {first} and {second + 16 * distance}: rank {independent}"
                # Tiles t and t + distance (mod 64): 64 ordered pairs, each seen from both ends.
                pairs += 64
    assert pairs // 2 == WORDS * (WORDS - 1) // 2


def test_sampled_pairs_are_jointly_uniform_as_written() -> None:
    """The same without the argument about rotation: random pairs, and the structured ones."""
    draw = random.Random(1)
    chosen = {tuple(sorted(draw.sample(range(WORDS), 2))) for _ in range(2000)}
    chosen |= set(combinations(range(16), 2))  # one lane group
    chosen |= set(combinations(range(WORDS - 16, WORDS), 2))
    chosen |= {(0, 16 * tile) for tile in range(1, 64)}  # one lane, every tile
    chosen |= {(15, 16), (0, WORDS - 1), (511, 512), (7, 8)}
    for first, second in chosen:
        assert rank(functionals(first) + functionals(second)) == 32, f"outputs {first} and {second}"


def word_by_taps(key: int, output: int, bits: int) -> int:
    """A word out of ``word_taps``, as a user of that function would make it."""
    value = 0
    for bit in range(bits):
        a, b, c = coins.word_taps(output, bit)
        value = value << 1 | (key >> a ^ key >> b ^ key >> c) & 1
    return value


@pytest.mark.parametrize("word", [reference.word, word_by_taps])
@pytest.mark.parametrize(
    ("key_bits", "output", "bits", "expected"),
    [
        # The first four taps of lane 0, most significant first, are (11, 15, 16), (1, 5, 63), (10, 43, 56),
        # (6, 33, 43): bit 11 alone makes 1000, bit 43 alone 0011, both of (11, 15) cancel.
        ({11}, 0, 4, 0b1000),
        ({43}, 0, 4, 0b0011),
        ({11, 43}, 0, 4, 0b1011),
        ({11, 15, 43}, 0, 4, 0b0011),
        ({11, 15, 16, 43}, 0, 4, 0b1011),
        ({11, 43}, 0, 3, 0b101),
        ({11, 43}, 0, 1, 1),
        # Output 16 is lane 0, one tile on: (12, 16, 17), (2, 6, 0), (11, 44, 57), (7, 34, 44).
        ({11, 43}, 16, 4, 0b0010),
        ({0}, 16, 4, 0b0100),
        # Output 1008 is lane 0, 63 tiles on, so one back: (10, 14, 15), (0, 4, 62), (9, 42, 55), (5, 32, 42).
        ({10, 42}, 1008, 4, 0b1011),
        # Lane 1 begins (8, 21, 40), (37, 41, 56), (14, 20, 21).
        ({8, 20, 41}, 1, 3, 0b111),
        ({21}, 1, 3, 0b101),
    ],
)
def test_words_by_hand(word, key_bits: set[int], output: int, bits: int, expected: int) -> None:
    assert word(sum(1 << bit for bit in key_bits), output, bits) == expected


KEYS = st.integers(0, 2**64 - 1)


@given(KEYS, st.integers(0, MAX_OUTPUTS - 1), st.integers(1, 16))
@settings(max_examples=200, deadline=None)
def test_fewer_bits_are_a_prefix(key: int, output: int, bits: int) -> None:
    whole = word_by_taps(key, output, 16)
    assert word_by_taps(key, output, bits) == whole >> (16 - bits)
    assert reference.word(key, output, bits) == whole >> (16 - bits)


@given(KEYS, st.integers(0, MAX_OUTPUTS - 1), st.integers(1, 16), st.data())
@settings(max_examples=200, deadline=None)
def test_a_coin_keeps_its_face_when_its_word_is_widened(key: int, output: int, bits: int, data) -> None:
    q = data.draw(st.integers(0, 2**bits - 1))
    wide = data.draw(st.integers(bits, 16))
    widened = int(coins.widen(q, bits, wide))
    assert reference.coin(key, output, widened, wide) == reference.coin(key, output, q, bits)


@pytest.mark.parametrize("bits", BITS)
def test_never_is_never_and_always_is_always(bits: int) -> None:
    draw = random.Random(bits)
    for _ in range(64):
        key, output = draw.getrandbits(64), draw.randrange(WORDS)
        assert reference.coin(key, output, 0, bits) == 0
        assert reference.coin(key, output, 2**bits - 1, bits) == 1


@pytest.mark.parametrize(
    ("z", "r", "a", "expected"),
    [
        # By hand: (z + round) >> r, clamped to 0..2**A - 1.
        (5, 0, 8, 5),
        (-5, 0, 8, 0),
        (300, 0, 8, 255),
        (5, 1, 8, 3),  # (5 + 1) >> 1
        (4, 1, 8, 2),
        (7, 2, 8, 2),  # (7 + 2) >> 2
        (5, 2, 8, 1),
        (6, 2, 8, 2),
        (-1, 1, 8, 0),  # (-1 + 1) >> 1
        (-(2**31), 8, 8, 0),
        (2**30, 31, 8, 1),
        (2**30 - 1, 31, 8, 0),
        (16, 1, 3, 7),
        (1, 0, 1, 1),
        (9, 0, 1, 1),
    ],
)
def test_reference_hidden_layer_by_hand(z: int, r: int, a: int, expected: int) -> None:
    assert reference.hidden(z, r, a) == expected
