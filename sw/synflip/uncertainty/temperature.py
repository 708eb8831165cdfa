"""Temperature scaling: the scale of the logits in a softmax, fitted to held-out images."""

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
