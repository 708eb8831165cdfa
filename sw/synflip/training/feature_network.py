"""Networks of an extractor and coins behind it, which are trained together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synflip.errors import SynflipError
from synflip.modelfile.extractor import Extractor, export, image_shape
from synflip.spec.features import Features
from synflip.spec.input_quantizer import InputQuantizer
from synflip.training.ladder import Ladder
from synflip.training.layers import SynapticNetwork


class Normalise(nn.Module):
    """Normalisation: pixels [N, C, H, W] to (pixel * scale - mean) / std.

    mean, std: one number, or one for each channel. Raises SynflipError for other counts, and std <= 0.
    """

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
        """The normalised pixels, of the same shape."""
        return (x * self.scale - self.mean) / self.std


class ChannelsLast(nn.Module):
    """Maps in the order y, x, c, in which a convolution of coins takes its rows. size: C, H, W."""

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__()
        self.size = tuple(size)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, C, H, W], or of a shape that flattens to C * H * W, as [N, H, W, C]."""
        return x.reshape(-1, *self.size).permute(0, 2, 3, 1)


def per_channel(name: str, value: float | Sequence[float] | Tensor, channels: int) -> NDArray[np.float64]:
    """``value``, a mean or standard deviation called ``name``, as float64 [channels]. Raises SynflipError."""
    if isinstance(value, Tensor):
        value = value.tolist()
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
    """An extractor and a network of coins behind it: pixels [N, I] in 0..input_max to logits [N, C].

    extractor: float32 pixels [N, C, H, W], in 0..input_max, to features [N, F] or of a shape that flattens to
    that; it normalises the pixels itself. head: the network of coins, on F activations. shape: of an image,
    [H, W] or [C, H, W]. log2_step: a feature f becomes the activation round(f / 2**log2_step). ``ladder``:
    the accuracies of the conversion that made it; None if it was trained. ``source``, ``input_quantizer``: as
    of ``SynapticNetwork``.
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
        self.ladder: Ladder | None = None
        self.source: dict[str, Any] = {}
        self.input_quantizer: InputQuantizer | None = None

    @property
    def temperature(self) -> Tensor:
        """The head's divisor of the logits in the softmax."""
        return self.head.temperature

    def forward(self, x: Tensor, generator: torch.Generator, draws: int = 1) -> Tensor:
        """Logits [draws * N, C] of pixels [N, I], in training and evaluation as ``SynapticNetwork.forward``.

        The backward pass takes the rounding of features for the identity (straight-through).
        """
        features = self.extractor(x.view(-1, *self.shape)).flatten(1) * 2.0**-self.log2_step
        steps = features + ((features + 0.5).floor() - features).detach()
        return self.head(steps.clamp(0, (1 << self.head.activation_bits) - 1), generator, draws)

    def clamp(self) -> None:
        """Bring the coins' weights back into [-1, 1]; to be called after each step."""
        self.head.clamp()

    def features(self) -> Features:
        """The extractor as a file, and how its features are counted. Raises SynflipError."""
        extractor = Extractor(export(self.extractor, self.shape))
        return Features(extractor.sha256, self.shape, self.input_max, self.log2_step, extractor)
