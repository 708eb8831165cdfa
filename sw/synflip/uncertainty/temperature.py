"""Temperature scaling: the scale of logits, or of the logarithms of shares, fitted to held-out images."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from synflip.errors import SynflipError
from synflip.uncertainty.metrics import LEAST_SHARE
from synflip.uncertainty.scores import softmax

REACH = 16.0  # the fitted scale is at most 16 times smaller or larger than the given one


def fit_scale(logits: NDArray[np.number], labels: NDArray[np.integer], scale: float) -> float:
    """The scale with which the mean softmax of logits [S, N, C] gives labels [N] the largest likelihood.

    scale: where to start, above 0. One sample gives the temperature scaling of ordinary networks (Guo,
    Pleiss, Sun, Weinberger, ICML 2017, arXiv 1706.04599). Raises SynflipError for shapes that do not go
    together.
    """
    if logits.ndim != 3 or not logits.size or labels.shape != logits.shape[1:2] or not scale > 0:
        raise SynflipError(
            f"logits {list(logits.shape)} and labels {list(labels.shape)} give no scale near {scale}"
        )
    every = np.arange(len(labels))

    def cost(log_ratio: float) -> float:
        picked = np.zeros(len(labels))
        for z in logits:
            picked += softmax(z, scale * np.exp(log_ratio))[every, labels]
        return -float(np.log(np.maximum(picked / len(logits), LEAST_SHARE)).mean())

    found = minimize_scalar(
        cost, bounds=(-np.log(REACH), np.log(REACH)), method="bounded", options={"xatol": 1e-3}
    )
    return scale * float(np.exp(found.x))


def fit_temperature(shares: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """T with which shares [N, C] to the power 1/T, scaled to add up to 1, give labels [N] the largest
    likelihood.

    For one softmax it is the temperature of its logits. Answers that are means, of samples or of an ensemble,
    are scaled after they have been averaged (Rahaman, Thiery, NeurIPS 2021, arXiv 2007.08792), so that all
    are scaled alike, whatever they are made of. Raises SynflipError as ``fit_scale``.
    """
    return fit_scale(_logarithms(shares)[None], labels, 1.0)


def at_temperature(shares: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Shares [N, C] to the power 1/temperature, scaled to add up to 1. temperature: above 0."""
    return softmax(_logarithms(shares), temperature)


def _logarithms(shares: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.log(np.maximum(shares, np.finfo(np.float64).tiny, dtype=np.float64))
