"""A network that the accelerator has no room for: its parts one after the other, the rest done by the host.

``synflip.inference.parts`` says which parts there are. Between them the host adds the sums of rows, rounds,
shifts, clamps and pools, and counts the votes. None of this is the golden model's code, which judges it.
"""

import numpy as np
from numpy.typing import NDArray

from synflip.devices.engine import Engine
from synflip.inference.parts import NetworkPart, Parts, Stage
from synflip.inference.request import InferenceRequest, Progress
from synflip.inference.result import Result, Tally
from synflip.spec import lfsr
from synflip.spec.convolution import Convolution
from synflip.spec.memory_map import Region, address
from synflip.spec.model import CompiledModel
from synflip.spec.sizes import KEY_BITS, address_bits, key_offsets
from synflip.uncertainty.scores import lead


def run(device: Engine, parts: Parts, request: InferenceRequest, progress: Progress | None = None) -> Result:
    """Carry out a request part by part: votes, sums, samples used, logits and keys as if the network fitted.

    parts: of the request's model. progress: called with (done, total), in network samples times images.
    ``cycles`` are the sum over all runs; -1 if some of them waited for keys that the host had to send.
    Ctrl-C leaves the device idle. Raises SynflipError for a run that does not end, and BusError.
    """
    return PartedRun(device, parts, request, progress).result()


class PartedRun:
    """One request. cycles: of all runs so far."""

    def __init__(
        self, device: Engine, parts: Parts, request: InferenceRequest, progress: Progress | None
    ) -> None:
        self.device, self.parts, self.request, self.progress = device, parts, request, progress
        self.cycles = 0
        self._networks = {part: part.network(parts.model) for part in parts.parts}
        self._loaded = False  # all of them
        self._done = 0.0  # network samples times images

    def result(self) -> Result:
        """All images and network samples."""
        request, parts, model = self.request, self.parts, self.request.model
        count, samples = len(request.pixels), request.samples
        soft = request.tables is not None
        tally = Tally.zeros(samples, count, len(model.classes), request.logits, soft)
        for images in parts.image_blocks(count):
            block = slice(images.start, images.stop)
            x = model.activations(request.pixels[block])
            mine, active = tally.of(block), np.arange(len(images))
            for together in parts.sample_blocks(len(images), samples, request.early):
                self._done = images.start * samples + together.start * len(images)
                z = self._through(x[active], together, len(images) * len(together))
                active = self._count(z, active, together, mine)
                if not len(active):
                    break
            self._report(images.stop * samples - self._done)
        kept = request.sample_keys if request.keep_keys else None
        return tally.result(self.cycles if parts.predictable else -1, model, kept)

    def _report(self, more: float) -> None:
        self._done += more
        if self.progress is not None:
            self.progress(int(self._done), len(self.request.pixels) * self.request.samples)

    def _count(
        self, z: NDArray[np.int32], active: NDArray[np.intp], together: range, tally: Tally
    ) -> NDArray[np.intp]:
        """Count the votes of logits z [samples, images, classes]. Returns the images that are still in.

        active: numbers of the images. together: the samples.
        """
        still = np.arange(len(active))  # of these images
        for sample, logits in zip(together, z, strict=True):
            image = active[still]
            tally.votes[image, logits[still].argmax(1)] += 1
            tally.logit_sums[image] += logits[still]
            tally.add_soft(self.request.tables, image, logits[still])
            tally.used[image] = sample + 1
            if tally.logits is not None:
                tally.logits[sample, image] = logits[still]
            if self.request.limits is not None:
                still = still[lead(tally.votes[image]) < self.request.limits[sample]]
        return active[still]

    def _through(self, x: NDArray[np.uint8], together: range, pairs: int) -> NDArray[np.int32]:
        """Logits [samples, images, classes] of activations x [images, I].

        pairs: network samples times images that this counts for.
        """
        model, stages = self.parts.model, self.parts.stages
        passes = sum(stage.positions * len(stage.parts) for stage in stages) * len(together) * len(x)
        a = x[None]  # [samples, images, I]; of the first layer one serves all samples
        for stage in stages:
            outputs = model.outputs[stage.layers[-1]]
            z = np.zeros((len(together), len(x) * stage.positions, outputs), dtype=np.int32)
            for part in stage.parts:
                self._run_part(part, stage, a, z, together, pairs / passes)
            if stage is not stages[-1]:
                a = activations(z.reshape(len(together), len(x), stage.positions, outputs), model, stage)
        return z

    def _run_part(
        self,
        part: NetworkPart,
        stage: Stage,
        a: NDArray[np.uint8],
        z: NDArray[np.int32],
        together: range,
        worth: float,
    ) -> None:
        """Add a part's z to ``z`` [samples, passes, J]. worth: of a pass, for the progress."""
        device, request = self.device, self.request
        network = self._networks[part]
        self._load(part)
        host_keys = request.keys is not None or part.turn > 0
        device.place(network, part.weight_base, part.bias_base, part.lead)
        device.write_settings(network, False, part.logged, host_keys, part.classes)
        place = self.parts.model.layers[stage.layers.start].convolution
        images = 0  # of the run before
        for first in range(0, z.shape[1], part.images):
            past = min(first + part.images, z.shape[1])
            for index, sample in enumerate(together):
                if index == 0 or len(a) > 1:
                    x = rows_of_passes(a[index], range(first, past), stage, place)
                    device.write_images(0, x[:, part.rows.start : part.rows.stop])
                number = (request.first + sample) * request.key_rows + part.first_key(request.model)
                again = images == past - first
                images = past - first
                with device.run_slots(0, images, 1, request.seed, number, host_keys, again):
                    if host_keys:
                        device.feed_keys(self._keys(part, sample, number)[None])
                self.cycles += device.run_cycles
                z[index, first:past, part.outputs.start : part.outputs.stop] += self._z(part, images)
                self._report(images * worth)

    def _load(self, part: NetworkPart) -> None:
        """Write the weights of all parts, if there is room for them, else of this one."""
        if self._loaded:
            return
        for other in self.parts.parts if self.parts.resident else [part]:
            self.device.write_weights(self._networks[other], other.weight_base, other.bias_base)
        self._loaded = self.parts.resident

    def _keys(self, part: NetworkPart, sample: int, number: int) -> NDArray[np.uint64]:
        """Keys of the part's rows in a network sample, as its taps want them. number: of the first."""
        request = self.request
        _, count = key_offsets(part.row_counts(request.model))
        if request.keys is not None:
            first = part.first_key(request.model)
            keys = request.keys[sample, first : first + count]
        else:
            keys = lfsr.keys(request.seed, number, count)
        turn = np.uint64(part.turn)
        return keys >> turn | keys << np.uint64(KEY_BITS - part.turn) if part.turn else keys

    def _z(self, part: NetworkPart, images: int) -> NDArray[np.int32]:
        """The part's z of the last run: int32 [images, outputs]."""
        first, width = part.outputs.start, len(part.outputs)
        if not part.logged:
            span = 1 << address_bits(self.device.geometry.result_depth)
            place = first % span if part.lead else 0
            return self._read(Region.SUMS, 2 * place, 2 * width)[None, ::2]  # the low halves
        if not part.lead:
            return self._read(Region.LOG, 0, images * width).reshape(images, width)
        return np.stack(
            [self._read(Region.LOG, image * part.classes + first, width) for image in range(images)]
        )

    def _read(self, region: Region, offset: int, count: int) -> NDArray[np.int32]:
        return self.device.transport.read(address(region, offset), count).view(np.int32)


def rows_of_passes(
    a: NDArray[np.uint8], passes: range, stage: Stage, place: Convolution | None
) -> NDArray[np.uint8]:
    """The rows that enter some passes, uint8 [passes, I], of activations a [images, inputs].

    The passes of a dense layer are the images; of a convolution, image by image, the positions of
    ``stage.grid``, whose rows are taps, in the order dy, dx, c, and 0 outside the image.
    """
    if place is None:
        return a[passes.start : passes.stop]
    height, width, channels = place.input
    image, position = np.divmod(np.arange(passes.start, passes.stop), stage.positions)
    down, across = np.divmod(position, stage.grid[1])
    y = (down * place.stride[0] - place.pad[0])[:, None] + np.arange(place.kernel[0])
    x = (across * place.stride[1] - place.pad[1])[:, None] + np.arange(place.kernel[1])
    there = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    taps = a.reshape(-1, height, width, channels)[
        image[:, None, None], y.clip(0, height - 1)[:, :, None], x.clip(0, width - 1)[:, None, :]
    ]
    return (taps * there[..., None]).reshape(len(passes), place.rows)


def activations(z: NDArray[np.int32], model: CompiledModel, stage: Stage) -> NDArray[np.uint8]:
    """What z [samples, images, positions, J] of a hidden layer send on: rounded, shifted, clamped, pooled,
    uint8 [samples, images, width]. ``z`` is overwritten."""
    index = stage.layers[-1]
    z += (1 << model.shifts[index]) >> 1
    z >>= model.shifts[index]
    np.clip(z, 0, model.activation_max, out=z)
    place = model.layers[index].convolution
    if place is not None:
        (down, across), (high, wide) = place.output, place.pool
        z = z.reshape(*z.shape[:2], down, high, across, wide, z.shape[3]).max((3, 5))
    return z.astype(np.uint8).reshape(*z.shape[:2], -1)
