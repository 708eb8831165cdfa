"""Scores of uncertainty: entropies in bits, the lead of votes, energy in nats; and the softmax they need."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError


def entropy(shares: NDArray[np.floating]) -> NDArray[np.float64]:
    """Entropy in bits of shares of classes, over the last axis: float64 [...].

    shares: [..., C], 0..1, which add up to 1; where all are 0, the entropy is 0.
    """
    safe = np.where(shares > 0, shares, 1.0)
    return -(shares * np.log2(safe)).sum(-1) + 0.0


def softmax(logits: NDArray[Any], scale: float) -> NDArray[np.float64]:
    """Softmax over the last axis, of ``logits`` [..., C] divided by ``scale``: float64 [..., C]."""
    x = logits / scale
    x -= x.max(-1, keepdims=True)
    np.exp(x, out=x)
    x /= x.sum(-1, keepdims=True)
    return x


def lead(votes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Votes of the leading class less those of the second: int64 [...].

    votes: integers [..., C]. With a single class it is that class's votes.
    """
    top = np.sort(votes.astype(np.int64), axis=-1)
    return top[..., -1] - (top[..., -2] if top.shape[-1] > 1 else 0)


def softmax_moments(
    logits: NDArray[Any], used: NDArray[np.integer], scale: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean over an image's network samples of softmax(logits / scale), and of that softmax's entropy.

    logits: [S, N, C]. used: [N], samples that each image took part in: the first ones. scale: above 0.
    Returns [N, C], the posterior predictive, and [N], the expected entropy in bits. Samples are read one by
    one, so that memory does not grow with S. Raises SynflipError.
    """
    if not scale > 0:
        raise SynflipError(f"the scale of the logits must be above 0, not {scale}")
    _, images, classes = logits.shape
    mean, expected = np.zeros((images, classes)), np.zeros(images)
    for sample, z in enumerate(logits):
        here = sample < used
        shares = softmax(z[here], scale)
        mean[here] += shares
        expected[here] += entropy(shares)
    counts = np.maximum(used, 1)
    return mean / counts[:, None], expected / counts


def mutual_information(mean: NDArray[np.floating], expected: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mutual information [N], in bits, of an image's class and the network sample.

    It is the entropy of the posterior predictive, ``mean`` [N, C], less the mean entropy of the samples'
    softmaxes, ``expected`` [N]; both are what ``softmax_moments`` returns (Houlsby et al., 2011, arXiv
    1112.5745).
    """
    return np.maximum(entropy(mean) - expected, 0.0)


def energy(logits: NDArray[Any], used: NDArray[np.integer], scale: float) -> NDArray[np.float64]:
    """Energy [N] of images in nats: mean over an image's network samples of -log(sum of exp(logits / scale)).

    A softmax forgets how large the logits are; the energy is high where all are small, as for images that
    are of no class. (Liu, Wang, Owens, Li, NeurIPS 2020, arXiv 2010.03759.)

    logits: [S, N, C]. used: [N], samples that each image took part in: the first ones. scale: above 0. Raises
    SynflipError.
    """
    from scipy.special import logsumexp  # a third of a second, which what needs no energy is spared

    if not scale > 0:
        raise SynflipError(f"the scale of the logits must be above 0, not {scale}")
    found = np.zeros(logits.shape[1])
    for sample, z in enumerate(logits):
        here = sample < used
        found[here] -= logsumexp(z[here] / scale, axis=-1)
    return found / np.maximum(used, 1)
