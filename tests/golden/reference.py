"""The contract read aloud: one synapse, one bit, one step of the generator at a time.

Written from the contract (docs/reference/contract.md) alone. It shares no code with synflip: it steps its own
LFSR113, reads the tap table from the JSON file itself, and computes in plain Python integers. Everything
else in the project is compared with it. Slow on purpose.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TAPS_FILE = Path(__file__).parents[2] / "sw" / "synflip" / "spec" / "coin_taps.json"
TAPS = json.loads(TAPS_FILE.read_text())

WORD32 = 2**32
WORD64 = 2**64


def splitmix64(seed: int, count: int) -> list[int]:
    """The first ``count`` outputs of SplitMix64."""
    outputs = []
    for number in range(1, count + 1):
        z = (seed + number * 0x9E3779B97F4A7C15) % WORD64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % WORD64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % WORD64
        outputs.append(z ^ (z >> 31))
    return outputs


def lfsr_seed(seed: int) -> tuple[int, int, int, int]:
    """State of LFSR113 before its first step."""
    w0, w1 = splitmix64(seed, 2)
    z1, z2 = w0 % WORD32, w0 // WORD32
    z3, z4 = w1 % WORD32, w1 // WORD32
    if z1 < 2:
        z1 += 2
    if z2 < 8:
        z2 += 8
    if z3 < 16:
        z3 += 16
    if z4 < 128:
        z4 += 128
    return z1, z2, z3, z4


def lfsr_step(state: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """One step of LFSR113, written out as L'Ecuyer prints it (Math. Comp. 68, 1999)."""
    z1, z2, z3, z4 = state
    b = (((z1 << 6) % WORD32) ^ z1) >> 13
    z1 = (((z1 & 4294967294) << 18) % WORD32) ^ b
    b = (((z2 << 2) % WORD32) ^ z2) >> 27
    z2 = (((z2 & 4294967288) << 2) % WORD32) ^ b
    b = (((z3 << 13) % WORD32) ^ z3) >> 21
    z3 = (((z3 & 4294967280) << 7) % WORD32) ^ b
    b = (((z4 << 3) % WORD32) ^ z4) >> 12
    z4 = (((z4 & 4294967168) << 13) % WORD32) ^ b
    return z1, z2, z3, z4


def outputs_from(state: tuple[int, int, int, int]) -> Iterator[int]:
    """LFSR113's outputs after ``state``: step, then XOR the four."""
    while True:
        state = lfsr_step(state)
        yield state[0] ^ state[1] ^ state[2] ^ state[3]


def keys_from(state: tuple[int, int, int, int]) -> Iterator[int]:
    """64-bit keys after ``state``: two outputs each, the first one low."""
    out = outputs_from(state)
    while True:
        low = next(out)
        high = next(out)
        yield low | high << 32


def key(seed: int, n: int) -> int:
    """Key number ``n``, by stepping there from the seed."""
    sequence = keys_from(lfsr_seed(seed))
    for _ in range(n):
        next(sequence)
    return next(sequence)


def word(key: int, j: int, k: int) -> int:
    """Output ``j``'s ``k``-bit random word for a row with this key."""
    value = 0
    for m in range(k):
        bit = 0
        for t in TAPS[j % 16][m]:
            bit ^= key >> ((t + j // 16) % 64) & 1
        value = value * 2 + bit
    return value


def threshold(q: int, k: int) -> int:
    """T(q): heads for this many of the 2**k words."""
    return q + (q >> (k - 1))


def coin(key: int, j: int, q: int, k: int) -> int:
    """The coin of output ``j`` in a row with this key: 1 is heads."""
    return 1 if word(key, j, k) < threshold(q, k) else 0


def hidden(z: int, r: int, a: int) -> int:
    """Activation of ``a`` bits out of the sum ``z``: round, shift by ``r``, clamp."""
    rounding = 2 ** (r - 1) if r > 0 else 0
    shifted = (z + rounding) // 2**r  # an arithmetic shift is division rounded down
    return min(max(shifted, 0), 2**a - 1)


def argmax(values: Sequence[int]) -> int:
    """Index of the largest; the lowest of them if several are."""
    best = 0
    for index in range(len(values)):
        if values[index] > values[best]:
            best = index
    return best


@dataclass
class Tables:
    """Of the soft votes: E, L, t, F and P of the contract."""

    exponential: list[int]
    logarithm: list[int]
    t: int
    f: int
    p: int

    @classmethod
    def of(cls, table: Any) -> "Tables":
        """Those of a ``SoftTable``."""
        return cls(
            table.exponential.tolist(), table.logarithm.tolist(), table.shift, table.fraction, table.precision
        )


def soft_votes(logits: Sequence[int], tables: Tables) -> tuple[list[int], int]:
    """What a network sample of an image adds to its soft votes [C] and to its sum of energies."""
    half = 2 ** (tables.t - 1) if tables.t > 0 else 0

    def e(d: int) -> int:
        place = (d + half) // 2**tables.t
        return tables.exponential[place] if place < len(tables.exponential) else tables.exponential[-1]

    m = logits[argmax(logits)]
    z_sum = 0
    for z in logits:
        z_sum += e(m - z)
    place = z_sum // 2 ** (tables.f - tables.p)
    farther = tables.logarithm[place] if place < len(tables.logarithm) else tables.logarithm[-1]
    return [e(m - z + farther) for z in logits], -(m + farther)


def lead(votes: Sequence[int]) -> int:
    """Votes of the leader minus votes of the runner-up (none, if there is but one class)."""
    ordered = sorted(votes, reverse=True)
    return ordered[0] - (ordered[1] if len(ordered) > 1 else 0)


@dataclass
class Outcome:
    """N images, C classes, S samples. Where an image had left: logits 0, activations None."""

    votes: list[list[int]]  # [N][C]
    logit_sums: list[list[int]]  # [N][C]
    used: list[int]  # [N]
    logits: list[list[list[int]]]  # [S][N][C]
    activations: list[list[list[list[int]] | None]] = field(default_factory=list)  # [S][N][layer][row]

    def soft(self, tables: Tables) -> tuple[list[list[int]], list[int]]:
        """Soft votes [N][C] and sums of energies [N]."""
        votes = [[0] * len(row) for row in self.votes]
        energies = [0] * len(self.votes)
        for n in range(len(self.votes)):
            for s in range(self.used[n]):
                added, energy = soft_votes(self.logits[s][n], tables)
                energies[n] += energy
                for c in range(len(added)):
                    votes[n][c] += added[c]
        return votes, energies


def run(
    layers: Sequence[tuple[Any, Any, Any]],
    bits: int,
    activation_bits: int,
    shifts: Sequence[int],
    images: Any,
    samples: int,
    seed: int,
    margins: Sequence[int] | None = None,
    kinds: Sequence[Mapping[str, Any]] | None = None,
) -> Outcome:
    """The contract for layers of (q [J][I], sign [J][I], bias [J]) and images [N][I] of activations.

    kinds: the objects of ``layers`` in a model file of version 2, one a layer; without, all are dense."""
    layers = [(_integers(q), _integers(sign), [int(b) for b in bias]) for q, sign, bias in layers]
    kinds = [{"kind": "dense"} for _ in layers] if kinds is None else kinds
    images = _integers(images)
    classes = len(layers[-1][2])
    outcome = Outcome(
        votes=[[0] * classes for _ in images],
        logit_sums=[[0] * classes for _ in images],
        used=[0 for _ in images],
        logits=[],
    )
    in_batch = [True for _ in images]
    key_sequence = keys_from(lfsr_seed(seed))
    for s in range(samples):
        coins = _flip(layers, bits, key_sequence)
        outcome.logits.append([])
        outcome.activations.append([])
        for n in range(len(images)):
            if not in_batch[n]:
                outcome.logits[s].append([0] * classes)
                outcome.activations[s].append(None)
                continue
            trace, logits = _forward(layers, kinds, coins, shifts, activation_bits, images[n])
            outcome.logits[s].append(logits)
            outcome.activations[s].append(trace)
            outcome.votes[n][argmax(logits)] += 1
            for c in range(classes):
                outcome.logit_sums[n][c] += logits[c]
            outcome.used[n] += 1
            if margins is not None and lead(outcome.votes[n]) >= int(margins[s]):
                in_batch[n] = False
    return outcome


def _integers(table: Any) -> list[list[int]]:
    return [[int(value) for value in row] for row in table]


def _flip(layers: Sequence[Any], bits: int, key_sequence: Iterator[int]) -> list[list[list[int]]]:
    """Flip every synapse once: coins [layer][J][I]. Takes one network sample's keys off the sequence."""
    coins = []
    for q, _, _ in layers:
        rows = len(q[0])
        row_keys = [next(key_sequence) for _ in range(rows)]
        for _ in range(-rows % 8):
            next(key_sequence)  # a padding row owns a key and has no weights
        coins.append([[coin(row_keys[i], j, q[j][i], bits) for i in range(rows)] for j in range(len(q))])
    return coins


def _forward(
    layers: Sequence[Any],
    kinds: Sequence[Mapping[str, Any]],
    coins: list[list[list[int]]],
    shifts: Sequence[int],
    activation_bits: int,
    image: list[int],
) -> tuple[list[list[int]], list[int]]:
    """One image through one network sample: what entered each layer, and the logits."""
    x = image
    trace = []
    z: list[int] = []
    for number, (q, sign, bias) in enumerate(layers):
        trace.append(x)
        if kinds[number]["kind"] == "conv":
            r = int(shifts[number])
            x = _convolve(sign, bias, coins[number], kinds[number], r, activation_bits, x)
            continue
        z = []
        for j in range(len(q)):
            total = bias[j]
            for i in range(len(x)):
                if coins[number][j][i]:
                    total += -x[i] if sign[j][i] else x[i]
            z.append(total)
        if number < len(layers) - 1:
            x = [hidden(value, int(shifts[number]), activation_bits) for value in z]
    return trace, z


def _convolve(
    sign: list[list[int]],
    bias: list[int],
    coins: list[list[int]],
    kind: Mapping[str, Any],
    r: int,
    a: int,
    x: list[int],
) -> list[int]:
    """One image's activations behind a convolution, its rounding, shift, clamp and pooling, in the order y,
    x, output."""
    height, width, channels = kind["input"]
    kh, kw = kind["kernel"]
    sy, sx = kind.get("stride", (1, 1))
    py, px = kind.get("pad", (0, 0))
    ph, pw = kind.get("pool", (1, 1))
    maps: dict[tuple[int, int, int], int] = {}
    down = (height + 2 * py - kh) // sy + 1
    across = (width + 2 * px - kw) // sx + 1
    for oy in range(down):
        for ox in range(across):
            for j in range(len(bias)):
                total = bias[j]
                for dy in range(kh):
                    for dx in range(kw):
                        y, column = oy * sy + dy - py, ox * sx + dx - px
                        if not (0 <= y < height and 0 <= column < width):
                            continue  # outside the image activations are 0
                        for c in range(channels):
                            i = (dy * kw + dx) * channels + c
                            if coins[j][i]:
                                value = x[(y * width + column) * channels + c]
                                total += -value if sign[j][i] else value
                maps[oy, ox, j] = hidden(total, r, a)
    pooled = []
    for oy in range(down // ph):
        for ox in range(across // pw):
            for j in range(len(bias)):
                window = [maps[oy * ph + wy, ox * pw + wx, j] for wy in range(ph) for wx in range(pw)]
                pooled.append(max(window))
    return pooled
