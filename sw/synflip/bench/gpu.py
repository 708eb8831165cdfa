"""The golden model on a GPU, beside the plain loop there, in turns."""

from functools import partial
from typing import Any

import torch

from synflip.bench.models import SEED, Models
from synflip.bench.plain import PlainLoop
from synflip.bench.reference import FEW, MANY_SAMPLES, NETWORK, QUICK_TURNS, SAMPLES, TURNS
from synflip.bench.timing import race
from synflip.errors import SynflipError
from synflip.golden_cuda import TorchGolden

IMAGES, QUICK_IMAGES = (1, 64, 1000, 10_000, 30_000), (1, 1000)


def measure(models: Models) -> dict[str, Any]:
    """Seconds a network sample of all images: ``golden`` (``infer``, cycles and all), ``votes`` (the same
    without cycles) and ``plain``.

    Raises SynflipError if torch finds no GPU.
    """
    if not torch.cuda.is_available():
        raise SynflipError("torch finds no CUDA GPU here; leave gpu out of --only")
    model = models.model(NETWORK)
    golden, votes, plain = TorchGolden(), TorchGolden(predict=False), PlainLoop(model, SEED, "cuda")
    golden.load(model)
    votes.load(model)
    rows = []
    for count in QUICK_IMAGES if models.quick else IMAGES:
        models.say(f"GPU: {count} images")
        pixels = models.images(NETWORK, count)
        samples = SAMPLES if count <= FEW else MANY_SAMPLES
        seconds = race(
            {
                "golden": partial(golden.infer, pixels, samples, SEED),
                "votes": partial(votes.infer, pixels, samples, SEED),
                "plain": partial(plain.votes, pixels, samples),
            },
            QUICK_TURNS if models.quick else TURNS,
        )
        rows.append({"images": count} | {name: value / samples for name, value in seconds.items()})
    return {"shape": model.shape, "rows": rows, "gpu": torch.cuda.get_device_name()}
