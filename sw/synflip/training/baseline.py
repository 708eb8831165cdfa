"""Ordinary ReLU networks in float32, which networks of coins are compared with."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from synflip.data.dataset import Dataset, require_dataset
from synflip.training.loop import FLOAT_RATE, TEST_BATCH, Progress, checked_epochs, fit, layer_sizes
from synflip.util.arrays import training_seed
from synflip.util.threads import one_thread


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
    """An ordinary ReLU network with initial weights of ``seed``, in training mode.

    dropout: share of each hidden layer's outputs that are left out in training.
    """
    modules: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training_seed(seed))
        for inputs, outputs in pairwise(layer_sizes(dataset, hidden)):
            modules += [nn.Linear(inputs, outputs), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(*modules[: -2 if dropout else -1])


def fit_float(
    network: nn.Module,
    dataset: Dataset,
    epochs: int | None = None,
    seed: int = 0,
    augment: bool = False,
    progress: Progress | None = None,
    after_step: Callable[[], None] | None = None,
) -> None:
    """Train an ordinary network in place and leave it in evaluation mode.

    network: float32 images [N, I] in 0..1 to logits [N, C]. Dropout draws from torch's global generator. A
    Sequential that begins with a Linear is trained on images minus their mean, which is easier (LeCun et al.,
    Efficient BackProp, 1998, section 4.3), as coins are; its first bias then takes the mean's part, so that
    it takes the images as they are. after_step: called after every step of the optimiser.
    """
    epochs = checked_epochs(dataset, epochs)
    generator = torch.Generator().manual_seed(training_seed(seed))
    mean = torch.zeros(dataset.train_images.shape[1])
    first = network[0] if isinstance(network, nn.Sequential) else None
    if isinstance(first, nn.Linear):
        mean = torch.from_numpy(dataset.train_pixels.mean(0) / dataset.input_max).float()
        with torch.no_grad():
            first.bias.add_(first.weight @ mean)

    def loss(x: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(network(x / dataset.input_max - mean), labels)

    network.train()
    groups = [(list(network.parameters()), FLOAT_RATE)]
    fit(groups, loss, dataset, dataset.train_pixels, epochs, generator, augment, progress, None, after_step)
    if isinstance(first, nn.Linear):
        with torch.no_grad():
            first.bias.sub_(first.weight @ mean)
    network.eval()


def float_accuracy(network: nn.Module, dataset: Dataset) -> float:
    """Test accuracy, 0..1, of a network in evaluation mode: float32 images [N, I] in 0..1 to logits."""
    require_dataset(dataset)
    right = 0
    images = dataset.test_pixels
    with torch.no_grad(), one_thread():
        for start in range(0, len(images), TEST_BATCH):
            part = slice(start, start + TEST_BATCH)
            logits = network(torch.from_numpy(images[part]).float() / dataset.input_max)
            right += int((logits.argmax(1).numpy() == dataset.test_labels[part]).sum())
    return right / len(dataset.test_labels)
