"""Training: a network of coins, and the ordinary network that it is compared with."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax, nll_loss, softmax

from synflip.data.dataset import Dataset
from synflip.errors import SynflipError
from synflip.nn import SynapticNetwork
from synflip.training.feature_network import FeatureNetwork

BATCH = 128
RATE = 0.02
FLOAT_RATE = 0.002  # weights of an ordinary network are a tenth as large
SMALL_BATCH = 32
SMALL = 10_000  # images; below it, smaller batches and more epochs
TEST_BATCH = 1000
WARM_UP = 0.3  # share of the steps in which the rate rises


@dataclass(frozen=True)
class Step:
    """Where training is. loss: mean cross-entropy of the batch, in nats. rate: learning rate."""

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float
    rate: float


#: Called after every step, from 1 to ``steps``.
Progress = Callable[[Step], None]


def default_epochs(dataset: Dataset) -> int:
    """Epochs that bring training close to where more change little."""
    return 15 if len(dataset.train_labels) >= SMALL else 40


def train(
    dataset: Dataset,
    hidden: Sequence[int] = (512, 512),
    bits: int = 4,
    activation_bits: int = 8,
    epochs: int | None = None,
    seed: int = 0,
    augment: bool = False,
    progress: Progress | None = None,
    mean_of: int = 1,
    signed: bool = True,
    teachers: Sequence[nn.Module] = (),
) -> SynapticNetwork:
    """Train a network of coins with Adam and a one-cycle rate; in evaluation mode when it is returned.

    hidden: outputs of the hidden layers. bits: k. activation_bits: A. epochs: None takes ``default_epochs``.
    augment: see ``augmented``. mean_of, teachers: see ``fit_coins``. signed: whether weights are in [-1, 1]
    or in [0, 1]. The same seed gives the same network on the same kind of machine. Raises
    SynflipError for sizes that no accelerator runs.
    """
    epochs = checked_epochs(dataset, epochs)
    network = SynapticNetwork(_sizes(dataset, hidden), bits, activation_bits, seed, signed)
    generator = torch.Generator().manual_seed(seed)

    images = activations(dataset.train_images, dataset.input_max, activation_bits)
    fit_coins(network, dataset, images, epochs, RATE, generator, augment, progress, mean_of, teachers)
    return network


def fit_coins(
    network: SynapticNetwork | FeatureNetwork,
    dataset: Dataset,
    images: NDArray[np.uint8],
    epochs: int,
    rate: float,
    generator: torch.Generator,
    augment: bool = False,
    progress: Progress | None = None,
    mean_of: int = 1,
    teachers: Sequence[nn.Module] = (),
) -> None:
    """Train a network in place, on ``images`` [N, I] in place of the training images; leaves it in evaluation
    mode. rate: the highest of the coins; an extractor of features has FLOAT_RATE.

    mean_of: what is made likely is the mean of this many sampled softmaxes: 1 makes each sample right, more
    let samples differ where they are not sure. (As importance-weighted bounds do: Burda, Grosse,
    Salakhutdinov, ICLR 2016, arXiv 1509.00519.) teachers: ordinary networks as ``float_accuracy`` takes them;
    the mean of their softmaxes is learnt in place of the labels, see ``synflip.teachers``. Raises
    SynflipError.
    """
    if mean_of < 1:
        raise SynflipError(f"mean_of must be at least 1, not {mean_of}")
    if isinstance(network, SynapticNetwork):
        groups = [(list(network.parameters()), rate)]
        largest = (1 << network.activation_bits) - 1
    else:
        groups = [(list(network.head.parameters()), rate), (list(network.extractor.parameters()), FLOAT_RATE)]
        largest = dataset.input_max

    def loss(x: Tensor, labels: Tensor) -> Tensor:
        logits = network(x, generator, mean_of) / network.temperature
        if mean_of == 1 and not teachers:
            return cross_entropy(logits, labels)
        shares = log_softmax(logits, 1).view(mean_of, len(x), -1).logsumexp(0) - math.log(mean_of)
        if not teachers:
            return nll_loss(shares, labels)
        with torch.no_grad():
            taught = torch.stack([softmax(teacher(x / largest), 1) for teacher in teachers]).mean(0)
        return -(taught * shares).sum(1).mean()

    network.train()
    _fit(groups, loss, dataset, images, epochs, generator, augment, progress, after_step=network.clamp)
    network.eval()


def float_baseline(
    dataset: Dataset,
    hidden: Sequence[int] = (512, 512),
    epochs: int | None = None,
    seed: int = 0,
    augment: bool = False,
    progress: Progress | None = None,
) -> float:
    """Test accuracy, 0..1, of an ordinary ReLU network of the same shape, trained the same way."""
    network = float_network(dataset, hidden, seed)
    fit_float(network, dataset, epochs, seed, augment, progress)
    return float_accuracy(network, dataset)


def float_network(
    dataset: Dataset, hidden: Sequence[int] = (512, 512), seed: int = 0, dropout: float = 0.0
) -> nn.Sequential:
    """An ordinary ReLU network, not trained. dropout: the share of each hidden layer's outputs left out."""
    modules: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for inputs, outputs in pairwise(_sizes(dataset, hidden)):
            modules += [nn.Linear(inputs, outputs), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(*modules[: -2 if dropout else -1])


def fit_float(
    network: nn.Module,
    dataset: Dataset,
    epochs: int | None = None,
    seed: int = 0,
    augment: bool = False,
    progress: Progress | None = None,
) -> None:
    """Train an ordinary network in place; it takes float32 [N, I] in 0..1. Leaves it in evaluation mode.

    Dropout draws from torch's global generator.
    """
    epochs = checked_epochs(dataset, epochs)
    generator = torch.Generator().manual_seed(seed)

    def loss(x: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(network(x / dataset.input_max), labels)

    network.train()
    groups = [(list(network.parameters()), FLOAT_RATE)]
    _fit(groups, loss, dataset, dataset.train_images, epochs, generator, augment, progress)
    network.eval()


def float_accuracy(network: nn.Module, dataset: Dataset) -> float:
    """Test accuracy, 0..1, of an ordinary network in evaluation mode that takes float32 [N, I] in 0..1."""
    right = 0
    with torch.no_grad(), one_thread():
        for start in range(0, len(dataset.test_labels), TEST_BATCH):
            part = slice(start, start + TEST_BATCH)
            logits = network(torch.from_numpy(dataset.test_images[part]).float() / dataset.input_max)
            right += int((logits.argmax(1).numpy() == dataset.test_labels[part]).sum())
    return right / len(dataset.test_labels)


def activations(pixels: NDArray[np.uint8], input_max: int, activation_bits: int) -> NDArray[np.uint8]:
    """Pixels [N, I] in 0..input_max to 0..2**A-1, as ``CompiledModel.activations`` does."""
    largest = (1 << activation_bits) - 1
    scaled = (2 * largest * np.arange(input_max + 1) + input_max) // (2 * input_max)
    return scaled.astype(np.uint8)[pixels]


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
                    progress(Step(step, steps, epoch + 1, epochs, value.item(), groups[0][1] * share))


@contextmanager
def one_thread() -> Iterator[None]:
    """Train on one torch thread, so that the bytes do not depend on how many there are.

    Two are at best 1.6 times as fast, but on a busy machine their barriers make a step 40 times as slow.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _batches(
    dataset: Dataset, images: NDArray[np.uint8], batch: int, generator: torch.Generator, augment: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled float32 [N, I] and int64 [N], once through the training set."""
    x, labels = torch.from_numpy(images), torch.from_numpy(dataset.train_labels)
    for chosen in torch.randperm(len(x), generator=generator).split(batch):
        part = x[chosen]
        yield (augmented(part, dataset.shape, generator) if augment else part).float(), labels[chosen]


def augmented(images: Tensor, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Images [N, I] of ``shape`` [H, W], each moved by up to one pixel down and right; or of [C, H, W], half
    of them mirrored left to right, then moved by up to four. What moves in is 0."""
    if len(shape) == 2:
        return _shifted(images, shape, generator, reach=1)
    mirrored = torch.randint(2, (len(images), 1, 1, 1), generator=generator, dtype=torch.bool)
    pictures = images.view(-1, *shape)
    pictures = torch.where(mirrored, pictures.flip(-1), pictures)
    return _shifted(pictures.reshape(len(images), -1), shape, generator, reach=4)


def _shifted(images: Tensor, shape: Sequence[int], generator: torch.Generator, reach: int = 1) -> Tensor:
    """Images [N, I], each moved by -reach..reach pixels down and right; what moves in is 0."""
    height, width = shape[-2:]
    padded = nn.functional.pad(images.view(len(images), -1, height, width), (reach,) * 4)
    down, right = torch.randint(2 * reach + 1, (2, len(images), 1, 1), generator=generator)
    rows, columns = torch.arange(height).view(1, -1, 1) + down, torch.arange(width).view(1, 1, -1) + right
    picked = padded[torch.arange(len(images)).view(-1, 1, 1), :, rows, columns]  # [N, H, W, C]
    return picked.movedim(3, 1).reshape(len(images), -1)


def checked_epochs(dataset: Dataset, epochs: int | None) -> int:
    """``epochs``, or as many as are worth it. Raises SynflipError if there are none."""
    epochs = default_epochs(dataset) if epochs is None else epochs
    if epochs < 1:
        raise SynflipError(f"epochs must be at least 1, not {epochs}")
    return epochs


def _sizes(dataset: Dataset, hidden: Sequence[int]) -> list[int]:
    return [dataset.train_images.shape[1], *hidden, len(dataset.classes)]
