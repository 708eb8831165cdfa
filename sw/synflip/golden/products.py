"""Exact products of activations and coins, in several ways: a processor takes the one that it is fast with.

Every way takes activations uint8 [N, I] and coins int8 [J, I] in -1..1, and returns their products,
transposed, int32 [N, J]. What a model may hold bounds their sums to 24 bits. Why each is exact:

- ``int8``: torch's product of uint8 and int8 into int32. Some processors add two products in 16 bits first,
  and two are at most 510. Fast with VNNI or AMX; without, it may take 15 times as long as ``float32``.
- ``float32``: torch's product of floats, of at most MOST_ROWS rows at once. Factors and all sums on the way
  are integers up to 255 * 65,793 < 2**24, which float32 holds exactly, in whatever order they are added.
- ``avx2``, ``plain``: ``products.cpp``, compiled here. 64 pairs of rows are added in 16 bits, and 64 * 510 is
  less than 2**15. Pairs of zeros take no time. ``plain`` is the same text for any processor.
"""

import ctypes
import hashlib
import os
import platform
import shutil
from collections.abc import Callable, Collection
from functools import lru_cache
from pathlib import Path

import torch

from synflip.errors import SynflipError
from synflip.spec.sizes import ceil_div
from synflip.util.libraries import LIBRARY, cached, compiler, compiler_environment, load_library
from synflip.util.programs import run_program

Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

SOURCE = Path(__file__).with_suffix(".cpp")
FLAGS = ("-O3", "-std=c++17", "-fPIC", "-shared")
#: Way -> further flags of the compiler. A processor runs a way if it has what these name.
COMPILED = {"avx2": ("-mavx2",), "plain": ()}
WAYS = ("int8", "float32", *COMPILED)
FAST_INT8 = ("amx_int8", "avx512_vnni", "avx_vnni")
MOST_ROWS = (1 << 24) // 255
STEP = 16  # as in SOURCE


@lru_cache
def cpu_flags() -> tuple[str, ...]:
    """What this processor has of the instructions that decide: of avx2 and FAST_INT8."""
    found = torch.cpu.get_capabilities()
    return tuple(name for name in ("avx2", *FAST_INT8) if found.get(name))


def usable(flags: Collection[str] | None = None) -> tuple[str, ...]:
    """The ways that run on a processor with ``flags`` (this one's, unless given), the one to take first."""
    flags = cpu_flags() if flags is None else flags
    compiled = [name for name in COMPILED if name == "plain" or name in flags]
    if os.name != "posix" or shutil.which(compiler().split()[0]) is None:
        compiled = []
    if any(name in flags for name in FAST_INT8):
        return ("int8", *compiled, "float32")
    return (*compiled, "float32", "int8")


@lru_cache
def product(way: str | None = None) -> tuple[str, Product]:
    """The name of a way and the way itself. None: the one to take here; the next one if the compiler fails.

    Raises SynflipError if ``way`` is unknown or does not run here.
    """
    ways = usable()
    if way is not None and way not in ways:
        raise SynflipError(f"no way {way!r} to multiply on this machine; there are {', '.join(ways)}")
    for name in ways if way is None else (way,):
        try:
            return name, {"int8": int8, "float32": float32}.get(name) or _compiled(name)
        except SynflipError:
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
    for some, flipped in zip(x.split(MOST_ROWS, 1), coins.split(MOST_ROWS, 1), strict=True):
        total += (some.to(torch.float32) @ flipped.to(torch.float32).t()).to(torch.int32)
    return total


def _compiled(way: str) -> Product:
    """The way of COMPILED; its library is made if it is not in the cache. Raises SynflipError."""
    flags = (*FLAGS, *COMPILED[way])
    recipe = "\0".join((compiler(), *flags, platform.machine(), SOURCE.read_text()))

    def make(folder: Path) -> None:
        shutil.copyfile(SOURCE, folder / SOURCE.name)
        words = [*compiler().split(), *flags, SOURCE.name, "-o", LIBRARY]
        run_program(words, folder, "compiler", environment=compiler_environment())

    key = hashlib.sha256(recipe.encode()).hexdigest()[:24]
    library = load_library(cached("golden", f"products-{way}", key, make))
    library.products.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_long] * 3

    def multiply(x: torch.Tensor, coins: torch.Tensor) -> torch.Tensor:
        x, coins = x.contiguous(), coins.contiguous()
        (images, rows), outputs = x.shape, len(coins)
        both = torch.empty(ceil_div(rows, 2) * ceil_div(outputs, STEP) * STEP * 2, dtype=torch.int8)
        out = torch.empty(images, outputs, dtype=torch.int32)
        pointers = (tensor.data_ptr() for tensor in (x, coins, both, out))
        library.products(*pointers, images, rows, outputs)
        return out

    return multiply
