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
from synflip.inference.throughput import Traffic, activities, run_cycles, shape_only
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import ACTIVATIONS_PER_WORD, SEED_WORDS
from synflip.spec.sizes import ceil_div

MANY = 1 << 16  # images of an inference whose beginning and end do not count
SAMPLES = (1, 8, 64)  # network samples of an image
#: Mean network samples of an MNIST image that may leave early, at most EARLY_MOST, as docs/results/
#: uncertainty.md has it of 784-512-512-10 with the error 0.003. It is taken for every network here.
EARLY_SAMPLES = 2.337
EARLY_MOST = 64

#: Clock cycles of AXI, as docs/reference/axi.md has them: of a read of a register or of results over
#: AXI4-Lite, one after the other, and words of a packet's header over AXI4-Stream.
REGISTER_READ, RESULT_READ, HEADER = 3, 4, 1


class Link(StrEnum):
    """Between host and accelerator."""

    serial = "serial line"
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
        )

    def seconds(self, link: Link, geometry: Geometry, clock: float) -> tuple[float, float]:
        """What the link takes of a batch: beside a run, and between two runs, when the array waits."""
        if link == Link.serial:
            results = Traffic().plus(*(Traffic.of(words) for words in self.results))
            between = Traffic().plus(*(Traffic.of(words) for words in (*self.start, *self.end)))
            beside = Traffic.of(self.image, self.images).plus(results.times(self.runs))
            return beside.seconds(), between.times(self.runs).seconds()
        word = ACTIVATIONS_PER_WORD / min(ACTIVATIONS_PER_WORD, geometry.banks)  # cycles of the event lists
        images = self.images * (HEADER + self.image * word)
        read = sum(self.results) * RESULT_READ
        run = sum(HEADER + words for words in self.start) + sum(self.end) * REGISTER_READ
        return (images + self.runs * read) / clock, self.runs * run / clock


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
    beside, between = batch.seconds(link, geometry, clock)
    took = between + (max(array, beside) if runs.sides == 2 else array + beside)
    return Rate(batch.images / took, "array" if array > beside + between else "link")


def table_rows(name: str, geometry: Geometry, clock: float) -> list[tuple[str, ...]]:
    """Of each link and each of ``throughput.activities`` that the accelerator holds: name, k, link, network,
    and a rate and its limit for each of SAMPLES and for early stopping (``-`` if there are no margins)."""
    rows = []
    for link in Link:
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
