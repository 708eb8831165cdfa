"""A model of magnetic tunnel junctions as raw random bits, for simulation.

A junction is reset, gets a current pulse, and has switched (1) or not (0). Over a barrier of height
Delta = E / kT a pulse of t = duration / attempt time and of i = current / critical current switches it with

    P = 1 - exp(-t exp(-Delta (1 - i)))

(thermally activated spin-torque switching: Koch, Katine, Sun, PRL 92, 088302, 2004; Li, Zhang, PRB 69,
134416, 2004; as a source of random bits: Fukushima et al., Spin dice, Appl. Phys. Express 7, 083001, 2014).
Delta goes with 1 / T, so that temperature moves P; so does a current that drifts. A junction that is read
while it flips by itself (superparamagnetic: Borders et al., Nature 573, 390, 2019) is a telegraph signal:
bits read a time d apart correlate with exp(-d (1/tau0 + 1/tau1)), which here is ``correlation``.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError

BLOCK = 1024  # bits that are made at once, between two steps of the drift
ROOM_TEMPERATURE = 300.0  # kelvin, at which a balanced current gives P = 0.5


def switching_probability(
    current: NDArray[np.floating] | float,
    barrier: float,
    pulse: float,
    temperature: NDArray[np.floating] | float = ROOM_TEMPERATURE,
) -> NDArray[np.float64]:
    """P of the formula above. current: i. barrier: Delta at 300 K. pulse: t. temperature: kelvin."""
    height = barrier * ROOM_TEMPERATURE / np.asarray(temperature) * (1 - np.asarray(current))
    return -np.expm1(-pulse * np.exp(-height))


def balanced_current(barrier: float, pulse: float) -> float:
    """Current i with which P is 0.5 at 300 K: the formula, solved for i."""
    return 1 - np.log(pulse / np.log(2)) / barrier


@dataclass
class JunctionModel:
    """A stream of raw bits of ``count`` junctions, which goes on from call to call; a seed fixes it.

    barrier: Delta at 300 K. pulse: t. mismatch: standard deviation of the junctions' currents, as a share of
    the balanced current. drift: standard deviation, as a share, by which a junction's current wanders with a
    memory of ``drift_bits`` bits. temperature: kelvin; a change takes effect with the next block.
    correlation: of a bit with the next, from 0 to below 1. stuck: junction -> (number of a bit, value): from
    that bit on the junction gives only this value. dying: junction -> (number of a bit, time constant in
    bits): from that bit on the junction's current decays exponentially, and with it the share of ones.
    """

    count: int
    seed: int
    barrier: float = 40.0
    pulse: float = 10.0
    mismatch: float = 0.0
    drift: float = 0.0
    drift_bits: float = 1e6
    temperature: float = ROOM_TEMPERATURE
    correlation: float = 0.0
    stuck: dict[int, tuple[int, int]] = field(default_factory=dict)
    dying: dict[int, tuple[int, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.count < 1:
            raise SynflipError(f"there must be at least one junction, not {self.count}")
        if self.seed < 0:
            raise SynflipError(f"the seed must not be negative; it is {self.seed}")
        for name in ("mismatch", "drift"):
            if not 0 <= getattr(self, name) < np.inf:
                raise SynflipError(f"{name} must be a share, 0 or more, not {getattr(self, name)}")
        for name in ("barrier", "pulse", "drift_bits", "temperature"):
            if not 0 < getattr(self, name) < np.inf:
                raise SynflipError(f"{name} must be a number above 0, not {getattr(self, name)}")
        if not 0 <= self.correlation < 1:
            raise SynflipError(f"the correlation must be at least 0 and below 1, not {self.correlation}")
        self._random = np.random.default_rng(self.seed)
        self._offset = self.mismatch * self._random.standard_normal(self.count)
        self._wander = self.drift * self._random.standard_normal(self.count)
        self._state = self._random.random(self.count) < 0.5
        self._made = 0
        self._left = np.zeros((0, self.count), np.uint8)

    @classmethod
    def parse(cls, count: int, text: str) -> "JunctionModel":
        """A model of ``count`` junctions from text such as ``seed=1,mismatch=0.01,correlation=0.05,stuck=3``.

        ``stuck=3`` makes junction 3 give 0 from the start, and may come again. Raises SynflipError.
        """
        values: dict[str, Any] = {"seed": 0, "stuck": {}}
        names = ("seed", "barrier", "pulse", "mismatch", "drift", "drift_bits", "temperature", "correlation")
        for setting in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = (part.strip() for part in setting.partition("="))
            try:
                if name == "stuck":
                    values["stuck"][int(value)] = (0, 0)
                elif name in names:
                    values[name] = int(value) if name == "seed" else float(value)
                else:
                    raise ValueError
            except ValueError:
                raise SynflipError(
                    f"{setting!r} is not NAME=NUMBER, with one of {', '.join(names)}, stuck"
                ) from None
        for device in values["stuck"]:
            if not 0 <= device < count:
                raise SynflipError(f"there is no junction {device} to be stuck: there are {count}")
        return cls(count, **values)

    def bits(self, count: int) -> NDArray[np.uint8]:
        """The next ``count`` bits of each junction: uint8 [count, junctions] of 0 and 1."""
        parts = [self._left]
        have = len(self._left)
        while have < count:
            parts.append(self._block())
            have += BLOCK
        ready = np.concatenate(parts)
        self._left = ready[count:]
        return ready[:count]

    @property
    def probability(self) -> NDArray[np.float64]:
        """Probability [junctions] of a 1 in the next block, without regard to stuck junctions."""
        return switching_probability(self._current(), self.barrier, self.pulse, self.temperature)

    def _current(self) -> NDArray[np.float64]:
        current = balanced_current(self.barrier, self.pulse) * (1 + self._offset + self._wander)
        for device, (start, constant) in self.dying.items():
            current[device] *= np.exp(-max(self._made - start, 0) / constant)
        return current

    def _block(self) -> NDArray[np.uint8]:
        """The next BLOCK bits of each junction; then the drift moves on."""
        fresh = self._random.random((BLOCK, self.count)) < self.probability
        # A bit is the one before with probability ``correlation``, else a fresh one: the index of the last
        # fresh bit at or before each place, -1 for the state that the block began with.
        renewed = self._random.random((BLOCK, self.count)) >= self.correlation
        place = np.maximum.accumulate(np.where(renewed, np.arange(BLOCK)[:, None], -1), axis=0)
        drawn = np.take_along_axis(fresh, np.maximum(place, 0), axis=0)
        bits = np.where(place >= 0, drawn, self._state)
        self._state = bits[-1].copy()
        for device, (start, value) in self.stuck.items():
            bits[max(start - self._made, 0) :, device] = value
        self._made += BLOCK
        keep = np.exp(-BLOCK / self.drift_bits)
        step = np.sqrt(1 - keep**2) * self.drift
        self._wander = keep * self._wander + step * self._random.standard_normal(self.count)
        return bits.astype(np.uint8)
