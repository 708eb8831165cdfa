"""How fast keys must come: cycles of an accelerator whose tunnel junctions are slower than it is.

The cycle model has a source that fills Q keys a cycle. Junctions fill Q keys every ``transfer`` cycles, so
the times at which a sample's keys are there are stretched by that; nothing else changes. What this leaves out
is what a source holds ready when it was made to wait: less than two transfers, once a run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.spec import lfsr
from synflip.spec.cycles import CycleModel
from synflip.spec.geometry import MAX_DEVICES, Geometry
from synflip.spec.model import CompiledModel
from synflip.spec.sizes import KEY_BITS, key_offsets

STROBE_CYCLES = 4  # clock cycles from one strobe to the next, at least
#: A source keeps an accelerator busy if it costs no more than this share of the cycles.
WAITING = Fraction(1, 20)
WARM, SAMPLES = 8, 24  # network samples before, and in, what is counted
#: Transfers by which a run may be shorter than predicted: see above.
TOLERANCE = 2
#: And standard deviations of what hidden activations make of it: how many are zero depends on the keys.
DEVIATIONS = 4


def transfer_cycles(banks: int, devices: int, fold: int, period: int, von_neumann: bool = False) -> Fraction:
    """Cycles that junctions take for Q keys. period: clock cycles from one bit of a junction to the next.

    Von Neumann's pairs keep one folded bit in four, of fair ones, on average.
    """
    if period < STROBE_CYCLES:
        raise SynflipError(f"strobes are at least {STROBE_CYCLES} clock cycles apart, not {period}")
    return Fraction(KEY_BITS * banks * fold * period * (4 if von_neumann else 1), devices)


def network_loads(
    model: CompiledModel,
    geometry: Geometry,
    pixels: NDArray[np.uint8],
    samples: int,
    keys: NDArray[np.uint64] | None = None,
) -> NDArray[np.int64]:
    """[samples, N, layers, 3] loads, as the cycle model has them. keys: [samples, R], else those of seed
    0."""
    golden = Golden(geometry)
    golden.load(model)
    rows = golden.key_rows
    used = lfsr.keys(0, 0, samples * rows).reshape(samples, rows) if keys is None else keys
    x = torch.from_numpy(model.activations(pixels))
    return np.stack([loads for _, loads in golden.passes(used, x, with_loads=True)])


def cycles(
    model: CompiledModel, geometry: Geometry, loads: NDArray[np.int64], transfer: Fraction | int = 1
) -> int:
    """Of one run, without early stopping. loads: ``network_loads``. transfer: cycles for Q keys, at least
    1."""
    clock = CycleModel(geometry, model.rows, model.outputs, 1, early=False)
    clock.key_blocks = ceil(clock.key_blocks * transfer)
    clock.key_end = [ceil(end * transfer) for end in clock.key_end]
    active = np.ones((loads.shape[1], 1), dtype=bool)
    for sample in loads:
        clock.advance(sample[:, None], active)
    return int(clock.cycles()[0])


@dataclass(frozen=True)
class Need:
    """What one accelerator with one batch needs. busy: cycles a network sample of all images, keys always
    there. devices: for each rate, in bits a second; how many junctions keep it busy."""

    geometry: Geometry
    images: int
    busy: Fraction
    key_bits: int
    devices: dict[float, int]


def needed(
    model: CompiledModel,
    geometry: Geometry,
    pixels: NDArray[np.uint8],
    rates: Sequence[float],
    clock: float,
    fold: int,
) -> Need:
    """How many junctions of each rate (bits a second) keep this accelerator busy with this batch: with fewer,
    more than WAITING of its cycles are spent waiting for keys. clock: Hz."""
    loads = network_loads(model, geometry, pixels, WARM + SAMPLES)

    def steady(transfer: Fraction | int) -> int:
        return cycles(model, geometry, loads, transfer) - cycles(model, geometry, loads[:WARM], transfer)

    busy = steady(1)
    devices = {}
    for rate in rates:
        if rate * STROBE_CYCLES > clock:
            raise SynflipError(
                f"a clock of {clock / 1e6:g} MHz reads a junction at up to {clock / STROBE_CYCLES / 1e6:g} "
                f"Mbit/s, not {rate / 1e6:g}"
            )
        one = Fraction(KEY_BITS * geometry.banks * fold) * Fraction(clock) / Fraction(rate)
        low, high = 0, 1
        while steady(max(one / high, Fraction(1))) * (1 - WAITING) > busy:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            if steady(max(one / middle, Fraction(1))) * (1 - WAITING) > busy:
                low = middle
            else:
                high = middle
        devices[rate] = high
    _, rows = key_offsets(model.rows)
    return Need(geometry, len(pixels), Fraction(busy, SAMPLES), rows * KEY_BITS, devices)


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
    from synflip_sim.verilator import open_verilator

    from synflip.devices.mtj_source import SourceSettings, prepare
    from synflip.mtj import Junctions

    transfer = transfer_cycles(geometry.banks, geometry.devices, fold, period)
    loads = network_loads(model, geometry, pixels, samples)
    predicted = cycles(model, geometry, loads, transfer)
    ends = [cycles(model, geometry, loads[:count], 1) for count in range(1, samples + 1)]
    deviation = np.diff(ends).std() * np.sqrt(2 * samples)  # of the difference of two such runs
    source = Junctions(geometry.devices, seed=seed)
    with open_verilator(geometry, junctions=source, period=period) as device:
        prepare(device, SourceSettings(fold=fold))
        device.load(model)
        counted = device.infer(pixels, samples, seed).cycles
    within = ceil(TOLERANCE * transfer + Fraction(DEVIATIONS * deviation))
    return Measurement(geometry, len(pixels), samples, fold, period, predicted, counted, within)


@dataclass(frozen=True)
class Case:
    """A run to be simulated, on a 16x2 accelerator."""

    devices: int
    fold: int
    period: int
    images: int
    samples: int = 20

    def measure(self, model: CompiledModel, pixels: NDArray[np.uint8]) -> Measurement:
        """See ``measure``. pixels: at least as many as ``images``."""
        geometry = Geometry(16, 2, bits=model.bits, devices=self.devices)
        return measure(model, geometry, pixels[: self.images], self.samples, self.fold, self.period)


#: From far too slow a source, over one that is about as fast as the accelerator, to one that is faster.
CASES = (
    Case(devices=8, fold=3, period=20, images=4),
    Case(devices=8, fold=3, period=4, images=4),
    Case(devices=8, fold=2, period=4, images=16),
    Case(devices=32, fold=3, period=4, images=16),
    Case(devices=32, fold=2, period=4, images=16),
    Case(devices=32, fold=1, period=4, images=16),
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
    heads = "".join(f" at {rate / 1e6:g} Mbit/s |" for rate in rates)
    lines = [
        f"Made by `{command}`: {network}, a clock of {clock / 1e6:g} MHz, {fold} raw bits XORed into one.",
        f"Junctions that keep the accelerator busy: with fewer, more than {float(WAITING):.0%} of its cycles",
        f"are spent waiting for keys. More than {MAX_DEVICES}, in brackets, do not fit one accelerator.",
        "",
        "| accelerator | images a batch | cycles a network sample | raw bits a network sample |" + heads,
        "|---|---|---|---|" + "---|" * len(rates),
    ]
    for need in needs:
        counts = "".join(
            f" {count:,} |" if count <= MAX_DEVICES else f" ({count:,}) |" for count in need.devices.values()
        )
        bits = f"{need.key_bits * fold:,}"
        lines.append(f"| {need.geometry.name} | {need.images} | {float(need.busy):,.0f} | {bits} |{counts}")
    if measurements:
        lines += [
            "",
            f"Simulated in Verilator, {CASES[0].samples} network samples. The tolerance is {TOLERANCE} times",
            "the time of Q keys, which a source may have had ready, and as many hidden activations as make",
            f"{DEVIATIONS} standard deviations: how many are zero depends on the keys.",
            "",
            "| accelerator | junctions | FOLD | cycles a bit | images | predicted | counted | tolerance |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for one in measurements:
            lines.append(
                f"| {one.geometry.name} | {one.geometry.devices} | {one.fold} | {one.period} | {one.images} "
                f"| {one.predicted:,} | {one.counted:,} | {one.within:,} |"
            )
    return "\n".join(lines) + "\n"
