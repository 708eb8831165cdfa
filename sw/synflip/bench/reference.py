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
FEW = 256  # images, up to which a run is of SAMPLES network samples
SAMPLES = 8
TURNS, QUICK_TURNS = 7, 2


def measure(models: Models) -> dict[str, Any]:
    """Seconds a network sample of all images: ``golden`` (``infer``, cycles and all), ``plain``, and
    ``products``, the int8 products of the golden model by themselves."""
    model = models.model(NETWORK)
    golden, plain = Golden(), PlainLoop(model, SEED)
    golden.load(model)
    coins = golden.coins(SEED, 0)
    rows = []
    for count in QUICK_IMAGES if models.quick else IMAGES:
        models.say(f"golden model: {count} images")
        pixels = models.images(NETWORK, count)
        samples = SAMPLES if count <= FEW else 1
        inputs = [torch.ones(count, rows, dtype=torch.int8) for rows in model.rows]

        def products(inputs: list[torch.Tensor] = inputs, samples: int = samples) -> None:
            for _ in range(samples):
                for x, flipped in zip(inputs, coins, strict=True):
                    torch._int_mm(x, flipped.t())

        seconds = race(
            {
                "golden": partial(golden.infer, pixels, samples, SEED),
                "plain": partial(plain.votes, pixels, samples),
                "products": products,
            },
            QUICK_TURNS if models.quick else TURNS,
        )
        rows.append({"images": count} | {name: value / samples for name, value in seconds.items()})
    return {"network": NETWORK, "shape": model.shape, "threads": torch.get_num_threads(), "rows": rows}
