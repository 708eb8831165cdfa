"""What coins do to a network: logits, votes and entropies against those of ideal coins (``torch.rand``)."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from synflip.golden import Golden
from synflip.randomness import Finding
from synflip.spec.coins import threshold
from synflip.spec.model import CompiledModel
from synflip.uncertainty import entropy

GROUP = 16  # network samples of a vote whose entropy is looked at
#: Signed coins [J, I] of every layer, one network sample a call.
Flips = Callable[[], list[torch.Tensor]]
Report = Callable[[int], None]


def ideal_flips(model: CompiledModel, seed: int) -> Flips:
    """Coins that are independent as torch's generator is: heads if rand < T / 2**k."""
    generator = torch.Generator().manual_seed(seed)
    shares = [
        torch.from_numpy(threshold(layer.q, model.bits) / (1 << model.bits)).float() for layer in model.layers
    ]
    signs = [torch.from_numpy(1 - 2 * layer.sign.astype(np.int8)) for layer in model.layers]

    def flip() -> list[torch.Tensor]:
        return [
            (torch.rand(share.shape, generator=generator) < share).to(torch.int8) * sign
            for share, sign in zip(shares, signs, strict=True)
        ]

    return flip


def logits(
    golden: Golden, pixels: NDArray[np.uint8], flips: Flips, samples: int, report: Report | None = None
) -> NDArray[np.int32]:
    """[samples, N, C] logits of the loaded model, its coins from ``flips``."""
    assert golden.model is not None
    x = torch.from_numpy(golden.model.activations(pixels))
    kept = np.zeros((samples, len(x), len(golden.model.classes)), dtype=np.int32)
    for sample in range(samples):
        kept[sample], _ = golden.forward(x, flips())
        if report is not None:
            report(sample + 1)
    return kept


def compare(have: NDArray[np.int32], ideal: NDArray[np.int32]) -> Iterator[Finding]:
    """Findings on logits [S, N, C] against ideal ones. Images share coins, so the worst of many is corrected
    by their number (Bonferroni), which holds however they depend on each other."""
    a, b = have.astype(np.float64), ideal.astype(np.float64)
    yield _worst("mean of a logit", "difference / spread", *_two_means(a, b), b.std(0))
    a -= a.mean(0)
    b -= b.mean(0)
    yield _worst("variance of a logit", "ratio - 1", *_two_means(a * a, b * b), b.var(0))
    classes = a.shape[2]
    for name, shift in (("covariance of neighbouring classes", 1), ("covariance of classes 2 apart", 2)):
        if classes > shift:
            other = (np.arange(classes) + shift) % classes
            scale = b.std(0) * b[:, :, other].std(0)
            yield _worst(name, "correlation", *_two_means(a * a[:, :, other], b * b[:, :, other]), scale)
    yield _worst("third moment of a logit", "difference / spread^3", *_two_means(a**3, b**3), b.std(0) ** 3)
    lag = (a[1:] * a[:-1]).mean(0) / np.maximum(a.var(0), 1e-12)
    yield _worst("one sample and the next", "correlation", lag, lag * np.sqrt(len(a)), np.ones_like(lag))

    votes = [_votes(part) for part in (have, ideal)]
    p_values, effects = [], []
    for image in range(have.shape[1]):
        table = np.stack([part[:, image].sum(0) for part in votes])
        table = table[:, table.sum(0) > 0]
        p_values.append(float(stats.chi2_contingency(table).pvalue) if table.shape[1] > 1 else 1.0)
        shares = table / table.sum(1, keepdims=True)
        effects.append(float(np.abs(shares[0] - shares[1]).sum() / 2))
    yield _of_many("votes of an image", "total variation", effects, p_values)
    p_values, effects = [], []
    for image in range(have.shape[1]):
        first, second = (_group_entropies(part[:, image]) for part in votes)
        p_values.append(float(stats.ks_2samp(first, second).pvalue))
        effects.append(float(first.mean() - second.mean()))
    yield _of_many(f"entropy of {GROUP} votes", "difference, bits", effects, p_values)


def _votes(part: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.eye(part.shape[2], dtype=np.int64)[part.argmax(2)]


def _group_entropies(votes: NDArray[np.int64]) -> NDArray[np.float64]:
    groups = len(votes) // GROUP
    shares = votes[: groups * GROUP].reshape(groups, GROUP, -1).sum(1) / GROUP
    return entropy(shares)


def _two_means(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Differences of the means over the first axis, and in standard errors."""
    difference = a.mean(0) - b.mean(0)
    error = np.sqrt(a.var(0) / len(a) + b.var(0) / len(b))
    return difference, difference / np.maximum(error, 1e-12)


def _worst(
    name: str,
    measure: str,
    differences: NDArray[np.float64],
    z: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> Finding:
    effects = differences / np.maximum(scale, 1e-12)
    return _of_many(name, measure, effects.reshape(-1).tolist(), (2 * stats.norm.sf(np.abs(z))).reshape(-1))


def _of_many(name: str, measure: str, effects: list[float], p_values) -> Finding:  # type: ignore[no-untyped-def]
    worst = int(np.argmin(p_values))
    return Finding(name, measure, effects[worst], min(1.0, float(p_values[worst]) * len(p_values)))
