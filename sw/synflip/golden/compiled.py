"""The loops of ``compiled.cpp``, compiled here and cached: what ``Kernels`` computes, in less time."""

import ctypes
import hashlib
import os
import platform
import shutil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from synflip.golden.kernels import CoinPlanes, Kernels, Product
from synflip.spec.cycles import LOADS, rest_row
from synflip.spec.geometry import Geometry
from synflip.spec.sizes import ceil_div
from synflip.util.libraries import LIBRARY, cached, compiler, compiler_environment, load_library
from synflip.util.programs import run_program

SOURCE = Path(__file__).with_suffix(".cpp")
FLAGS = ("-O3", "-std=c++17", "-fPIC", "-shared")
#: Vector unit -> further flags of the compiler; the first that the processor has is taken. No flag names the
#: processor at hand, so a cache may be shared by machines: a library runs wherever its unit is.
UNITS = {"avx2": ("-mavx2",), "plain": ()}
STEP = 16  # as in SOURCE


def has_compiler() -> bool:
    """Whether loops can be compiled here."""
    return os.name == "posix" and shutil.which(compiler().split()[0]) is not None


class Compiled(Kernels):
    """The loops for a vector unit of UNITS. multiply: the product to take; theirs unless given.

    Raises SynflipError if the compiler fails.
    """

    def __init__(self, unit: str, multiply: Product | None = None) -> None:
        super().__init__(multiply or self._multiply)
        self._library = _library(unit)

    def _multiply(self, x: torch.Tensor, coins: torch.Tensor) -> torch.Tensor:
        x, coins = x.contiguous(), coins.contiguous()
        (images, rows), outputs = x.shape, len(coins)
        both = torch.empty(ceil_div(rows, 2) * ceil_div(outputs, STEP) * STEP * 2, dtype=torch.int8)
        out = torch.empty(images, outputs, dtype=torch.int32)
        self._library.products(*_pointers(x, coins, both, out), images, rows, outputs)
        return out

    def flip(self, planes: CoinPlanes, row_keys: NDArray[np.uint64]) -> torch.Tensor:
        """``CoinPlanes.flip``."""
        keys = torch.from_numpy(np.ascontiguousarray(row_keys).view(np.int64))
        bits, outputs, _ = planes.thresholds.shape
        coins = torch.empty(planes.signs.shape, dtype=torch.int8)
        fixed = (planes.taps, planes.thresholds, planes.always, planes.signs)
        pointers = (keys.data_ptr(), *(array.ctypes.data for array in fixed), coins.data_ptr())
        self._library.flip(*pointers, len(keys), outputs, bits)
        return coins

    def requantise(self, z: torch.Tensor, added: torch.Tensor, shift: int, most: int) -> torch.Tensor:
        """Activations uint8 from sums: see ``Kernels``."""
        z = z.contiguous()
        x = torch.empty(z.shape, dtype=torch.uint8)
        self._library.requantise(*_pointers(z, added, x), z.numel() // len(added), len(added), shift, most)
        return x

    def loads(self, x: torch.Tensor, geometry: Geometry) -> torch.Tensor:
        """The cycle model's loads: see ``Kernels``."""
        x = x.contiguous()
        images, rows = x.shape
        out = torch.empty(images, len(LOADS), dtype=torch.int64)
        rest = rest_row(rows, geometry.lanes)
        self._library.loads(*_pointers(x, out), images, rows, geometry.banks, rest)
        return out


def _pointers(*tensors: torch.Tensor) -> tuple[int, ...]:
    return tuple(tensor.data_ptr() for tensor in tensors)


def _library(unit: str) -> ctypes.CDLL:
    """The library for ``unit``; it is made if it is not in the cache."""
    flags = (*FLAGS, *UNITS[unit])
    recipe = "\0".join((compiler(), *flags, platform.machine(), SOURCE.read_text()))

    def make(folder: Path) -> None:
        shutil.copyfile(SOURCE, folder / SOURCE.name)
        words = [*compiler().split(), *flags, SOURCE.name, "-o", LIBRARY]
        run_program(words, folder, "compiler", environment=compiler_environment())

    key = hashlib.sha256(recipe.encode()).hexdigest()[:24]
    library = load_library(cached("golden", unit, key, make))
    pointer, number = ctypes.c_void_p, ctypes.c_long
    library.products.argtypes = [pointer] * 4 + [number] * 3
    library.flip.argtypes = [pointer] * 6 + [number] * 3
    library.requantise.argtypes = [pointer] * 3 + [number] * 2 + [ctypes.c_int32] * 2
    library.loads.argtypes = [pointer] * 2 + [number] * 4
    return library
