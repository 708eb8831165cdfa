"""The training loop: batches, the one-cycle rate, steps."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synflip.data.dataset import Dataset
from synflip.errors import SynflipError
from synflip.training.augment import augmented
from synflip.util.threads import one_thread

BATCH = 128

FLOAT_RATE = 0.002  # weights of an ordinary network are a tenth as large

SMALL_BATCH = 32

SMALL = 10_000  # images; below it, smaller batches and more epochs

TEST_BATCH = 1000

WARM_UP = 0.3  # share of the steps in which the rate rises


@dataclass(frozen=True)
class TrainStep:
    """Where training is. loss: mean cross-entropy of the batch, in nats. rate: learning rate."""

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float
    rate: float


#: Called after every step, from 1 to ``steps``.
Progress = Callable[[TrainStep], None]


def default_epochs(dataset: Dataset) -> int:
    """Epochs that bring training close to where more change little."""
    return 15 if len(dataset.train_labels) >= SMALL else 40


def one_cycle(fraction: float) -> float:
    """Learning rate as a share of the highest: half a cosine up from 1/25, then half a cosine down to 0.

    fraction: of the steps done, 0..1. Smith and Topin, 2017, arXiv 1708.07120.
    """
    if fraction < WARM_UP:
        return 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * fraction / WARM_UP)) / 2
    return (1 + math.cos(math.pi * (fraction - WARM_UP) / (1 - WARM_UP))) / 2


def _fit(
    groups: Sequence[tuple[list[nn.Parameter], float]],
    loss: Callable[[Tensor, Tensor], Tensor],
    dataset: Dataset,
    images: NDArray[np.uint8],
    epochs: int,
    generator: torch.Generator,
    augment: bool,
    progress: Progress | None,
    after_step: Callable[[], None] | None = None,
) -> None:
    """Minimise ``loss(images, labels)`` over shuffled batches. groups: parameters and their highest rates."""
    count = len(images)
    batch = BATCH if count >= SMALL else SMALL_BATCH
    steps = epochs * math.ceil(count / batch)
    optimiser = torch.optim.Adam(
        [{"params": parameters, "lr": rate} for parameters, rate in groups], fused=True
    )
    step = 0
    with one_thread():
        for epoch in range(epochs):
            for x, labels in _batches(dataset, images, batch, generator, augment):
                share = one_cycle(step / steps)
                for group, (_, rate) in zip(optimiser.param_groups, groups, strict=True):
                    group["lr"] = rate * share
                optimiser.zero_grad()
                value = loss(x, labels)
                value.backward()
                optimiser.step()
                if after_step:
                    after_step()
                step += 1
                if progress:
                    progress(TrainStep(step, steps, epoch + 1, epochs, value.item(), groups[0][1] * share))


def _batches(
    dataset: Dataset, images: NDArray[np.uint8], batch: int, generator: torch.Generator, augment: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled float32 [N, I] and int64 [N], once through the training set."""
    x, labels = torch.from_numpy(images), torch.from_numpy(dataset.train_labels)
    for chosen in torch.randperm(len(x), generator=generator).split(batch):
        part = x[chosen]
        yield (augmented(part, dataset.shape, generator) if augment else part).float(), labels[chosen]


def checked_epochs(dataset: Dataset, epochs: int | None) -> int:
    """``epochs``, or as many as are worth it. Raises SynflipError if there are none."""
    epochs = default_epochs(dataset) if epochs is None else epochs
    if epochs < 1:
        raise SynflipError(f"epochs must be at least 1, not {epochs}")
    return epochs


def _sizes(dataset: Dataset, hidden: Sequence[int]) -> list[int]:
    return [dataset.train_images.shape[1], *hidden, len(dataset.classes)]
