"""The golden model's speed with convolutions, beside torch's own float convolutions, in turns."""

from functools import partial
from typing import Any

import numpy as np
import torch

from synflip.benchmarks.networks import SEED, Models
from synflip.benchmarks.plain_torch import PlainNetwork
from synflip.benchmarks.timing import race
from synflip.golden.cpu import Golden
from synflip.golden.products import cpu_flags, kernels_for
from synflip.spec.convolution import Convolution
from synflip.spec.model import CompiledModel, Layer

IMAGES, QUICK_IMAGES = (1, 100, 1000), (1, 20)
TURNS, QUICK_TURNS = 4, 1
FIRST = (32, 32, 3)


def network() -> CompiledModel:
    """A CIFAR-10 network of random coins, 32x32x3-32-64-128-256-128-10: kernels of 3x3, a pad of one, pools
    of 2x2; always the same one. Its shifts leave about half of the hidden activations above zero."""
    rng = np.random.default_rng(SEED)
    places: list[Convolution | None] = []
    (side, _, channels), sizes = FIRST, []
    for outputs in (32, 64, 128):
        places.append(Convolution((side, side, channels), (3, 3), pad=(1, 1), pool=(2, 2)))
        sizes.append((outputs, 9 * channels))
        channels, side = outputs, side // 2
    sizes += [(256, side * side * channels), (128, 256), (10, 128)]
    layers = tuple(
        Layer(
            rng.integers(0, 16, size).astype(np.uint16),
            rng.integers(0, 2, size).astype(np.uint8),
            rng.integers(-300, 300, size[0]).astype(np.int32),
            place,
        )
        for size, place in zip(sizes, (*places, None, None, None), strict=True)
    )
    return CompiledModel(layers, 4, 8, (4, 6, 6, 7, 6), tuple("0123456789"), 255)


def run(models: Models) -> dict[str, Any]:
    """Seconds of all images, with one thread and with all: ``golden``, one network sample of ``infer``, keys
    and coins included, and ``plain``, the network in float with the coins of one sample as its weights.
    Its images have their channels last in memory, with which torch takes half as long."""
    model, golden = network(), Golden()
    golden.load(model)
    plain = PlainNetwork(model, golden.coins(SEED, 0))
    most = torch.get_num_threads()
    rows = []
    try:
        for threads in sorted({1, most}):
            torch.set_num_threads(threads)
            for count in QUICK_IMAGES if models.quick else IMAGES:
                models.say(f"convolutions: {count} images, {threads} threads")
                x = np.random.default_rng(SEED).integers(0, 256, (count, model.inputs), dtype=np.uint8)
                images = torch.from_numpy(x).view(-1, *FIRST).permute(0, 3, 1, 2).to(torch.float32)
                seconds = race(
                    {
                        "golden": partial(golden.infer, x, 1, SEED),
                        "plain": partial(plain.logits, images),
                    },
                    QUICK_TURNS if models.quick else TURNS,
                )
                rows.append({"images": count, "threads": threads} | seconds)
    finally:
        torch.set_num_threads(most)
    return {"shape": model.shape, "flags": cpu_flags(), "way": kernels_for()[0], "rows": rows}
