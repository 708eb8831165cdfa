"""Runs one behind the other, without a pause of the link: batches whose requests are under way together."""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Protocol

from synflip.devices import results
from synflip.devices.transport import Access, ImageWrite, Poll, QueuedTransport, Read, Write
from synflip.inference.plan import Plan
from synflip.inference.request import InferenceRequest, Progress
from synflip.inference.result import Tally
from synflip.spec import memory_map
from synflip.spec.geometry import Geometry
from synflip.spec.lfsr import first_states
from synflip.spec.maps import array_images
from synflip.spec.memory_map import IMAGE_WORD_BITS, Region, address, register


class Owner(Protocol):
    """The accelerator whose runs these are. timeout: seconds that one run may take."""

    geometry: Geometry
    timeout: float

    def starting(self) -> None:
        """A run is about to begin."""


class _Batch:
    """What is read of a batch: the end of its run, and its results."""

    def __init__(self, images: slice, slot: int, classes: int, timeout: float) -> None:
        count = images.stop - images.start
        self.images, self.slot, self.classes = images, slot, classes
        self.end = Poll(register("STATUS"), 3, timeout)  # and CYCLES, which lie behind it
        self.used = Read(address(Region.USED, slot), count)
        self.votes = Read(*results.place(Region.VOTES, slot, count, classes))
        self.sums = Read(*results.place(Region.SUMS, slot, count, classes))

    @property
    def results(self) -> tuple[Read, Read, Read]:
        return self.used, self.votes, self.sums

    def collect(self, tally: Tally) -> int:
        """Count what was read. Returns the run's cycles."""
        part = tally.of(self.images)
        part.used[:] = self.used.words
        part.votes[:] = results.votes(self.votes.words, self.classes)
        part.logit_sums[:] = results.logit_sums(self.sums.words, self.classes)
        return int(self.end.words[1]) | int(self.end.words[2]) << 32


def run(
    transport: QueuedTransport,
    request: InferenceRequest,
    runs: Plan,
    tally: Tally,
    owner: Owner,
    progress: Progress | None,
) -> int:
    """Carry out a request whose network samples are one run for each batch, into ``tally``. Returns the
    cycles of all runs.

    With two sides the next batch's images go over the link while a batch runs and its results come back. A
    start waits for the answers that it would change. Raises BusError, and leaves the last run as it is then.
    """
    samples, count = request.samples, len(request.pixels)
    batches = runs.batches(count)
    classes = len(request.model.classes)
    done: deque[_Batch] = deque()  # not collected yet
    cycles = 0

    def images(batch: int) -> Iterator[ImageWrite]:
        if batch < len(batches):
            x = array_images(request.model, request.pixels[slice(*batches[batch])])
            for slot, image in enumerate(x, runs.slot(batch)):
                place = address(Region.IMAGES, slot << IMAGE_WORD_BITS)
                yield ImageWrite(place, image, zeros=request.model.convolutional)

    def collect(left: int) -> None:
        nonlocal cycles
        while len(done) > left:
            batch = done.popleft()
            cycles += batch.collect(tally)
            if progress is not None:
                progress(batch.images.stop * samples, count * samples)

    def accesses() -> Iterator[Access]:
        states = first_states(request.seed, request.first * request.key_rows, owner.geometry.banks)
        size = 0
        yield Write.of("SAMPLES", samples, ())
        yield from images(0)
        for number, (first, past) in enumerate(batches):
            batch = _Batch(slice(first, past), runs.slot(number), classes, owner.timeout)
            yield Write(address(Region.SEEDS), states, after=())
            yield Write.of("FIRST_SLOT", runs.slot(number), ())
            if past - first != size:
                size = past - first
                yield Write.of("IMAGES", size, ())
            # A start changes how the run before ended, and the results of the batch that had its slots.
            changed: list[Read] = [item.end for item in done]
            changed += [read for item in done if item.slot == batch.slot for read in item.results]
            owner.starting()
            yield Write.of("CONTROL", memory_map.CONTROL_START, changed)
            collect(runs.sides - 1)
            done.append(batch)
            coming = images(number + 1)
            beside = coming if runs.sides == 2 else iter(())
            # Answers are on their way back while images are on their way to the device.
            for read in (batch.end, *batch.results):
                yield from islice(beside, 1)
                yield read
            yield from coming

    transport.exchange(accesses())
    collect(0)
    return cycles
