"""Random cases on random accelerators, until a device and the golden model differ.

The cases are numbered: case c of accelerator g of a seed is always the same, however long a session lasts.
One device runs all cases of its accelerator, so what a run leaves behind meets the next.
"""

import itertools
import shlex
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from synflip import modelfile
from synflip.devices.accelerator import Accelerator
from synflip.devices.registry import DeviceName, open_device
from synflip.devices.transport import BusError
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.inference.compare import compare
from synflip.inference.device import Device
from synflip.inference.request import Progress
from synflip.inference.result import Result
from synflip.spec.geometry import Geometry
from synflip.util.outputs import write_array, write_text
from synflip.util.progress import Advance
from synflip.verification.cases import RandomCase, draw_case, draw_geometry, runs_of_case
from synflip.verification.coverage import BINS, observe
from synflip.verification.shrink import shrink

CASES = 100  # of one accelerator, before the next is built
PATIENCE = 30.0  # seconds that a run may take: a case is a fraction of one
MAX_FINDINGS = 5  # of a session: a broken device fails every case
NOTE = "command.txt"

Opener = Callable[[Geometry], Device]


class TimeIsUp(Exception):
    """The time of a session is over, in the middle of a case or before an accelerator is opened."""


@dataclass(frozen=True)
class FuzzStep:
    """One case that was run.

    accelerator, number: which. golden: the golden model's result. difference: in words, or None.
    """

    accelerator: int
    number: int
    case: RandomCase
    golden: Result
    difference: str | None


@dataclass(frozen=True)
class Failure:
    """A failure, shrunk and saved. alone: it needs no cases before it. command: replays it."""

    folder: Path
    case: RandomCase
    difference: str
    alone: bool
    command: str


def opener(name: str) -> Opener:
    """Opens the device called ``name``, with less patience than for a user's long run."""

    def opened(geometry: Geometry) -> Device:
        device = open_device(name, geometry)
        if isinstance(device, Accelerator):
            device.timeout = PATIENCE
        return device

    return opened


def steps(
    seed: int,
    opened: Opener,
    first: int = 0,
    machine: Geometry | None = None,
    watch: Progress | None = None,
) -> Generator[FuzzStep]:
    """Endless: ``CASES`` cases on accelerator ``first``, then on the next, each on one device, which is
    opened anew after a difference. machine: what every accelerator is; None: each is drawn. watch: as of
    ``run``. Raises SynflipError if a device cannot be opened."""
    for accelerator in itertools.count(first):
        geometry = machine or draw_geometry(np.random.default_rng((seed, accelerator)))
        number = 0
        while number < CASES:
            with opened(geometry) as device:
                _check_geometry(device, geometry)
                difference = None
                while number < CASES and difference is None:
                    case = draw_case(geometry, np.random.default_rng((seed, accelerator, number)))
                    golden, difference = run(case, device, watch)
                    yield FuzzStep(accelerator, number, case, golden, difference)
                    number += 1


def run(case: RandomCase, device: Device, watch: Progress | None = None) -> tuple[Result, str | None]:
    """The golden model's result, and how the device's differs from it, or None.

    watch: called while the device works. What it raises ends the case, and leaves the device idle.

    What has no room on the accelerator, in parts neither, the device has to refuse; anything else it must
    not. A device whose cycles are -1 does not count them.
    """
    request = case.request
    room = runs_of_case(case) is not None
    with Golden(case.geometry) as model:
        model.load(case.model)
        golden = model.run(request)
    try:
        device.load(case.model)
        result = device.run(request, watch)
    except BusError as error:
        return golden, str(error)
    except SynflipError as error:
        return (
            golden,
            f"{device.name} does not do what it has room for: {error}" if room else None,
        )
    if not room:
        return golden, f"{device.name} did what it has no room for"
    if result.cycles < 0:
        result = replace(result, cycles=golden.cycles)
    return golden, compare(golden, result, device.name).first


def difference_of(case: RandomCase, opened: Opener) -> str | None:
    """As ``run``, on a device that has done nothing before."""
    with opened(case.geometry) as device:
        return run(case, device)[1]


def settle(
    step: FuzzStep,
    seed: int,
    opened: Opener,
    name: str,
    out: Path,
    say: Callable[[int], None] = lambda attempts: None,
    kind: str | None = None,
) -> Failure:
    """Shrink the failure of ``step`` and save it in a folder of its own under ``out``.

    name: of the device, for the command. kind: it without a geometry, if it has one. A failure that a
    fresh device does not show is saved as it is.
    """
    case, difference = step.case, step.difference or ""
    alone = difference_of(case, opened) is not None
    if alone:
        case = shrink(case, lambda candidate: difference_of(candidate, opened) is not None, say)
        difference = difference_of(case, opened) or difference
    folder = out / f"seed{seed}-accelerator{step.accelerator}-case{step.number}"
    command = save(case, folder, kind or name)
    again = f"synflip fuzz --seed {seed} --first {step.accelerator} --device {name}"
    note = [difference, "", command, ""]
    if not alone:
        note += [f"Seen only after the {step.number} cases before it on the same device:", "", again, ""]
    write_text(folder / NOTE, "\n".join(note))
    return Failure(folder, case, difference, alone, command if alone else again)


class Session:
    """Cases until the time is up, or ``MAX_FINDINGS`` failures. Raises SynflipError if a device cannot be
    opened.

    cases, accelerators: how many so far. coverage: of ``coverage.BINS``. findings: the failures.
    rate: cases a second, builds included. seconds: how long it took.

    A case is left when the time is up, and then it does not count. No accelerator is opened if the slowest
    so far took longer than what is left. What is never cut short: the first accelerator with its first case,
    and the shrinking of a failure.
    """

    def __init__(self, seed: int, name: str, out: Path, first: int = 0, opened: Opener | None = None) -> None:
        """name: of the device; ``opened`` opens it, if ``open_device`` does not. If the name has a geometry,
        all accelerators have it."""
        parts = DeviceName.parse(name).single("fuzz") if opened is None else DeviceName(name)
        self.seed, self.name, self.out, self.first = seed, name, out, first
        self.kind = parts.kind
        self.machine = None if parts.geometry is None else Geometry.parse(parts.geometry)
        self.opened = opened or opener(parts.kind)
        self.cases = self.accelerators = 0
        self.rate = self.seconds = 0.0
        self.findings: list[Failure] = []
        self.coverage: Counter[str] = Counter()

    def run(self, seconds: float, advance: Advance = lambda done, total, word="": None) -> None:
        """``advance`` is called with seconds done, seconds in all, and a word on how it goes."""
        began = time.monotonic()
        accelerator = -1
        slowest = 0.0  # seconds that opening an accelerator took

        def opened(geometry: Geometry) -> Device:
            nonlocal slowest
            start = time.monotonic()
            if self.cases and start + slowest - began > seconds:
                raise TimeIsUp
            device = self.opened(geometry)
            slowest = max(slowest, time.monotonic() - start)
            return device

        def watch(done: int, total: int) -> None:
            if self.cases and time.monotonic() - began > seconds:
                raise TimeIsUp

        with suppress(TimeIsUp), closing(steps(self.seed, opened, self.first, self.machine, watch)) as work:
            while (elapsed := time.monotonic() - began) < seconds and len(self.findings) < MAX_FINDINGS:
                step = next(work)
                self.cases += 1
                self.coverage += observe(step.case, step.golden)
                self.accelerators += step.accelerator != accelerator
                accelerator = step.accelerator
                self.rate = self.cases / max(time.monotonic() - began, 1e-9)
                word = f"{self.cases} cases, {self.rate:.1f}/s, {len(self.findings)} failures, "
                word += step.case.geometry.name
                advance(int(elapsed), int(seconds), word)
                if step.difference is not None:
                    say = partial(self._shrinking, advance, int(elapsed), int(seconds))
                    self.findings.append(self._settle(step, say))
        self.seconds = time.monotonic() - began

    @property
    def missed(self) -> list[str]:
        """The bins of functional coverage that no case has reached."""
        return [name for name in BINS if not self.coverage[name]]

    def _settle(self, step: FuzzStep, say: Callable[[int], None]) -> Failure:
        return settle(step, self.seed, self.opened, self.name, self.out, say, self.kind)

    def _shrinking(self, advance: Advance, done: int, total: int, attempts: int) -> None:
        advance(done, total, f"shrinking a failure: {attempts} tries")


def save(case: RandomCase, folder: Path, name: str) -> str:
    """Model and images as files, the rest in the command that replays the case, which is returned."""
    model, images = folder / "model.safetensors", folder / "images.npy"
    modelfile.save(case.model, model)
    write_array(images, case.pixels)
    command = ["synflip", "verify", str(model), "--images", str(images)]
    command += ["--samples", str(case.samples), "--seed", str(case.seed)]
    command += ["--device", name, "--geometry", case.geometry.text]
    if case.margins is not None:
        command += ["--margins", ",".join(map(str, case.margins.tolist()))]
    if not case.logits:
        command.append("--no-logits")
    if case.soft:
        command.append("--soft")
    return shlex.join(command)


def _check_geometry(device: Device, geometry: Geometry) -> None:
    if isinstance(device, Accelerator) and device.geometry != geometry:
        raise SynflipError(f"{device.name} says that it is {device.geometry.text}, not {geometry.text}")
