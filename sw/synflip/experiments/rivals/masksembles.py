"""Masksembles: one network in which each of a few fixed masks leaves another network.

Durasov, Bagautdinov, Baque, Fua, CVPR 2021, arXiv 2012.08334.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from synflip.data.dataset import Dataset
from synflip.experiments.rivals.rival import Rival
from synflip.training.baseline import float_network
from synflip.util.arrays import training_seed

MASKS = 4
SCALE = 2.0  # the larger, the less the masks have in common


class Masks(nn.Module):
    """Masks [MASKS, J] of J features; the first of the rows of a batch get the first mask, and so on."""

    masks: Tensor

    def __init__(self, features: int, generator: torch.Generator) -> None:
        super().__init__()
        # Of more places than features about as many are in one mask or more; the others are left out (section
        # 3.2 of the paper). Masks are drawn until they are as many or more.
        kept = max(round(features / (SCALE * (1 - (1 - 1 / SCALE) ** MASKS))), 1)
        used = torch.zeros(MASKS, 0)
        while used.shape[1] < features:
            masks = torch.rand(MASKS, round(kept * SCALE), generator=generator).argsort(1) < kept
            used = masks[:, masks.any(0)].float()
        self.register_buffer("masks", used[:, :features])

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, J] with those outside each row's mask 0."""
        return x * self.masks[torch.arange(len(x)) * MASKS // len(x)]


class Masksembles(Rival):
    """An ordinary network with masks behind each hidden layer. In evaluation each mask answers each image:
    logits [MASKS * N, C]."""

    def __init__(self, dataset: Dataset, hidden: Sequence[int], seed: int) -> None:
        generator = torch.Generator().manual_seed(training_seed(seed))
        modules: list[nn.Module] = []
        for module in float_network(dataset, hidden, seed):
            modules.append(module)
            if isinstance(module, nn.ReLU):
                modules.append(Masks(hidden[len(modules) // 3], generator))
        super().__init__(*modules)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images [N, I]."""
        found: Tensor = super().forward(x if self.training else x.repeat(MASKS, 1))
        return found
