"""LFSR113, its seeding, and its jumps: the linear map behind every key.

P. L'Ecuyer, "Tables of maximally equidistributed combined LFSR generators", Math. Comp. 68 (1999), 261-269.
Four 32-bit components, each a linear map over GF(2) of itself; the output is their XOR after a step.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from synflip.spec.sizes import ceil_div

MASK32 = 0xFFFFFFFF
MASK64 = 0xFFFFFFFFFFFFFFFF

#: Per component: q, s, r and the mask of z' = ((z & mask) << s) ^ (((z << q) ^ z) >> r).
COMPONENTS = (
    (6, 18, 13, 0xFFFFFFFE),
    (2, 2, 27, 0xFFFFFFF8),
    (13, 7, 21, 0xFFFFFFF0),
    (3, 13, 12, 0xFFFFFF80),
)
#: Smallest seed of each component; this is added to a smaller one.
MINIMUM = (2, 8, 16, 128)
#: Outputs that ``keys`` makes by single steps from each jump; all jumps are stepped side by side.
STRIDE = 16

State = tuple[int, int, int, int]
Word = TypeVar("Word", int, NDArray[Any])


def splitmix64(seed: int) -> tuple[int, int]:
    """First and second output of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    outputs = []
    for _ in range(2):
        seed = (seed + 0x9E3779B97F4A7C15) & MASK64
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
        outputs.append(z ^ (z >> 31))
    return outputs[0], outputs[1]


def seed_state(seed: int) -> State:
    """State before the first step, from a 64-bit seed. Raises ValueError outside 0..2**64-1."""
    if not 0 <= seed <= MASK64:
        raise ValueError(f"the seed must be in 0..2**64-1, not {seed}")
    w0, w1 = splitmix64(seed)
    words = (w0 & MASK32, w0 >> 32, w1 & MASK32, w1 >> 32)
    z1, z2, z3, z4 = (z + least if z < least else z for z, least in zip(words, MINIMUM, strict=True))
    return z1, z2, z3, z4


def step_component(index: int, z: Word) -> Word:
    """One step of one component: of an integer, or of each of an array."""
    q, s, r, mask = COMPONENTS[index]
    return (((z & mask) << s) & MASK32) ^ ((((z << q) & MASK32) ^ z) >> r)


def step(state: State) -> State:
    """One step of all four components."""
    z1, z2, z3, z4 = (step_component(index, z) for index, z in enumerate(state))
    return z1, z2, z3, z4


def output(state: State) -> int:
    """The 32-bit output after the step that led to ``state``."""
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def apply(columns: Sequence[int], z: int) -> int:
    """Matrix times vector over GF(2); ``columns[b]`` is the image of bit b."""
    result = 0
    for bit, column in enumerate(columns):
        if z >> bit & 1:
            result ^= column
    return result


@lru_cache(maxsize=4096)
def power(index: int, steps: int) -> tuple[int, ...]:
    """Columns of the 32x32 matrix that takes component ``index`` ``steps`` steps on."""
    if steps == 0:
        return tuple(1 << bit for bit in range(32))
    if steps == 1:
        return tuple(step_component(index, 1 << bit) for bit in range(32))
    half = power(index, steps // 2)
    twice = tuple(apply(half, column) for column in half)
    return tuple(apply(power(index, 1), column) for column in twice) if steps % 2 else twice


def jump(state: State, steps: int) -> State:
    """The state ``steps`` steps on, by matrix powers: logarithmic in ``steps``. Powers of two are kept."""
    for bit in range(steps.bit_length()):
        if steps >> bit & 1:
            z1, z2, z3, z4 = (apply(power(index, 1 << bit), z) for index, z in enumerate(state))
            state = z1, z2, z3, z4
    return state


def first_states(seed: int, first: int, banks: int) -> NDArray[np.uint32]:
    """uint32 [banks * 4]: the states from which banks make keys ``first``, ``first`` + 1, ..., as SEEDS has
    them."""
    state = jump(seed_state(seed), 2 * first + 1)
    states = []
    for _ in range(banks):
        states.append(state)
        state = step(step(state))
    return np.array(states, dtype=np.uint32).reshape(-1)


@lru_cache(maxsize=256)
def tables(index: int, steps: int) -> NDArray[np.uint32]:
    """``power`` as four tables of 256: a jump of many components is four look-ups. [4, 256] uint32."""
    columns = np.array(power(index, steps), dtype=np.uint32).reshape(4, 8)
    table = np.zeros((4, 256), dtype=np.uint32)
    for bit in range(8):
        table[:, 1 << bit : 2 << bit] = table[:, : 1 << bit] ^ columns[:, bit : bit + 1]
    table.flags.writeable = False  # callers share it
    return table


def keys(seed: int, first: int, count: int) -> NDArray[np.uint64]:
    """Keys ``first`` .. ``first + count - 1`` of the sequence: [count] uint64. Memory: some 30 bytes a
    key."""
    lanes = ceil_div(2 * count, STRIDE)
    outputs = np.zeros((STRIDE, lanes), dtype=np.uint32)
    start = jump(seed_state(seed), 2 * first + 1)
    for index in range(4):
        states = np.array([start[index]], dtype=np.uint32)
        while len(states) < lanes:
            table = tables(index, STRIDE * len(states))
            ahead = states[: lanes - len(states)]
            moved = table[0][ahead & 255]
            for byte in range(1, 4):
                moved ^= table[byte][(ahead >> (8 * byte)) & 255]
            states = np.concatenate([states, moved])
        for row in outputs:
            row ^= states[:lanes]
            states = step_component(index, states)
    return np.ascontiguousarray(outputs.T).astype("<u4", copy=False).view("<u8").reshape(-1)[:count]
