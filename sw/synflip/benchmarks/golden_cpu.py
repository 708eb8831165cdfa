"""The golden model's speed on a CPU, beside a plain torch loop and its int8 products alone, in turns."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synflip.benchmarks.machine import int8_products
from synflip.benchmarks.networks import SEED, Models
from synflip.benchmarks.plain_torch import PlainLoop
from synflip.benchmarks.timing import race
from synflip.golden.cpu import Golden

NETWORK = "mnist-512"
IMAGES, QUICK_IMAGES = (1, 4, 16, 64, 256, 1000, 10_000), (1, 64, 256)
FEW = 256  # up to as many images a run has SAMPLES network samples, above MANY_SAMPLES
SAMPLES, MANY_SAMPLES = 32, 8
TURNS, QUICK_TURNS = 6, 2

Run = Callable[[NDArray[np.uint8], int], object]  # of pixels [N, I] and a number of network samples


def run(models: Models) -> dict[str, Any]:
    """Seconds a network sample of all images, with one thread and with all: ``golden`` (``infer``, cycles and
    all), ``plain``, and ``products``, the int8 products of the golden model by themselves."""
    model = models.model(NETWORK)
    golden, plain = Golden(), PlainLoop(model, SEED)
    golden.load(model)
    coins = golden.coins(SEED, 0)
    most = torch.get_num_threads()
    rows = []
    try:
        for threads in sorted({1, most}):
            torch.set_num_threads(threads)
            for count in QUICK_IMAGES if models.quick else IMAGES:
                models.say(f"golden model: {count} images, {threads} threads")
                inputs = [torch.ones(count, width, dtype=torch.int8) for width in model.rows]
                runs: dict[str, Run] = {
                    "golden": partial(golden.infer, seed=SEED),
                    "plain": plain.votes,
                    "products": partial(_multiply, inputs, coins),
                }
                rows.append(seconds_a_sample(models, count, runs) | {"threads": threads})
    finally:
        torch.set_num_threads(most)
    return {"network": NETWORK, "shape": model.shape, "int8": int8_products(), "rows": rows}


def seconds_a_sample(models: Models, count: int, runs: Mapping[str, Run]) -> dict[str, float]:
    """Seconds a network sample of each run by name, and ``images``, which is ``count``."""
    pixels = models.images(NETWORK, count)
    samples = SAMPLES if count <= FEW else MANY_SAMPLES
    turns = QUICK_TURNS if models.quick else TURNS
    seconds = race({name: partial(run, pixels, samples) for name, run in runs.items()}, turns)
    return {"images": count} | {name: value / samples for name, value in seconds.items()}


def _multiply(
    inputs: list[torch.Tensor], coins: list[torch.Tensor], pixels: NDArray[np.uint8], samples: int
) -> None:
    """The products alone: of ``inputs``, whatever the pixels."""
    for _ in range(samples):
        for x, flipped in zip(inputs, coins, strict=True):
            torch._int_mm(x, flipped.t())
