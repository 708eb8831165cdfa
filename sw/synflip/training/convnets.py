"""Convolutions with coins behind them, trained together, and ordinary networks of the same shape."""

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from synflip.data.dataset import Dataset
from synflip.modelfile.extractor import image_shape, log2_step
from synflip.training.baseline import fit_float, float_accuracy
from synflip.training.checkpoint import Checkpoint, checkpoint_of, end
from synflip.training.feature_network import FeatureNetwork, Normalise
from synflip.training.layers import SynapticNetwork, check_bits
from synflip.training.loop import Progress, checked_epochs
from synflip.training.shapes import Filters, convolutions, default_filters, default_hidden, flat
from synflip.training.train import RATE, describe, fit_coins
from synflip.util.arrays import training_seed

MEASURED = 256  # training images that the first features' size is measured on


def feature_count(dataset: Dataset) -> int:
    """Features behind the default convolutions: the inputs of the coins. Raises SynflipError."""
    return _convolutions(dataset, None, 0)[1]


def train(
    dataset: Dataset,
    hidden: Sequence[int] | None = None,
    filters: Filters | None = None,
    bits: int = 4,
    activation_bits: int = 8,
    epochs: int | None = None,
    seed: int = 0,
    augment: bool = False,
    progress: Progress | bool | None = None,
    mean_of: int = 1,
    teachers: Sequence[nn.Module] = (),
    checkpoint: str | Path | Checkpoint | None = None,
    resume: bool = False,
) -> FeatureNetwork:
    """Train convolutions and the coins behind them together; in evaluation mode when it is returned.

    hidden, filters: None takes the defaults. The other arguments are those of ``training.train.train``. The
    same seed gives the same network on the same kind of machine. Raises SynflipError.
    """
    kept = checkpoint_of(checkpoint, resume)
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
    describe(network, dataset, seed, epochs, augment, mean_of, len(teachers))
    end(kept, checkpoint)
    return network


def float_baseline(
    dataset: Dataset,
    hidden: Sequence[int] | None = None,
    filters: Filters | None = None,
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
    filters: Filters | None = None,
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


def _convolutions(dataset: Dataset, filters: Filters | None, seed: int) -> tuple[nn.Sequential, int]:
    """Convolutions of images [N, C, H, W], with weights of ``seed``, and F, the number of their features."""
    filters = default_filters(dataset) if filters is None else filters
    places, counts = convolutions(dataset, filters), flat(filters)
    modules: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for place, count in zip(places, counts, strict=True):
            modules += [nn.Conv2d(place.input[2], count, place.kernel, padding=place.pad), nn.ReLU()]
            modules += [nn.MaxPool2d(place.pool)] if place.pool != (1, 1) else []
    return nn.Sequential(*modules, nn.Flatten()), counts[-1] * math.prod(places[-1].output)


def _normalise(dataset: Dataset, scale: float) -> Normalise:
    """Normalisation of each channel to mean 0 and standard deviation 1 over the training images.

    scale: what pixels are multiplied by first, to be in 0..1.
    """
    channels = image_shape(dataset.shape)[0]
    shares = dataset.train_pixels.reshape(len(dataset.train_images), channels, -1)
    mean = [float(shares[:, channel].mean()) / dataset.input_max for channel in range(channels)]
    std = [max(float(shares[:, channel].std()) / dataset.input_max, 1e-3) for channel in range(channels)]
    return Normalise(scale, mean, std, channels)
