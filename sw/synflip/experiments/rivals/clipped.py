"""The training of the method's authors: an ordinary network with weights in [-1, 1], flipped afterwards.

Aimone, Severa, Smith, ICRC 2023; initial weights and dropout are those of their code, models.py of
sandialabs/scANNs.
"""

from collections.abc import Sequence

import torch
from torch import nn

from synflip.compiler.compile import compile_network
from synflip.data.dataset import Dataset
from synflip.experiments.rivals.rival import Rival
from synflip.spec.model import CompiledModel, pixels_to_activations
from synflip.training.baseline import float_network
from synflip.training.layers import SynapticNetwork
from synflip.training.ordinary import Ordinary
from synflip.training.scales import as_they_are
from synflip.util.arrays import training_seed

LARGEST = 0.99  # of the initial weights
DROPOUT = 0.2  # of each hidden layer's outputs
_MEASURED = 1000  # training images that the shifts are measured on


class Clipped(Rival):
    """The network: large weights, which never leave [-1, 1]."""

    def __init__(self, dataset: Dataset, hidden: Sequence[int], seed: int) -> None:
        super().__init__(*float_network(dataset, hidden, seed, DROPOUT))
        self.linear = [module for module in self if isinstance(module, nn.Linear)]
        generator = torch.Generator().manual_seed(training_seed(seed))
        with torch.no_grad():
            for layer in self.linear:
                layer.weight.uniform_(-LARGEST, LARGEST, generator=generator)

    def constrain(self) -> None:
        """Clips the weights."""
        with torch.no_grad():
            for layer in self.linear:
                layer.weight.clamp_(-1, 1)


def flipped(network: nn.Sequential, dataset: Dataset, bits: int, seed: int) -> CompiledModel:
    """A trained ``Clipped`` with a coin of probability |w| in place of each weight w. bits: k. seed: of the
    untrained coins whose place the weights take."""
    layers = Ordinary(network, dataset.train_images.shape[1:]).layers
    sizes = [dataset.train_images.shape[1], *(len(layer.bias) for layer in layers)]
    coins = SynapticNetwork(sizes, bits, activation_bits=8, seed=seed)
    rows = pixels_to_activations(dataset.train_pixels[:_MEASURED], dataset.input_max, 8)
    as_they_are(coins, layers, rows, 1 / 255)
    return compile_network(coins, dataset.classes, dataset.input_max)
