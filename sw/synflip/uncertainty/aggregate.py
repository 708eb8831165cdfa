"""One answer from many network samples: what can be made of the same logits, and from how many of them."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from synflip.uncertainty.scores import softmax

#: Shares of samples cut off at either end by ``trimmed``.
TRIM = 0.1


def vote(logits: NDArray[np.integer], scale: float) -> NDArray[np.float64]:
    """Shares of votes, smoothed so that no class has none: (votes + 1/C) / (S + 1), the mean under a
    Dirichlet prior worth one vote. Logits [S, N, C] to [N, C], as all here."""
    samples, _, classes = logits.shape
    votes = (logits.argmax(-1)[..., None] == np.arange(classes)).sum(0)
    return (votes + 1 / classes) / (samples + 1)


def logit_sum(logits: NDArray[np.integer], scale: float) -> NDArray[np.float64]:
    """The softmax of the mean logit."""
    return softmax(logits.sum(0, dtype=np.int64), scale * len(logits))


def softmax_mean(logits: NDArray[np.integer], scale: float) -> NDArray[np.float64]:
    """The posterior predictive: the mean of the samples' softmaxes."""
    total = softmax(logits[0], scale)
    for z in logits[1:]:
        total += softmax(z, scale)
    return total / len(logits)


def weighted_vote(logits: NDArray[np.integer], scale: float) -> NDArray[np.float64]:
    """Votes that weigh what their sample's softmax gives its winner, smoothed as ``vote``."""
    _, images, classes = logits.shape
    total = np.full((images, classes), 1 / classes)
    for z in logits:
        winner = z.argmax(-1)[:, None]
        shares = softmax(z, scale)
        weights = np.take_along_axis(shares, winner, 1)
        np.put_along_axis(total, winner, np.take_along_axis(total, winner, 1) + weights, 1)
    return total / total.sum(1, keepdims=True)


def trimmed(logits: NDArray[np.integer], scale: float) -> NDArray[np.float64]:
    """The mean softmax without each class's TRIM largest and smallest, made to add up to 1 again."""
    shares = np.sort(softmax(logits, scale), axis=0)
    cut = int(TRIM * len(shares))
    mean = shares[cut : len(shares) - cut].mean(0)
    return mean / mean.sum(1, keepdims=True)


#: By name: logits [S, N, C] and their scale to shares [N, C].
AGGREGATES: dict[str, Callable[[NDArray[np.integer], float], NDArray[np.float64]]] = {
    "vote": vote,
    "logit sum": logit_sum,
    "mean softmax": softmax_mean,
    "weighted vote": weighted_vote,
    "trimmed mean softmax": trimmed,
}


def powers(samples: int) -> Iterator[int]:
    """1, 2, 4, ... up to ``samples``, which is the last."""
    count = 1
    while count < samples:
        yield count
        count *= 2
    yield samples
