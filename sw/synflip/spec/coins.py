"""Probability words, thresholds, and the taps that turn a 64-bit key into words."""

import json
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synflip.spec.sizes import MAX_BITS

TAP_LANES = 16  # outputs j and j + 16 use the same taps, the key rotated by one

#: TAPS[j % 16][m]: the three key bits whose XOR is bit m of output j's word, counted from the most
#: significant, before rotation by j // 16. Searched so that any two of the 1024 16-bit words of a key are
#: jointly uniform.
TAPS: tuple[tuple[tuple[int, int, int], ...], ...] = tuple(
    tuple(tuple(taps) for taps in lane)
    for lane in json.loads(files("synflip.spec").joinpath("coin_taps.json").read_text())
)


def word_taps(output: int, bit: int) -> tuple[int, int, int]:
    """Key bits whose XOR is ``bit`` (0 = most significant) of output ``output``'s word."""
    a, b, c = TAPS[output % TAP_LANES][bit]
    turn = output // TAP_LANES
    return (a + turn) % 64, (b + turn) % 64, (c + turn) % 64


def key_words(keys: NDArray[np.uint64], outputs: int, bits: int) -> NDArray[np.uint16]:
    """[n, outputs] the ``bits``-bit random words of outputs 0 .. outputs - 1, for the row keys [n]."""
    taps = [[word_taps(output, bit) for bit in range(bits)] for output in range(outputs)]
    picked = keys[:, None, None, None] >> np.array(taps, dtype=np.uint64) & np.uint64(1)
    planes = np.bitwise_xor.reduce(picked, axis=-1).astype(np.uint16)  # [n, outputs, bits], top bit first
    return (planes << np.arange(bits - 1, -1, -1, dtype=np.uint16)).sum(axis=-1, dtype=np.uint16)


def threshold(q: ArrayLike, bits: int) -> NDArray[np.int64]:
    """T(q) = q + (q >> (bits-1)): the coin is heads for T of the 2**bits words, so P(heads) = T / 2**bits."""
    q = np.asarray(q, dtype=np.int64)
    return q + (q >> (bits - 1))


def probability_word(probability: ArrayLike, bits: int) -> NDArray[np.uint16]:
    """The q whose T(q) / 2**bits is nearest to ``probability`` in [0, 1].

    T = 2**(bits-1) cannot be written: what is nearest to it becomes the next larger T if above one half, else
    (exactly one half included) the next smaller one.
    """
    half = 1 << (bits - 1)
    scaled = np.asarray(probability, dtype=np.float64) * (1 << bits)
    target = np.rint(scaled).astype(np.int64)
    target = np.where(target == half, np.where(scaled > half, half + 1, half - 1), target)
    return np.where(target > half, target - 1, target).astype(np.uint16)


def widen(q: ArrayLike, bits: int, wide: int) -> NDArray[np.uint16]:
    """The ``wide``-bit probability word that decides every coin as the ``bits``-bit word ``q`` does.

    A ``bits``-bit word is the top of the wide one, so u < T becomes u_wide < T << (wide - bits).
    """
    if not bits <= wide <= MAX_BITS:
        raise ValueError(f"cannot widen probability words of {bits} bits to {wide}")
    target = threshold(q, bits) << (wide - bits)
    return np.where(target > 1 << (wide - 1), target - 1, target).astype(np.uint16)
