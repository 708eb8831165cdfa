"""What the training of a rival asks of it beside that of an ordinary network."""

from torch import Tensor, nn


class Rival(nn.Sequential):
    """An ordinary network with something more: float32 images [N, I] in 0..1 to logits [S * N, C].

    S is 1, but for networks that answer an image several times: those of all images by the first, and so on.
    """

    def constrain(self) -> None:
        """Called after every step of the optimiser."""

    def settle(self, x: Tensor) -> None:
        """Called once, in evaluation mode, with the training images [N, I] in 0..1 after the training."""
