"""What the training of a rival asks of it beside that of an ordinary network, and what two of them share."""

import math

from torch import Tensor, nn

from synflip.data.dataset import Dataset
from synflip.training import baseline
from synflip.training.loop import Progress


def mean_field(logits: Tensor, variance: Tensor) -> Tensor:
    """Logits whose softmax is close to the mean softmax of Gaussian logits: divided by sqrt(1 + pi / 8 v)
    with the variance v of each (MacKay, Neural Computation 4, 1992; classes: Liu et al., NeurIPS 2020)."""
    return logits / (1 + math.pi / 8 * variance).sqrt()


class Rival(nn.Sequential):
    """An ordinary network with something more: float32 images [N, I] in 0..1 to logits [S * N, C].

    S is 1, but for networks that answer an image several times: those of all images by the first, and so on.
    """

    def fit(self, dataset: Dataset, epochs: int, seed: int, augment: bool, progress: Progress) -> None:
        """Train it as an ordinary network, and leave it in evaluation mode."""
        baseline.fit_float(self, dataset, epochs, seed, augment, progress, self.constrain)

    def constrain(self) -> None:
        """Called after every step of the optimiser."""

    def settle(self, x: Tensor) -> None:
        """Called once, in evaluation mode, with the training images [N, I] in 0..1 after the training."""
