"""The training of the method's authors: an ordinary network whose weights are clipped, flipped afterwards.

Aimone, Severa, Smith, ICRC 2023; ranges, initial weights and dropout are those of their code, models.py of
sandialabs/scANNs: [0, 1] for dense networks, [-1, 1] for the dense layers behind convolutions.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from synflip.compiler.compile import compile_network
from synflip.data.dataset import Dataset
from synflip.experiments.rivals.rival import Rival
from synflip.spec.model import CompiledModel, pixels_to_activations
from synflip.training.baseline import float_network
from synflip.training.layers import SynapticNetwork
from synflip.training.loop import BATCH, Progress, fit
from synflip.training.ordinary import Ordinary
from synflip.training.scales import as_they_are
from synflip.util.arrays import training_seed

LARGEST = 0.99  # of the initial weights in [-1, 1]
POSITIVE = 0.25, 0.75  # range of those in [0, 1]
DROPOUT = 0.2  # of each hidden layer's outputs
RATE = 0.001  # Adam's, in all steps
_MEASURED = 1000  # training images that the shifts are measured on


class Clipped(Rival):
    """The network: large weights, which never leave [-1, 1]; or [0, 1] unless ``signed``."""

    def __init__(self, dataset: Dataset, hidden: Sequence[int], seed: int, signed: bool = True) -> None:
        super().__init__(*float_network(dataset, hidden, seed, DROPOUT))
        self.linear = [module for module in self if isinstance(module, nn.Linear)]
        self.lowest = -1 if signed else 0
        initial = (-LARGEST, LARGEST) if signed else POSITIVE
        generator = torch.Generator().manual_seed(training_seed(seed))
        with torch.no_grad():
            for layer in self.linear:
                layer.weight.uniform_(*initial, generator=generator)

    def fit(self, dataset: Dataset, epochs: int, seed: int, augment: bool, progress: Progress) -> None:
        """Train it with a rate that stays, as the authors do, and leave it in evaluation mode. With the one
        cycle and the centred images of ``fit_float`` it is right far less often."""

        def loss(x: Tensor, labels: Tensor) -> Tensor:
            return cross_entropy(self(x / dataset.input_max), labels)

        self.train()
        fit(
            [(list(self.parameters()), RATE)], loss, dataset, dataset.train_pixels, epochs,
            torch.Generator().manual_seed(training_seed(seed)), augment, progress, after_step=self.constrain,
            schedule=lambda done: 1.0, batch=BATCH,
        )  # fmt: skip
        self.eval()

    def constrain(self) -> None:
        """Clips the weights."""
        with torch.no_grad():
            for layer in self.linear:
                layer.weight.clamp_(self.lowest, 1)


def flipped(network: nn.Sequential, dataset: Dataset, bits: int, seed: int) -> CompiledModel:
    """A trained ``Clipped`` with a coin of probability |w| in place of each weight w. bits: k. seed: of the
    untrained coins whose place the weights take."""
    layers = Ordinary(network, dataset.train_images.shape[1:]).layers
    sizes = [dataset.train_images.shape[1], *(len(layer.bias) for layer in layers)]
    coins = SynapticNetwork(sizes, bits, activation_bits=8, seed=seed)
    rows = pixels_to_activations(dataset.train_pixels[:_MEASURED], dataset.input_max, 8)
    as_they_are(coins, layers, rows, 1 / 255)
    return compile_network(coins, dataset.classes, dataset.input_max)
