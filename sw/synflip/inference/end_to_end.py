"""Images a second end to end: what a user gets of an accelerator behind a link.

A batch of images comes over the link, runs for some network samples, and its results go back. What the link
takes follows from the driver's accesses (``devices.accelerator``) and from the formats of the links, what the
array takes from the cycle model. With room for two batches one is on the link while the other runs, so the
slower of both counts. Not in it: the time of the host's own program, escaped bytes of the serial line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from synflip.errors import SynflipError
from synflip.inference.plan import Plan, class_shift, plan
from synflip.inference.throughput import (
    ADAPTER,
    REPLY_BYTES,
    REQUEST_BYTES,
    Traffic,
    activities,
    line_seconds,
    run_cycles,
    shape_only,
)
from synflip.spec.cycles import WHOLE
from synflip.spec.frames import PACKED
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import ACTIVATIONS_PER_WORD, SEED_WORDS
from synflip.spec.model import CompiledModel
from synflip.spec.sizes import ceil_div

MANY = 1 << 16  # images of an inference whose beginning and end do not count
SAMPLES = (1, 8, 64)  # network samples of an image
#: Mean network samples of an MNIST image that may leave early, at most EARLY_MOST, as docs/results/
#: uncertainty.md has it of 784-512-512-10 with the error 0.003. It is taken for every network here.
EARLY_SAMPLES = 2.337
EARLY_MOST = 64
ONE_BANK = "16x1"  # the size in ``activities`` whose bank has all events

#: Clock cycles of AXI, as docs/reference/axi.md has them: of a read of a register or of results over
#: AXI4-Lite, one after the other, and words of a packet's header over AXI4-Stream.
REGISTER_READ, RESULT_READ, HEADER = 3, 4, 1


class Link(StrEnum):
    """Between host and accelerator. ahead: a serial line whose device takes requests ahead."""

    serial = "serial line"
    ahead = "serial line, ahead"
    axi = "AXI"


class Rate(NamedTuple):
    """Images a second, and which of ``link`` and ``array`` takes longer for a batch."""

    images: float
    limit: str


@dataclass(frozen=True)
class Batch:
    """Accesses of a batch of ``images`` images, each a number of words.

    runs: into which its network samples are cut. start: writes before each run. image: the words of one.
    results: reads behind each run. end: reads that say that a run is over, and its cycles.
    """

    images: int
    runs: int
    start: Sequence[int]
    image: int
    results: Sequence[int]
    end: Sequence[int]
    sides: int

    @classmethod
    def of(cls, geometry: Geometry, inputs: int, classes: int, runs: Plan, samples: int) -> "Batch":
        """The batch of a plan ``runs`` for ``samples`` network samples."""
        room = runs.images << class_shift(classes)
        seeds = [] if geometry.devices else [geometry.banks * SEED_WORDS]
        return cls(
            runs.images,
            len(runs.chunks(samples)),
            (*seeds, 1, 1, 1, 1),  # FIRST_SLOT, IMAGES, SAMPLES, CONTROL
            ceil_div(inputs, ACTIVATIONS_PER_WORD),
            (runs.images, room, 2 * room),
            (1, 2),  # STATUS, CYCLES
            runs.sides,
        )

    def took_serial(self, array: float) -> tuple[float, float]:
        """Seconds of a batch whose runs take ``array`` seconds, and of what a serial line takes of them."""
        results = Traffic().plus(*(Traffic.of(words) for words in self.results))
        turn = Traffic().plus(*(Traffic.of(words) for words in (*self.start, *self.end)))
        beside = Traffic.of(self.image, self.images).plus(results.times(self.runs)).seconds()
        return self._took(array, beside, turn.times(self.runs).seconds())

    def took_axi(self, geometry: Geometry, clock: float, array: float) -> tuple[float, float]:
        """The same of AXI."""
        word = ACTIVATIONS_PER_WORD / min(ACTIVATIONS_PER_WORD, geometry.banks)  # cycles of event lists
        read = sum(self.results) * RESULT_READ
        run = sum(HEADER + words for words in self.start) + sum(self.end) * REGISTER_READ
        beside = (self.images * (HEADER + self.image * word) + self.runs * read) / clock
        return self._took(array, beside, self.runs * run / clock)

    def _took(self, array: float, beside: float, between: float) -> tuple[float, float]:
        """beside, between: seconds of the link while the array runs, and while it waits."""
        return between + (max(array, beside) if self.sides == 2 else array + beside), beside + between

    def took_ahead(self, coded: int, array: float) -> tuple[float, float]:
        """The same of a line with requests ahead; a batch is one run (``devices.ahead``). coded: words of an
        image as it goes over the line.

        Three things go on side by side: requests go out, answers come back, and a start waits for the answer
        that says that the run before has ended, with one side also for its results. The slowest counts.
        """
        *setting, start = (_sent(words) for words in self.start if words > 1 or self.runs > 1)
        image, reads = _sent(coded), [_sent(0)] * (1 + len(self.results))
        requests = sum(setting) + start + self.images * image + sum(reads)
        writes = len(setting) + 1 + self.images
        results = [_answered(words) for words in self.results]
        end = _answered(sum(self.end))
        answers = writes * _answered(0) + sum(results) + end
        begun = reads[0] + (image if self.sides == 2 else 0)  # between a start and the question for its end
        waits = max(array, begun) + end + ADAPTER + start + (0 if self.sides == 2 else sum(results))
        return max(requests, answers, waits), max(requests, answers, begun + waits - max(array, begun))


def _sent(words: int) -> float:
    """Seconds of a request with so many words of data, but for escaped bytes."""
    return line_seconds(REQUEST_BYTES + 4 * words)


def _answered(words: int) -> float:
    """Seconds of an answer with so many words of data."""
    return line_seconds(REPLY_BYTES + 4 * words)


def coded_words(inputs: int, events: float, activation_bits: int) -> int:
    """Words of an image in the shortest form (``devices.image_code``): four activations a word, packed, or
    pairs of the ``events`` activations that are not 0."""
    found = [ceil_div(inputs, ACTIVATIONS_PER_WORD), ceil_div(round(events), 2)]
    found += [ceil_div(inputs * bits, 32) for bits in PACKED if bits >= activation_bits]
    return min(found)


def rate(
    geometry: Geometry, clock: float, activity: dict[str, Any], link: Link, samples: int, early: bool = False
) -> Rate:
    """Images a second of one of ``throughput.activities``, for many images.

    clock: of the accelerator, in Hz. samples: network samples of each image. early: images leave early, after
    EARLY_SAMPLES of them in the mean. Raises SynflipError if the accelerator does not hold the network.
    """
    model = shape_only(activity["rows"], activity["outputs"], min(activity["bits"], geometry.bits))
    runs = plan(model, geometry, MANY, samples, early, logits=False)
    batch = Batch.of(geometry, model.inputs, len(model.classes), runs, samples)
    chunks = [end - start for start, end in runs.chunks(samples)]
    cycles = sum(run_cycles(geometry, activity, batch.images, count, early) for count in chunks)
    array = cycles / clock * (EARLY_SAMPLES / samples if early else 1)
    if link == Link.ahead and len(chunks) == 1:
        events = activity["loads"][ONE_BANK][0][WHOLE]
        coded = coded_words(model.inputs, events, geometry.activation_bits)
        took, alone = batch.took_ahead(coded, array)
    elif link == Link.axi:
        took, alone = batch.took_axi(geometry, clock, array)
    else:
        took, alone = batch.took_serial(array)
    return Rate(batch.images / took, "array" if array > alone else "link")


def line_rate(model: CompiledModel, geometry: Geometry, events: float, queued: bool) -> float:
    """Images a second that a serial line brings at most, with one network sample of each: as ``rate`` says,
    of an array that takes no time.

    events: activations of an image that are not 0, in the mean. queued: the line takes requests ahead. Raises
    SynflipError if the accelerator does not hold the model.
    """
    runs = plan(model, geometry, MANY, 1, early=False, logits=False)
    batch = Batch.of(geometry, model.inputs, len(model.classes), runs, 1)
    if queued:
        took, _ = batch.took_ahead(coded_words(model.inputs, events, geometry.activation_bits), 0.0)
    else:
        took, _ = batch.took_serial(0.0)
    return batch.images / took


def table_rows(name: str, geometry: Geometry, clock: float, queued: bool) -> list[tuple[str, ...]]:
    """Of each link and each of ``throughput.activities`` that the accelerator holds: name, k, link, network,
    and a rate and its limit for each of SAMPLES and for early stopping.

    queued: its serial line takes requests ahead.
    """
    rows = []
    for link in (Link.ahead if queued else Link.serial, Link.axi):
        for activity in activities():
            try:
                found = [rate(geometry, clock, activity, link, samples) for samples in SAMPLES]
            except SynflipError:
                continue
            most = min(EARLY_MOST, geometry.margin_depth, (1 << geometry.sample_bits) - 1)
            found.append(rate(geometry, clock, activity, link, most, early=True))
            cells = (f"{item.images:,.0f} ({item.limit})" for item in found)
            rows.append((name, str(geometry.bits), str(link), activity["network"], *cells))
    return rows


HEADS = ("board", "k", "link", "network", *map(str, SAMPLES), "early")
