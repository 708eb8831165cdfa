"""The sources of keys that the report compares, good ones and bad ones."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synflip.randomness.mtj_model import JunctionModel
from synflip.randomness.statistical_tests import Taps
from synflip.spec import lfsr
from synflip.spec.coins import word_taps
from synflip.spec.lfsr import keys as lfsr_keys
from synflip.spec.sizes import KEY_BITS

#: Junctions that differ, drift and remember a little, and the fold that ``calibration`` proposes for them.
REAL, REAL_FOLD = {"mismatch": 0.002, "drift": 0.001, "correlation": 0.02}, 5

DEVICES = 16

#: The textbook LFSR: bit n + 64 is the XOR of the bits n + tap (x^64 + x^4 + x^3 + x + 1, of full period).
TEXTBOOK_TAPS = (0, 1, 3, 4)

#: Called with the number of the first key and a count; returns uint64 keys. Calls ascend without gaps.
Keys = Callable[[int, int], NDArray[np.uint64]]


@dataclass(frozen=True)
class Source:
    """A source of coins.

    what: it in words. fair: the verdict that is expected. keys: makes Keys from a seed; None if torch flips
    the coins. taps: the key bits of each word.
    """

    name: str
    what: str
    fair: bool
    keys: Callable[[int], Keys] | None
    taps: Taps = word_taps


def junction_keys(junctions: JunctionModel, fold: int) -> Keys:
    """Keys packed as by the gateware's source.

    ``fold`` raw bits of a junction in a row are XORed into one; the folded bits of all junctions, junction 0
    first, then those of the next time, fill keys from bit 0.
    """
    left = np.zeros(0, dtype=np.uint8)

    def keys(first: int, count: int) -> NDArray[np.uint64]:
        nonlocal left
        folded_needed = -(-(count * KEY_BITS - left.size) // junctions.count)
        raw = junctions.bits(max(folded_needed, 0) * fold)
        folded = np.bitwise_xor.reduce(raw.reshape(-1, fold, junctions.count), axis=1).reshape(-1)
        bits = np.concatenate([left, folded])
        left = bits[count * KEY_BITS :]
        return np.packbits(bits[: count * KEY_BITS], bitorder="little").view("<u8").astype(np.uint64)

    return keys


def textbook_keys(seed: int) -> Keys:
    """Key n is the state of one 64-bit LFSR after n shifts by one: bits n .. n + 63 of its sequence."""
    start = np.array([lfsr.splitmix64(seed)[0] or 1], dtype="<u8")
    bits = np.unpackbits(start.view(np.uint8), bitorder="little")

    def keys(first: int, count: int) -> NDArray[np.uint64]:
        nonlocal bits
        while bits.size < first + count + KEY_BITS:
            # Over GF(2) squaring a polynomial doubles its exponents, so the recurrence holds with steps of 2,
            # 4, 8, ... too, and makes that many bits at once.
            wide = 1 << ((bits.size // KEY_BITS).bit_length() - 1)
            length = wide * (KEY_BITS - max(TEXTBOOK_TAPS))
            starts = [bits.size - wide * (KEY_BITS - tap) for tap in TEXTBOOK_TAPS]
            parts = [bits[start : start + length] for start in starts]
            bits = np.concatenate([bits, np.bitwise_xor.reduce(parts)])
        windows = bits[first : first + count + KEY_BITS - 1].astype(np.uint64)
        width = 1
        while width < KEY_BITS:
            windows = windows[:-width] | windows[width:] << np.uint64(width)
            width *= 2
        return windows

    return keys


BIASED = {"mismatch": 0.01, "drift": 0.001, "correlation": 0.05}


def sources() -> list[Source]:
    """The sources of the report: the ones that should be fair, and ones that should be caught."""

    def of_lfsr(seed: int) -> Keys:
        return lambda first, count: lfsr_keys(seed, first, count)

    def of_numpy(seed: int) -> Keys:
        generator = np.random.default_rng(seed)
        return lambda first, count: generator.integers(0, 1 << 64, count, dtype=np.uint64)

    def mtj(fold: int, physics: dict[str, float]) -> Callable[[int], Keys]:
        return lambda seed: junction_keys(JunctionModel(DEVICES, seed, **physics), fold)  # type: ignore[arg-type]

    xor = f"{DEVICES} junctions, {REAL_FOLD} raw bits XORed into one"
    register = "one 64-bit LFSR, a shift a row; word j from bit j"
    return [
        Source("lfsr", "LFSR113, the contract's words", True, of_lfsr),
        Source("mtj", xor, True, mtj(REAL_FOLD, REAL)),
        Source("host", "keys of numpy's PCG64 generator, the contract's words", True, of_numpy),
        Source("ideal", "torch.rand for every coin, with another seed: the tests' own error", True, None),
        Source("one word", "one word shared by all lanes of a row", False, of_lfsr, _one_word),
        Source("shift by one", register, False, textbook_keys, _from_bit),
        Source("mtj unfolded", "biased, correlated junctions, raw bits as they are", False, mtj(1, BIASED)),
    ]


def _one_word(output: int, bit: int) -> tuple[int, int, int]:
    return word_taps(0, bit)


def _from_bit(output: int, bit: int) -> tuple[int, int, int]:
    return ((output + bit) % KEY_BITS,) * 3
