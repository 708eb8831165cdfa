"""An extractor of features with coins behind it, trained together."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synflip.errors import SynflipError
from synflip.modelfile.extractor import Extractor, export, image_shape
from synflip.spec.features import Features
from synflip.training.layers import SynapticNetwork


class Normalise(nn.Module):
    """Pixels [N, C, H, W] to (pixel * scale - mean) / std; mean, std: one number, or one for each channel."""

    def __init__(
        self, scale: float, mean: float | Sequence[float], std: float | Sequence[float], channels: int
    ) -> None:
        super().__init__()
        self.scale = scale
        for name, value in (("mean", mean), ("std", std)):
            self.register_buffer(
                name, torch.from_numpy(per_channel(name, value, channels)).float().view(-1, 1, 1)
            )

    mean: Tensor
    std: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return (x * self.scale - self.mean) / self.std


def per_channel(name: str, value: float | Sequence[float], channels: int) -> NDArray[np.float64]:
    """``mean`` or ``std`` as float64 [channels]. Raises SynflipError."""
    try:
        values = np.array(value, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise SynflipError(f"{name} is {value!r}, not a number or one for each channel") from None
    if len(values) not in (1, channels):
        raise SynflipError(f"{name} has {len(values)} numbers; the images have {channels} channels")
    if not np.isfinite(values).all() or (name == "std" and (values <= 0).any()):
        raise SynflipError(f"{name} is {value!r}, not {'positive' if name == 'std' else 'finite'}")
    return np.broadcast_to(values, (channels,)).copy()


class FeatureNetwork(nn.Module):
    """An extractor and a network of coins that takes its features: pixels [N, I] in 0..input_max to logits.

    extractor: float32 [N, C, H, W], pixels as they are, to [N, F] or what flattens to it; normalisation is
    part of it. shape: of an image, [H, W] or [C, H, W]. log2_step: of the steps that features are counted in.
    """

    def __init__(
        self,
        extractor: nn.Module,
        head: SynapticNetwork,
        shape: Sequence[int],
        input_max: int,
        log2_step: int,
    ) -> None:
        super().__init__()
        self.extractor = extractor
        self.head = head
        self.shape = image_shape(shape)
        self.input_max = input_max
        self.log2_step = log2_step

    @property
    def temperature(self) -> Tensor:
        """That of the head."""
        return self.head.temperature

    def forward(self, x: Tensor, generator: torch.Generator, draws: int = 1) -> Tensor:
        """Logits [draws * N, C] of pixels [N, I], as the head's in training and evaluation. Rounding to steps
        is passed through in the backward pass."""
        features = self.extractor(x.view(-1, *self.shape)).flatten(1) * 2.0**-self.log2_step
        steps = features + ((features + 0.5).floor() - features).detach()
        return self.head(steps.clamp(0, (1 << self.head.activation_bits) - 1), generator, draws)

    def clamp(self) -> None:
        """Bring the coins' weights back into [-1, 1]; to be called after each step."""
        self.head.clamp()

    def features(self) -> Features:
        """The extractor as a file, and how its features are counted. Raises SynflipError."""
        content = export(self.extractor, self.shape)
        digest = hashlib.sha256(content).hexdigest()
        return Features(digest, self.shape, self.input_max, self.log2_step, Extractor(content))
