"""Images a second end to end: what a user gets of an accelerator behind a link.

A batch of images comes over the link, runs for some network samples, and its results go back. What the link
takes follows from the driver's accesses (``devices.accelerator``) and from the formats of the links, what the
array takes from the cycle model. With room for two batches one is on the link while the other runs, so the
slower of both counts. Not in it: the time of the host's own program, escaped bytes of the frames, and on USB
other devices and bits that are stuffed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from synflip.spec.frames import PACKED, QUEUE_OVERHEAD, QUEUE_REQUESTS, QUEUE_WORDS
from synflip.spec.fronts import Link
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import ACTIVATIONS_PER_WORD, SEED_WORDS
from synflip.spec.model import CompiledModel
from synflip.spec.sizes import ceil_div
from synflip.spec.usb import BULK_PACKET, Speed

MANY = 1 << 16  # images of an inference whose beginning and end do not count
SAMPLES = (1, 8, 64)  # network samples of an image
#: Mean network samples of an MNIST image that may leave early, at most EARLY_MOST, as docs/results/
#: uncertainty.md has it of 784-512-512-10 with the error 0.003. It is taken for every network here.
EARLY_SAMPLES = 2.4376
EARLY_MOST = 64
ONE_BANK = "16x1"  # the size in ``activities`` whose bank has all events

#: Clock cycles of AXI, as docs/reference/axi.md has them: of a read of a register or of results over
#: AXI4-Lite, one after the other, and words of a packet's header over AXI4-Stream.
REGISTER_READ, RESULT_READ, HEADER = 3, 4, 1


class Wire(NamedTuple):
    """Of a link with frames. seconds: that so many bytes of a frame take. turn: seconds that a request and
    its answer need beside. shared: a host that writes does not read."""

    seconds: Callable[[int], float]
    turn: float
    shared: bool

    def sent(self, words: int) -> float:
        """Seconds of a request with so many words of data, but for escaped bytes."""
        return self.seconds(REQUEST_BYTES + 4 * words)

    def answered(self, words: int) -> float:
        """Seconds of an answer with so many words of data."""
        return self.seconds(REPLY_BYTES + 4 * words)

    def one_by_one(self, traffic: Traffic) -> float:
        """Seconds of accesses that wait for each other."""
        return self.seconds(traffic.bytes) + traffic.frames * self.turn


class Bus(NamedTuple):
    """USB at one speed [USB 2.0: 5.8.4, tables 5-9 and 5-10]. packet: bytes of a bulk packet, at most. frame:
    seconds of a frame, at high speed of a microframe. packets: full ones in a frame. rate: bytes a second.
    beside: bytes that a packet takes beside its data: tokens, handshake, gaps."""

    packet: int
    frame: float
    packets: int
    rate: float
    beside: int

    def seconds(self, count: int) -> float:
        """That ``count`` bytes of a frame take: packets as full as they can be, and a short one."""
        full, rest = divmod(count, self.packet)
        return full * self.frame / self.packets + (rest + self.beside) / self.rate


BUSES = {
    Speed.full: Bus(BULK_PACKET[Speed.full], 1e-3, 19, 1.5e6, 13),
    Speed.high: Bus(BULK_PACKET[Speed.high], 125e-6, 13, 60e6, 55),
}
LINE = Wire(line_seconds, ADAPTER, False)
#: A host on USB that waits for an answer goes on with the next frame.
WIRES = {
    link: Wire(BUSES[speed].seconds, BUSES[speed].frame, True)
    for link, speed in ((Link.usb, Speed.high), (Link.full_speed, Speed.full))
}


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

    def took_one_by_one(self, wire: Wire, array: float) -> tuple[float, float]:
        """Seconds of a batch whose runs take ``array`` seconds, and of what a link takes of them if each
        request waits for the answer of the one before."""
        results = Traffic().plus(*(Traffic.of(words) for words in self.results))
        turn = Traffic().plus(*(Traffic.of(words) for words in (*self.start, *self.end)))
        beside = Traffic.of(self.image, self.images).plus(results.times(self.runs))
        return self._took(array, wire.one_by_one(beside), wire.one_by_one(turn.times(self.runs)))

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

    def took_ahead(self, wire: Wire, coded: int, array: float) -> tuple[float, float]:
        """The same of a link with requests ahead; a batch is one run (``devices.ahead``). coded: words of an
        image as it goes over the link.

        Several things go on side by side: requests go out, answers come back, turns of as many requests as
        the device takes ahead, and a start waits for the answer that says that the run before has ended, with
        one side also for its results. The slowest counts.
        """
        *setting, start = (words for words in self.start if words > 1 or self.runs > 1)
        asked = [*setting, start, *[coded] * self.images, *[0] * (1 + len(self.results))]
        answers = [*[0] * (len(setting) + 1 + self.images), *self.results, sum(self.end)]
        out, back = sum(map(wire.sent, asked)), sum(map(wire.answered, answers))
        turns = max(len(asked) / QUEUE_REQUESTS, sum(words + QUEUE_OVERHEAD for words in asked) / QUEUE_WORDS)
        link = max(out + back if wire.shared else max(out, back), turns * wire.turn)
        # Between a start and the question for its end, and from there to the next start.
        begun = wire.sent(0) + (wire.sent(coded) if self.sides == 2 else 0)
        if wire.shared:
            begun = out - wire.sent(start)  # the host writes all that it may before it reads
        ended = wire.answered(sum(self.end)) + wire.turn + wire.sent(start)
        if self.sides == 1:
            ended += sum(map(wire.answered, self.results))
        return max(link, max(array, begun) + ended), max(link, begun + ended)


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
    wire = WIRES.get(link, LINE)
    if link == Link.axi:
        took, alone = batch.took_axi(geometry, clock, array)
    elif link == Link.serial or len(chunks) > 1:
        took, alone = batch.took_one_by_one(wire, array)
    else:
        events = activity["loads"][ONE_BANK][0][WHOLE]
        coded = coded_words(model.inputs, events, geometry.activation_bits)
        took, alone = batch.took_ahead(wire, coded, array)
    return Rate(batch.images / took, "array" if array > alone else "link")


def line_rate(model: CompiledModel, geometry: Geometry, events: float, link: Link) -> float:
    """Images a second that a serial line brings at most, with one network sample of each: as ``rate`` says,
    of an array that takes no time.

    events: activations of an image that are not 0, in the mean. link: ``serial`` or ``ahead``. Raises
    SynflipError if the accelerator does not hold the model.
    """
    runs = plan(model, geometry, MANY, 1, early=False, logits=False)
    batch = Batch.of(geometry, model.inputs, len(model.classes), runs, 1)
    if link == Link.ahead:
        coded = coded_words(model.inputs, events, geometry.activation_bits)
        took, _ = batch.took_ahead(LINE, coded, 0.0)
    else:
        took, _ = batch.took_one_by_one(LINE, 0.0)
    return batch.images / took


def table_rows(name: str, geometry: Geometry, clock: float, links: Sequence[Link]) -> list[tuple[str, ...]]:
    """Of each link and each of ``throughput.activities`` that the accelerator holds: name, k, link, network,
    and a rate and its limit for each of SAMPLES and for early stopping.

    links: of the board; AXI is added, behind which its accelerator can be, too.
    """
    rows = []
    for link in (*links, Link.axi):
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
