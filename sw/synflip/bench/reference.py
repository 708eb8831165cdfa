"""The golden model's speed, beside the plain loop and the bare products, in turns."""

from functools import partial
from typing import Any

import torch

from synflip.bench.models import SEED, Models
from synflip.bench.plain import PlainLoop
from synflip.bench.timing import race
from synflip.golden import Golden

NETWORK = "mnist-512"
IMAGES, QUICK_IMAGES = (1, 4, 16, 64, 256, 1000, 10_000), (1, 64, 1000)
FEW = 256  # images, up to which a run is of SAMPLES network samples, and of MANY_SAMPLES above
SAMPLES, MANY_SAMPLES = 32, 8
TURNS, QUICK_TURNS = 6, 2


def measure(models: Models) -> dict[str, Any]:
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
                pixels = models.images(NETWORK, count)
                samples = SAMPLES if count <= FEW else MANY_SAMPLES
                inputs = [torch.ones(count, width, dtype=torch.int8) for width in model.rows]
                seconds = race(
                    {
                        "golden": partial(golden.infer, pixels, samples, SEED),
                        "plain": partial(plain.votes, pixels, samples),
                        "products": partial(_multiply, inputs, coins, samples),
                    },
                    QUICK_TURNS if models.quick else TURNS,
                )
                each = {name: value / samples for name, value in seconds.items()}
                rows.append({"images": count, "threads": threads} | each)
    finally:
        torch.set_num_threads(most)
    return {"network": NETWORK, "shape": model.shape, "rows": rows}


def _multiply(inputs: list[torch.Tensor], coins: list[torch.Tensor], samples: int) -> None:
    for _ in range(samples):
        for x, flipped in zip(inputs, coins, strict=True):
            torch._int_mm(x, flipped.t())
