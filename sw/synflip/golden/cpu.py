"""The golden model: the contract in torch and numpy, exact whatever the size of the batch.

Coins are made bit-sliced: bit m of every word of a layer is the XOR of three planes of key bits, one machine
word for 64 rows, and u < T is decided from the least significant plane up. The products are uint8 times int8
into int32; where a processor adds pairs of them in 16 bits first, two are at most 510.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.inference.device import Device, Margin, Progress
from synflip.inference.plan import Plan, plan
from synflip.inference.request import check_first, check_keys, check_request
from synflip.inference.result import Result
from synflip.spec import lfsr
from synflip.spec.coins import threshold, word_taps
from synflip.spec.cycles import LOADS, CycleModel, rest_row
from synflip.spec.geometry import BANKS, Geometry
from synflip.spec.model import IMAGES_AT_ONCE, CompiledModel, Images, Layer
from synflip.spec.sizes import ceil_div, key_offsets
from synflip.uncertainty.scores import lead

KEYS_AT_ONCE = 1 << 18  # bounds the memory that keys take
IMAGES_IN_CACHE = 1024  # activations of so many go through all layers before the next
LEAST_IMAGES = 256  # that are worth a thread


def pack_rows(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """[..., rows] booleans to [..., ceil(rows / 64)] words, row i in bit i % 64 of word i // 64."""
    rows = bits.shape[-1]
    padded = np.zeros((*bits.shape[:-1], -(-rows // 64) * 64), dtype=np.uint8)
    padded[..., :rows] = bits
    return np.packbits(padded, axis=-1, bitorder="little").view(np.uint64)


@dataclass(frozen=True, eq=False)
class CoinPlanes:
    """What is fixed of a layer's coins. J outputs, W = ceil(rows / 64) words.

    taps: intp [k, 3, J]. thresholds: uint64 [k, J, W], the low k bits of T, most significant first.
    always: uint64 [J, W], where T = 2**k. signs: int8 [J, I], 1 or -1.
    """

    taps: NDArray[np.intp]
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
            taps=np.array(taps, dtype=np.intp).transpose(0, 2, 1),
            thresholds=np.stack(
                [pack_rows((levels >> (bits - 1 - bit) & 1).astype(bool)) for bit in range(bits)]
            ),
            always=pack_rows(levels == 1 << bits),
            signs=(1 - 2 * layer.sign.astype(np.int8)),
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


def products(x: torch.Tensor, coins: torch.Tensor) -> torch.Tensor:
    """uint8 [N, I] times int8 [J, I] in -1..1, transposed: int32 [N, J], exact."""
    if 1 in coins.shape:  # torch 2.13's int8 product leaves one row's unset, and may saturate one output's
        return x.to(torch.int32) @ coins.to(torch.int32).t()
    x = x.reshape(-1).view(x.shape)  # one row may come with any stride, which the product would believe
    return torch._int_mm(x, coins.t())


class Golden(Device):
    """The golden model as a device. geometry: the accelerator whose cycles it predicts; predict: whether it
    does. Without, ``cycles`` is -1, and small batches, or any on a GPU, take less time."""

    name = "golden"

    def __init__(self, geometry: Geometry | None = None, predict: bool = True) -> None:
        self.geometry = geometry or Geometry()
        self.predict = predict
        self.model: CompiledModel | None = None
        self._pool: tuple[int, ThreadPoolExecutor] | None = None

    def __enter__(self) -> "Golden":
        return self

    def __exit__(self, *exc: object) -> None:
        self.model = None
        self._end_threads()

    def load(self, model: CompiledModel) -> None:
        """Prepare ``model``. The golden model itself runs any model; cycles are -1 if it would not fit the
        geometry."""
        self.model = model
        self._offsets, self._rows = key_offsets(model.rows)
        self._prepare(model)

    def _prepare(self, model: CompiledModel) -> None:
        """What ``flip`` and ``forward`` need of the model."""
        self._planes = [CoinPlanes.of(layer, model.bits) for layer in model.layers]
        self._halves = [*((1 << shift) >> 1 for shift in model.shifts), 0]
        self._added = [
            torch.from_numpy(layer.bias + half)
            for layer, half in zip(model.layers, self._halves, strict=True)
        ]

    def coins(self, seed: int, sample: int) -> list[torch.Tensor]:
        """Every layer's coins of one network sample: int8 [J, I] each, signed."""
        assert_loaded(self.model)
        return self.flip(lfsr.keys(seed, sample * self._rows, self._rows))

    def make_keys(self, seed: int, first: int, count: int) -> NDArray[np.uint64] | torch.Tensor:
        """Keys ``first`` .. ``first + count - 1`` of the sequence, [count], as ``flip`` takes them."""
        return lfsr.keys(seed, first, count)

    def place(self, x: torch.Tensor) -> torch.Tensor:
        """Activations where ``forward`` wants them."""
        return x

    def first_loads(self, x: torch.Tensor) -> NDArray[np.int64]:
        """The cycle model's loads of the first layer, [N, 3], of activations where ``place`` put them."""
        return bank_loads(x, self.geometry).numpy()

    @property
    def key_rows(self) -> int:
        """R, the keys of one network sample of the loaded model."""
        assert_loaded(self.model)
        return self._rows

    def flip(
        self, sample_keys: NDArray[np.uint64] | torch.Tensor, planes: Sequence[CoinPlanes] | None = None
    ) -> list[torch.Tensor]:
        """Every layer's signed coins from one network sample's keys [R]: int8 [J, I] each.

        planes: of each layer, if they are not to be the contract's.
        """
        assert isinstance(sample_keys, np.ndarray)
        return [
            layer.flip(sample_keys[first : first + layer.signs.shape[1]])
            for layer, first in zip(planes or self._planes, self._offsets, strict=True)
        ]

    def infer(
        self,
        pixels: Images,
        samples: int,
        seed: int,
        margin: Margin | None = None,
        logits: bool = False,
        progress: Progress | None = None,
        keys: NDArray[np.uint64] | None = None,
        keep_keys: bool = False,
        first: int = 0,
    ) -> Result:
        """See ``Device.infer``. ``cycles`` are those that an accelerator of this geometry takes, or -1."""
        model = assert_loaded(self.model)
        model.check_images(pixels)
        limits = check_request(samples, seed, margin)
        check_first(first, samples, margin, keys)
        check_keys(keys, samples, self._rows)

        def sample_keys(start: int, past: int) -> NDArray[np.uint64] | torch.Tensor:
            if keys is not None:
                return keys[start:past]
            number = (first + start) * self._rows
            return self.make_keys(seed, number, (past - start) * self._rows).reshape(-1, self._rows)

        runs: Plan | None = None
        with suppress(SynflipError):  # of a network that does not fit
            if self.predict:
                early = limits is not None
                runs = plan(model, self.geometry, len(pixels), samples, early, logits, keep_keys)
        count, classes = len(pixels), len(model.classes)
        votes = np.zeros((count, classes), dtype=np.int32)
        sums = np.zeros((count, classes), dtype=np.int64)
        used = np.zeros(count, dtype=np.int32)
        kept = np.zeros((samples, count, classes), dtype=np.int32) if logits else None
        block = IMAGES_AT_ONCE if runs is None else max(IMAGES_AT_ONCE // runs.images, 1) * runs.images
        cycles = 0
        for start in range(0, count, block):
            part = slice(start, min(start + block, count))
            cycles += self._infer_block(
                torch.from_numpy(model.activations(pixels[part])),
                samples,
                sample_keys,
                limits,
                runs,
                votes[part],
                sums[part],
                used[part],
                None if kept is None else kept[:, part],
                None
                if progress is None
                else (lambda done, at=start: progress(at * samples + done, count * samples)),
            )
        if not keep_keys:
            keys = None
        elif keys is None:  # wherever this run's were made
            keys = lfsr.keys(seed, first * self._rows, samples * self._rows).reshape(-1, self._rows)
        return Result(votes, sums, used, cycles if runs else -1, kept, model.logit_scale, keys)

    def _infer_block(self, x, samples, sample_keys, limits, runs, votes, sums, used, kept, progress) -> int:  # type: ignore[no-untyped-def]
        model = assert_loaded(self.model)
        clock = RunClock(self.geometry, model, runs, len(x), samples, limits is not None) if runs else None
        active = np.arange(len(x))
        x = batch = self.place(x)
        first_loads = self.first_loads(x)
        together = self.samples_together(len(x), limits is not None)
        at_once = max(KEYS_AT_ONCE // self._rows // together, 1) * together
        for sample in range(samples):
            place = sample % at_once
            if place == 0:
                block_keys = sample_keys(sample, min(sample + at_once, samples))
            if place % together == 0:
                among = active
                some_keys = block_keys[place : place + together]
                results = self.passes(some_keys, batch, clock is not None, first_loads[among])
            z, loads = next(results)
            if len(active) < len(among):
                still = np.searchsorted(among, active)
                z, loads = z[still], loads[still]
            if clock is not None:
                clock.advance(active, loads)
            winners = z.argmax(1)
            votes[active, winners] += 1
            sums[active] += z
            used[active] = sample + 1
            if kept is not None:
                kept[sample, active] = z
            if limits is not None:
                active = active[lead(votes[active]) < limits[sample]]
                batch = x[torch.from_numpy(active).to(x.device)]
            if progress is not None:
                progress((sample + 1) * len(x))
            if not len(active):
                break
        return clock.cycles() if clock is not None else 0

    def samples_together(self, images: int, early: bool) -> int:
        """Network samples that ``passes`` is given at once. early: whether images may stop between them."""
        return 1

    def passes(
        self,
        some_keys: NDArray[np.uint64] | torch.Tensor,
        x: torch.Tensor,
        with_loads: bool = False,
        first_loads: NDArray[np.int64] | None = None,
    ) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int64]]]:
        """What ``forward`` gives of each network sample with keys [S, R]."""
        for keys in some_keys:
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
        model = assert_loaded(self.model)
        logits = np.empty((len(x), len(model.classes)), dtype=np.int32)
        loads = np.zeros((len(x), len(model.layers), len(LOADS)), dtype=np.int64)
        if with_loads and first_loads is not None:
            loads[:, 0] = first_loads
        share = max(ceil_div(len(x), torch.get_num_threads()), LEAST_IMAGES)
        at_once = min(share, IMAGES_IN_CACHE)
        parts = [slice(first, first + at_once) for first in range(0, len(x), at_once)]

        def work(part: slice) -> None:
            for index, (inputs, sums) in enumerate(self._layers(x[part], coins)):
                if with_loads and (index or first_loads is None):
                    loads[part, index] = bank_loads(inputs, self.geometry).numpy()
                z = sums
            logits[part] = z.numpy()

        with single_threaded() as cores:
            if cores == 1 or len(parts) == 1:
                for part in parts:
                    work(part)
            else:
                list(self._threads(cores).map(work, parts))
        return logits, loads

    def _threads(self, cores: int) -> ThreadPoolExecutor:
        """As many threads as there are cores, for blocks of images; kept, for torch's are slow to begin."""
        if self._pool is None or self._pool[0] != cores:
            self._end_threads()
            made = ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,))
            self._pool = cores, made
        return self._pool[1]

    def _end_threads(self) -> None:
        if self._pool is not None:
            self._pool[1].shutdown(cancel_futures=True)
            self._pool = None

    def layers(
        self, x: torch.Tensor, coins: list[torch.Tensor]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Each layer's activations, uint8 [N, I], and z, int32 [N, J]."""
        for (inputs, z), half in zip(self._layers(x, coins), self._halves, strict=True):
            yield inputs, z - half

    def _layers(
        self, x: torch.Tensor, coins: list[torch.Tensor]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """``layers``, but z has what rounds its shift added, and going on to the next layer overwrites it."""
        model = assert_loaded(self.model)
        for index, (flipped, added) in enumerate(zip(coins, self._added, strict=True)):
            z = products(x, flipped)
            z += added
            yield x, z
            if index < len(model.shifts):
                z >>= model.shifts[index]
                x = z.clamp_(0, model.activation_max).to(torch.uint8)


@contextmanager
def single_threaded() -> Iterator[int]:
    """torch with one thread while the block lasts; gives the number of threads before.

    Blocks of images share nothing, so a thread for each is all it takes. torch's own threads wait for each
    other after every operation: on a busy machine for a time slice, and small batches gain nothing by them.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)


@lru_cache(maxsize=64)
def load_members(rows: int, geometry: Geometry) -> torch.Tensor:
    """int8 [LOADS * most banks, rows]: 1 where a row belongs to a load of a bank."""
    places = torch.arange(rows)
    mine = places % geometry.banks == torch.arange(BANKS[-1])[:, None]
    rest = places >= rest_row(rows, geometry.lanes)
    return torch.cat([mine, mine & ~rest, mine & rest]).to(torch.int8)


def bank_loads(x: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """The cycle model's loads, int64 [N, 3], of activations uint8 [N, rows]."""
    events = x.clamp(max=1)  # several times as fast as x != 0
    found = products(events, load_members(x.shape[1], geometry))
    return found.view(len(x), len(LOADS), BANKS[-1]).amax(2).to(torch.int64)


class RunClock:
    """Feeds the cycle model: images of a block are batches of runs side by side, samples are cut into
    chunks."""

    def __init__(
        self, geometry: Geometry, model: CompiledModel, runs: Plan, count: int, samples: int, early: bool
    ) -> None:
        self.images, self.chunk = runs.images, runs.samples
        self.batches = -(-count // runs.images)
        self.samples = samples
        self.sample = 0
        self.total = 0
        self._fresh = lambda: CycleModel(geometry, model.rows, model.outputs, self.batches, early)
        self._model = self._fresh()

    def advance(self, active: NDArray[np.intp], loads: NDArray[np.int64]) -> None:
        """One network sample: ``loads`` [len(active), layers, 3] of the images that are still in."""
        if self.sample and self.sample % self.chunk == 0:
            self.total += int(self._model.cycles().sum())
            self._model = self._fresh()
        run, slot = active // self.images, active % self.images
        spread = np.zeros((self.images, self.batches, *loads.shape[1:]), dtype=np.int64)
        spread[slot, run] = loads
        mask = np.zeros((self.images, self.batches), dtype=bool)
        mask[slot, run] = True
        self._model.advance(spread, mask)
        self.sample += 1

    def cycles(self) -> int:
        """Cycles of all runs so far."""
        return self.total + int(self._model.cycles().sum())


def assert_loaded(model: CompiledModel | None) -> CompiledModel:
    """The model, or SynflipError if none was loaded."""
    if model is None:
        raise SynflipError("no model loaded; call load(model) first")
    return model
