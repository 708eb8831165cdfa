"""Convolutions with coins behind them, trained together, and ordinary networks of the same shape.

The shapes are those of the synaptic sampling paper (Aimone, Severa, Smith, ICRC 2023, arXiv 2311.13038): for
grey images one convolution of 32 filters in front of 100-10, for colour three of 32, 64 and 128 in front of
256-128-10. Each filter is 3x3 with a border of zeros, followed by a ReLU and the maximum of 2x2.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from synflip.data.dataset import Dataset
from synflip.errors import SynflipError
from synflip.modelfile.extractor import image_shape, log2_step
from synflip.training.baseline import fit_float, float_accuracy
from synflip.training.checkpoint import Checkpoint
from synflip.training.feature_network import FeatureNetwork, Normalise
from synflip.training.layers import SynapticNetwork, check_bits
from synflip.training.loop import Progress, checked_epochs
from synflip.training.train import RATE, fit_coins
from synflip.util.arrays import training_seed

GREY_FILTERS, GREY_HIDDEN = (32,), (100,)
COLOUR_FILTERS, COLOUR_HIDDEN = (32, 64, 128), (256, 128)
MEASURED = 256  # training images that the first features' size is measured on


def default_filters(dataset: Dataset) -> tuple[int, ...]:
    """Filters of each convolution, by the data set: GREY_FILTERS, or COLOUR_FILTERS."""
    return COLOUR_FILTERS if len(dataset.shape) == 3 else GREY_FILTERS


def feature_count(dataset: Dataset) -> int:
    """Features behind the default convolutions: the inputs of the coins. Raises SynflipError."""
    return _convolutions(dataset, None, 0)[1]


def default_hidden(dataset: Dataset) -> tuple[int, ...]:
    """Outputs of each hidden layer behind the convolutions: GREY_HIDDEN, or COLOUR_HIDDEN."""
    return COLOUR_HIDDEN if len(dataset.shape) == 3 else GREY_HIDDEN


def train(
    dataset: Dataset,
    hidden: Sequence[int] | None = None,
    filters: Sequence[int] | None = None,
    bits: int = 4,
    activation_bits: int = 8,
    epochs: int | None = None,
    seed: int = 0,
    augment: bool = False,
    progress: Progress | None = None,
    mean_of: int = 1,
    teachers: Sequence[nn.Module] = (),
    checkpoint: str | Path | None = None,
    resume: bool = False,
) -> FeatureNetwork:
    """Train convolutions and the coins behind them together; in evaluation mode when it is returned.

    hidden, filters: None takes the defaults. The other arguments are those of ``training.train.train``. The
    same seed gives the same network on the same kind of machine. Raises SynflipError.
    """
    kept = None if checkpoint is None else Checkpoint(checkpoint, resume)
    epochs = checked_epochs(dataset, epochs)
    bits, activation_bits = check_bits(bits, activation_bits)
    seed = training_seed(seed)
    hidden = default_hidden(dataset) if hidden is None else hidden
    convolutions, count = _convolutions(dataset, filters, seed)
    shape = image_shape(dataset.shape)
    extractor = nn.Sequential(_normalise(dataset, 1 / dataset.input_max), convolutions)
    head = SynapticNetwork([count, *hidden, len(dataset.classes)], bits, activation_bits, seed)
    images = dataset.train_pixels
    with torch.no_grad():
        measured = torch.from_numpy(images[:MEASURED]).float().view(-1, *shape)
        step = log2_step(extractor(measured).numpy(), activation_bits)
    network = FeatureNetwork(extractor, head, shape, dataset.input_max, step)
    generator = torch.Generator().manual_seed(seed)
    fit_coins(network, dataset, images, epochs, RATE, generator, augment, progress, mean_of, teachers, kept)
    return network


def float_baseline(
    dataset: Dataset,
    hidden: Sequence[int] | None = None,
    filters: Sequence[int] | None = None,
    epochs: int | None = None,
    seed: int = 0,
    augment: bool = False,
    progress: Progress | None = None,
) -> float:
    """Test accuracy, 0..1, of an ordinary network of the same shape, trained the same way."""
    network = float_network(dataset, hidden, filters, seed)
    fit_float(network, dataset, epochs, seed, augment, progress)
    return float_accuracy(network, dataset)


def float_network(
    dataset: Dataset,
    hidden: Sequence[int] | None = None,
    filters: Sequence[int] | None = None,
    seed: int = 0,
) -> nn.Sequential:
    """An ordinary network of the same shape, not trained."""
    seed = training_seed(seed)
    hidden = default_hidden(dataset) if hidden is None else hidden
    convolutions, count = _convolutions(dataset, filters, seed)
    modules: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for inputs, outputs in pairwise([count, *hidden, len(dataset.classes)]):
            modules += [nn.ReLU(), nn.Linear(inputs, outputs)]
    shape = image_shape(dataset.shape)
    return nn.Sequential(nn.Unflatten(1, shape), _normalise(dataset, 1.0), convolutions, *modules[1:])


def _convolutions(dataset: Dataset, filters: Sequence[int] | None, seed: int) -> tuple[nn.Sequential, int]:
    """Convolutions of images [N, C, H, W], with weights of ``seed``, and F, the number of their features."""
    channels, height, width = image_shape(dataset.shape)
    filters = default_filters(dataset) if filters is None else filters
    if not filters or min(filters) < 1 or min(height, width) >> len(filters) == 0:
        raise SynflipError(
            f"filters {tuple(filters)} for images of {height}x{width}: each convolution needs at least one "
            "filter, and halves the image"
        )
    modules: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for inputs, outputs in pairwise([channels, *filters]):
            modules += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    count = filters[-1] * (height >> len(filters)) * (width >> len(filters))
    return nn.Sequential(*modules, nn.Flatten()), count


def _normalise(dataset: Dataset, scale: float) -> Normalise:
    """Normalisation of each channel to mean 0 and standard deviation 1 over the training images.

    scale: what pixels are multiplied by first, to be in 0..1.
    """
    channels = image_shape(dataset.shape)[0]
    shares = dataset.train_pixels.reshape(len(dataset.train_images), channels, -1)
    mean = [float(shares[:, channel].mean()) / dataset.input_max for channel in range(channels)]
    std = [max(float(shares[:, channel].std()) / dataset.input_max, 1e-3) for channel in range(channels)]
    return Normalise(scale, mean, std, channels)
