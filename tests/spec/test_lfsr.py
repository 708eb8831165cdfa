"""LFSR113, its seeding and its jumps, against published numbers and against plain stepping."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synflip.spec import lfsr

from tests.golden import reference

SEEDS = (0, 1, 12345, 2**32, 2**63, 2**64 - 1)

#: The 1,000,000th output with every component seeded 12345. In the tests of cmcqueen/simplerandom on GitHub
#: (c/lecuyer/test.c, beside L'Ecuyer's lfsr113.c, by C. McQueen) and of librandom (C. G. Wrench).
MILLIONTH = 1205173390

#: L'Ecuyer 1999: LFSR113 combines components of 31, 29, 28 and 25 bits, each of full period.
PERIODS = tuple(2**degree - 1 for degree in (31, 29, 28, 25))
#: The prime factors of those periods (2**31 - 1 is prime itself, its only other divisor is 1).
PRIMES = ((2**31 - 1,), (233, 1103, 2089), (3, 5, 29, 43, 113, 127), (31, 601, 1801))


def test_published_millionth_output() -> None:
    state = (12345,) * 4
    for _ in range(1_000_000):
        state = lfsr.step(state)
    assert lfsr.output(state) == MILLIONTH


def test_published_millionth_output_by_one_jump() -> None:
    assert lfsr.output(lfsr.jump((12345,) * 4, 1_000_000)) == MILLIONTH


def test_the_reference_gives_the_published_output_too() -> None:
    assert next(islice(reference.outputs_from((12345,) * 4), 999_999, None)) == MILLIONTH


@pytest.mark.parametrize(
    ("seed", "first", "second"),
    [
        # Vigna's splitmix64.c with state 0: the first two words of the state that most xoshiro256** libraries
        # print for seed 0 (the generator's own recommended seeding).
        (0, 0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4),
        # Rosetta Code, "Pseudo-random numbers/Splitmix64": "first five integers using the seed 1234567".
        (1234567, 6457827717110365317, 3203168211198807973),
    ],
)
def test_published_splitmix64_outputs(seed: int, first: int, second: int) -> None:
    assert lfsr.splitmix64(seed) == (first, second)
    assert reference.splitmix64(seed, 2) == [first, second]


def test_seed_zero_by_hand() -> None:
    """The published words of seed 0, cut into halves, low half first; none is small enough to be raised."""
    expected = (0x7B1DCDAF, 0xE220A839, 0xA1B965F4, 0x6E789E6A)
    assert lfsr.seed_state(0) == expected
    assert reference.lfsr_seed(0) == expected


def unmix(output: int) -> int:
    """SplitMix64's state (already advanced) that gives this output: its mixing function backwards."""

    def unshift(z: int, shift: int) -> int:
        # z ^ (z >> shift), undone from the top: every round recovers ``shift`` more bits.
        original = z
        for _ in range(64 // shift + 1):
            original = z ^ (original >> shift)
        return original

    z = unshift(output, 31) * pow(0x94D049BB133111EB, -1, 2**64) % 2**64
    z = unshift(z, 27) * pow(0xBF58476D1CE4E5B9, -1, 2**64) % 2**64
    return unshift(z, 30)


def seed_for(output: int, number: int) -> int:
    """The seed with which SplitMix64's output number 1 or 2 is ``output``."""
    return (unmix(output) - number * 0x9E3779B97F4A7C15) % 2**64


@pytest.mark.parametrize(
    ("number", "low", "high", "expected_low", "expected_high"),
    [
        (1, 0, 0, 2, 8),
        (1, 1, 7, 3, 15),
        (1, 2, 8, 2, 8),
        (1, 1, 8, 3, 8),
        (1, 2, 7, 2, 15),
        (1, 0xFFFFFFFF, 0, 0xFFFFFFFF, 8),
        (2, 0, 0, 16, 128),
        (2, 15, 127, 31, 255),
        (2, 16, 128, 16, 128),
        (2, 15, 128, 31, 128),
        (2, 16, 127, 16, 255),
        (2, 0, 0xFFFFFFFF, 16, 0xFFFFFFFF),
    ],
)
def test_small_components_are_raised(
    number: int, low: int, high: int, expected_low: int, expected_high: int
) -> None:
    """A component below 2, 8, 16, 128 could be stuck at zero; it is raised by as much."""
    seed = seed_for(low | high << 32, number)
    for seeding in (lfsr.seed_state, reference.lfsr_seed):
        state = seeding(seed)
        assert state[2 * number - 2 : 2 * number] == (expected_low, expected_high)


@given(st.integers(0, 2**64 - 1))
def test_seeding_equals_the_reference(seed: int) -> None:
    assert lfsr.seed_state(seed) == reference.lfsr_seed(seed)


@pytest.mark.parametrize("seed", [-1, 2**64, -(2**63)])
def test_seeds_beyond_64_bits_are_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=str(seed)):
        lfsr.seed_state(seed)


@given(st.tuples(*(st.integers(0, 2**32 - 1) for _ in range(4))))
def test_step_equals_the_reference(state: tuple[int, int, int, int]) -> None:
    assert lfsr.step(state) == reference.lfsr_step(state)


@pytest.mark.parametrize("steps", [*range(20), 31, 32, 33, 63, 64, 65, 1000, 1808])
@pytest.mark.parametrize("seed", [0, 2**64 - 1])
def test_a_jump_is_that_many_steps(seed: int, steps: int) -> None:
    state = reference.lfsr_seed(seed)
    for _ in range(steps):
        state = reference.lfsr_step(state)
    assert lfsr.jump(reference.lfsr_seed(seed), steps) == state


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**100), st.integers(0, 2**100))
@settings(max_examples=30, deadline=None)
def test_jumps_add_up(seed: int, first: int, second: int) -> None:
    state = lfsr.seed_state(seed)
    assert lfsr.jump(lfsr.jump(state, first), second) == lfsr.jump(state, first + second)


@pytest.mark.parametrize("index", range(4))
def test_a_component_returns_after_its_published_period(index: int) -> None:
    """And not before: no divisor of the period will do."""
    start = lfsr.step(lfsr.seed_state(7))[index]  # after a step the state's unused low bits are settled
    assert lfsr.apply(lfsr.power(index, PERIODS[index]), start) == start
    for prime in PRIMES[index]:
        assert PERIODS[index] % prime == 0
        assert lfsr.apply(lfsr.power(index, PERIODS[index] // prime), start) != start


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("first", "count"), [(0, 1), (0, 2), (0, 100), (1, 33), (7, 64), (63, 65), (1000, 257)]
)
def test_keys_equal_the_reference(seed: int, first: int, count: int) -> None:
    expected = list(islice(reference.keys_from(reference.lfsr_seed(seed)), first, first + count))
    keys = lfsr.keys(seed, first, count)
    assert keys.dtype == np.uint64
    assert keys.tolist() == expected


def test_key_by_number() -> None:
    assert [reference.key(5, n) for n in range(6)] == lfsr.keys(5, 0, 6).tolist()


@pytest.mark.parametrize("first", [2**20 + 3, 2**31 - 1, 2**32, 2**40 + 12345, 1808 * 2**24 - 1, 2**63])
def test_keys_far_away_equal_steps_from_there(first: int) -> None:
    """Two shorter jumps lead near the place; the reference walks from there, key by key."""
    seed = 99
    part = 2 * first // 3
    near = lfsr.jump(lfsr.jump(lfsr.seed_state(seed), part), 2 * first - part)
    assert lfsr.keys(seed, first, 50).tolist() == list(islice(reference.keys_from(near), 50))


@pytest.mark.parametrize("first", [0, 1, 17])
def test_keys_come_back_after_the_whole_period(first: int) -> None:
    """A jump of about 2**114 steps, judged by the published periods alone."""
    period = PERIODS[0] * PERIODS[1] * PERIODS[2] * PERIODS[3]
    expected = list(islice(reference.keys_from(reference.lfsr_seed(3)), first, first + 9))
    assert lfsr.keys(3, period + first, 9).tolist() == expected
    # One component's period alone is not the generator's.
    assert lfsr.keys(3, PERIODS[0] + first, 9).tolist() != expected


def test_no_keys() -> None:
    assert lfsr.keys(0, 5, 0).shape == (0,)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**40), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_keys_in_two_pieces_are_the_keys_in_one(seed: int, first: int, left: int, right: int) -> None:
    """Samples may be sharded: a key does not depend on where its batch began."""
    whole = lfsr.keys(seed, first, left + right).tolist()
    assert lfsr.keys(seed, first, left).tolist() + lfsr.keys(seed, first + left, right).tolist() == whole


@pytest.mark.parametrize("banks", [1, 2, 4, 8])
def test_rows_of_the_hardware_s_step_stay_sparse(banks: int) -> None:
    """Section 1: with Q banks the step is M^(2Q); 8 inputs to a state bit at most, so about one LUT."""
    fan_in = []
    for index in range(4):
        columns = lfsr.power(index, 2 * banks)
        fan_in += [sum(column >> bit & 1 for column in columns) for bit in range(32)]
    assert max(fan_in) <= 8
