"""An ordinary network with dropout whose masks are inputs, and its Monte Carlo passes.

Monte Carlo dropout: Gal and Ghahramani, 2016, arXiv 1506.02142.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synflip.data.dataset import Dataset
from synflip.training.baseline import fit_float, float_network
from synflip.uncertainty.aggregate import softmax_mean

DROPOUT = 0.5  # a mask is then 0 or 2, which fixed point holds exactly

#: Of inputs float32 [N, I] and the mask of each hidden layer, float32 [N, J]: logits float32 [N, C].
Forward = Callable[..., NDArray[np.float32]]


class MaskedNetwork(nn.Module):
    """A ReLU network of two hidden layers. Each hidden layer is multiplied with a mask, which is an input.

    hls4ml leaves dropout layers out, for they do nothing at inference. It takes a product with an input.
    """

    def __init__(self, network: nn.Sequential) -> None:
        super().__init__()
        self.first, self.second, self.last = (layer for layer in network if isinstance(layer, nn.Linear))
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor, mask1: Tensor, mask2: Tensor) -> Tensor:
        """Logits [N, C] of inputs [N, I] and masks [N, J1] and [N, J2]."""
        x = self.relu1(self.first(x)) * mask1
        x = self.relu2(self.second(x)) * mask2
        return self.last(x)

    def widths(self) -> list[int]:
        """The numbers of an image that each input takes: I, J1, J2."""
        return [layer.in_features for layer in (self.first, self.second, self.last)]

    def logits(self, *inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits of arrays, a ``Forward``."""
        with torch.no_grad():
            return self(*map(torch.from_numpy, inputs)).numpy()


def train_masked(data: Dataset, hidden: Sequence[int], epochs: int, seed: int) -> MaskedNetwork:
    """A network with two hidden layers, trained with DROPOUT, in evaluation mode."""
    network = float_network(data, hidden, seed, DROPOUT)
    with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
        torch.manual_seed(seed)
        fit_float(network, data, epochs, seed)
    return MaskedNetwork(network).eval()


def monte_carlo(
    forward: Forward, x: NDArray[np.float32], widths: Sequence[int], passes: int, seed: int
) -> NDArray[np.float64]:
    """Shares of the classes, [N, C]: the mean softmax over passes, each with masks of its own.

    x: inputs [N, I]. widths: of the masks. The same seed gives the same masks, whatever ``forward`` is.
    """
    generator = np.random.default_rng(seed)
    logits = []
    for _ in range(passes):
        kept = [generator.random((len(x), width)) >= DROPOUT for width in widths]
        masks = [mask.astype(np.float32) / np.float32(1 - DROPOUT) for mask in kept]
        logits.append(forward(x, *masks))
    return softmax_mean(np.stack(logits), 1.0)
