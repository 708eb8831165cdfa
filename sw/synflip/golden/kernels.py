"""What the golden model computes, in torch and numpy: coins from keys by bit planes, activations from sums,
convolutions and counts of events as products."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import pad

from synflip.spec.coins import threshold, word_taps
from synflip.spec.convolution import Convolution
from synflip.spec.cycles import LOADS, rest_row
from synflip.spec.geometry import BANKS, Geometry
from synflip.spec.model import Layer

#: Activations uint8 [N, I] times coins int8 [J, I], transposed: int32 [N, J].
Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

TAP_BYTES = 1 << 21  # of taps and sums that a convolution makes at once: what a cache holds


def pack_rows(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """[..., rows] booleans to [..., ceil(rows / 64)] words, row i in bit i % 64 of word i // 64."""
    rows = bits.shape[-1]
    padded = np.zeros((*bits.shape[:-1], -(-rows // 64) * 64), dtype=np.uint8)
    padded[..., :rows] = bits
    return np.packbits(padded, axis=-1, bitorder="little").view(np.uint64)


@dataclass(frozen=True, eq=False)
class CoinPlanes:
    """What is fixed of a layer's coins. J outputs, W = ceil(rows / 64) words. All arrays are in C order.

    taps: int64 [k, 3, J]. thresholds: uint64 [k, J, W], the low k bits of T, most significant first.
    always: uint64 [J, W], where T = 2**k. signs: int8 [J, I], 1 or -1.
    """

    taps: NDArray[np.int64]
    thresholds: NDArray[np.uint64]
    always: NDArray[np.uint64]
    signs: NDArray[np.int8]

    @classmethod
    def of(
        cls, layer: Layer, bits: int, taps_of: Callable[[int, int], tuple[int, int, int]] = word_taps
    ) -> "CoinPlanes":
        """From a layer's probability words and signs. taps_of: of an output and a bit, the contract's."""
        levels = threshold(layer.q, bits)
        taps = [[taps_of(output, bit) for output in range(layer.outputs)] for bit in range(bits)]
        return cls(
            taps=np.ascontiguousarray(np.array(taps, dtype=np.int64).transpose(0, 2, 1)),
            thresholds=np.stack(
                [pack_rows((levels >> (bits - 1 - bit) & 1).astype(bool)) for bit in range(bits)]
            ),
            always=pack_rows(levels == 1 << bits),
            signs=1 - 2 * layer.sign.astype(np.int8, order="C"),
        )

    def flip(self, row_keys: NDArray[np.uint64]) -> torch.Tensor:
        """One flip of every synapse from the rows' keys [I]: int8 [J, I] in -1, 0, 1."""
        rows = len(row_keys)
        key_bits = np.unpackbits(row_keys.view(np.uint8).reshape(rows, 8), axis=1, bitorder="little")
        planes = pack_rows(np.ascontiguousarray(key_bits.T).astype(bool))
        below = np.zeros_like(self.always)
        for (a, b, c), level in zip(self.taps[::-1], self.thresholds[::-1], strict=True):
            word = planes.take(a, axis=0)
            word ^= planes.take(b, axis=0)
            word ^= planes.take(c, axis=0)
            same = word ^ level
            np.invert(same, out=same)
            below &= same
            np.invert(word, out=word)
            word &= level
            below |= word
        below |= self.always
        heads = np.unpackbits(below.view(np.uint8), axis=1, bitorder="little", count=rows)
        coins: NDArray[np.int8] = heads.view(np.int8)
        coins *= self.signs
        return torch.from_numpy(coins)


@lru_cache(maxsize=64)
def load_members(rows: int, geometry: Geometry) -> torch.Tensor:
    """int8 [LOADS * most banks, rows]: 1 where a row belongs to a load of a bank."""
    places = torch.arange(rows)
    mine = places % geometry.banks == torch.arange(BANKS[-1])[:, None]
    rest = places >= rest_row(rows, geometry.lanes)
    return torch.cat([mine, mine & ~rest, mine & rest]).to(torch.int8)


def bank_loads(x: torch.Tensor, geometry: Geometry, multiply: Product) -> torch.Tensor:
    """The cycle model's loads, int64 [N, 3], of activations uint8 [N, rows]."""
    events = x.clamp(max=1)  # several times as fast as x != 0
    found = multiply(events, load_members(x.shape[1], geometry))
    return found.view(len(x), len(LOADS), BANKS[-1]).amax(2).to(torch.int64)


class Kernels:
    """What a pass takes beside convolutions, in torch and numpy. multiply: the product of dense layers."""

    def __init__(self, multiply: Product) -> None:
        self.multiply = multiply

    def flip(self, planes: CoinPlanes, row_keys: NDArray[np.uint64]) -> torch.Tensor:
        """One flip of every synapse of a layer from the rows' keys [I]: int8 [J, I] in -1, 0, 1."""
        return planes.flip(row_keys)

    def requantise(self, z: torch.Tensor, added: torch.Tensor, shift: int, most: int) -> torch.Tensor:
        """A hidden layer's activations, 0 .. ``most``, of the shape of its sums ``z``, int32
        [N, positions * J], which may be overwritten. added: int32 [J], biases, and what rounds the shift."""
        z.unflatten(-1, (-1, len(added))).add_(added)
        z >>= shift
        return z.clamp_(0, most)

    def loads(self, x: torch.Tensor, geometry: Geometry) -> torch.Tensor:
        """The cycle model's loads, int64 [N, 3], of activations uint8 [N, rows]."""
        return bank_loads(x, geometry, self.multiply)


def convolved(
    x: torch.Tensor,
    coins: torch.Tensor,
    place: Convolution,
    multiply: Product,
    tap_bytes: int,
) -> torch.Tensor:
    """A convolution of [N, H * W * C] with kernels [J, kh * kw * C], and the largest sum of each pool window:
    int32 [N, H' * W' * J], exact, in the order y, x, output.

    x may be [S, N, H * W * C], and coins [S, J, kh * kw * C]: S convolutions side by side, whose results are
    [S, N, H' * W' * J]. multiply: exact products of taps [..., M, kh * kw * C] and coins, int32. tap_bytes:
    what taps and sums may take at once, unless one row of pool windows takes more.

    The taps of each position become a row of the products. The contract takes the largest activation of a
    window, behind bias, rounding, shift and clamp. None of these makes a smaller sum the larger one, so the
    activation of the largest sum is the same.
    """
    height, width, channels = place.input
    (py, px), (sy, sx), (ph, pw) = place.pad, place.stride, place.pool
    down, across = place.output
    *together, outputs, rows = coins.shape
    maps = x.reshape(*x.shape[:-1], height, width, channels)
    images = maps.shape[-4]
    out = torch.empty((*together, images, down, across, outputs), dtype=torch.int32, device=x.device)
    of_row = ph * across * pw * (rows * x.element_size() + 4 * outputs) * math.prod(together)
    images_at_once = max(tap_bytes // (of_row * down), 1)
    rows_at_once = max(tap_bytes // of_row, 1)
    line, pixel = (width + 2 * px) * channels, channels
    for image in range(0, images, images_at_once):
        block = slice(image, image + images_at_once)
        part = pad(maps[..., block, :, :, :], (0, 0, px, px, py, py)).contiguous()
        *lead, count = part.shape[:-3]
        for top in range(0, down, rows_at_once):
            lines = min(rows_at_once, down - top)
            taps = part.as_strided(
                (*lead, count, lines * ph, across * pw, place.kernel[0], place.kernel[1] * channels),
                (*part.stride()[:-3], sy * line, sx * pixel, line, 1),
                top * ph * sy * line,
            )
            sums = multiply(taps.reshape(*lead, -1, rows), coins)
            sums = sums.view(*together, count, lines, ph, across, pw, outputs)
            best = out[..., block, top : top + lines, :, :]
            best.copy_(sums[..., 0, :, 0, :])
            for below in range(ph):
                for right in range(pw):
                    if below or right:
                        torch.maximum(best, sums[..., below, :, right, :], out=best)
    return out.flatten(-3)
