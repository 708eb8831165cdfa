"""Aggregates: ways to make one answer, shares of classes, from the logits of many network samples.

Each takes integer logits [S, N, C] and the scale of the logits in a softmax, and gives float64 [N, C].
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from synflip.uncertainty.scores import softmax

#: Share of the samples that ``trimmed`` leaves out at either end.
TRIM = 0.1


def vote(logits: NDArray[np.integer], scale: float) -> NDArray[np.float64]:
    """Shares of votes, smoothed so that no class has 0: (votes + 1/C) / (S + 1).

    That is the posterior mean under a Dirichlet prior that is worth one vote. The scale is not used.
    """
    samples, _, classes = logits.shape
    votes = (logits.argmax(-1)[..., None] == np.arange(classes)).sum(0)
    return (votes + 1 / classes) / (samples + 1)


def logit_sum(logits: NDArray[np.integer], scale: float) -> NDArray[np.float64]:
    """The softmax of the mean logit."""
    return softmax(logits.sum(0, dtype=np.int64), scale * len(logits))


def softmax_mean(logits: NDArray[np.integer], scale: float) -> NDArray[np.float64]:
    """The mean of the samples' softmaxes: the posterior predictive distribution."""
    total = softmax(logits[0], scale)
    for z in logits[1:]:
        total += softmax(z, scale)
    return total / len(logits)


def weighted_vote(logits: NDArray[np.integer], scale: float) -> NDArray[np.float64]:
    """Votes weighted by the share that the sample's softmax gives its winner, smoothed as in ``vote``."""
    _, images, classes = logits.shape
    total = np.full((images, classes), 1 / classes)
    for z in logits:
        winner = z.argmax(-1)[:, None]
        shares = softmax(z, scale)
        weights = np.take_along_axis(shares, winner, 1)
        np.put_along_axis(total, winner, np.take_along_axis(total, winner, 1) + weights, 1)
    return total / total.sum(1, keepdims=True)


def trimmed(logits: NDArray[np.integer], scale: float) -> NDArray[np.float64]:
    """The mean softmax without the TRIM largest and smallest values of each class, scaled to sum to 1."""
    shares = np.sort(softmax(logits, scale), axis=0)
    cut = int(TRIM * len(shares))
    mean = shares[cut : len(shares) - cut].mean(0)
    return mean / mean.sum(1, keepdims=True)


def second_choice(
    shares: NDArray[np.generic], logit_sums: NDArray[np.generic] | None = None
) -> NDArray[np.int64]:
    """The second choice of each image, [N]: of all classes but the first choice the one with the most.

    shares: votes or shares [N, C]; the first choice has the most of them, the lowest class of several.
    logit_sums: [N, C], sums of the logits over the samples. If several classes have equally many shares, as
    all but one have none after a unanimous vote, the one with the largest sum is the second choice; the
    lowest class if these are equal too, or if there are none. Votes of 7, 0, 0, 0 and sums of 90, -40, -10,
    -30: class 0 wins, and class 2 is the second choice. With a single class it is that class.
    """
    places = np.arange(len(shares))
    left = np.ones(shares.shape, dtype=bool)
    if shares.shape[1] > 1:
        left[places, shares.argmax(1)] = False
    for scores in (shares, logit_sums):
        if scores is not None:
            most = np.where(left, scores, scores.min(initial=0)).max(1, keepdims=True)
            left &= scores == most
    return left.argmax(1)


#: The aggregates by name.
AGGREGATES: dict[str, Callable[[NDArray[np.integer], float], NDArray[np.float64]]] = {
    "vote": vote,
    "logit sum": logit_sum,
    "mean softmax": softmax_mean,
    "weighted vote": weighted_vote,
    "trimmed mean softmax": trimmed,
}


def powers(samples: int) -> Iterator[int]:
    """1, 2, 4, ... below ``samples``, and then ``samples``: 1, 2, 4, 6 for 6."""
    count = 1
    while count < samples:
        yield count
        count *= 2
    yield samples
