"""Soft votes: integers that a network sample adds to the classes in place of one vote, without a multiplier.

A study: the contract has plain votes. If z is a class's logit in a network sample and m the sample's largest,
the class is d = m - z behind. A table of exponentials gives

    e = exponential[min((d + half) >> shift, length - 1)]        half = 2^(shift - 1), or 0 if shift = 0

about 2^F exp(-d / scale). If these were added up as they are, an unsure sample would count more than a sure
one, because its e have a larger sum Z. So a second table gives the distance by which all classes of the
sample are put farther behind,

    l = logarithm[min(Z >> (F - P), length - 1)]

about scale ln(Z / 2^F), and the soft vote of the class is the first table once more, at d + l: about 2^F
times the softmax. The sum over samples of soft votes is about S 2^F times the mean softmax.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError

MAX_SHIFT = 31
MAX_FRACTION = 16


@dataclass(frozen=True, eq=False)
class SoftTable:
    """Both tables.

    shift: by which differences are shifted to an index of ``exponential``. fraction: F; the largest soft vote
    is 2^F. precision: P, bits of Z / 2^F behind the point that index ``logarithm``. exponential: int64, its
    last entry 0. logarithm: int64.
    """

    shift: int
    fraction: int
    precision: int
    exponential: NDArray[np.int64]
    logarithm: NDArray[np.int64]

    @classmethod
    def of(
        cls, scale: float, classes: int, fraction: int = 8, entries: int = 64, precision: int = 4
    ) -> "SoftTable":
        """Tables for logits of a scale, the divisor of the logits in a softmax.

        entries: of the table of exponentials. Its step is the smallest power of two with which its last
        entries round to 0. Raises SynflipError.
        """
        if not scale > 0 or classes < 1:
            raise SynflipError(f"no tables for a scale of {scale} and {classes} classes")
        if not 1 <= fraction <= MAX_FRACTION or not 0 <= precision <= fraction or entries < 2:
            raise SynflipError(
                f"fraction {fraction}, precision {precision}, entries {entries}: the fraction is "
                f"1..{MAX_FRACTION}, precision at most that, and there are at least 2 entries"
            )
        reach = scale * (fraction + 1) * math.log(2)  # where an exponential rounds to 0
        shift = max(math.ceil(math.log2(reach / (entries - 1))), 0)
        if shift > MAX_SHIFT:
            raise SynflipError(f"logits of scale {scale:g} differ by more than integers of 32 bits do")
        steps = np.arange(entries) * (1 << shift) / scale
        exponential = np.rint(np.exp(-steps) * (1 << fraction)).astype(np.int64)
        exponential[-1] = 0
        sums = np.arange((classes << precision) + 1)
        middle = np.maximum((sums + 0.5) / (1 << precision), 1.0)
        return cls(shift, fraction, precision, exponential, np.rint(scale * np.log(middle)).astype(np.int64))

    @property
    def bits(self) -> int:
        """Bits of memory that both tables take."""
        return memory(self.exponential) + memory(self.logarithm)

    def plain(self, logits: NDArray[np.integer]) -> NDArray[np.int64]:
        """The exponentials e [..., C] of logits [..., C]: 2^F for the winner, by the first table alone."""
        return self._look_up(_behind(logits))

    def votes(self, logits: NDArray[np.integer]) -> NDArray[np.int64]:
        """Soft votes [..., C] of logits [..., C], in 0..2^F."""
        behind = _behind(logits)
        total = self._look_up(behind).sum(-1)
        place = np.minimum(total >> (self.fraction - self.precision), len(self.logarithm) - 1)
        return self._look_up(behind + self.logarithm[place][..., None])

    def _look_up(self, behind: NDArray[np.int64]) -> NDArray[np.int64]:
        place = (behind + ((1 << self.shift) >> 1)) >> self.shift
        return self.exponential[np.minimum(place, len(self.exponential) - 1)]


def memory(table: NDArray[np.int64]) -> int:
    """Bits that a table takes: all of its words as wide as the widest."""
    return len(table) * int(table.max()).bit_length()


def posterior(soft: NDArray[np.integer]) -> NDArray[np.float64]:
    """Shares [N, C] of soft votes summed over samples, [N, C]; computed on the host.

    Half a unit is added to each class, as ``vote`` smooths plain votes, so that no share is 0.
    """
    smoothed = soft + 0.5
    shares: NDArray[np.float64] = smoothed / smoothed.sum(-1, keepdims=True)
    return shares


def _behind(logits: NDArray[np.integer]) -> NDArray[np.int64]:
    wide = logits.astype(np.int64)
    return wide.max(-1, keepdims=True) - wide
