"""Cost against images, samples, layer sizes and geometry, fitted by straight lines."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from time import process_time
from typing import Any

import numpy as np

from synflip.benchmarks.networks import BITS, SEED, Models
from synflip.benchmarks.timing import race
from synflip.golden.cpu import Golden
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel, Layer

NETWORK = "mnist-512"
TURNS, QUICK_TURNS = 9, 1
GEOMETRIES = ("16x1", "16x2", "32x2", "32x4", "64x4", "64x8", "128x8")


def fit(x: Sequence[float], y: Sequence[float]) -> dict[str, float]:
    """A straight line fitted to points: slope, intercept, and residual.

    residual: the largest vertical distance of a point from the line, as a share of the largest y.
    """
    slope, intercept = np.polyfit(x, y, 1)
    residual = np.abs(slope * np.asarray(x) + intercept - y).max() / np.max(y)
    return {"slope": float(slope), "intercept": float(intercept), "residual": float(residual)}


def run(models: Models) -> dict[str, Any]:
    """Lines by name: names of x and y, points, slope, intercept, residual."""
    model = models.model(NETWORK)
    most = 1000 if models.quick else 8000
    images = models.images(NETWORK, most)
    golden = Golden()
    golden.load(model)
    turns = QUICK_TURNS if models.quick else TURNS
    few = images[:16]
    steps = (1, 2, 3, 4, 6, 8)
    models.say("scale: images and samples")
    counts = [most * step // 8 for step in steps]
    samples = [8 * step for step in steps]
    by_images = race(
        {str(n): partial(golden.infer, images[:n], 1, SEED) for n in counts}, turns, process_time
    )
    by_samples = race({str(n): partial(golden.infer, few, n, SEED) for n in samples}, turns, process_time)
    lines = {
        "images, golden model": _line("images", "CPU seconds", counts, list(by_images.values())),
        "images, engine": _line(
            "images", "cycles", counts, [golden.infer(images[:n], 1, SEED).cycles for n in counts]
        ),
        "samples, golden model": _line("samples", "CPU seconds", samples, list(by_samples.values())),
        "samples, engine": _line(
            "samples", "cycles", samples, [golden.infer(few, n, SEED).cycles for n in samples]
        ),
    }
    models.say("scale: layers and geometry")
    sizes = (128, 256, 384, 512, 768, 1024)
    nets = {size: _dense((784, size, 10)) for size in sizes}
    ready = {}
    for size, net in nets.items():
        ready[size] = Golden(Geometry.parse("64x8"))
        ready[size].load(net)
    ones = np.full((16, 784), 255, dtype=np.uint8)
    by_size = race({str(n): partial(ready[n].infer, ones, 8, SEED) for n in sizes}, turns, process_time)
    synapses = [sum(layer.q.size for layer in net.layers) for net in nets.values()]
    lines["synapses, golden model"] = _line("synapses", "CPU seconds", synapses, list(by_size.values()))
    lines["synapses, engine"] = _line(
        "synapses", "cycles", synapses, [ready[n].infer(ones, 8, SEED).cycles for n in sizes]
    )
    inverse, cycles = [], []
    for text in GEOMETRIES:
        machine = Golden(Geometry.parse(text))
        machine.load(model)
        inverse.append(1 / (machine.geometry.lanes * machine.geometry.banks))
        cycles.append(machine.infer(few, 16, SEED).cycles)
    lines["geometry, engine"] = _line("1 / (lanes x banks)", "cycles", inverse, cycles)
    return {"network": NETWORK, "lines": lines}


def _line(x_name: str, y_name: str, x: Sequence[float], y: Sequence[float]) -> dict[str, Any]:
    return {"x": x_name, "y": y_name, "points": [list(point) for point in zip(x, y, strict=True)]} | fit(x, y)


def _dense(sizes: Sequence[int]) -> CompiledModel:
    """A network of these sizes with random coins, whose activations are mostly not zero."""
    generator = np.random.default_rng(SEED)
    layers = tuple(
        Layer(
            generator.integers(0, 1 << BITS, (outputs, rows)).astype(np.uint16),
            generator.integers(0, 2, (outputs, rows)).astype(np.uint8),
            np.full(outputs, 1 << 14, dtype=np.int32),
        )
        for rows, outputs in pairwise(sizes)
    )
    names = tuple(str(number) for number in range(sizes[-1]))
    return CompiledModel(layers, BITS, 8, (8,) * (len(sizes) - 2), names, 255)
