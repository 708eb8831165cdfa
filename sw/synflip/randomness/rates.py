"""How fast keys must come: cycles of an accelerator whose tunnel junctions are slower than it is.

The cycle model has a source that fills Q keys a cycle. Junctions fill Q keys every ``transfer`` cycles, so
the times at which a sample's keys are there are stretched by that; nothing else changes. What this leaves out
is what a source holds ready when it was made to wait: less than two transfers, once a run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.spec import lfsr
from synflip.spec.cycles import CycleModel
from synflip.spec.geometry import Geometry
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
    clock = CycleModel(geometry, model.rows, model.outputs, 1, early=False, key_interval=transfer)
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

    def numbers(self) -> dict[str, Any]:
        """The numbers for JSON."""
        return {
            "geometry": self.geometry.text,
            "images": self.images,
            "cycles_a_sample": float(self.busy),
            "key_bits_a_sample": self.key_bits,
            "junctions": [{"rate_hz": rate, "count": count} for rate, count in self.devices.items()],
        }


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
