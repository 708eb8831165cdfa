"""Augmentation: training images that are moved and mirrored at random."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def augmented(images: Tensor, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Images [N, I], each moved by a random number of pixels down and right; pixels that move in are 0.

    shape: of an image. Grey images, [H, W], move by -1..1 pixels. Images in colour, [C, H, W], move by -4..4,
    after half of them were mirrored left to right.
    """
    if len(shape) == 2:
        return shifted(images, shape, generator, reach=1)
    mirrored = torch.randint(2, (len(images), 1, 1, 1), generator=generator, dtype=torch.bool)
    pictures = images.view(-1, *shape)
    pictures = torch.where(mirrored, pictures.flip(-1), pictures)
    return shifted(pictures.reshape(len(images), -1), shape, generator, reach=4)


def shifted(images: Tensor, shape: Sequence[int], generator: torch.Generator, reach: int = 1) -> Tensor:
    """Images [N, I], each moved by -reach..reach pixels down and right; pixels that move in are 0."""
    height, width = shape[-2:]
    padded = nn.functional.pad(images.view(len(images), -1, height, width), (reach,) * 4)
    down, right = torch.randint(2 * reach + 1, (2, len(images), 1, 1), generator=generator)
    rows, columns = torch.arange(height).view(1, -1, 1) + down, torch.arange(width).view(1, 1, -1) + right
    picked = padded[torch.arange(len(images)).view(-1, 1, 1), :, rows, columns]  # [N, H, W, C]
    return picked.movedim(3, 1).reshape(len(images), -1)
