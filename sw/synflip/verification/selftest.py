"""``synflip selftest``: does this accelerator do what the golden model says? All it needs is made here.

``verification.probes`` says what each fault would do.

Not reached: weights and biases between the probes, the far ends of the lists of events, the full depth of
votes, sums, margins and log. Nothing here says how near the clock is to its limit.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synflip.devices import mtj_source, parted
from synflip.devices.accelerator import Accelerator
from synflip.devices.serial import SerialTransport
from synflip.devices.transport import BusError
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.inference.compare import compare
from synflip.inference.parts import cut
from synflip.inference.plan import plan
from synflip.inference.request import InferenceRequest, Progress
from synflip.inference.result import Result
from synflip.spec import lfsr, memory_map
from synflip.spec.memory_map import REGISTERS, LayerField, Region, address, present
from synflip.spec.sizes import KEY_BITS, ROW_ALIGN, ceil_div
from synflip.uncertainty.scores import lead
from synflip.uncertainty.soft_votes import SoftTable
from synflip.verification.probes import (
    SEED,
    Probe,
    deep_images,
    deep_model,
    edges,
    make_probes,
    parted_model,
    probe_image,
    probe_slots,
    small_part,
)

TIMEOUT = 10.0  # seconds that a run may take
SOFT_SCALE = 100.0  # of logits, for tables of soft votes
EDGES = 2  # samples of a probe: coins just heads, coins just tails
PATTERNS = (0x5555_5555, 0xAAAA_AAAA, 0xFFFF_FFFF, 0)
STATISTICS = ("requests", "repeats", "damaged_requests", "damaged_replies", "silences", "sent", "received")


@dataclass(frozen=True)
class ProbeStep:
    """found: what was looked at, or what differs."""

    name: str
    passed: bool
    found: str
    seconds: float


@dataclass(frozen=True)
class Report:
    """What a self-test found. line: of a serial port, what happened on it."""

    device: str
    geometry: str
    steps: tuple[ProbeStep, ...]
    line: dict[str, int]

    @property
    def failed(self) -> list[str]:
        """Names of the steps that did not pass."""
        return [step.name for step in self.steps if not step.passed]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"passed": not self.failed} | asdict(self)


class Difference(SynflipError):
    """The device does not do what it should."""


class SelfTest:
    """The steps, on one accelerator, in order."""

    def __init__(self, device: Accelerator) -> None:
        """Raises SynflipError if its memories are too small for any test."""
        self.device, self.geometry = device, device.geometry
        self.probes = make_probes(self.geometry)
        self.model = deep_model(self.geometry)
        self.golden = Golden(self.geometry)
        #: Samples of a probe that one run logs.
        self.together = min(EDGES, self.geometry.log_depth // len(self.probes[0].model.classes))
        self.counted: list[tuple[str, int, int]] = []  # run, cycles predicted, cycles counted

    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        """Names, and what does them: it returns what was looked at, and raises SynflipError."""
        return [
            ("identity", self.identity),
            ("registers", self.registers),
            ("memories", self.memories),
            ("known keys", self.known_keys),
            ("key source", self.source),
            ("key memory", self.key_memory),
            ("early stopping", self.early),
            ("parts", self.parts),
            ("counters", self.counters),
            ("refusals", self.refusals),
        ]

    def identity(self) -> str:
        """What the device says of itself; the driver has checked the map's version."""
        self._idle()
        return f"map version {memory_map.VERSION}; {self.geometry.text}"

    def registers(self) -> str:
        """Every setting keeps what it is given, and only it."""
        names = [
            name
            for name, item in REGISTERS.items()
            if item.access == "RW" and present(name, self.geometry) and name != "CAPTURE"
        ]
        kept = {name: self.device.read_register(name) for name in names}
        try:
            for pattern in PATTERNS:
                self._pattern(dict.fromkeys(names, pattern))
            self._pattern({name: 1 + place for place, name in enumerate(names)})
        finally:
            self._write(kept)
            if self.geometry.devices:  # which the patterns have failed; an alarm is the key source's
                with suppress(mtj_source.SourceAlarm):
                    mtj_source.prepare(self.device)
        return f"{len(names)} settings, {len(PATTERNS) + 1} patterns"

    def memories(self) -> str:
        """Weights and biases at the edges of their memories; coins at the edges of heads."""
        self._load_probes(*self.probes)
        for probe in self.probes:
            self._run_probe(probe)
        each = ROW_ALIGN // self.geometry.banks
        last = self.probes[-1].weight_base + each - 1
        return (
            f"{len(self.probes)} places of {each} weight entries from 0 to {last}, "
            f"{len({probe.bias_base for probe in self.probes})} of biases"
        )

    def known_keys(self) -> str:
        """The deep model with the host's keys."""
        samples = 3
        self.device.load(self.model)
        self.golden.load(self.model)
        images = deep_images(self.model, self._images(samples))
        shape = samples, self.golden.key_rows
        keys = np.random.default_rng(SEED + 3).integers(0, 1 << KEY_BITS, shape, dtype=np.uint64)
        soft = SoftTable.of(SOFT_SCALE, len(self.model.classes)) if self.geometry.soft_classes else None
        have = self.device.infer(images, samples, 0, logits=True, keys=keys, soft=soft)
        self._compare(self.golden.infer(images, samples, 0, logits=True, keys=keys, soft=soft), have)
        seen = "votes, logits, sums, used" + ", soft votes" * (soft is not None)
        return f"{self.model.shape}, {len(images)} images x {samples} samples: {seen}"

    def source(self) -> str:
        """The deep model with the keys that the accelerator makes."""
        samples, junctions = 4, bool(self.geometry.devices)
        images = deep_images(self.model, self._images(samples, junctions))
        have = self.device.infer(images, samples, SEED, logits=True, keep_keys=junctions)
        want = self.golden.infer(images, samples, SEED, logits=True, keys=have.keys)
        self._compare(want, have)
        if junctions:
            self._check_random(np.unique(have.keys), have.keys)  # type: ignore[arg-type]
            return f"mtj: {mtj_source.describe(self.device)}; keys replayed, {len(images)} images x {samples}"
        self.counted.append(("of the LFSR's run", want.cycles, have.cycles))
        return f"lfsr: {len(images)} images x {samples} samples"

    def key_memory(self) -> str:
        """Filled to its last key by a run; its keys read back."""
        geometry, probe = self.geometry, self.probes[0]
        samples, rows = geometry.key_halves, geometry.key_depth * geometry.banks
        self._set_probes(host_keys=False)
        self.device.write_register("KEY_BLOCKS", geometry.key_depth)
        # The layer waits for all keys there are, and uses the first.
        table = np.zeros(memory_map.LAYER_WORDS, dtype=np.uint32)
        table[LayerField.WEIGHT_BASE] = probe.weight_base
        table[LayerField.ROW_BLOCKS] = ROW_ALIGN // geometry.banks
        table[LayerField.KEY_END] = geometry.key_depth
        table[LayerField.BIAS_BASE] = probe.bias_base
        table[LayerField.LAST_STEPS] = ceil_div(len(probe.model.classes), geometry.banks) - 1
        self.device.transport.write(address(Region.LAYERS), table)
        with self.device.run_slots(probe.slot, 1, samples, SEED, 0, host_keys=False):
            pass
        places = edges(rows, 1)
        have = np.array(
            [[self._key(half, place) for place in places] for half in range(samples)], dtype=np.uint64
        )
        if geometry.devices:
            self._check_random(np.unique(have), have)
        else:
            want = lfsr.keys(SEED, 0, samples * rows).reshape(samples, rows)[:, places]
            for half, column in np.argwhere(have != want).tolist():
                raise Difference(
                    f"key {places[column]} of sample {half}: the device has {have[half, column]:#018x}, "
                    f"golden {want[half, column]:#018x}"
                )
        return f"{have.size} keys from the first to number {places[-1]} of {samples} samples"

    def early(self) -> str:
        """Images leave when their leader is far enough ahead."""
        samples = min(12, self.geometry.margin_depth)
        self.device.load(self.model)
        self.golden.load(self.model)
        images = deep_images(self.model, self._images(1, early=True))
        junctions = bool(self.geometry.devices)
        keys = None
        if junctions:  # no run of many samples can be replayed: the host's keys, then
            shape = samples, self.golden.key_rows
            keys = np.random.default_rng(SEED + 4).integers(0, 1 << KEY_BITS, shape, dtype=np.uint64)
        # The first image leaves in the middle, with just the margin; before and after it lacks one vote.
        logits = self.golden.infer(images, samples, SEED, logits=True, keys=keys).logits
        assert logits is not None
        margins = lead(np.eye(logits.shape[2], dtype=np.int64)[logits[:, 0].argmax(1)].cumsum(0)) + 1
        margins[samples // 2] -= 1
        have = self.device.infer(images, samples, SEED, margins, keys=keys)
        want = self.golden.infer(images, samples, SEED, margins, keys=keys)
        self._compare(want, have)
        if not junctions:
            self.counted.append(("with early stopping", want.cycles, have.cycles))
        return f"{len(images)} images left after {', '.join(map(str, have.used.tolist()))} samples"

    def parts(self) -> str:
        """A convolution, and a layer cut into rows and tiles, as if there were memory for no more: the host
        adds and sends on."""
        model, small, samples = parted_model(self.geometry), small_part(self.geometry), 2
        golden = Golden(small)
        golden.load(model)
        junctions = bool(self.geometry.devices)
        keys = None
        if junctions:  # all parts need the same
            shape = samples, golden.key_rows
            keys = np.random.default_rng(SEED + 6).integers(0, 1 << KEY_BITS, shape, dtype=np.uint64)
        request = InferenceRequest(model, deep_images(model, 2), samples, SEED, logits=True, keys=keys)
        runs = cut(model, small)
        have, want = parted.run(self.device, runs, request), golden.run(request)
        self._compare(want, have)
        if not junctions and runs.predictable:
            self.counted.append(("in parts", want.cycles, have.cycles))
        return f"{model.shape} in {len(runs.parts)} parts, {len(request.pixels)} images x {samples} samples"

    def counters(self) -> str:
        """Cycles, logged logits, and an idle engine at the end."""
        for run, want, have in self.counted:
            if want != have:
                raise Difference(f"cycles {run}: {want} predicted, {have} counted")
        probe = self.probes[0]
        self._load_probes(probe)
        self._run_probe(probe)
        logged, expected = self.device.read_register("LOGGED"), self.together * len(probe.model.classes)
        if logged != expected:
            raise Difference(f"LOGGED is {logged} after {expected} logits")
        self._idle()
        cycles = ", ".join(f"{have:,}" for _, _, have in self.counted)
        return f"cycles as predicted: {cycles}; idle" if cycles else "logged logits; idle"

    def refusals(self) -> str:
        """What the map does not have is refused, and changes nothing."""
        self._write({"IMAGES": 0, "SAMPLES": 1, "FIRST_SLOT": 0})
        end = address(Region.MARGINS, self.geometry.margin_depth)
        attempts: list[tuple[str, int, int | None]] = [
            ("a write past the margins", end, 0),
            ("a read past the margins", end, None),
            ("a write to a register that is not there", address(Region.REGISTERS, 19), 1),
            ("a write to STATUS", memory_map.register("STATUS"), 1),
            ("a read of weights", address(Region.WEIGHTS), None),
            ("a start of no images", memory_map.register("CONTROL"), memory_map.CONTROL_START),
        ]
        for what, place, word in attempts:
            try:
                if word is None:
                    self.device.transport.read(place, 1)
                else:
                    self.device.transport.write(place, np.array([word], dtype=np.uint32))
            except BusError as error:
                if "refused" not in str(error):
                    raise
            else:
                raise Difference(f"{what} was not refused")
        self._idle()
        return f"{len(attempts)} requests that must be refused were"

    # Parts of steps

    def _write(self, settings: dict[str, int]) -> None:
        """Registers, neighbours in one request."""
        for first, words in _runs({REGISTERS[name].offset: value for name, value in settings.items()}):
            self.device.transport.write(address(Region.REGISTERS, first), np.array(words, dtype=np.uint32))

    def _pattern(self, words: dict[str, int]) -> None:
        self._write(words)
        for first, expected in _runs({REGISTERS[name].offset: value for name, value in words.items()}):
            have = self.device.transport.read(address(Region.REGISTERS, first), len(expected)).tolist()
            for place, (want, word) in enumerate(zip(expected, have, strict=True)):
                ((name, item),) = [entry for entry in REGISTERS.items() if entry[1].offset == first + place]
                if word != (want := want & (1 << item.bits) - 1):
                    raise Difference(f"{name} was set to {want:#x} and reads {word:#x}")

    def _images(self, samples: int, keep_keys: bool = False, early: bool = False) -> int:
        """At most 3, and one batch."""
        return min(plan(self.model, self.geometry, 1, samples, early, not early, keep_keys).images, 3)

    def _compare(self, want: Result, have: Result) -> None:
        """All but the cycles, which ``counters`` looks at."""
        comparison = compare(want, replace(have, cycles=want.cycles), "device")
        if comparison.first:
            wrong = ", ".join(f"{count} {name}" for name, count in comparison.different.items() if count)
            raise Difference(f"{wrong} differ; first {comparison.first}")

    def _check_random(self, distinct: NDArray[np.uint64], keys: NDArray[np.uint64]) -> None:
        if len(distinct) != keys.size:
            raise Difference(f"of {keys.size} keys {keys.size - len(distinct)} are repeats")

    def _set_probes(self, host_keys: bool) -> None:
        """The settings of all probes; their images' lists share all the events that there are."""
        self.device.write_settings(self.probes[0].model, early=False, log=True, host_keys=host_keys)
        room = self.geometry.event_depth // (1 + probe_slots(self.geometry)[-1])
        self.device.write_register("INPUT_SHIFT", room.bit_length() - 1)

    def _load_probes(self, *probes: Probe) -> None:
        self._set_probes(host_keys=True)
        for slot in sorted({probe.slot for probe in probes}):
            image = probe_image(slot, self.geometry.activation_bits)
            place = address(Region.IMAGES, slot << memory_map.IMAGE_WORD_BITS)
            self.device.transport.write(place, image.view("<u4"))
        for probe in probes:
            self.device.prepare(probe.model, probe.weight_base, probe.bias_base)

    def _run_probe(self, probe: Probe) -> None:
        keys, classes = probe.keys, len(probe.model.classes)
        self.device.place(probe.model, probe.weight_base, probe.bias_base)
        logits = []
        for first in range(0, EDGES, self.together):
            part = keys[first : first + self.together]
            with self.device.run_slots(probe.slot, 1, len(part), SEED, 0, host_keys=True):
                self.device.feed_keys(part)
            logits.append(self.device.transport.read(address(Region.LOG), len(part) * classes).view(np.int32))
        have = np.concatenate(logits).reshape(EDGES, classes)
        self.golden.load(probe.model)
        image = torch.from_numpy(probe_image(probe.slot, self.geometry.activation_bits)[None])
        want = np.stack([z[0] for z, _ in self.golden.passes(keys, image)])
        for sample, lane in np.argwhere(have != want).tolist():
            raise Difference(
                f"weights at entry {probe.weight_base}, biases at group {probe.bias_base}, image slot "
                f"{probe.slot}: lane {lane} of sample {sample} gives {have[sample, lane]}, "
                f"golden {want[sample, lane]}"
            )

    def _key(self, half: int, place: int) -> int:
        offset = memory_map.key_offset(self.geometry, half, place)
        low, high = self.device.transport.read(address(Region.KEYS, offset), 2).tolist()
        return low | high << 32

    def _idle(self) -> None:
        status = self.device.read_register("STATUS") & memory_map.STATUS_BUSY
        if status:
            raise Difference(f"STATUS says {status:#x}: it should be idle")


def _runs(words: dict[int, int]) -> Iterator[tuple[int, list[int]]]:
    """(offset of the first, words) of each stretch of neighbours."""
    stretch: list[int] = []
    first = 0
    for offset in sorted(words):
        if stretch and offset != first + len(stretch):
            yield first, stretch
            stretch = []
        if not stretch:
            first = offset
        stretch.append(words[offset])
    if stretch:
        yield first, stretch


def selftest(
    device: Accelerator,
    say: Callable[[ProbeStep], None] = lambda step: None,
    progress: Progress | None = None,
) -> Report:
    """Test an accelerator, which another host must not use meanwhile; what it held before is gone then.

    say: told each step as it ends. A device that answers no more ends the test.
    Raises SynflipError if its memories are too small for it.
    """
    test = SelfTest(device)
    device.timeout = TIMEOUT
    done: list[ProbeStep] = []
    steps = test.steps()
    for number, (name, work) in enumerate(steps):
        if progress is not None:
            progress(number, len(steps))
        began = time.perf_counter()
        gone = False
        try:
            passed, found = True, work()
        except SynflipError as error:
            passed, found = False, str(error)
            gone = not isinstance(error, Difference) and not _answers(device)
        done.append(ProbeStep(name, passed, found, round(time.perf_counter() - began, 3)))
        say(done[-1])
        if gone:
            break
    line = {}
    if isinstance(device.transport, SerialTransport):
        line = {name: getattr(device.transport.counters, name) for name in STATISTICS}
    return Report(device.name, device.geometry.text, tuple(done), line)


def _answers(device: Accelerator) -> bool:
    try:
        device.read_register("STATUS")
    except SynflipError:
        return False
    return True
