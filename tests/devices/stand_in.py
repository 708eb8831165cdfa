"""An accelerator in plain Python, as far as networks in parts ask: memories, taps, log, sums."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from synflip.inference.plan import input_shift
from synflip.spec import lfsr
from synflip.spec.coins import key_words, threshold, widen
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import OFFSET_BITS, Region
from synflip.spec.model import CompiledModel
from synflip.spec.sizes import address_bits, ceil_div, key_offsets, log2_ceil, padded_rows


class StandIn:
    """It asserts that nothing goes beyond its memories."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry, self.transport = geometry, self
        self.entries: dict[int, tuple[int, int]] = {}  # of the weights: network, place in it
        self.images = np.zeros((geometry.image_slots, 0), np.uint8)
        self.run_cycles = 1
        self.images_of_run = 0

    def _sizes(self, model: CompiledModel) -> tuple[int, int]:
        tiles = [ceil_div(layer.outputs, self.geometry.lanes) for layer in model.layers]
        entries = sum(
            tile * padded_rows(rows) // self.geometry.banks
            for tile, rows in zip(tiles, model.rows, strict=True)
        )
        return entries, sum(tiles) * self.geometry.lanes // self.geometry.banks

    def write_weights(self, model: CompiledModel, weight_base: int = 0, bias_base: int = 0) -> None:
        entries, groups = self._sizes(model)
        assert weight_base + entries <= self.geometry.weight_depth
        assert bias_base + groups <= self.geometry.bias_depth
        self.entries |= {weight_base + place: (id(model), place) for place in range(entries)}

    def place(self, model: CompiledModel, weight_base: int = 0, bias_base: int = 0, lead: int = 0) -> None:
        entries, _ = self._sizes(model)
        assert [self.entries[weight_base + place] for place in range(entries)] == [
            (id(model), place) for place in range(entries)
        ]
        assert len(model.layers) <= self.geometry.layer_depth
        assert not lead or len(model.layers) == 1
        self.model, self.lead = model, lead

    def write_settings(
        self, model: CompiledModel, early: bool, log: bool, host_keys: bool, classes: int = 0
    ) -> None:
        geometry = self.geometry
        assert not early and classes == self.lead * geometry.lanes + len(model.classes)
        assert classes <= geometry.hidden_depth * geometry.banks
        self.log, self.host_keys, self.classes = log, host_keys, classes

    def write_images(self, first_slot: int, x: np.ndarray, zeros: bool = False) -> None:
        geometry = self.geometry
        assert x.dtype == np.uint8 and x.shape[1] == self.model.rows[0]
        assert first_slot + len(x) <= geometry.image_slots
        assert (first_slot + len(x)) << input_shift(x.shape[1], geometry) <= geometry.event_depth
        self.images = x

    @contextmanager
    def run_slots(
        self,
        slot: int,
        images: int,
        samples: int,
        seed: int,
        first_key: int,
        host_keys: bool,
        again: bool = False,
    ) -> Iterator[None]:
        assert (slot, images, samples, host_keys) == (0, len(self.images), 1, self.host_keys)
        assert not again or images == self.images_of_run
        self.images_of_run = images
        offsets, count = key_offsets(self.model.rows)
        assert count <= self.geometry.key_depth * self.geometry.banks
        self.keys = lfsr.keys(seed, first_key, count)
        yield
        assert len(self.keys) == count
        x = self.images.astype(np.int64)
        for index, (layer, offset) in enumerate(zip(self.model.layers, offsets, strict=True)):
            before = self.lead * self.geometry.lanes
            words = key_words(
                self.keys[offset : offset + layer.rows], before + layer.outputs, self.geometry.bits
            )
            heads = (
                threshold(widen(layer.q, self.model.bits, self.geometry.bits), self.geometry.bits)
                > words[:, before:].T
            )
            sums = x @ (heads * (1 - 2 * layer.sign.astype(np.int64))).T
            limit = 1 << (self.geometry.accumulator_bits - 1)
            assert not sums.size or -limit <= sums.min() <= sums.max() < limit
            z = sums + layer.bias
            if index < len(self.model.shifts):
                shift = self.model.shifts[index]
                x = np.clip((z + ((1 << shift) >> 1)) >> shift, 0, self.model.activation_max)
        unused = np.full((len(z), before), 77)
        self.z = np.concatenate([unused, z], axis=1).astype(np.int32)

    def feed_keys(self, keys: np.ndarray) -> None:
        assert self.host_keys
        self.keys = keys[0]

    def read(self, address: int, count: int) -> np.ndarray:
        region, offset = address >> OFFSET_BITS, address & (1 << OFFSET_BITS) - 1
        geometry = self.geometry
        if region == Region.LOG:
            assert self.log and self.z.size <= geometry.log_depth
            words = self.z.reshape(-1)
        else:
            assert region == Region.SUMS and len(self.z) == 1
            assert log2_ceil(self.classes) <= 10 and offset + count <= 2 * geometry.result_depth
            span = 1 << address_bits(geometry.result_depth)
            words = np.zeros(2 * span, dtype=np.int32)
            for class_, value in enumerate(self.z[0]):  # later classes over earlier ones
                words[2 * (class_ % span)] = value
        return words[offset : offset + count].view(np.uint32)
