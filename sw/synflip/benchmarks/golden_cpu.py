"""The golden model's speed on a CPU, beside a plain torch loop and its products alone, in turns."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synflip.benchmarks.networks import SEED, Models
from synflip.benchmarks.plain_torch import PlainLoop
from synflip.benchmarks.timing import race
from synflip.golden.cpu import Golden
from synflip.golden.kernels import Product
from synflip.golden.products import cpu_flags, kernels_for, usable

NETWORK = "mnist-512"
IMAGES, QUICK_IMAGES = (1, 4, 16, 64, 256, 1000, 10_000), (1, 64, 256)
FEW = 256  # up to as many images a run has SAMPLES network samples, above MANY_SAMPLES
SAMPLES, MANY_SAMPLES = 32, 8
TURNS, QUICK_TURNS = 6, 2

Run = Callable[[NDArray[np.uint8], int], object]  # of pixels [N, I] and a number of network samples


def run(models: Models) -> dict[str, Any]:
    """Seconds a network sample of all images, with one thread and with all: ``golden`` (``infer``, cycles and
    all), ``plain``, and ``products``, the products of the golden model by themselves. In the way to multiply
    that is taken here and, if that is another, in the way of AVX2, which other processors take."""
    model = models.model(NETWORK)
    plain = PlainLoop(model, SEED)
    devices = {way: Golden(way=way) for way in ways()}
    for golden in devices.values():
        golden.load(model)
    most = torch.get_num_threads()
    rows = []
    try:
        for threads in sorted({1, most}):
            torch.set_num_threads(threads)
            for count in QUICK_IMAGES if models.quick else IMAGES:
                models.say(f"golden model: {count} images, {threads} threads")
                x = torch.from_numpy(model.activations(models.images(NETWORK, count)))
                runs: dict[str, Run] = {"plain": plain.votes}
                for way, golden in devices.items():
                    coins = golden.coins(SEED, 0)
                    inputs = [inputs.clone() for inputs, _ in golden.layers(x, coins)]
                    runs[f"{way} golden"] = partial(golden.infer, seed=SEED)
                    runs[f"{way} products"] = partial(_multiply, golden.multiply, inputs, coins)
                seconds = seconds_a_sample(models, count, runs)
                rows += [
                    {"images": count, "threads": threads, "way": way, "plain": seconds["plain"]}
                    | {name: seconds[f"{way} {name}"] for name in ("golden", "products")}
                    for way in devices
                ]
    finally:
        torch.set_num_threads(most)
    return {"network": NETWORK, "shape": model.shape, "flags": cpu_flags(), "ways": ways(), "rows": rows}


def ways() -> list[str]:
    """The way to multiply that is taken here, and that of AVX2, where it runs."""
    return list(dict.fromkeys([kernels_for()[0], *(way for way in usable() if way == "avx2")]))


def seconds_a_sample(models: Models, count: int, runs: Mapping[str, Run]) -> dict[str, float]:
    """Seconds a network sample of each run by name, and ``images``, which is ``count``."""
    pixels = models.images(NETWORK, count)
    samples = SAMPLES if count <= FEW else MANY_SAMPLES
    turns = QUICK_TURNS if models.quick else TURNS
    seconds = race({name: partial(run, pixels, samples) for name, run in runs.items()}, turns)
    return {"images": count} | {name: value / samples for name, value in seconds.items()}


def _multiply(
    multiply: Product,
    inputs: list[torch.Tensor],
    coins: list[torch.Tensor],
    pixels: NDArray[np.uint8],
    samples: int,
) -> None:
    """The products alone: of ``inputs``, whatever the pixels."""
    for _ in range(samples):
        for x, flipped in zip(inputs, coins, strict=True):
            multiply(x, flipped)
