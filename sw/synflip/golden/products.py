"""Exact products of activations and coins, in several ways: a processor takes the one that it is fast with.

Every way takes activations uint8 [N, I] and coins int8 [J, I] in -1..1, and returns their products,
transposed, int32 [N, J]. What a model may hold bounds their sums to 24 bits. Why each is exact:

- ``int8``: torch's product of uint8 and int8 into int32. Some processors add two products in 16 bits first,
  and two are at most 510. Fast with VNNI or AMX; without, it may take 15 times as long as ``float32``.
- ``float32``: torch's product of floats, of at most MOST_ROWS rows at once. Factors and all sums on the way
  are integers up to 255 * 65,793 < 2**24, which float32 holds exactly, in whatever order they are added.
- ``avx2``, ``plain``: ``compiled.cpp``, compiled here. 64 pairs of rows are added in 16 bits, and 64 * 510 is
  less than 2**15. Pairs of zeros take no time. ``plain`` is the same text for any processor.

What a pass takes beside products (coins, activations, loads) is compiled too where there is a compiler,
but for ``float32``, which is torch and numpy alone.
"""

from collections.abc import Collection
from functools import lru_cache

import torch

from synflip.errors import SynflipError
from synflip.golden.compiled import UNITS, Compiled, has_compiler
from synflip.golden.kernels import Kernels

WAYS = ("int8", "float32", *UNITS)
FAST_INT8 = ("amx_int8", "avx512_vnni", "avx_vnni")
MOST_ROWS = (1 << 24) // 255


@lru_cache
def cpu_flags() -> tuple[str, ...]:
    """What this processor has of the instructions that decide: of avx2 and FAST_INT8."""
    found = torch.cpu.get_capabilities()
    return tuple(name for name in ("avx2", *FAST_INT8) if found.get(name))


def usable(flags: Collection[str] | None = None) -> tuple[str, ...]:
    """The ways that run on a processor with ``flags`` (this one's, unless given), the one to take first."""
    flags = cpu_flags() if flags is None else flags
    compiled = [unit for unit in UNITS if unit == "plain" or unit in flags] if has_compiler() else []
    if any(name in flags for name in FAST_INT8):
        return ("int8", *compiled, "float32")
    return (*compiled, "float32", "int8")


@lru_cache
def kernels_for(way: str | None = None) -> tuple[str, Kernels]:
    """The name of a way, and what computes in it. None: the one to take here; the next one if the compiler
    fails.

    Raises SynflipError if ``way`` is unknown or does not run here.
    """
    ways = usable()
    if way is not None and way not in ways:
        raise SynflipError(f"no way {way!r} to multiply on this machine; there are {', '.join(ways)}")
    units = [name for name in ways if name in UNITS]
    for name in ways if way is None else (way,):
        if name == "float32":
            return name, Kernels(float32)
        try:
            if name in units:
                return name, Compiled(name)
            return name, Compiled(units[0], int8) if units else Kernels(int8)
        except SynflipError:
            if name == "int8":
                return name, Kernels(int8)
            if name == way:
                raise
    raise AssertionError("torch's products need no compiler")


def int8(x: torch.Tensor, coins: torch.Tensor) -> torch.Tensor:
    """By torch's int8 product."""
    if 1 in coins.shape:  # torch 2.13's int8 product leaves one row's unset, and may saturate one output's
        return x.to(torch.int32) @ coins.to(torch.int32).t()
    x = x.reshape(-1).view(x.shape)  # one row may come with any stride, which the product would believe
    return torch._int_mm(x, coins.t())


def float32(x: torch.Tensor, coins: torch.Tensor) -> torch.Tensor:
    """By torch's product of floats."""
    total = torch.zeros(len(x), len(coins), dtype=torch.int32)
    for part, flipped in zip(x.split(MOST_ROWS, 1), coins.split(MOST_ROWS, 1), strict=True):
        total += (part.to(torch.float32) @ flipped.to(torch.float32).t()).to(torch.int32)
    return total
