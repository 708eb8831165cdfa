"""Distillation: ordinary networks whose softmaxes a network of coins learns in place of labels.

An ensemble's mean softmax says more of an image than its label: which other classes the image is near.
Sources: Hinton, Vinyals, Dean, 2015, arXiv 1503.02531 (knowledge distillation); Korattikara et al., NeurIPS
2015, arXiv 1506.04416 (one network that learns the uncertainty of an ensemble).
"""

from collections.abc import Callable

from torch import nn

from synflip.data.dataset import Dataset
from synflip.training.baseline import fit_float
from synflip.training.loop import Progress
from synflip.util.arrays import TRAINING_SEEDS, training_seed, whole_number

#: Called with the number of a teacher, from 1 on, and their count; returns the Progress of its training.
Show = Callable[[int, int], Progress | None]


def train_teachers(
    make: Callable[[int], nn.Module],
    count: int,
    dataset: Dataset,
    epochs: int | None = None,
    seed: int = 0,
    augment: bool = False,
    show: Show = lambda number, count: None,
) -> list[nn.Module]:
    """Train ``count`` ordinary networks with the seeds ``seed``, ``seed + 1``, ..; in evaluation mode. The
    seed after 2**63-1 is 0.

    make: gives an untrained network for a seed, such as ``baseline.float_network``. The other arguments are
    those of ``baseline.fit_float``. Raises SynflipError.
    """
    count, seed = whole_number(count, "count"), training_seed(seed)
    teachers = []
    for number in range(count):
        own = (seed + number) % TRAINING_SEEDS
        network = make(own)
        fit_float(network, dataset, epochs, own, augment, show(number + 1, count))
        teachers.append(network)
    return teachers
