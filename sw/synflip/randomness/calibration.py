"""Calibration of tunnel junctions: statistics of each one's raw bits, and settings that suit them.

A junction is modelled as a Markov chain of first order: the next bit depends on the last one. That covers
bias and the telegraph noise of a free-running junction; CLAIM leaves room for drift. A capture is 16,384 bits
in a row; several captures are put end to end before anything is estimated.
"""

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from synflip.devices.mtj_source import SourceSettings, capture, prepare, require_junctions, used
from synflip.errors import SynflipError
from synflip.randomness import sp800_90b
from synflip.spec.health import proportion_cutoff, repetition_cutoff
from synflip.spec.memory_map import REGISTERS
from synflip.util.json_file import read_json
from synflip.util.outputs import write_text

if TYPE_CHECKING:
    from synflip.devices.accelerator import Accelerator

Z95 = 1.959963984540054
MOST_FOLD = (1 << REGISTERS["FOLD"].bits) - 1
CLAIM = 0.9  # share of the least measured min-entropy that the health tests are set to
MAX_BYTES = 1 << 20  # of a calibration's file
TARGET = 0.999  # min-entropy of a folded bit
LEAST_ENTROPY = 0.5  # of a raw bit: a junction with less is left out


@dataclass(frozen=True)
class Measured:
    """The statistics of one junction.

    bias: P(1) - 1/2, and its 95 % interval (Wilson's, of as many independent bits as the correlation leaves).
    most_common, markov: min-entropy of a raw bit, SP 800-90B, sections 6.3.1 and 6.3.3. correlation: of a bit
    with the next, and its 95 % interval. fold: raw bits to be XORed into one, None if MOST_FOLD are too few.
    repetition, proportion: cut-offs that this junction alone would get. left_out: why the junction should not
    be used, or "".
    """

    device: int
    bits: int
    bias: float
    bias_interval: tuple[float, float]
    most_common: float
    markov: float
    correlation: float
    correlation_interval: tuple[float, float]
    fold: int | None
    repetition: int | None
    proportion: int | None
    left_out: str

    @property
    def entropy(self) -> float:
        """The lesser of the two estimates."""
        return min(self.most_common, self.markov)


@dataclass(frozen=True)
class Calibration:
    """The statistics of all junctions, and settings for those that are used; None if too few can be used."""

    accelerator: str
    devices: tuple[Measured, ...]
    settings: SourceSettings | None

    @property
    def left_out(self) -> list[int]:
        """Junctions that should not be used."""
        return [one.device for one in self.devices if one.left_out]

    def numbers(self) -> dict[str, Any]:
        """All of it, and the registers' words, for JSON."""
        return {
            "accelerator": self.accelerator,
            "devices": [asdict(one) for one in self.devices],
            "left_out": self.left_out,
            "settings": None if self.settings is None else asdict(self.settings),
            "registers": None if self.settings is None else self.settings.words(len(self.devices)),
        }

    def save(self, path: Path) -> None:
        """Write the calibration as JSON. Raises SynflipError."""
        write_text(path, json.dumps(self.numbers(), indent=2) + "\n")


def read_settings(path: str | Path) -> SourceSettings:
    """The settings in a file that ``Calibration.save`` wrote, for ``mtj_source.prepare``. Raises
    SynflipError."""
    what = "a calibration, as synflip calibrate writes it"
    content = read_json(path, MAX_BYTES, what)
    try:
        settings = content["settings"]
        if settings is None:
            raise SynflipError(f"{path} proposes no settings: too few junctions were any good")
        return SourceSettings(**settings)
    except (KeyError, TypeError):
        raise SynflipError(f"{path} is not {what}: it has no settings of a source") from None


def calibrate(
    accelerator: "Accelerator",
    captures: int = 8,
    target: float = TARGET,
    least_entropy: float = LEAST_ENTROPY,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Calibration:
    """Capture raw bits of every junction, and propose settings. Takes captures * 16,384 strobes a junction;
    works during an alarm too. Raises SynflipError if there are no junctions, or they give no bits."""
    require_junctions(accelerator)
    count = accelerator.geometry.devices
    measured = []
    for device in range(count):
        parts = []
        for number in range(captures):
            parts.append(capture(accelerator, device))
            progress(device * captures + number + 1, count * captures)
        measured.append(measure(device, np.concatenate(parts), target, least_entropy))
    return Calibration(accelerator.name, *propose(measured))


def check_levels(target: float, least_entropy: float) -> None:
    """Raises SynflipError for a min-entropy to be reached that no bit has, or that every bit has."""
    for name, value in (("target", target), ("least entropy", least_entropy)):
        if not 0 < value < 1:
            raise SynflipError(f"the {name} must be above 0 and below 1, not {value}")


def measure(
    device: int, bits: NDArray[np.uint8], target: float = TARGET, least_entropy: float = LEAST_ENTROPY
) -> Measured:
    """The statistics of a junction from its raw bits, uint8 [n] of 0 and 1. Raises SynflipError."""
    check_levels(target, least_entropy)
    ones = float(bits.mean())
    most_common, markov = sp800_90b.most_common(bits), sp800_90b.markov(bits)
    correlation = _correlation(bits)
    error = Z95 / math.sqrt(bits.size)
    low, high = _wilson(ones, bits.size * (1 - correlation) / (1 + correlation))
    entropy = min(most_common, markov)
    fold = None if ones in (0, 1) else fold_for(bits, target)
    left_out = ""
    if ones in (0, 1):
        left_out = f"stuck at {int(ones)}"
    elif entropy < least_entropy:
        left_out = f"min-entropy {entropy:.3f} is below {least_entropy:g}"
    elif fold is None:
        left_out = f"folding by {MOST_FOLD} does not suffice"
    claim = max(CLAIM * entropy, 0)
    return Measured(
        device,
        bits.size,
        ones - 0.5,
        (low - 0.5, high - 0.5),
        most_common,
        markov,
        correlation,
        (max(correlation - error, -1.0), min(correlation + error, 1.0)),
        fold,
        repetition_cutoff(claim) if claim else None,
        proportion_cutoff(claim) if claim else None,
        left_out,
    )


def propose(measured: Sequence[Measured]) -> tuple[tuple[Measured, ...], SourceSettings | None]:
    """The junctions, those that need too large a FOLD marked as left out, and settings for the others.

    All junctions have the same FOLD. It is chosen for the most folded bits: with FOLD 3, ten junctions that
    need at most 3 give 10/3 bits a strobe; two more that need 9 would bring it to 12/9, so they are left out.
    Health tests are set to CLAIM of the least min-entropy among the junctions kept; at least half of these
    must work.
    """
    folds = sorted(one.fold for one in measured if one.fold is not None and not one.left_out)
    if not folds:
        return tuple(measured), None
    fold = max(folds, key=lambda fold: (sum(other <= fold for other in folds) / fold, fold))
    judged = tuple(
        one
        if one.left_out or one.fold is None or one.fold <= fold
        else replace(one, left_out=f"needs FOLD {one.fold}; without it {fold} gives more bits")
        for one in measured
    )
    kept = [one for one in judged if not one.left_out]
    claim = math.floor(CLAIM * min(one.entropy for one in kept) * 1000) / 1000
    return judged, SourceSettings(min_entropy=claim, fold=fold, least=(len(kept) + 1) // 2)


def fold_for(bits: NDArray[np.uint8], target: float) -> int | None:
    """The fewest raw bits whose XOR has ``target`` bits of min-entropy, whatever bit came before them.

    For a chain with P(1 | last bit) as counted, at the worst corner of their 99 % intervals. None if
    MOST_FOLD do not suffice.
    """
    before, now = bits[:-1].astype(bool), bits[1:].astype(bool)
    ranges = []
    for last in (False, True):
        count = int((before == last).sum())
        share = (int((now & (before == last)).sum()) + 0.5) / (count + 1)
        error = sp800_90b.Z * math.sqrt(share * (1 - share) / max(count, 1))
        ranges.append((max(share - error, 0.0), min(share + error, 1.0)))
    most = 2.0 ** (1 - target) - 1
    for fold in range(1, MOST_FOLD + 1):
        if max(excess(fold, *corner) for corner in itertools.product(*ranges)) <= most:
            return fold
    return None


def excess(fold: int, after_zero: float, after_one: float) -> float:
    """Largest |P(0) - P(1)| of the XOR of the next ``fold`` bits of a chain, given the last bit. after_zero,
    after_one: P(1) after a 0, after a 1."""
    mean = np.ones(2)
    step = np.array([[1 - after_zero, -after_zero], [1 - after_one, -after_one]])
    for _ in range(fold):
        mean = step @ mean
    return float(np.abs(mean).max())


def apply(accelerator: "Accelerator", calibration: Calibration) -> list[int]:
    """Write the settings that were proposed, and test all junctions with them.

    There is no switch for a single junction: those to be left out are cut out by the health tests, which see
    a capture's worth of bits. Returns the ones that were not, which must be disconnected. Raises SourceAlarm
    if too few work, SynflipError.
    """
    if calibration.settings is None:
        raise SynflipError(f"{calibration.accelerator}: none of its tunnel junctions is any good")
    prepare(accelerator, calibration.settings)
    left = set(calibration.left_out)
    if left & used(accelerator):
        capture(accelerator, min(left))  # to let time pass
    return sorted(left & used(accelerator))


def table(calibration: Calibration) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heads and rows: a row a junction."""
    heads = ("", "bias", "correlation", "common", "Markov", "FOLD", "cut-offs", "use")
    rows: list[tuple[str, ...]] = []
    for one in calibration.devices:
        error, other = (np.diff(both)[0] / 2 for both in (one.bias_interval, one.correlation_interval))
        rows.append(
            (
                str(one.device),
                f"{one.bias:+.4f} ± {error:.4f}",
                f"{one.correlation:+.4f} ± {other:.4f}",
                f"{one.most_common:.3f}",
                f"{one.markov:.3f}",
                "-" if one.fold is None else str(one.fold),
                "-" if one.repetition is None else f"{one.repetition}, {one.proportion}",
                "no" if one.left_out else "yes",
            )
        )
    return heads, rows


def _correlation(bits: NDArray[np.uint8]) -> float:
    """Of a bit with the next; 0 if they are all equal."""
    centred = bits - bits.mean()
    power = float((centred**2).mean())
    return float((centred[1:] * centred[:-1]).mean()) / power if power else 0.0


def _wilson(share: float, count: float) -> tuple[float, float]:
    """95 % interval of a probability."""
    middle = (share + Z95**2 / (2 * count)) / (1 + Z95**2 / count)
    half = Z95 / (1 + Z95**2 / count) * math.sqrt(share * (1 - share) / count + Z95**2 / (4 * count**2))
    return max(middle - half, 0.0), min(middle + half, 1.0)
