"""Runs in turn: each is started, waited for, and read. Any transport can carry them out.

``devices.ahead`` does the same without pauses of the link, over a transport that takes requests ahead.
"""

import numpy as np
from numpy.typing import NDArray

from synflip.devices import results
from synflip.devices.engine import Engine
from synflip.inference.plan import Plan
from synflip.inference.request import InferenceRequest, Progress
from synflip.inference.result import Tally
from synflip.spec import memory_map
from synflip.spec.maps import array_images
from synflip.spec.memory_map import Region, address


class InTurn:
    """One request for a network that fits.

    log: the runs log their logits. on_chip: the accelerator adds up the soft votes; otherwise they are made
    of logged logits. tally: what the runs are added to. keys: uint64 [S, R], those that were used, if the
    request keeps them.
    """

    def __init__(
        self,
        device: Engine,
        request: InferenceRequest,
        runs: Plan,
        tally: Tally,
        log: bool,
        on_chip: bool,
        progress: Progress | None,
    ) -> None:
        self.device, self.request, self.runs, self.tally = device, request, runs, tally
        self.log, self.on_chip, self.progress = log, on_chip, progress
        self.count, self.classes = len(request.pixels), len(request.model.classes)
        self.batches = runs.batches(self.count)
        shape = (request.samples, request.key_rows)
        self.keys = np.zeros(shape, dtype=np.uint64) if request.keep_keys else None

    def run(self) -> int:
        """Carry out all runs. Returns their cycles. Raises SynflipError for a run that does not end, and
        BusError."""
        request, runs, device = self.request, self.runs, self.device
        cycles = 0
        # With two sides, the next batch is written and the last one's results are read while a batch runs.
        self._write_images(0)
        uncollected: tuple[int, int, int] | None = None
        for batch, (image, past) in enumerate(self.batches):
            for start, end in runs.chunks(request.samples):
                first_key = (request.first + start) * request.key_rows
                host_keys = request.keys is not None
                with device.run_slots(
                    runs.slot(batch), past - image, end - start, request.seed, first_key, host_keys
                ):
                    if request.keys is not None:
                        device.feed_keys(request.keys[start:end])
                    if runs.sides == 2 and start == 0:
                        self._write_images(batch + 1)
                    if uncollected is not None:
                        self._collect(*uncollected)
                        uncollected = None
                cycles += device.run_cycles
                if runs.sides == 2 and end == request.samples and not self.log and self.keys is None:
                    uncollected = batch, start, end
                else:
                    self._collect(batch, start, end)
            if runs.sides == 1:
                self._write_images(batch + 1)
        if uncollected is not None:
            self._collect(*uncollected)
        return cycles

    def _write_images(self, batch: int) -> None:
        if batch < len(self.batches):
            x = array_images(self.request.model, self.request.pixels[slice(*self.batches[batch])])
            self.device.write_images(self.runs.slot(batch), x, self.request.model.convolutional)

    def _collect(self, batch: int, start: int, end: int) -> None:
        """Read what a run left, and add it to what the runs before left. start, end: its network samples."""
        image, past = self.batches[batch]
        slot, images = self.runs.slot(batch), past - image
        part = self.tally.of(slice(image, past))
        used = self._read(Region.USED, slot, images).astype(np.int32)
        part.used[:] += used
        read = self.device.transport.read
        words = read(*results.place(Region.VOTES, slot, images, self.classes))
        part.votes[:] += results.votes(words, self.classes)
        words = read(*results.place(Region.SUMS, slot, images, self.classes))
        part.logit_sums[:] += results.logit_sums(words, self.classes)
        if self.log:
            self._collect_logits(part, used, start, end)
        if self.on_chip and part.soft_votes is not None and part.energy_sums is not None:
            words = read(*results.place(Region.SOFT, slot, images, self.classes))
            part.soft_votes[:] += results.soft_votes(words, self.classes)
            offset = memory_map.energy_offset(self.device.geometry) + 2 * slot
            part.energy_sums[:] += results.wide(self._read(Region.SOFT, offset, 2 * images))
        if self.keys is not None:
            rows = self.keys.shape[1]
            for sample in range(start, end):
                half = (sample - start) % self.device.geometry.key_halves
                offset = memory_map.key_offset(self.device.geometry, half, 0)
                self.keys[sample] = self._read(Region.KEYS, offset, 2 * rows).view("<u8")
        if self.progress is not None:
            samples = self.request.samples
            self.progress(image * samples + end * images, self.count * samples)

    def _collect_logits(self, part: Tally, used: NDArray[np.int32], start: int, end: int) -> None:
        """Read the log, which has the logits of the passes in their order. used: samples of each image in
        the run, [images]."""
        takes_part = np.arange(end - start)[:, None] < used
        words = self._read(Region.LOG, 0, int(takes_part.sum()) * self.classes)
        z = words.view(np.int32).reshape(-1, self.classes)
        if part.logits is not None:
            part.logits[start:end][takes_part] = z
        if not self.on_chip:
            part.add_soft(self.request.tables, np.nonzero(takes_part)[1], z)

    def _read(self, region: Region, offset: int, count: int) -> NDArray[np.uint32]:
        return self.device.transport.read(address(region, offset), count)
