"""Soft votes: what a network sample could add up in place of one vote, in integers, without a multiplier.

A study, not the contract: docs/explanation/uncertainty.md proposes the wording. Of the logits z of a network
sample, with the largest one m, class c is d = m - z behind. A table of exponentials gives

    e = exponential[min((d + half) >> shift, length - 1)]        half = 2^(shift - 1), or 0 if shift = 0

about 2^F exp(-d / scale). Added up as they are, a sample that is not sure counts more than one that is: its e
add up to more. So a second table gives, for their sum Z, how far behind a class with the share 2^F / Z is,

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
    """Both tables. shift: of differences. fraction: F, bits of the largest soft vote. precision: P, bits of
    Z / 2^F behind the point. exponential: int64, its last entry 0. logarithm: int64.
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
        """For logits of this scale. entries: of the exponentials; their step is the smallest power of two
        with which they reach down to half a unit of 2^-F. Raises SynflipError.
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
        """Of memory that both tables take."""
        return memory(self.exponential) + memory(self.logarithm)

    def plain(self, logits: NDArray[np.integer]) -> NDArray[np.int64]:
        """Exponentials [..., C] of logits [..., C], as they are: not shares, but against the winner."""
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
    """Shares [N, C] of sums [N, C] of soft votes over samples, smoothed as bare votes are, by half a unit of
    the table for each class: no class has none. On the host."""
    smoothed = soft + 0.5
    shares: NDArray[np.float64] = smoothed / smoothed.sum(-1, keepdims=True)
    return shares


def _behind(logits: NDArray[np.integer]) -> NDArray[np.int64]:
    wide = logits.astype(np.int64)
    return wide.max(-1, keepdims=True) - wide
