"""Soft votes: integers that a network sample adds to the classes beside one vote, without a multiplier.

If z is a class's logit in a network sample and m the sample's largest, the class is d = m - z behind. A table
of exponentials gives

    e = exponential[min((d + half) >> shift, length - 1)]        half = 2^(shift - 1), or 0 if shift = 0

about 2^F exp(-d / scale). If these were added up as they are, an unsure sample would count more than a sure
one, because its e have a larger sum Z. So a second table gives the distance by which all classes of the
sample are put farther behind,

    l = logarithm[min(Z >> (F - P), length - 1)]

about scale ln(Z / 2^F), and the soft vote of the class is the first table once more, at d + l: about 2^F
times the softmax. The sum over samples of soft votes is about S 2^F times the mean softmax.

m + l is about scale times the logarithm of the sum of exponentials of the logits / scale, so its sum over
samples gives the energy.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.spec.sizes import MAX_SHIFT, SOFT_DISTANCE_BITS

MAX_FRACTION = 16
MAX_ENTRIES = 1 << 16  # of each table


@dataclass(frozen=True, eq=False)
class SoftTable:
    """Both tables, E and L of the contract.

    shift: t, by which differences are shifted to an index of ``exponential``. fraction: F; the largest soft
    vote is 2^F. precision: P, bits of Z / 2^F behind the point that index ``logarithm``. exponential: E,
    int64, its last entry 0. logarithm: L, int64.

    Raises SynflipError for tables that the contract does not have.
    """

    shift: int
    fraction: int
    precision: int
    exponential: NDArray[np.int64]
    logarithm: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not 1 <= self.fraction <= MAX_FRACTION or not 0 <= self.precision <= self.fraction:
            raise SynflipError(
                f"fraction {self.fraction}, precision {self.precision} of soft votes: the fraction is "
                f"1..{MAX_FRACTION}, precision at most that"
            )
        if not 0 <= self.shift <= MAX_SHIFT:
            raise SynflipError(f"shift {self.shift} of soft votes is not in 0..{MAX_SHIFT}")
        for name, least, most in (
            ("exponential", 2, 1 << self.fraction),
            ("logarithm", 1, (1 << SOFT_DISTANCE_BITS) - 1),
        ):
            table = np.asarray(getattr(self, name))
            if table.ndim != 1 or table.dtype.kind not in "iu" or not least <= len(table) <= MAX_ENTRIES:
                raise SynflipError(
                    f"the table {name} of soft votes is {table.dtype} {list(table.shape)}, not a list of "
                    f"{least}..{MAX_ENTRIES} integers"
                )
            if table.min() < 0 or table.max() > most:
                raise SynflipError(
                    f"the table {name} of soft votes has {int(table.min())}..{int(table.max())}, which is "
                    f"not in 0..{most}"
                )
            object.__setattr__(self, name, table.astype(np.int64))
        if self.exponential[-1]:
            raise SynflipError("the last entry of the table exponential of soft votes is not 0")

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
        if entries < 2:
            raise SynflipError(f"entries {entries} of soft votes: there are at least 2")
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
        return self.counts(logits)[0]

    def counts(self, logits: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What network samples of logits [..., C] add: soft votes [..., C], in 0..2^F, and energies [...],
        -(m + l)."""
        behind = _behind(logits)
        total = self._look_up(behind).sum(-1)
        place = np.minimum(total >> (self.fraction - self.precision), len(self.logarithm) - 1)
        farther = self.logarithm[place]
        energies = -(logits.max(-1).astype(np.int64) + farther)
        return self._look_up(behind + farther[..., None]), energies

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
