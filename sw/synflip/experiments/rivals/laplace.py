"""A Laplace approximation of the last layer: a Gaussian around its trained weights, as wide as their
likelihood is flat.

The curvature is the generalised Gauss-Newton matrix in two Kronecker factors (Ritter, Botev, Barber, ICLR
2018); last layers: Kristiadi, Hein, Hennig, ICML 2020, arXiv 2002.10118.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from synflip.experiments.rivals.rival import mean_field
from synflip.training.loop import TEST_BATCH
from synflip.util.threads import one_thread

PRECISIONS = np.logspace(-4, 4, 17)  # of the prior: the one with the largest likelihood of held-out images


class LastLayerLaplace:
    """Logits of a trained network, scaled by the variance of each (``mean_field``).

    network: images [N, I] in 0..1 to logits, in evaluation mode. x: the images it was trained on. held_out,
    labels: other images [M, I] and their labels [M], which choose the precision of the prior.
    """

    def __init__(
        self, network: nn.Sequential, x: Tensor, held_out: Tensor, labels: NDArray[np.int64]
    ) -> None:
        self.network = network
        with torch.no_grad(), one_thread():
            features, classes = self._features(x[:1]).shape[1], network(x[:1]).shape[1]
            inputs = torch.zeros(features, features, dtype=torch.float64)
            outputs = torch.zeros(classes, classes, dtype=torch.float64)
            for part in x.split(TEST_BATCH):
                h = self._features(part)
                shares = network(part).double().softmax(1)
                inputs += h.T @ h
                outputs += torch.diag(shares.sum(0)) - shares.T @ shares
            self.of_inputs, self.input_basis = torch.linalg.eigh(inputs)
            self.of_outputs, self.output_basis = torch.linalg.eigh(outputs / len(x))
        wanted = torch.from_numpy(labels)
        costs = []
        for precision in PRECISIONS:
            self.precision = float(precision)
            costs.append(float(cross_entropy(self.logits(held_out), wanted)))
        self.precision = float(PRECISIONS[int(np.argmin(costs))])

    def logits(self, x: Tensor) -> Tensor:
        """Logits float64 [N, C] of images [N, I]."""
        with torch.no_grad(), one_thread():
            squares = (self._features(x) @ self.input_basis).square()
            curvature = self.of_inputs.clamp(min=0)[:, None] * self.of_outputs.clamp(min=0)
            variance = squares @ (1 / (curvature + self.precision)) @ self.output_basis.square().T
            return mean_field(self.network(x).double(), variance)

    def _features(self, x: Tensor) -> Tensor:
        """What the last layer takes, and a 1 for its bias: float64 [N, J + 1]."""
        h = self.network[:-1](x).double()
        return torch.cat([h, torch.ones(len(h), 1, dtype=torch.float64)], 1)
