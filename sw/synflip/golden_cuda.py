"""The golden model with everything on one torch device: keys, words, coins and products. For a GPU.

Coins are decided word by word instead of bit-sliced, and products are float32. They are exact: activations
are at most 255 and coins -1, 0 or 1, so a product of R rows and every sum on the way to it is an integer of
at most 255 R, which float32 holds up to 2**24, in whatever order it is added up; a GPU's TF32 keeps the
eleven bits that a factor needs at most. ``load`` refuses layers of more rows.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.golden import CoinPlanes, Golden, assert_loaded
from synflip.spec import lfsr
from synflip.spec.coins import threshold, word_taps
from synflip.spec.cycles import LOADS, rest_row
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel
from synflip.spec.sizes import KEY_BITS, ceil_div

MOST_ROWS = (1 << 24) // 255
BYTE = 255


class TorchGolden(Golden):
    """The golden model on ``device``, such as ``cuda`` or ``cpu``. Raises SynflipError if there is none."""

    def __init__(self, geometry: Geometry | None = None, device: str = "cuda") -> None:
        super().__init__(geometry)
        self.name = device
        if device == "cuda" and not torch.cuda.is_available():
            raise SynflipError("torch finds no CUDA GPU here; --device golden runs on the processor")
        self.device = torch.device(device)

    def load(self, model: CompiledModel) -> None:
        """Prepare ``model`` on the device. Raises SynflipError if a layer's sums would not be exact."""
        if max(model.rows) > MOST_ROWS:
            raise SynflipError(f"{max(model.rows)} rows: sums in float32 are exact up to {MOST_ROWS}")
        super().load(model)

    def _prepare(self, model: CompiledModel) -> None:
        """See ``Golden._prepare``; on the device."""
        bits = range(model.bits)
        self._taps = [
            torch.tensor([[word_taps(j, bit) for j in range(layer.outputs)] for bit in bits]).to(self.device)
            for layer in model.layers
        ]
        self._thresholds = [
            self._put(threshold(layer.q, model.bits).astype(np.int32)) for layer in model.layers
        ]
        self._signs = [self._put(1 - 2 * layer.sign.astype(np.int8)) for layer in model.layers]
        self._wide_biases = [self._put(layer.bias.astype(np.int64)) for layer in model.layers]

    def _put(self, array: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def place(self, x: torch.Tensor) -> torch.Tensor:
        """Activations, on the device."""
        return x.to(self.device)

    def make_keys(self, seed: int, first: int, count: int) -> torch.Tensor:
        """Keys ``first`` .. of the sequence, made on the device: int64 [count], the bits of the uint64."""
        outputs = torch.zeros(max(2 * count, 1), dtype=torch.int64, device=self.device)
        for index, start in enumerate(lfsr.jump(lfsr.seed_state(seed), 2 * first + 1)):
            states = torch.tensor([start], dtype=torch.int64, device=self.device)
            while len(states) < 2 * count:
                tables = self._put(lfsr.tables(index, len(states)).astype(np.int64))
                ahead = states[: 2 * count - len(states)]
                moved = torch.zeros_like(ahead)
                for byte, table in enumerate(tables):
                    moved ^= table[ahead >> (8 * byte) & BYTE]
                states = torch.cat([states, moved])
            outputs ^= states
        low, high = outputs[: 2 * count].view(count, 2).unbind(1)
        return low | high << 32

    def flip(
        self,
        sample_keys: NDArray[np.uint64] | torch.Tensor,
        planes: Sequence[CoinPlanes] | None = None,
    ) -> list[torch.Tensor]:
        """See ``Golden.flip``; on the device, and of a tensor of ``make_keys`` too."""
        if planes is not None:
            return super().flip(sample_keys, planes)
        if not isinstance(sample_keys, torch.Tensor):
            sample_keys = self._put(sample_keys.view(np.int64))
        coins = []
        places = torch.arange(KEY_BITS, device=self.device)[:, None]
        for taps, levels, signs, first in zip(
            self._taps, self._thresholds, self._signs, self._offsets, strict=True
        ):
            key_bits = (sample_keys[first : first + levels.shape[1]] >> places & 1).to(torch.int32)  # [64, I]
            words = torch.zeros_like(levels)
            for of_bit in taps:  # from the most significant bit on; [J, 3]
                a, b, c = of_bit.unbind(1)
                words = words << 1 | key_bits[a] ^ key_bits[b] ^ key_bits[c]
            coins.append((words < levels) * signs)
        return coins

    def forward(
        self,
        x: torch.Tensor,
        coins: list[torch.Tensor],
        with_loads: bool = False,
        first_loads: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """See ``Golden.forward``: activations uint8 [N, I] and coins of ``flip``, on the device."""
        model = assert_loaded(self.model)
        loads = np.zeros((len(x), len(model.layers), len(LOADS)), dtype=np.int64)
        for index, (flipped, bias) in enumerate(zip(coins, self._wide_biases, strict=True)):
            if with_loads:
                known = first_loads if index == 0 else None
                loads[:, index] = self._loads(x != 0) if known is None else known
            z = (x.to(torch.float32) @ flipped.to(torch.float32).t()).to(torch.int64) + bias
            if index < len(model.shifts):
                shift = model.shifts[index]
                x = (z + (1 << shift >> 1) >> shift).clamp_(0, model.activation_max).to(torch.uint8)
        return z.to(torch.int32).cpu().numpy(), loads

    def _loads(self, nonzero: torch.Tensor) -> NDArray[np.int64]:
        """The cycle model's loads, int64 [N, 3]."""
        rows, banks = nonzero.shape[1], self.geometry.banks
        rest = torch.arange(rows, device=self.device) >= rest_row(rows, self.geometry.lanes)
        spare = ceil_div(rows, banks) * banks - rows
        parts = [
            torch.nn.functional.pad(part, (0, spare)).view(len(part), -1, banks).sum(1).amax(1)
            for part in (nonzero, nonzero & ~rest, nonzero & rest)
        ]
        return torch.stack(parts, 1).cpu().numpy()
