"""Cut-offs of the health tests against SP 800-90B's formulas, computed by other means."""

import math
from fractions import Fraction

import pytest
from scipy.stats import binom
from synflip.errors import SynflipError
from synflip.spec.health import WINDOW, proportion_cutoff, repetition_cutoff

ENTROPIES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


@pytest.mark.parametrize("entropy", ENTROPIES)
@pytest.mark.parametrize("alarm", [2.0**-20, 2.0**-30, 2.0**-40])
def test_cutoffs_are_the_standard_s(entropy, alarm):
    # The standard's formula for the repetition count; and its meaning: a run that long is as rare as that.
    runs = repetition_cutoff(entropy, alarm)
    assert runs == 1 + math.ceil(-math.log2(alarm) / entropy)
    assert 2.0 ** (-entropy * (runs - 1)) <= alarm * (1 + 1e-9)
    # CRITBINOM is the quantile function; the survival function is accurate where 1 - alarm rounds.
    cutoff = proportion_cutoff(entropy, alarm)
    p = 2.0**-entropy
    assert binom.sf(cutoff - 1, WINDOW, p) <= alarm < binom.sf(cutoff - 2, WINDOW, p)


def test_proportion_of_fair_bits_in_exact_arithmetic():
    tail, c = Fraction(0), WINDOW
    while True:
        tail += Fraction(math.comb(WINDOW, c), 2**WINDOW)
        if tail > Fraction(1, 2**30):
            break
        c -= 1
    assert proportion_cutoff(1.0, 2.0**-30) == 1 + c


def test_what_makes_no_sense():
    for entropy in (0.0, -1.0, 1.5, math.nan):
        with pytest.raises(SynflipError, match="min-entropy"):
            repetition_cutoff(entropy)
    for alarm in (0.0, 1.0):
        with pytest.raises(SynflipError, match="false alarm"):
            proportion_cutoff(0.5, alarm)
