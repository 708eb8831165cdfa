"""A plain torch loop that samples a network, which the golden model's speed is compared with."""

import numpy as np
import torch
from numpy.typing import NDArray

from synflip.spec.coins import threshold
from synflip.spec.model import CompiledModel


class PlainLoop:
    """``torch.bernoulli`` on every weight and a product in float32 for each layer, all images at once.

    Its coins are torch's: the votes are those of the contract only in distribution.
    """

    def __init__(self, model: CompiledModel, seed: int, device: str = "cpu") -> None:
        self.model = model
        self.device = torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)
        scale = 1 / (1 << model.bits)
        self.probabilities = [self._put(threshold(layer.q, model.bits) * scale) for layer in model.layers]
        self.signs = [self._put(1 - 2.0 * layer.sign) for layer in model.layers]
        self.biases = [self._put(layer.bias) for layer in model.layers]

    def _put(self, array: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(array.astype(np.float32)).to(self.device)

    def votes(self, pixels: NDArray[np.uint8], samples: int) -> NDArray[np.int64]:
        """[N, C] votes of ``samples`` network samples for pixels [N, I]."""
        images = self._put(self.model.activations(pixels))
        votes = torch.zeros(len(images), len(self.model.classes), dtype=torch.int64, device=self.device)
        rows = torch.arange(len(images), device=self.device)
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
        return votes.cpu().numpy()
