"""Ordinary networks whose answers coins learn in place of labels.

What an ensemble makes of an image says more than its label: which other classes it is near. (Knowledge
distillation: Hinton, Vinyals, Dean, 2015, arXiv 1503.02531; of an ensemble into one network that is to be as
sure as it: Korattikara et al., NeurIPS 2015, arXiv 1506.04416.)
"""

from collections.abc import Callable

from torch import nn

from synflip.data.dataset import Dataset
from synflip.training.baseline import fit_float
from synflip.training.loop import Progress

#: Called with which teacher, from 1 on, and of how many; returns what its training calls.
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
    """Train ``count`` ordinary networks, of the seeds ``seed``, ``seed + 1``, ..

    make: a network of a seed, not trained, such as ``synflip.train.float_network``. Others are as in
    ``synflip.train.fit_float``. Raises SynflipError.
    """
    teachers = []
    for number in range(count):
        network = make(seed + number)
        fit_float(network, dataset, epochs, seed + number, augment, show(number + 1, count))
        teachers.append(network)
    return teachers
