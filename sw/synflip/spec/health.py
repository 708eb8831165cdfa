"""Cut-offs of the health tests that watch raw random bits: NIST SP 800-90B, section 4.4.

Both tests fail a source that gives less than ``entropy`` bits of min-entropy a bit; a source that gives as
much fails by chance with at most ``alarm``: a bit (repetition), a window (proportion).
"""

import math
from math import comb

from synflip.errors import SynflipError

WINDOW = 1024  # bits of the adaptive proportion test, of a binary source
ALARM = 2.0**-30


def repetition_cutoff(entropy: float, alarm: float = ALARM) -> int:
    """Equal bits in a row with which a junction fails: 1 + ceil(-log2(alarm) / entropy) (section 4.4.1)."""
    _check(entropy, alarm)
    return 1 + math.ceil(-math.log2(alarm) / entropy)


def proportion_cutoff(entropy: float, alarm: float = ALARM) -> int:
    """Bits of a window that equal its first, with which a junction fails (section 4.4.2).

    1 + critbinom(WINDOW, 2**-entropy, 1 - alarm): one more than the smallest c for which a binomial count of
    WINDOW trials is at most c with probability 1 - alarm or more. Above WINDOW if no window can tell: the
    test then never fails.
    """
    _check(entropy, alarm)
    p = 2.0**-entropy
    above = 0.0  # probability of more than c
    for c in range(WINDOW, -1, -1):
        here = math.exp(_log_comb(WINDOW, c) + c * math.log(p) + (WINDOW - c) * math.log1p(-p))
        if above + here > alarm:
            return 1 + c
        above += here
    return 1


def _log_comb(n: int, k: int) -> float:
    return math.log(comb(n, k))


def _check(entropy: float, alarm: float) -> None:
    if not 0 < entropy <= 1:
        raise SynflipError(f"the min-entropy of a bit must be above 0 and at most 1, not {entropy}")
    if not 0 < alarm < 1:
        raise SynflipError(f"the false alarm rate must be between 0 and 1, not {alarm}")
