"""SNGP: a network whose hidden layers cannot shrink or stretch distances much, and a Gaussian process of the
features, which is unsure far from the training images.

Liu, Lin, Padhy, Tran, Bedrax-Weiss, Lakshminarayanan, NeurIPS 2020, arXiv 2006.10108; the settings are those
of the authors' edward2. Their networks have residual blocks; dense layers one behind the other have none.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from synflip.data.dataset import Dataset
from synflip.experiments.rivals.rival import Rival, mean_field
from synflip.training.baseline import float_network
from synflip.training.loop import TEST_BATCH
from synflip.util.arrays import training_seed

FEATURES = 1024  # random ones of the Gaussian process
BOUND = 0.95  # of a hidden layer's spectral norm


class RandomFeatures(nn.Module):
    """Features sqrt(2 / D) cos(W h / sqrt(J) + b) of a hidden layer, h [N, J] normalised to mean 0 and
    variance 1: products of them are close to a Gaussian kernel (Rahimi, Recht, NIPS 2007)."""

    weight: Tensor
    phase: Tensor

    def __init__(self, inputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(inputs, elementwise_affine=False)
        self.register_buffer("weight", torch.randn(FEATURES, inputs, generator=generator) / math.sqrt(inputs))
        self.register_buffer("phase", torch.rand(FEATURES, generator=generator) * 2 * math.pi)

    def forward(self, h: Tensor) -> Tensor:
        """Features float32 [N, D]."""
        return math.sqrt(2 / FEATURES) * torch.cos(self.norm(h) @ self.weight.T + self.phase)


class Sngp(Rival):
    """The network. In evaluation logits are scaled by the variance of the Gaussian process (``mean_field``:
    section 3.3 and algorithm 1 of the paper)."""

    covariance: Tensor

    def __init__(self, dataset: Dataset, hidden: Sequence[int], seed: int) -> None:
        generator = torch.Generator().manual_seed(training_seed(seed))
        modules = list(float_network(dataset, hidden, seed))[:-1]
        inputs = dataset.train_images.shape[1]
        output = nn.utils.skip_init(nn.Linear, FEATURES, len(dataset.classes))
        with torch.no_grad():
            output.weight.normal_(generator=generator)
            output.bias.zero_()
        super().__init__(*modules, RandomFeatures([inputs, *hidden][-1], generator), output)
        self.register_buffer("covariance", torch.eye(FEATURES))
        self.layers = [module for module in modules if isinstance(module, nn.Linear)]
        self.directions = [torch.randn(len(each.bias), generator=generator) for each in self.layers]

    def constrain(self) -> None:
        """One step of the power iteration for each hidden layer; a norm above the bound is scaled down."""
        with torch.no_grad():
            for layer, left in zip(self.layers, self.directions, strict=True):
                right = nn.functional.normalize(left @ layer.weight, dim=0)
                image = layer.weight @ right
                left.copy_(nn.functional.normalize(image, dim=0))
                layer.weight.mul_((BOUND / image.norm()).clamp(max=1))

    def settle(self, x: Tensor) -> None:
        """The covariance of the weights of the features, whose prior is the identity."""
        precision = torch.eye(FEATURES, dtype=torch.float64)
        with torch.no_grad():
            for part in x.split(TEST_BATCH):
                features = self._features(part).double()
                precision += features.T @ features
        self.covariance.copy_(torch.linalg.inv(precision))

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, C] of images [N, I]."""
        features = self._features(x)
        found: Tensor = self[-1](features)
        if self.training:
            return found
        variance = ((features @ self.covariance) * features).sum(1, keepdim=True)
        return mean_field(found, variance)

    def _features(self, x: Tensor) -> Tensor:
        for module in list(self)[:-1]:  # a slice would be another Sngp
            x = module(x)
        return x
