"""Plain torch, which the golden model's speed is compared with: a loop that samples a network, and a network
whose coins have been flipped."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import conv2d, linear, max_pool2d

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


class PlainNetwork:
    """One flipped network in float32, as torch computes it: ``conv2d``, ``max_pool2d`` and ``linear``, all
    images at once.

    Its logits are the golden model's, for all sums are integers that float32 holds. coins: of each layer,
    int8 [J, I].
    """

    def __init__(self, model: CompiledModel, coins: Sequence[torch.Tensor]) -> None:
        self.model = model
        self.biases = [torch.from_numpy(layer.bias).to(torch.float32) for layer in model.layers]
        self.weights = []
        for layer, flipped in zip(model.layers, coins, strict=True):
            weights = flipped.to(torch.float32)
            if layer.convolution is not None:
                channels_last = weights.unflatten(1, (*layer.convolution.kernel, -1))
                weights = channels_last.permute(0, 3, 1, 2).contiguous()
            self.weights.append(weights)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """[N, C] logits of activations, float32 [N, I], or [N, channels, H, W] for a convolution."""
        x = images
        for index, (layer, weights, bias) in enumerate(
            zip(self.model.layers, self.weights, self.biases, strict=True)
        ):
            place = layer.convolution
            if place is None:
                if x.ndim == 4:  # the contract's order of rows: y, x, channel
                    x = x.permute(0, 2, 3, 1).flatten(1)
                x = linear(x, weights, bias)
            else:
                x = max_pool2d(conv2d(x, weights, bias, place.stride, place.pad), place.pool)
            if index < len(self.model.shifts):
                shift = self.model.shifts[index]
                x.add_((1 << shift) >> 1).mul_(2.0**-shift).floor_().clamp_(0, self.model.activation_max)
        return x
