"""Early stopping: the margin of each sample, the lead in votes with which an image leaves the run.

The rule. Of the votes for an image's two leading classes, let p be the share that one of the two has in the
limit of many samples. Over images, p follows a symmetric beta distribution, Beta(a, a): a is small if most
images are clear, large if most are close. After s votes for the two, with the leader d ahead, the leader's p
follows Beta(a + (s + d) / 2, a + (s - d) / 2), and the leader is the wrong one with the probability that p <
1/2. The margin of sample s is the least d for which this probability is at most the error asked for. ``a`` is
fitted to votes by maximum likelihood, which needs no labels. The rule takes all s votes for votes for the
two; if other classes have some, the leader is surer than the rule says.

A posterior probability does not depend on how often one looks at it, so there is no correction for a decision
after every sample (Berger, Statistical Decision Theory and Bayesian Analysis, 1985, 7.7).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import betainc, betaln, gammaln

from synflip.data.dataset import checked_labels
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.inference.device import loaded
from synflip.inference.request import Pixels, Progress, as_images, whole_samples, whole_seed
from synflip.spec.model import IMAGES_AT_ONCE
from synflip.uncertainty import lead

LEAST_SHAPE, MOST_SHAPE = 1e-4, 1e3


@dataclass(frozen=True)
class Trial:
    """The effect of margins on votes, counted on images.

    images: their number. samples: mean of the samples that an image took. agrees: share of images, 0..1, with
    the same winner as in the full vote. accuracy, full_accuracy: of the winners with margins and of the full
    vote, 0..1; None without labels.
    """

    images: int
    samples: float
    agrees: float
    accuracy: float | None
    full_accuracy: float | None


def fit_shape(votes: NDArray[np.integer]) -> float:
    """``a`` of votes [N, C], by maximum likelihood; 0 < a. Raises SynflipError without votes for it.

    The likelihood of k of n votes for the two leading classes is the beta-binomial one with both shapes a.
    """
    if votes.ndim != 2 or votes.shape[1] < 2 or not len(votes) or votes.sum(1).min() < 2:
        raise SynflipError("margins need images with at least 2 votes each, for at least 2 classes")
    top = np.sort(votes.astype(np.int64), axis=1)[:, -2:]
    pairs, counts = np.unique(top, axis=0, return_counts=True)
    second, first = pairs.T.astype(np.float64)
    both = first + second

    def cost(log_shape: float) -> float:
        a = np.exp(log_shape)
        choose = gammaln(both + 1) - gammaln(first + 1) - gammaln(second + 1)
        return -float((counts * (choose + betaln(first + a, second + a) - betaln(a, a))).sum())

    found = minimize_scalar(cost, bounds=(np.log(LEAST_SHAPE), np.log(MOST_SHAPE)), method="bounded")
    return float(np.exp(found.x))


def wrong(shape: float, votes: NDArray[np.integer], ahead: NDArray[np.integer]) -> NDArray[np.float64]:
    """Probability that the leader is the wrong one of two classes, after ``votes`` for them with a lead of
    ``ahead``; ``shape`` is a."""
    return betainc(shape + (votes + ahead) / 2, shape + (votes - ahead) / 2, 0.5)


def margins(shape: float, samples: int, error: float) -> NDArray[np.int64]:
    """The margin of each sample, int64 [S]; s + 1, which no lead reaches, if even s votes of s are too few.

    error: 0 to 1/2, both excluded. Raises SynflipError.
    """
    if not 0 < error < 0.5:
        raise SynflipError(f"the error must be above 0 and below 0.5, not {error}")
    table = np.empty(samples, dtype=np.int64)
    for index in range(samples):
        votes = index + 1
        leads = np.arange(1, votes + 1)
        enough = wrong(shape, np.array(votes), leads) <= error
        # A lead has the parity of the votes, unless other classes have some.
        table[index] = leads[enough.argmax()] if enough.any() else votes + 1
    return table


def winners(
    golden: Golden, pixels: Pixels, samples: int, seed: int, progress: Progress | None = None
) -> NDArray[np.int64]:
    """The class of each sample, [S, N], by the golden model's loaded network; memory does not hold logits."""
    samples, seed = whole_samples(samples), whole_seed(seed)
    model = loaded(golden.model)
    x = torch.from_numpy(model.activations(as_images(model, pixels)[:]))
    found = np.empty((samples, len(x)), dtype=np.int64)
    for sample in range(samples):
        coins = golden.coins(seed, sample)
        for first in range(0, len(x), IMAGES_AT_ONCE):
            part = slice(first, first + IMAGES_AT_ONCE)
            found[sample, part] = golden.forward(x[part], coins)[0].argmax(1)
        if progress is not None:
            progress((sample + 1) * len(x), samples * len(x))
    return found


def count(winners: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Votes [N, C] of winners [S, N]."""
    images = winners.shape[1]
    places = winners + classes * np.arange(images)
    return np.bincount(places.ravel(), minlength=images * classes).reshape(images, classes)


def try_margins(
    winners: NDArray[np.integer],
    table: NDArray[np.integer],
    classes: int,
    labels: NDArray[np.integer] | None = None,
) -> Trial:
    """What ``table`` [S] does to votes of S samples: ``winners`` [S, N], each sample's class."""
    images = winners.shape[1]
    if labels is not None:
        labels = checked_labels(labels, classes, "labels")
        if len(labels) != images:
            raise SynflipError(f"{len(labels)} labels for the votes of {images} images")
    used, decided = stopped(winners, table, classes)
    full = count(winners, classes).argmax(1)
    return Trial(
        images,
        float(used.mean()),
        float((decided == full).mean()),
        None if labels is None else float((decided == labels).mean()),
        None if labels is None else float((full == labels).mean()),
    )


def stopped(
    winners: NDArray[np.integer], table: NDArray[np.integer], classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[N] network samples that each image takes part in, and [N] the class of its votes when it leaves: with
    the margins ``table`` [S], of ``winners`` [S, N], each sample's class."""
    samples, images = winners.shape
    votes = np.zeros((images, classes), dtype=np.int64)
    used = np.full(images, samples)
    decided = np.zeros(images, dtype=np.int64)
    active = np.ones(images, dtype=bool)
    every = np.arange(images)
    for sample in range(samples):
        votes[every, winners[sample]] += 1
        leaves = active & (lead(votes) >= table[sample])
        decided[leaves] = votes[leaves].argmax(1)
        used[leaves] = sample + 1
        active &= ~leaves
    decided[active] = votes[active].argmax(1)
    return used, decided
