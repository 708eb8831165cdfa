"""Runs with slow junctions in the simulator, beside what the arithmetic says."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synflip.randomness.rates import (
    DEVIATIONS,
    TOLERANCE,
    WAITING,
    Need,
    cycles,
    network_loads,
    transfer_cycles,
)
from synflip.report.tables import markdown_table
from synflip.spec.geometry import MAX_DEVICES, Geometry
from synflip.spec.model import CompiledModel


@dataclass(frozen=True)
class Measurement:
    """A run in Verilator against its prediction; ``within``: cycles that they may be apart."""

    geometry: Geometry
    images: int
    samples: int
    fold: int
    period: int
    predicted: int
    counted: int
    within: int

    @property
    def agrees(self) -> bool:
        """Whether the run took as long as predicted."""
        return abs(self.predicted - self.counted) <= self.within

    def numbers(self) -> dict[str, Any]:
        """The numbers for JSON."""
        return vars(self) | {"geometry": self.geometry.text, "agrees": self.agrees}


def measure(
    model: CompiledModel,
    geometry: Geometry,
    pixels: NDArray[np.uint8],
    samples: int,
    fold: int,
    period: int,
    seed: int = 0,
) -> Measurement:
    """Simulate fair junctions that give a bit every ``period`` cycles. The loads of the prediction are those
    of seed 0; what the junctions' own keys do is not known before. Raises SynflipError."""
    from synflip_sim.simulators.verilator import open_verilator

    from synflip.devices.mtj_source import SourceSettings, prepare
    from synflip.randomness.mtj_model import JunctionModel

    transfer = transfer_cycles(geometry.banks, geometry.devices, fold, period)
    loads = network_loads(model, geometry, pixels, samples)
    predicted = cycles(model, geometry, loads, transfer)
    # Without the first sample: a pass of it takes some cycles more, whatever its loads.
    ends = [cycles(model, geometry, loads[:count], 1) for count in range(2, samples + 1)]
    deviation = np.diff(ends).std() * np.sqrt(2 * samples)  # of the difference of two such runs
    source = JunctionModel(geometry.devices, seed=seed)
    with open_verilator(geometry, junctions=source, period=period) as device:
        prepare(device, SourceSettings(fold=fold))
        device.load(model)
        counted = device.infer(pixels, samples, seed).cycles
    within = ceil(TOLERANCE * transfer + Fraction(DEVIATIONS * deviation))
    return Measurement(geometry, len(pixels), samples, fold, period, predicted, counted, within)


@dataclass(frozen=True)
class RateCase:
    """A run to be simulated, on a 16x2 accelerator."""

    devices: int
    fold: int
    period: int
    images: int
    samples: int = 20

    def measure(self, model: CompiledModel, pixels: NDArray[np.uint8]) -> Measurement:
        """Cycles that runs of the model take with this source. pixels: [N, I], N at least ``images``."""
        geometry = Geometry(16, 2, bits=model.bits, devices=self.devices)
        return measure(model, geometry, pixels[: self.images], self.samples, self.fold, self.period)


#: From far too slow a source, over one that is about as fast as the accelerator, to one that is faster.
CASES = (
    RateCase(devices=8, fold=3, period=20, images=4),
    RateCase(devices=8, fold=3, period=4, images=4),
    RateCase(devices=8, fold=2, period=4, images=16),
    RateCase(devices=32, fold=3, period=4, images=16),
    RateCase(devices=32, fold=2, period=4, images=16),
    RateCase(devices=32, fold=1, period=4, images=16),
)


def markdown(
    needs: Sequence[Need],
    measurements: Sequence[Measurement],
    network: str,
    clock: float,
    fold: int,
    command: str,
) -> str:
    """Both tables."""
    rates = list(needs[0].devices)
    heads = ("accelerator", "images a batch", "cycles a network sample", "raw bits a network sample")
    rows = []
    for need in needs:
        counts = (f"{n:,}" if n <= MAX_DEVICES else f"({n:,})" for n in need.devices.values())
        bits = f"{need.key_bits * fold:,}"
        rows.append((need.geometry.name, need.images, f"{float(need.busy):,.0f}", bits, *counts))
    lines = [
        f"Made by `{command}`: {network}, a clock of {clock / 1e6:g} MHz, {fold} raw bits XORed into one.",
        "Junctions that keep the accelerator busy, as the cycle model predicts: with fewer, more than "
        f"{float(WAITING):.0%} of its cycles",
        f"are spent waiting for keys. More than {MAX_DEVICES}, in brackets, do not fit one accelerator.",
        "",
        markdown_table((*heads, *(f"at {rate / 1e6:g} Mbit/s" for rate in rates)), rows),
    ]
    if measurements:
        lines += [
            "",
            f"Simulated in Verilator, {CASES[0].samples} network samples. The tolerance is {TOLERANCE} times",
            "the time of Q keys, which a source may have had ready, and as many hidden activations as make",
            f"{DEVIATIONS} standard deviations: how many are zero depends on the keys.",
            "",
            markdown_table(
                (
                    *("accelerator", "junctions", "FOLD", "cycles a bit"),
                    *("images", "predicted", "counted", "tolerance"),
                ),
                [
                    (
                        *(one.geometry.name, one.geometry.devices, one.fold, one.period, one.images),
                        *(f"{cycles:,}" for cycles in (one.predicted, one.counted, one.within)),
                    )
                    for one in measurements
                ],
            ),
        ]
    return "\n".join(lines) + "\n"
