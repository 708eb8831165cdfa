"""Metrics of predicted shares of classes: accuracy, likelihood, calibration, detection of wrong answers."""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from torchmetrics.functional.classification import multiclass_calibration_error

from synflip.errors import SynflipError
from synflip.uncertainty.scores import entropy

BINS = 15  # of the calibration error
LEAST_SHARE = 1e-12  # below it, a share counts as this in the likelihood


@dataclass(frozen=True)
class Metrics:
    """Metrics of predicted shares of N images against their labels.

    accuracy: share right, 0..1. nll: mean negative log-likelihood, nats. brier: mean squared distance of the
    shares from the label's corner, 0..2. ece: expected calibration error in BINS equal bins, 0..1.
    auroc, aupr: of finding the wrong answers by entropy; NaN if none or all are wrong. aurc: mean share of
    wrong answers over all coverages, the least uncertain images first.
    """

    accuracy: float
    nll: float
    brier: float
    ece: float
    auroc: float
    aupr: float
    aurc: float

    def as_dict(self) -> dict[str, float]:
        """The metrics by name."""
        return asdict(self)


def metrics(shares: NDArray[np.floating], labels: NDArray[np.integer]) -> Metrics:
    """The metrics of shares [N, C], which add up to 1, and labels [N].

    Raises SynflipError for other shapes or sums.
    """
    if shares.ndim != 2 or labels.shape != shares.shape[:1] or not len(labels):
        raise SynflipError(f"shares {list(shares.shape)} do not go with labels {list(labels.shape)}")
    if not np.allclose(shares.sum(1), 1, atol=1e-6):
        raise SynflipError("shares must add up to 1 for every image")
    classes = shares.shape[1]
    corner = np.eye(classes)[labels]
    wrong = shares.argmax(1) != labels
    uncertainty = entropy(shares)
    both_kinds = bool(wrong.any() and not wrong.all())
    clipped = np.maximum(shares, LEAST_SHARE)
    return Metrics(
        accuracy=float(1 - wrong.mean()),
        nll=float(
            log_loss(labels, clipped / clipped.sum(1, keepdims=True), labels=np.arange(classes))
        ),
        brier=float(((shares - corner) ** 2).sum(1).mean()),
        ece=float(
            multiclass_calibration_error(
                torch.from_numpy(np.asarray(shares, np.float32)), torch.from_numpy(labels.astype(np.int64)),
                num_classes=classes, n_bins=BINS, norm="l1",
            )
        ),
        auroc=float(roc_auc_score(wrong, uncertainty)) if both_kinds else float("nan"),
        aupr=float(average_precision_score(wrong, uncertainty)) if both_kinds else float("nan"),
        aurc=float(risk_coverage(uncertainty, wrong)[1].mean()),
    )  # fmt: skip


def outside_auroc(inside: NDArray[np.floating], outside: NDArray[np.floating]) -> float:
    """AUROC, 0..1, of detecting out-of-distribution images by a score of uncertainty.

    inside: scores [N] of the network's own data set. outside: scores [M] of other images. 1 if every score
    outside is above every one inside, 0.5 if the score says nothing.
    """
    scores = np.concatenate([inside, outside])
    return float(roc_auc_score(np.arange(len(scores)) >= len(inside), scores))


def risk_coverage(
    uncertainty: NDArray[np.floating], wrong: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of images answered, the least uncertain first, and the share of wrong answers among them: [N]
    each."""
    order = np.argsort(uncertainty, kind="stable")
    answered = np.arange(1, len(uncertainty) + 1)
    return answered / len(uncertainty), np.cumsum(wrong[order]) / answered
