"""The plain way to sample the network in torch: what the golden model is compared with."""

import numpy as np
import torch
from numpy.typing import NDArray

from synflip.spec.coins import threshold
from synflip.spec.model import CompiledModel


class PlainLoop:
    """``torch.bernoulli`` on every weight and a product in float32 for each layer, all images at once.

    Its coins are torch's: the votes are those of the contract only in distribution.
    """

    def __init__(self, model: CompiledModel, seed: int) -> None:
        self.model = model
        self.generator = torch.Generator().manual_seed(seed)
        scale = 1 / (1 << model.bits)
        self.probabilities = [
            torch.from_numpy((threshold(layer.q, model.bits) * scale).astype(np.float32))
            for layer in model.layers
        ]
        self.signs = [torch.from_numpy(1 - 2 * layer.sign.astype(np.float32)) for layer in model.layers]
        self.biases = [torch.from_numpy(layer.bias.astype(np.float32)) for layer in model.layers]

    def votes(self, pixels: NDArray[np.uint8], samples: int) -> NDArray[np.int64]:
        """[N, C] votes of ``samples`` network samples for pixels [N, I]."""
        images = torch.from_numpy(self.model.activations(pixels).astype(np.float32))
        votes = torch.zeros(len(images), len(self.model.classes), dtype=torch.int64)
        rows = torch.arange(len(images))
        for _ in range(samples):
            x = images
            for layer, (probability, sign, bias) in enumerate(
                zip(self.probabilities, self.signs, self.biases, strict=True)
            ):
                coins = torch.bernoulli(probability, generator=self.generator).mul_(sign)
                x = (x @ coins.t()).add_(bias)
                if layer < len(self.model.shifts):
                    shift = self.model.shifts[layer]
                    x.add_((1 << shift) >> 1).mul_(2.0**-shift).floor_().clamp_(0, self.model.activation_max)
            votes[rows, x.argmax(1)] += 1
        return votes.numpy()
