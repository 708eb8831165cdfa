"""Monte Carlo dropout in hls4ml's C simulation, beside this machine with a network of the same shape."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synflip.benchmarks import simulator
from synflip.benchmarks.networks import NETWORKS, SEED, Models
from synflip.benchmarks.rivals import c_simulation
from synflip.benchmarks.rivals.dropout import Forward, monte_carlo, train_masked
from synflip.benchmarks.timing import race
from synflip.devices.registry import open_device
from synflip.golden.cpu import Golden
from synflip.spec.geometry import Geometry
from synflip.util.threads import one_thread

NETWORK = "mnist-200"
GEOMETRY, QUICK_GEOMETRY = "64x8", "16x1"
SAMPLES = 16  # network samples, and Monte Carlo passes
IMAGES, QUICK_IMAGES = 1000, 40  # of the accuracy
TIMED, QUICK_TIMED = 32, 4  # images at once
TURNS, QUICK_TURNS = 5, 1


def run(models: Models) -> dict[str, Any]:
    """Build, time of an image and sample, accuracy and agreement of four: hls4ml's C simulation, its float
    model with the same masks, the golden model and Verilator.

    Everything has one thread, and makes its masks or coins in the measured time. agrees: share of the images
    to which hls4ml gives the class that its float model gives, and Verilator the votes of the golden model.
    Raises SynflipError.
    """
    used = c_simulation.version()
    ours, (data, epochs) = models.model(NETWORK), models.training(NETWORK)
    size = QUICK_GEOMETRY if models.quick else GEOMETRY
    geometry = Geometry.parse(size, bits=ours.bits, activation_bits=ours.activation_bits)
    models.say("rivals: training with dropout")
    masked = train_masked(data, NETWORKS[NETWORK][1], epochs, SEED)
    count = QUICK_IMAGES if models.quick else IMAGES
    pixels, labels = models.images(NETWORK, count), models.labels(NETWORK, count)
    timed = pixels[: QUICK_TIMED if models.quick else TIMED]

    def shares(forward: Forward, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        x = pixels.astype(np.float32) / np.float32(data.input_max)
        return monte_carlo(forward, x, masked.widths()[1:], SAMPLES, SEED)

    golden = Golden(geometry)
    golden.load(ours)
    models.say("rivals: building")
    with one_thread(), c_simulation.simulation(masked) as (forward, built), simulator.empty_cache():
        began = time.perf_counter()
        with open_device("verilator", geometry) as verilator:
            opened = time.perf_counter() - began
            verilator.load(ours)
            answers: dict[str, Callable[[NDArray[np.uint8]], NDArray[Any]]] = {
                "hls4ml": partial(shares, forward),
                "float": partial(shares, masked.logits),
                "golden": lambda pixels: golden.infer(pixels, SAMPLES, SEED).votes,
                "verilator": lambda pixels: verilator.infer(pixels, SAMPLES, SEED).votes,
            }
            models.say(f"rivals: {count} images")
            found = {name: answer(pixels) for name, answer in answers.items()}
            models.say("rivals: turns")
            turns = QUICK_TURNS if models.quick else TURNS
            seconds = race({name: partial(answer, timed) for name, answer in answers.items()}, turns)
    classes = {name: answer.argmax(1) for name, answer in found.items()}
    agrees = {
        "hls4ml": float((classes["hls4ml"] == classes["float"]).mean()),
        "verilator": float((found["verilator"] == found["golden"]).all(1).mean()),
    }
    rows = [
        {
            "name": name,
            "build": {"hls4ml": built, "verilator": opened}.get(name),
            "seconds": seconds[name] / (len(timed) * SAMPLES),
            "accuracy": float((classes[name] == labels).mean()),
            "agrees": agrees.get(name),
        }
        for name in answers
    ]
    return {
        "shape": ours.shape,
        "version": used,
        "precision": c_simulation.PRECISION,
        "geometry": size,
        "samples": SAMPLES,
        "images": count,
        "at_once": len(timed),
        "rows": rows,
    }
