"""The golden model with everything on one torch device: keys, words, coins and products. For a GPU.

Coins are made bit-sliced, as the golden model makes them, for several network samples at once. Products are
float32. They are exact: activations are at most 255 and coins -1, 0 or 1, so a product of R rows and every
sum on the way to it is an integer of at most 255 R, which float32 holds up to 2**24, in whatever order it is
added up. On a GPU they go through the matrix units, as TF32: that keeps eleven bits of a factor, of which 255
needs eight. ``load`` refuses layers of more rows; a kernel of the contract never has as many.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import pad

from synflip.errors import DeviceError, SynflipError
from synflip.golden.cpu import Golden
from synflip.golden.kernels import CoinPlanes, Kernels, load_members
from synflip.golden.products import MOST_ROWS
from synflip.inference.device import loaded
from synflip.inference.request import InferenceRequest, Progress
from synflip.inference.result import Result
from synflip.spec import lfsr
from synflip.spec.cycles import LOADS
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel
from synflip.spec.sizes import ceil_div
from synflip.util.text import first_line, one_line

BYTE = 255
WORD = 64  # bits of a key, and rows in a word of CoinPlanes
FAN = 16  # times as many keys are there after a step of make_keys
TOGETHER, TOGETHER_EARLY = 32, 4  # network samples at once; those after an image's last are in vain
MEMORY, WIDE = 1 << 30, 20  # bytes for them, roughly; what a synapse and what an activation of an image take
TAP_BYTES = MEMORY >> 2  # of taps and sums that a convolution makes at once
_OF_GPU = ("CUDA", "CUBLAS", "CUDNN", "NVML")  # one of them is in every message of torch on a GPU


@contextmanager
def _matrix_units() -> Iterator[None]:
    """While the block or function lasts, a GPU multiplies float32 as TF32, several times as fast."""
    setting = torch.backends.cuda.matmul
    before = setting.fp32_precision
    setting.fp32_precision = "tf32"
    try:
        yield
    finally:
        setting.fp32_precision = before


@contextmanager
def _failures(name: str) -> Iterator[None]:
    """A GPU that fails, or has not enough memory, raises DeviceError in one line; a defect stays as it is."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise DeviceError(
            f"{name}: the GPU has not enough memory; do other programs use it? Else take fewer images"
        ) from None
    except RuntimeError as error:  # cuBLAS and older calls have no class of their own
        if not isinstance(error, torch.AcceleratorError) and not any(word in str(error) for word in _OF_GPU):
            raise
        raise DeviceError(f"{name}: the GPU failed: {one_line(first_line(error))}") from None


class _Placed(NamedTuple):
    """``CoinPlanes`` on the device, as int64: taps [k, 3 J], thresholds [k, J, W], always [J, W]; signs int8
    [J, I]."""

    taps: torch.Tensor
    thresholds: torch.Tensor
    always: torch.Tensor
    signs: torch.Tensor


class CudaGolden(Golden):
    """The golden model on ``device``, such as ``cuda`` or ``cpu``. Raises SynflipError if there is none, and
    DeviceError if it fails or has not enough memory, also while it runs."""

    tap_bytes = TAP_BYTES

    def __init__(self, geometry: Geometry | None = None, device: str = "cuda", predict: bool = True) -> None:
        super().__init__(geometry, predict)
        self.predicts_parts = False
        self.name = device
        if device == "cuda" and not torch.cuda.is_available():
            raise SynflipError("torch finds no CUDA GPU here; --device golden runs on the processor")
        self.device = torch.device(device)
        with _failures(device):  # the first tensor opens it
            self._places = torch.arange(WORD, device=self.device)
        self._bit_places = torch.arange(8, dtype=torch.uint8, device=self.device)
        bytes_of_state = torch.arange(4, device=self.device)
        self._byte_places = 8 * bytes_of_state[:, None]
        self._table_places = (BYTE + 1) * (4 * bytes_of_state[:, None, None] + bytes_of_state[:, None])
        self._made_jumps: dict[int, torch.Tensor] = {}

    def prepare(self, model: CompiledModel) -> None:
        """Make ``model`` the one that runs, on the device.

        Raises SynflipError if a layer's sums would not be exact.
        """
        if max(model.rows) > MOST_ROWS:
            raise SynflipError(f"{max(model.rows)} rows: sums in float32 are exact up to {MOST_ROWS}")
        with _failures(self.name):
            super().prepare(model)

    def run(self, request: InferenceRequest, progress: Progress | None = None) -> Result:
        """As the golden model. Raises DeviceError too."""
        with _failures(self.name):
            return super().run(request, progress)

    def _prepare(self, model: CompiledModel) -> None:
        """What ``flip`` and ``forward`` need of the model, on the device."""
        self._kernels = Kernels(self.multiply)
        self._placed = [
            _Placed(
                self._put(planes.taps.reshape(model.bits, -1)),
                self._put(planes.thresholds.view(np.int64)),
                self._put(planes.always.view(np.int64)),
                self._put(planes.signs),
            )
            for planes in (CoinPlanes.of(layer, model.bits) for layer in model.layers)
        ]
        self._of_image = WIDE * (model.inputs + sum(layer.width for layer in model.layers))
        self._members = [
            load_members(rows, self.geometry).to(self.device, torch.float32).t() for rows in model.rows
        ]

    def _put(self, array: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def place(self, x: torch.Tensor) -> torch.Tensor:
        """``x``, on the device."""
        return x.to(self.device)

    @_matrix_units()
    def multiply(self, x: torch.Tensor, coins: torch.Tensor) -> torch.Tensor:
        """Activations float32 [N, I] or [S, N, I] times coins float32 [S, J, I]: int32 [S, N, J], exact."""
        return (x @ coins.mT).to(torch.int32)

    def first_loads(self, x: torch.Tensor) -> NDArray[np.int64]:
        """The cycle model's loads of the first layer, int64 [N, 3], of activations on the device."""
        return self._loads(x.to(torch.float32), 0).cpu().numpy().astype(np.int64)

    def make_keys(self, seed: int, first: int, count: int) -> torch.Tensor:
        """Keys ``first`` .. of the sequence, made on the device: int64 [count], the bits of the uint64."""
        start = lfsr.jump(lfsr.seed_state(seed), 2 * first + 1)
        states = torch.tensor(start, dtype=torch.int64, device=self.device)[:, None]  # [4, of so many steps]
        while (ready := states.shape[1]) < 2 * count:
            times = min(ceil_div(2 * count, ready), FAN)
            indices = (states[:, None] >> self._byte_places & BYTE) + self._table_places  # [4, 4, ready]
            a, b, c, d = self._jumps(ready)[: times - 1, indices].unbind(2)
            states = torch.cat([states[None], a ^ b ^ c ^ d]).transpose(0, 1).reshape(4, times * ready)
        a, b, c, d = states[:, : 2 * count]
        low, high = (a ^ b ^ c ^ d).view(count, 2).unbind(1)
        return low | high << 32

    def _jumps(self, steps: int) -> torch.Tensor:
        """``lfsr.tables`` of every component, of 1 .. FAN - 1 times ``steps``: int64 [FAN - 1, 4096]."""
        if steps not in self._made_jumps:
            tables = [
                [lfsr.tables(index, times * steps) for index in range(len(lfsr.COMPONENTS))]
                for times in range(1, FAN)
            ]
            self._made_jumps[steps] = self._put(np.array(tables, dtype=np.int64).reshape(FAN - 1, -1))
        return self._made_jumps[steps]

    def samples_together(self, images: int, early: bool) -> int:
        """Network samples that ``passes`` is given at once: as many as memory allows, for a GPU waits for its
        orders. images: of the batch. early: whether images may stop between samples."""
        model = loaded(self.model)
        synapses = sum(layer.q.size for layer in model.layers)
        taken = synapses * WIDE + images * self._of_image
        return max(min(MEMORY // taken, TOGETHER_EARLY if early else TOGETHER), 1)

    def flip(
        self,
        sample_keys: NDArray[np.uint64] | torch.Tensor,
        planes: Sequence[CoinPlanes] | None = None,
    ) -> list[torch.Tensor]:
        """Every layer's signed coins from one network sample's keys [R]: int8 [J, I] each, on the device.

        sample_keys: an array, or a tensor of ``make_keys``. planes: of each layer, if they are not to be the
        contract's.
        """
        if planes is not None:
            return super().flip(sample_keys, planes)
        return [coins[0] for coins in self._flip(sample_keys[None])]

    def forward(
        self,
        x: torch.Tensor,
        coins: list[torch.Tensor],
        with_loads: bool = False,
        first_loads: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Activations uint8 [N, I] through one flipped network, both on the device: logits int32 [N, C], and
        the cycle model's loads, int64 [N, layers, 3] (zeros unless ``with_loads``).

        first_loads: int64 [N, 3], those of the first layer, if they are known.
        """
        z, loads = self._forward(x, [flipped[None] for flipped in coins], with_loads, first_loads)
        return z[0], loads[0]

    def passes(
        self,
        sample_keys: NDArray[np.uint64] | torch.Tensor,
        x: torch.Tensor,
        with_loads: bool = False,
        first_loads: NDArray[np.int64] | None = None,
    ) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int64]]]:
        """What ``forward`` gives of each network sample with keys [S, R], computed all at once."""
        return zip(*self._forward(x, self._flip(sample_keys), with_loads, first_loads), strict=True)

    def _flip(self, sample_keys: NDArray[np.uint64] | torch.Tensor) -> list[torch.Tensor]:
        """``flip`` of S network samples with keys [S, R]: int8 [S, J, I] each."""
        if not isinstance(sample_keys, torch.Tensor):
            sample_keys = self._put(sample_keys.view(np.int64))
        coins = []
        for layer, first in zip(self._placed, self._offsets, strict=True):
            outputs, rows = layer.signs.shape
            planes = self._key_planes(sample_keys[:, first : first + rows])
            below = torch.zeros_like(layer.always)
            for taps, level in zip(reversed(layer.taps), reversed(layer.thresholds), strict=True):
                a, b, c = planes.index_select(1, taps).unflatten(1, (3, outputs)).unbind(1)
                word = a ^ b ^ c
                below = below & ~(word ^ level) | ~word & level
            below = below | layer.always
            heads = below.view(torch.uint8)[..., None] >> self._bit_places & 1  # [S, J, 8 W, 8]
            coins.append(heads.flatten(2)[..., :rows].view(torch.int8) * layer.signs)
        return coins

    def _key_planes(self, keys: torch.Tensor) -> torch.Tensor:
        """Keys [S, I] by their bits: int64 [S, 64, W], row i's bit in bit i % 64 of word i // 64."""
        words = pad(keys, (0, -keys.shape[1] % WORD)).unflatten(1, (1, -1, WORD))  # [S, 1, W, 64]
        bits = words >> self._places[:, None, None] & 1  # [S, 64, W, 64]
        return (bits << self._places).sum(-1)

    def _forward(
        self,
        x: torch.Tensor,
        coins: list[torch.Tensor],
        with_loads: bool,
        first_loads: NDArray[np.int64] | None,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """``forward`` through S flipped networks: activations [N, I], coins [S, J, I] each. As many images at
        once as MEMORY holds, so that the memory depends on neither N nor S."""
        weights = [flipped.to(torch.float32) for flipped in coins]
        at_once = max(MEMORY // (self._of_image * len(coins[0])), 1)
        parts = [slice(first, first + at_once) for first in range(0, max(len(x), 1), at_once)]
        passed = [
            self._pass(x[part], weights, with_loads, None if first_loads is None else first_loads[part])
            for part in parts
        ]
        logits, loads = (np.concatenate(arrays, axis=1) for arrays in zip(*passed, strict=True))
        return logits, loads

    def _pass(
        self,
        x: torch.Tensor,
        weights: list[torch.Tensor],
        with_loads: bool,
        first_loads: NDArray[np.int64] | None,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """``_forward`` of images that go through at once. weights: coins [S, J, I], as they are
        multiplied."""
        model = loaded(self.model)
        samples = len(weights[0])
        found = []
        for index, (wide, sums) in enumerate(self._layers(x.to(torch.float32), weights)):
            if with_loads and (index or first_loads is None):
                found.append(self._loads(wide, index).expand(samples, -1, -1))
            z = sums
        loads = np.zeros((samples, len(x), len(model.layers), len(LOADS)), dtype=np.int64)
        if with_loads and first_loads is not None:
            loads[:, :, 0] = first_loads
        if found:
            loads[:, :, -len(found) :] = torch.stack(found, 2).cpu().numpy()
        return (z + self._added[-1]).cpu().numpy(), loads

    @_matrix_units()
    def _loads(self, x: torch.Tensor, layer: int) -> torch.Tensor:
        """The cycle model's loads, float32 [..., N, 3], of activations float32 [..., N, I]."""
        found = x.clamp(max=1) @ self._members[layer]
        return found.unflatten(-1, (len(LOADS), -1)).amax(-1)
