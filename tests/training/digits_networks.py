"""Ordinary networks on digits, which tests of conversion begin with."""

import torch
from synflip.data import load
from torch import nn

DATA = load("digits")
SHARES = torch.from_numpy(DATA.train_images).float() / DATA.input_max
LABELS = torch.from_numpy(DATA.train_labels)


def fitted(network: nn.Module, x: torch.Tensor = SHARES, steps: int = 150, rate: float = 0.01) -> nn.Module:
    """The network after ``steps`` of Adam on all training images at once, in evaluation mode. x: [N, ...]."""
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(x), LABELS).backward()
        optimiser.step()
    return network.eval()
