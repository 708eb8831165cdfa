"""The golden model on a GPU, beside the plain loop there, in turns."""

from functools import partial
from typing import Any

import torch

from synflip.benchmarks.golden_cpu import NETWORK, Run, seconds_a_sample
from synflip.benchmarks.networks import SEED, Models
from synflip.benchmarks.plain_torch import PlainLoop
from synflip.errors import SynflipError
from synflip.golden.cuda import CudaGolden

IMAGES, QUICK_IMAGES = (1, 64, 1000, 10_000, 30_000), (1, 1000)


def run(models: Models) -> dict[str, Any]:
    """Seconds a network sample of all images: ``golden`` (``infer``, cycles and all), ``votes`` (the same
    without cycles) and ``plain``.

    Raises SynflipError if torch finds no GPU.
    """
    if not torch.cuda.is_available():
        raise SynflipError("torch finds no CUDA GPU here; leave gpu out of --only")
    model = models.model(NETWORK)
    golden, votes, plain = CudaGolden(), CudaGolden(predict=False), PlainLoop(model, SEED, "cuda")
    golden.load(model)
    votes.load(model)
    runs: dict[str, Run] = {
        "golden": partial(golden.infer, seed=SEED),
        "votes": partial(votes.infer, seed=SEED),
        "plain": plain.votes,
    }
    rows = []
    for count in QUICK_IMAGES if models.quick else IMAGES:
        models.say(f"GPU: {count} images")
        rows.append(seconds_a_sample(models, count, runs))
    return {"shape": model.shape, "rows": rows, "gpu": torch.cuda.get_device_name()}
