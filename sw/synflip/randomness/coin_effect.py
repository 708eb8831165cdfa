"""The effect of coins on a network: its logits, votes and entropies against those with ideal coins."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from synflip.golden.cpu import Golden
from synflip.randomness.statistical_tests import TestResult
from synflip.spec.coins import threshold
from synflip.spec.model import CompiledModel
from synflip.uncertainty.scores import entropy

GROUP = 16  # network samples of a vote whose entropy is tested
LEVEL = 0.95  # of confidence intervals
LEVEL_Z = float(stats.norm.isf((1 - LEVEL) / 2))
#: Signed coins [J, I] of every layer, one network sample a call.
Flips = Callable[[], list[torch.Tensor]]
Report = Callable[[int], None]


def ideal_flips(model: CompiledModel, seed: int) -> Flips:
    """Ideal coins: heads if torch.rand gives less than T / 2**k, one number for each coin."""
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


def compare(have: NDArray[np.int32], ideal: NDArray[np.int32]) -> Iterator[TestResult]:
    """Results of tests of logits [S, N, C] against logits with ideal coins, of the same shape.

    Images share coins, so their effects depend on each other. The worst of many is corrected by their number
    (Bonferroni), which holds for any dependence.
    """
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
    yield _distributions(have, ideal)
    lag = (a[1:] * a[:-1]).mean(0) / np.maximum(a.var(0), 1e-12)
    yield _worst("one sample and the next", "correlation", lag, np.full_like(lag, len(a) ** -0.5), 1.0)

    votes = [_votes(part) for part in (have, ideal)]
    p_values, effects = [], []
    for image in range(have.shape[1]):
        table = np.stack([part[:, image].sum(0) for part in votes])
        table = table[:, table.sum(0) > 0]
        p_values.append(float(stats.chi2_contingency(table).pvalue) if table.shape[1] > 1 else 1.0)
        shares = table / table.sum(1, keepdims=True)
        effects.append(float(np.abs(shares[0] - shares[1]).sum() / 2))
    worst = int(np.argmin(p_values))
    yield TestResult(
        "votes of an image",
        "total variation",
        effects[worst],
        min(1.0, p_values[worst] * len(p_values)),
    )
    # One vote for and one against are added (Agresti and Caffo 2000), so that 0 of few votes has an error
    # too.
    rare = [(part.sum(0) + 1) / (len(part) + 2) for part in votes]
    error = np.sqrt(sum(share * (1 - share) / (len(have) + 2) for share in rare))
    yield _worst("share of a class's votes", "difference", rare[0] - rare[1], error, 1.0)

    entropies = [np.stack([_group_entropies(part[:, i]) for i in range(have.shape[1])], 1) for part in votes]
    p_values = [
        float(stats.ks_2samp(*both, method="asymp").pvalue)
        for both in zip(*(part.T for part in entropies), strict=True)
    ]
    name = f"entropy of {GROUP} votes"
    yield _worst(name, "difference of means, bits", *_two_means(*entropies), 1.0)
    distance = [_distance(*both) for both in zip(*(part.T for part in entropies), strict=True)]
    worst = int(np.argmin(p_values))
    yield TestResult(
        f"{name}, its distribution",
        "distance (Kolmogorov, Smirnov)",
        distance[worst],
        min(1.0, p_values[worst] * len(p_values)),
    )


def accuracy(
    have: NDArray[np.int32], ideal: NDArray[np.int32], labels: NDArray[np.integer]
) -> tuple[float, float]:
    """Accuracy of one network sample minus that with ideal coins, and half its 95 % interval."""
    right = [(part.argmax(2) == labels).mean(1) for part in (have, ideal)]
    difference, error = _two_means(*(part[:, None] for part in right))
    return float(difference[0]), float(LEVEL_Z * error[0])


def _distributions(have: NDArray[np.int32], ideal: NDArray[np.int32]) -> TestResult:
    """The largest distance between distribution functions of a logit. Each is known to within an eps
    (Dvoretzky, Kiefer and Wolfowitz, with Massart's constant), however many values there are."""
    places = [(i, c) for i in range(have.shape[1]) for c in range(have.shape[2])]
    distances = np.array([_distance(have[:, i, c], ideal[:, i, c]) for i, c in places])
    # P(two samples of n are as far apart) <= 2 exp(-n d^2): Kolmogorov's series is below its first term.
    p = float(np.min(np.minimum(1.0, 2 * np.exp(-len(have) * distances**2))))
    eps = float(np.sqrt(np.log(4 * len(places) / (1 - LEVEL)) / (2 * len(have))))
    worst = float(distances.max())
    interval = (max(worst - 2 * eps, 0.0), worst + 2 * eps)
    return TestResult(
        "distribution of a logit",
        "distance (Kolmogorov, Smirnov)",
        worst,
        min(1.0, p * len(places)),
        interval,
        interval[1],
    )


def _distance(a: NDArray[np.number], b: NDArray[np.number]) -> float:
    """Largest difference of the distribution functions of two samples."""
    first, second = np.sort(a), np.sort(b)
    values = np.concatenate([first, second])
    below = [np.searchsorted(part, values, side="right") / len(part) for part in (first, second)]
    return float(np.abs(below[0] - below[1]).max())


def _votes(part: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.eye(part.shape[2], dtype=np.int64)[part.argmax(2)]


def _group_entropies(votes: NDArray[np.int64]) -> NDArray[np.float64]:
    groups = len(votes) // GROUP
    shares = votes[: groups * GROUP].reshape(groups, GROUP, -1).sum(1) / GROUP
    return entropy(shares)


def _two_means(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Differences of the means over the first axis, and their standard errors."""
    return a.mean(0) - b.mean(0), np.sqrt(a.var(0) / len(a) + b.var(0) / len(b))


def _worst(
    name: str,
    measure: str,
    differences: NDArray[np.float64],
    errors: NDArray[np.float64],
    scale: NDArray[np.float64] | float,
) -> TestResult:
    """The test of many differences, of which the least likely is reported, in units of ``scale``.

    Where nothing varies, as in the logits of an image that no coin can change, there is nothing to test.
    """
    scales = np.broadcast_to(scale, differences.shape)
    varies = (errors > 1e-12) & (scales > 1e-12)
    z = np.where(
        varies, differences / np.maximum(errors, 1e-12), np.where(np.abs(differences) > 1e-9, np.inf, 0)
    )
    effects = np.where(varies, differences / np.maximum(scales, 1e-12), differences).reshape(-1)
    half = np.where(varies, errors / np.maximum(scales, 1e-12), 0).reshape(-1)
    half = half * float(stats.norm.isf((1 - LEVEL) / 2 / effects.size))
    worst = int(np.abs(z).argmax())
    return TestResult(
        name,
        measure,
        float(effects[worst]),
        min(1.0, float(2 * stats.norm.sf(np.abs(z).max())) * effects.size),
        (float(effects[worst] - half[worst]), float(effects[worst] + half[worst])),
        float((np.abs(effects) + half).max()),
    )
