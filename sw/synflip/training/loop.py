"""The training loop that networks of coins and ordinary networks share."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synflip.data.dataset import Dataset, require_dataset
from synflip.errors import SynflipError
from synflip.training.augment import augmented
from synflip.training.checkpoint import Checkpoint, stopping
from synflip.util.arrays import whole_number, whole_sizes
from synflip.util.progress import Advance, check_progress, shown
from synflip.util.text import one_line
from synflip.util.threads import one_thread

BATCH, SMALL_BATCH = 128, 32  # images of a step
SMALL = 10_000  # images; smaller training sets have SMALL_BATCH and more epochs
TEST_BATCH = 1000  # images that are classified at once
FLOAT_RATE = 0.002  # weights of an ordinary network are a tenth as large as those of coins
WARM_UP = 0.3  # share of the steps in which the rate rises


@dataclass(frozen=True)
class TrainStep:
    """How far training is after one step.

    step: from 1 to ``steps``, over all epochs. epoch: from 1 to ``epochs``. loss: of the step's batch before
    the step, in nats. rate: learning rate of the first group of parameters in this step.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float
    rate: float

    @property
    def words(self) -> str:
        """Text beside a bar: ``epoch 1 of 3, loss 0.123``."""
        return f"epoch {self.epoch} of {self.epochs}, loss {self.loss:.3f}"


#: Called after every step, from 1 to ``steps``.
Progress = Callable[[TrainStep], None]


def default_epochs(dataset: Dataset) -> int:
    """Epochs after which more change accuracy little: 15, or 40 for less than SMALL training images."""
    return 15 if len(dataset.train_labels) >= SMALL else 40


def one_cycle(fraction: float) -> float:
    """Learning rate as a share of the highest: half a cosine up from 1/25, then half a cosine down to 0.

    fraction: of the steps done, 0..1. Smith and Topin, 2017, arXiv 1708.07120.
    """
    if fraction < WARM_UP:
        return 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * fraction / WARM_UP)) / 2
    return (1 + math.cos(math.pi * (fraction - WARM_UP) / (1 - WARM_UP))) / 2


def fit(
    groups: Sequence[tuple[list[nn.Parameter], float]],
    loss: Callable[[Tensor, Tensor], Tensor],
    dataset: Dataset,
    images: NDArray[np.uint8] | NDArray[np.float32],
    epochs: int,
    generator: torch.Generator,
    augment: bool,
    progress: Progress | bool | None,
    before_step: Callable[[float], None] | None = None,
    after_step: Callable[[], None] | None = None,
    buffers: Sequence[Tensor] = (),
    checkpoint: Checkpoint | None = None,
    recipe: Mapping[str, Any] | None = None,
    schedule: Callable[[float], float] = one_cycle,
    batch: int | None = None,
) -> None:
    """Minimise a loss with Adam over shuffled batches, on one torch thread; parameters change in place.

    groups: parameters, and the highest learning rate that each group reaches in the ``schedule``. loss: of a
    batch of images, float32 [B, I], and labels, int64 [B]; a scalar. images: uint8 or float32 [N, I], trained
    on in place of the data set's own training images; the labels are the data set's. epochs: passes over all
    images. generator: draws the order of the images, and how ``augment`` moves them. before_step: called
    before every step with the share of the steps that are done. after_step: called after every step of the
    optimiser, before progress. buffers: what the network keeps beside its parameters, for the checkpoint.

    checkpoint: where the state is kept when SIGINT or SIGTERM comes, or progress raises KeyboardInterrupt.
    The step that is under way is ended first, then ``Interrupted`` is raised. The last state is kept too, for
    whoever goes on with the network. recipe: what must be equal when the training goes on, besides the
    network, the data and the generator. schedule: the rate as a share of the highest, by the share of the
    steps that are done; ``one_cycle`` or, without a checkpoint, another. batch: images of a step; None takes
    BATCH, or SMALL_BATCH of a small training set. Raises SynflipError.
    """
    check_progress(progress, "a TrainStep")
    if augment and dataset.shape[0] == 1 and len(dataset.shape) == 2:
        raise SynflipError(f"augment moves pictures; {one_line(dataset.name)} has rows of features")
    count = len(images)
    batch = batch or (BATCH if count >= SMALL else SMALL_BATCH)
    of_epoch = math.ceil(count / batch)
    steps = epochs * of_epoch
    optimiser = torch.optim.Adam(
        [{"params": parameters, "lr": rate} for parameters, rate in groups], fused=True
    )
    state = [*(parameter for parameters, _ in groups for parameter in parameters), *buffers]
    step, began = 0, generator.get_state()
    if checkpoint:
        arrays = (images, dataset.train_labels)
        asked = {"epochs": epochs, "augment": augment, "batch": batch, **(recipe or {})}
        asked["rates"] = [rate for _, rate in groups]
        step, began = checkpoint.begin(asked, state, arrays, optimiser, generator)
    with (
        one_thread(),
        shown(progress, f"Training on {one_line(dataset.name)}", _on_bar) as tell,
        stopping(checkpoint is not None) as stopped,
    ):
        for epoch in range(step // of_epoch, epochs):
            skipped = step % of_epoch  # above 0 in the epoch in which training was stopped
            now = generator.get_state()
            if skipped:
                generator.set_state(began)
            else:
                began = now
            order = torch.randperm(count, generator=generator)
            if skipped:
                generator.set_state(now)
            for x, labels in batches(dataset, images, order[skipped * batch :], batch, generator, augment):
                share = schedule(step / steps)
                for group, (_, rate) in zip(optimiser.param_groups, groups, strict=True):
                    group["lr"] = rate * share
                if before_step:
                    before_step(step / steps)
                optimiser.zero_grad()
                value = loss(x, labels)
                value.backward()
                optimiser.step()
                if after_step:
                    after_step()
                step += 1
                interrupted = False
                if tell:
                    train_step = TrainStep(step, steps, epoch + 1, epochs, value.item(), groups[0][1] * share)
                    try:
                        tell(train_step)
                    except KeyboardInterrupt:
                        if not checkpoint:
                            raise
                        interrupted = True
                if checkpoint and (interrupted or stopped()):
                    raise checkpoint.keep(step, steps, state, optimiser, began, generator)
        if checkpoint:
            kept = checkpoint.keep(steps, steps, state, optimiser, began, generator)
            if stopped():
                raise kept


def _on_bar(advance: Advance) -> Progress:
    return lambda step: advance(step.step, step.steps, step.words)


def batches(
    dataset: Dataset,
    images: NDArray[np.uint8] | NDArray[np.float32],
    order: Tensor,
    batch: int,
    generator: torch.Generator,
    augment: bool,
) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch, or what is left of it: images float32 [B, I] and labels int64 [B].

    order: int64, the images' numbers. The last batch may be smaller than ``batch``. augment: move each image
    as ``generator`` draws, see ``augmented``.
    """
    x, labels = torch.from_numpy(images), torch.from_numpy(dataset.train_labels)
    for chosen in order.split(batch):
        part = x[chosen]
        yield (augmented(part, dataset.shape, generator) if augment else part).float(), labels[chosen]


def checked_epochs(dataset: Dataset, epochs: int | None) -> int:
    """``epochs``, or ``default_epochs`` in place of None. Raises SynflipError for less than 1, and if
    ``dataset`` is no Dataset."""
    require_dataset(dataset)
    if epochs is None:
        return default_epochs(dataset)
    epochs = whole_number(epochs, "epochs")
    if epochs < 1:
        raise SynflipError(f"epochs must be at least 1, not {epochs}")
    return epochs


def layer_sizes(dataset: Dataset, hidden: Sequence[int]) -> list[int]:
    """Pixels of an image, outputs of the hidden layers, number of classes: ``[64, 128, 10]`` for digits and
    one hidden layer of 128. Raises SynflipError unless ``hidden`` is a list of sizes."""
    require_dataset(dataset)
    return [dataset.train_images.shape[1], *whole_sizes(hidden, "hidden"), len(dataset.classes)]
