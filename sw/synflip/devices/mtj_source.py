"""The key source ``mtj`` from the host's side: its settings, its state, and its raw bits."""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synflip.devices.transport import Registers
from synflip.errors import SynflipError
from synflip.spec.health import proportion_cutoff, repetition_cutoff
from synflip.spec.memory_map import (
    CAPTURE_BITS,
    CONTROL_RETEST,
    REGISTERS,
    STATUS_ALARM,
    Region,
    address,
)

REPETITION, PROPORTION = 2, 4  # bits of a junction's flags


class SourceAlarm(SynflipError):
    """Too few tunnel junctions work: no keys are issued."""


@dataclass(frozen=True)
class SourceSettings:
    """How raw bits become keys.

    min_entropy: of a raw bit, claimed, above 0 and at most 1: a junction that gives less fails its health
        tests (SP 800-90B; false alarms 2^-30).
    fold: raw bits XORed into one, 1..15. von_neumann: debias further.
    least: fewest working junctions; 0: half of them.
    """

    min_entropy: float = 0.5
    fold: int = 2
    von_neumann: bool = False
    least: int = 0

    def words(self, devices: int) -> dict[str, int]:
        """Registers and their values, of a source with so many ``devices``, which are junctions. Raises
        SynflipError for settings that make no sense."""
        if not 1 <= self.fold < 1 << REGISTERS["FOLD"].bits:
            raise SynflipError(f"fold must be in 1..15, not {self.fold}")
        least = self.least or (devices + 1) // 2
        if not 1 <= least <= devices:
            raise SynflipError(f"there are {devices} junctions; at least {least} cannot work")
        longest = (1 << REGISTERS["REPETITION_CUTOFF"].bits) - 1
        return {
            "REPETITION_CUTOFF": min(repetition_cutoff(self.min_entropy), longest),
            "PROPORTION_CUTOFF": proportion_cutoff(self.min_entropy),
            "FOLD": self.fold,
            "VON_NEUMANN": int(self.von_neumann),
            "LEAST_DEVICES": least,
        }


def require_junctions(device: Registers) -> None:
    """Raises SynflipError if the accelerator has no junctions."""
    if not device.geometry.devices:
        raise SynflipError(f"{device.name} has no tunnel junctions: its keys come from an LFSR")


def prepare(device: Registers, settings: SourceSettings | None = None) -> None:
    """Write the settings and wait for the start-up tests. Without settings, those that the accelerator was
    given before stay; after a reset the default ones are written.

    Raises SourceAlarm if too few junctions pass, SynflipError if the accelerator has no junctions or they
    give no bits.
    """
    require_junctions(device)
    if settings is None and not device.read_register("REPETITION_CUTOFF"):
        settings = SourceSettings()
    if settings is not None:
        for name, value in settings.words(device.geometry.devices).items():
            device.write_register(name, value)
    device.write_register("CONTROL", CONTROL_RETEST)
    deadline = time.monotonic() + device.timeout
    while not device.read_register("WORKING"):
        if device.read_register("STATUS") & STATUS_ALARM:
            break
        if time.monotonic() > deadline:
            raise SynflipError(f"{device.name}: the junctions give no bits: is the strobe connected?")
        device.transport.wait()
    if device.read_register("STATUS") & STATUS_ALARM:
        raise SourceAlarm(f"{device.name}: {describe(device)}")


def used(device: Registers) -> set[int]:
    """The junctions whose bits are used."""
    flags = device.transport.read(address(Region.DEVICES), device.geometry.devices)
    return {index for index, word in enumerate(flags) if word & 1}


def describe(device: Registers) -> str:
    """The state of all junctions in a line."""
    flags = device.transport.read(address(Region.DEVICES), device.geometry.devices)
    stuck = [str(index) for index, word in enumerate(flags) if word & REPETITION]
    biased = [str(index) for index, word in enumerate(flags) if word & PROPORTION and not word & REPETITION]
    working = int((flags & 1).sum())
    parts = [f"{working} of {len(flags)} tunnel junctions work, {device.read_register('LEAST_DEVICES')} must"]
    if stuck:
        parts.append("stuck: " + ", ".join(stuck))
    if biased:
        parts.append("biased: " + ", ".join(biased))
    return "; ".join(parts)


def capture(device: Registers, junction: int) -> NDArray[np.uint8]:
    """The next CAPTURE_BITS raw bits of one junction, in order: uint8 of 0 and 1. Raises SynflipError."""
    if not 0 <= junction < device.geometry.devices:
        raise SynflipError(f"there is no junction {junction}: there are {device.geometry.devices}")
    device.write_register("CAPTURE", junction)
    deadline = time.monotonic() + device.timeout
    while device.read_register("CAPTURED") < CAPTURE_BITS:
        if time.monotonic() > deadline:
            raise SynflipError(f"{device.name}: junction {junction} gives no bits: is the strobe connected?")
        device.transport.wait()
    words = device.transport.read(address(Region.RAW), CAPTURE_BITS // 32)
    return np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little")
