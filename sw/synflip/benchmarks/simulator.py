"""The simulated accelerator: seconds to compile, from cold and cached, and cycles a second."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from synflip.benchmarks.networks import SEED, Models
from synflip.devices.registry import open_device
from synflip.spec.geometry import Geometry

GEOMETRIES, QUICK_GEOMETRIES = ("16x1", "32x4", "64x8"), ("16x1",)
IMAGES, SAMPLES = 4, 16
TURNS, QUICK_TURNS = 7, 2


def run(models: Models) -> dict[str, Any]:
    """For each geometry: seconds to open it first and again, engine cycles and clock cycles a second."""
    name = "digits" if models.quick else "mnist-512"
    model, pixels = models.model(name), models.images(name, IMAGES)
    rows = []
    for size in QUICK_GEOMETRIES if models.quick else GEOMETRIES:
        models.say(f"simulator: {size}")
        geometry = Geometry.parse(size, bits=model.bits, activation_bits=model.activation_bits)
        with empty_cache():
            cold, cached = _open(geometry), _open(geometry)
            with open_device("verilator", geometry) as device:
                device.load(model)
                engine = whole = 0.0
                for _ in range(QUICK_TURNS if models.quick else TURNS):
                    start, began = time.perf_counter(), device.clock_cycles()
                    result = device.infer(pixels, SAMPLES, SEED)
                    seconds = time.perf_counter() - start
                    engine = max(engine, result.cycles / seconds)
                    whole = max(whole, (device.clock_cycles() - began) / seconds)
        rows.append(
            {"geometry": size, "cold": cold, "cached": cached, "engine": round(engine), "clock": round(whole)}
        )
    return {"network": name, "shape": model.shape, "rows": rows}


def _open(geometry: Geometry) -> float:
    began = time.perf_counter()
    with open_device("verilator", geometry):
        return time.perf_counter() - began


@contextmanager
def empty_cache() -> Iterator[None]:
    """Built simulators are not found while the block lasts."""
    before = os.environ.get("SYNFLIP_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SYNFLIP_CACHE"] = folder
        try:
            yield
        finally:
            del os.environ["SYNFLIP_CACHE"]
            if before is not None:
                os.environ["SYNFLIP_CACHE"] = before
