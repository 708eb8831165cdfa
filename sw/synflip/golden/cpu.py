"""The golden model: the contract in torch and numpy, exact whatever the size of the batch.

Coins are made bit-sliced: bit m of every word of a layer is the XOR of three planes of key bits, one machine
word for 64 rows, and u < T is decided from the least significant plane up. All is computed in the way that
the processor is fast with (``synflip.golden.products``); every way is exact.

Memory, beside what a request asks to keep (votes, sums, logits, keys), depends on neither N nor S. A run
holds the pixels and activations of ``images_at_once`` images, 64 MiB of each at most, and KEYS_AT_ONCE keys.
Each thread holds what the layers make of ``images_in_cache`` images, and TAP_BYTES of taps and sums. The
CIFAR-10 network 32x32x3-32-64-128 (3x3, pools of 2x2) takes up to 44 KB an image and layer, so 190 images and
8 MiB.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.golden.kernels import TAP_BYTES, CoinPlanes, convolved
from synflip.golden.parts_clock import PartsClock
from synflip.golden.products import kernels_for
from synflip.golden.run_clock import RunClock
from synflip.inference.device import Device, loaded
from synflip.inference.parts import Parts, runs_of
from synflip.inference.plan import Plan
from synflip.inference.request import InferenceRequest, Progress
from synflip.inference.result import Result, Tally
from synflip.spec import lfsr
from synflip.spec.cycles import LOADS
from synflip.spec.geometry import Geometry
from synflip.spec.maps import segment_loads
from synflip.spec.model import CompiledModel, images_at_once
from synflip.spec.sizes import ceil_div, key_offsets, padded_rows
from synflip.uncertainty.scores import lead
from synflip.util.threads import one_thread

KEYS_AT_ONCE = 1 << 18  # bounds the memory that keys take
IMAGES_IN_CACHE = 1024  # at most
LEAST_IMAGES = 256  # that are worth a thread
MAP_BYTES = 1 << 23  # of a convolution's activations and sums: of so many images at once

#: Called with some images, the number of a layer, and what enters it: activations uint8 [N, inputs].
Watch = Callable[[slice, int, torch.Tensor], None]


def images_in_cache(model: CompiledModel) -> int:
    """How many images go through all layers before the next: of a convolution's activations (a byte each) and
    sums (four) MAP_BYTES, unless one image has more."""
    maps = [layer.inputs + 5 * layer.width for layer in model.layers if layer.convolution is not None]
    return min(IMAGES_IN_CACHE, max(MAP_BYTES // max(maps, default=1), 1))


class Golden(Device):
    """The golden model as a device. geometry: the accelerator whose cycles it predicts; predict: whether it
    does. Without, ``cycles`` is -1, and small batches, or any on a GPU, take less time. Those of networks in
    parts are predicted only if ``geometry`` is given, because counting their events takes longer than the
    network itself. way: how it computes, a name of ``synflip.golden.products``; None: as this processor
    does it best.

    Raises SynflipError for a way that does not run here.
    """

    name = "golden"
    tap_bytes = TAP_BYTES

    def __init__(
        self, geometry: Geometry | None = None, predict: bool = True, way: str | None = None
    ) -> None:
        if way is not None:
            kernels_for(way)
        self._way = way
        self.geometry = geometry or Geometry()
        self.predict = predict
        self.predicts_parts = geometry is not None
        self._pool: tuple[int, ThreadPoolExecutor] | None = None

    def close(self) -> None:
        """Free the model and the threads."""
        self.model = None
        self._end_threads()

    def prepare(self, model: CompiledModel) -> None:
        """Make ``model`` the one that runs. The golden model runs any model; ``cycles`` are -1 where an
        accelerator of the geometry would refuse it."""
        self.model = model
        self._offsets, self._rows = key_offsets(model.rows)
        halves = [*((1 << shift) >> 1 for shift in model.shifts), 0]
        self._added = [
            self.place(torch.from_numpy(layer.bias + half))
            for layer, half in zip(model.layers, halves, strict=True)
        ]
        self._prepare(model)

    def _prepare(self, model: CompiledModel) -> None:
        """What ``flip`` and ``forward`` need of the model beside its biases."""
        self._kernels = kernels_for(self._way)[1]
        self._planes = [CoinPlanes.of(layer, model.bits) for layer in model.layers]

    def coins(self, seed: int, sample: int) -> list[torch.Tensor]:
        """Every layer's coins of one network sample: int8 [J, I] each, signed."""
        loaded(self.model)
        return self.flip(lfsr.keys(seed, sample * self._rows, self._rows))

    def make_keys(self, seed: int, first: int, count: int) -> NDArray[np.uint64] | torch.Tensor:
        """Keys ``first`` .. ``first + count - 1`` of the sequence, [count], as ``flip`` takes them."""
        return lfsr.keys(seed, first, count)

    def place(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` where ``forward`` wants it."""
        return x

    def multiply(self, x: torch.Tensor, coins: torch.Tensor) -> torch.Tensor:
        """Activations [N, I] times coins [J, I], transposed: int32 [N, J], exact."""
        return self._kernels.multiply(x, coins)

    def first_loads(self, x: torch.Tensor) -> NDArray[np.int64]:
        """The cycle model's loads of the first layer, [N, 3], of activations where ``place`` put them."""
        return self._kernels.loads(x, self.geometry).numpy()

    @property
    def key_rows(self) -> int:
        """R, the keys of one network sample of the loaded model."""
        loaded(self.model)
        return self._rows

    def flip(
        self, sample_keys: NDArray[np.uint64] | torch.Tensor, planes: Sequence[CoinPlanes] | None = None
    ) -> list[torch.Tensor]:
        """Every layer's signed coins from one network sample's keys [R]: int8 [J, I] each.

        planes: of each layer, if they are not to be the contract's.
        """
        assert isinstance(sample_keys, np.ndarray)
        return [
            self._kernels.flip(layer, sample_keys[first : first + layer.signs.shape[1]])
            for layer, first in zip(planes or self._planes, self._offsets, strict=True)
        ]

    def run(self, request: InferenceRequest, progress: Progress | None = None) -> Result:
        """Carry out a request. ``cycles`` are those that an accelerator of this geometry takes, or -1."""
        model, pixels = request.model, request.pixels
        runs = self._runs(request)
        count = len(pixels)
        classes, soft = len(model.classes), request.tables is not None
        tally = Tally.zeros(request.samples, count, classes, request.logits, soft)
        if isinstance(runs, Parts):
            blocks = runs.image_blocks(count)
        else:
            block = images_at_once(model.inputs)
            if runs is not None:
                block = max(block // runs.images, 1) * runs.images
            blocks = [range(start, min(start + block, count)) for start in range(0, count, block)]
        cycles = 0
        for images in blocks:
            part = slice(images.start, images.stop)
            x = torch.from_numpy(model.activations(pixels[part]))
            cycles += self._run_block(request, x, runs, tally.of(part), images.start, progress)
        keys = request.sample_keys if request.keep_keys else None  # whoever made this run's keys
        return tally.result(cycles if runs else -1, model, keys)

    def _runs(self, request: InferenceRequest) -> Plan | Parts | None:
        """The runs whose cycles are predicted; None of a request that an accelerator refuses, and of one
        whose cycles depend on how fast keys come from the host."""
        if not self.predict:
            return None
        try:
            runs = runs_of(request, self.geometry)
        except SynflipError:
            return None
        if isinstance(runs, Parts) and not (self.predicts_parts and runs.predictable):
            return None
        if request.model.convolutional and not self.predicts_parts:
            return None
        return runs

    def _keys_of(self, request: InferenceRequest, start: int, past: int) -> NDArray[np.uint64] | torch.Tensor:
        """Keys of the request's network samples start .. past - 1, [past - start, R], as ``flip`` takes
        them."""
        if request.keys is not None:
            return request.keys[start:past]
        number = (request.first + start) * self._rows
        return self.make_keys(request.seed, number, (past - start) * self._rows).reshape(-1, self._rows)

    def _run_block(
        self,
        request: InferenceRequest,
        x: torch.Tensor,
        runs: Plan | Parts | None,
        tally: Tally,
        start: int,
        progress: Progress | None,
    ) -> int:
        """All network samples of a block of images, added to ``tally``; the cycles that they take.

        x: uint8 [N, I], activations of the images. runs: None if no cycles are predicted. start: number of
        the block's first image.
        """
        samples, limits = request.samples, request.limits
        clock: RunClock | PartsClock | None = None
        active = np.arange(len(x))
        x = self.place(x)
        together = self.samples_together(len(x), request.early)
        # Images that leave inside such a block run to its end, and their results are dropped.
        blocks: Iterator[range]
        blocks = (range(first, first + together) for first in range(0, samples, together))
        if isinstance(runs, Parts):
            clock = PartsClock(runs, self._kernels)
            blocks = runs.sample_blocks(len(x), samples, request.early)
            first_loads = clock.loads(0, x)
        elif runs:
            clock = RunClock(self.geometry, request.model, runs, len(x), samples, request.early)
            first_loads = np.zeros((len(x), len(LOADS)), dtype=np.int64)
            if not clock.programs:
                first_loads = self.first_loads(x)
        else:
            first_loads = np.zeros((len(x), len(LOADS)), dtype=np.int64)
        until = 0
        segments: dict[int, NDArray[np.int64]] = {}
        at_once = max(KEYS_AT_ONCE // self._rows // together, 1) * together
        for sample in range(samples):
            place = sample % at_once
            if place == 0:
                block_keys = self._keys_of(request, sample, min(sample + at_once, samples))
            if sample == until:
                until = next(blocks).stop
                among = active
                batch = x if len(among) == len(x) else x[torch.from_numpy(among).to(x.device)]
            if isinstance(clock, PartsClock):
                loads = first_loads[among]
                z = self._parts_pass(block_keys[place], batch, clock, loads)
            elif isinstance(clock, RunClock) and clock.programs:
                z, loads, segments = self._maps_pass(block_keys[place], batch, clock)
            else:
                if place % together == 0:
                    sample_keys = block_keys[place : place + together]
                    results = self.passes(sample_keys, batch, clock is not None, first_loads[among])
                z, loads = next(results)
            if len(active) < len(among):
                still = np.searchsorted(among, active)
                z, loads = z[still], loads[still]
                segments = {index: mine[still] for index, mine in segments.items()}
            if isinstance(clock, RunClock):
                clock.advance(active, loads, segments)
            winners = z.argmax(1)
            tally.votes[active, winners] += 1
            tally.logit_sums[active] += z
            tally.add_soft(request.tables, active, z)
            tally.used[active] = sample + 1
            if tally.logits is not None:
                tally.logits[sample, active] = z
            if limits is not None:
                active = active[lead(tally.votes[active]) < limits[sample]]
            if progress is not None:
                progress(start * samples + (sample + 1) * len(x), len(request.pixels) * samples)
            if not len(active) and (sample + 1 == until or not isinstance(clock, PartsClock)):
                break
        return clock.cycles() if clock is not None else 0

    def _parts_pass(
        self,
        keys: NDArray[np.uint64] | torch.Tensor,
        x: torch.Tensor,
        clock: PartsClock,
        first: NDArray[np.int64],
    ) -> NDArray[np.int32]:
        """Logits int32 [N, C] of a network sample in parts, which ``clock`` counts. first: the loads of the
        first layer."""
        loads = [first, *(clock.empty(index, len(x)) for index in range(1, len(self._planes)))]

        def watch(part: slice, index: int, inputs: torch.Tensor) -> None:
            if index:
                loads[index][part] = clock.loads(index, inputs)

        z = self._through(x, self.flip(keys), watch)
        clock.advance(loads)
        return z

    def _maps_pass(
        self, keys: NDArray[np.uint64] | torch.Tensor, x: torch.Tensor, clock: RunClock
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], dict[int, NDArray[np.int64]]]:
        """Of a network sample with convolutions on the array: logits int32 [N, C], loads [N, layers, 3] of
        the dense layers, and the events of the fullest bank of each convolution's segments, [N, segments]."""
        model, banks = loaded(self.model), self.geometry.banks
        loads = np.zeros((len(x), len(model.layers), len(LOADS)), dtype=np.int64)
        segments = {}
        for index, program in enumerate(clock.programs):
            if program is not None:
                blocks = padded_rows(model.rows[index]) // banks
                segments[index] = np.full((len(x), len(program)), blocks, dtype=np.int64)

        def watch(part: slice, index: int, inputs: torch.Tensor) -> None:
            place, program = model.layers[index].convolution, clock.programs[index]
            if place is None or program is None:
                loads[part, index] = self._kernels.loads(inputs, self.geometry).numpy()
            elif index:
                segments[index][part] = segment_loads(inputs.numpy(), place, program, banks)

        return self._through(x, self.flip(keys), watch), loads, segments

    # What a device of another kind does in its own way: ``_prepare``, ``make_keys``, ``place``, ``multiply``,
    # ``first_loads``, ``samples_together``, ``passes``, ``flip`` and ``forward``.

    def samples_together(self, images: int, early: bool) -> int:
        """Network samples that ``passes`` is given at once. early: whether images may stop between them."""
        return 1

    def passes(
        self,
        sample_keys: NDArray[np.uint64] | torch.Tensor,
        x: torch.Tensor,
        with_loads: bool = False,
        first_loads: NDArray[np.int64] | None = None,
    ) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int64]]]:
        """What ``forward`` gives of each network sample with keys [S, R]."""
        for keys in sample_keys:
            yield self.forward(x, self.flip(keys), with_loads, first_loads)

    def forward(
        self,
        x: torch.Tensor,
        coins: list[torch.Tensor],
        with_loads: bool = False,
        first_loads: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Activations uint8 [N, I] through one flipped network: logits int32 [N, C], and the cycle
        model's loads, int64 [N, layers, 3] (zeros unless ``with_loads``).

        first_loads: int64 [N, 3], those of the first layer, if they are known.
        """
        loads = np.zeros((len(x), len(loaded(self.model).layers), len(LOADS)), dtype=np.int64)
        if with_loads and first_loads is not None:
            loads[:, 0] = first_loads

        def watch(part: slice, index: int, inputs: torch.Tensor) -> None:
            if with_loads and (index or first_loads is None):
                loads[part, index] = self._kernels.loads(inputs, self.geometry).numpy()

        return self._through(x, coins, watch), loads

    def _through(self, x: torch.Tensor, coins: list[torch.Tensor], watch: Watch) -> NDArray[np.int32]:
        """Logits int32 [N, C] of activations uint8 [N, I] through one flipped network. watch: sees what
        enters each layer, block by block of images."""
        model = loaded(self.model)
        logits = np.empty((len(x), len(model.classes)), dtype=np.int32)
        share = max(ceil_div(len(x), torch.get_num_threads()), LEAST_IMAGES)
        at_once = min(share, images_in_cache(model))
        parts = [slice(first, first + at_once) for first in range(0, len(x), at_once)]

        def work(part: slice) -> None:
            for index, (inputs, sums) in enumerate(self._layers(x[part], coins)):
                watch(part, index, inputs)
                z = sums
            logits[part] = (z + self._added[-1]).numpy()

        with one_thread() as cores:
            if cores == 1 or len(parts) == 1:
                for part in parts:
                    work(part)
            else:
                list(self._threads(cores).map(work, parts))
        return logits

    def _threads(self, cores: int) -> ThreadPoolExecutor:
        """As many threads as there are cores, for blocks of images; kept, for torch's are slow to begin."""
        if self._pool is None or self._pool[0] != cores:
            self._end_threads()
            threads = ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,))
            self._pool = cores, threads
        return self._pool[1]

    def _end_threads(self) -> None:
        if self._pool is not None:
            self._pool[1].shutdown(cancel_futures=True)
            self._pool = None

    def layers(
        self, x: torch.Tensor, coins: list[torch.Tensor]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Each layer's activations, uint8 [N, I], and z, int32 [N, J]; of a convolution uint8 [N, H * W * C],
        and int32 [N, H' * W' * J], the largest z of each pool window."""
        for (inputs, z), layer in zip(self._layers(x, coins), loaded(self.model).layers, strict=True):
            bias = self.place(torch.from_numpy(layer.bias))
            yield inputs, (z.unflatten(-1, (-1, layer.outputs)) + bias).flatten(-2)

    def _layers(
        self, x: torch.Tensor, coins: list[torch.Tensor]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """``layers``, but z is without biases, and going on to the next layer may overwrite it."""
        model = loaded(self.model)
        for index, (layer, flipped, added) in enumerate(zip(model.layers, coins, self._added, strict=True)):
            if layer.convolution is None:
                z = self.multiply(x, flipped)
            else:
                z = convolved(x, flipped, layer.convolution, self.multiply, self.tap_bytes)
            yield x, z
            if index < len(model.shifts):
                shift = model.shifts[index]
                x = self._kernels.requantise(z, added, shift, model.activation_max).to(x.dtype)
