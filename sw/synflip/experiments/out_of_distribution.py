"""Experiment on out-of-distribution images: does entropy, mutual information or energy detect them best?"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from synflip.experiments.accuracy import Parts
from synflip.experiments.baselines import networks_of_coins, ordinary_networks
from synflip.experiments.findings import Numbers
from synflip.experiments.networks import Context
from synflip.experiments.predictions import answer_settings, float_logits, image_sets, logits, scale_of
from synflip.experiments.recipes import Coins, Float
from synflip.report.tables import Table
from synflip.uncertainty import energy, entropy, mutual_information, softmax_moments
from synflip.uncertainty.metrics import outside_auroc

SCORES = ("entropy", "mutual information", "energy")


def out_of_distribution(context: Context, data: str) -> Parts:
    """AUROC with which each score, of coins and of their baselines, detects out-of-distribution images."""
    ordinary, coins = ordinary_networks(context, data), networks_of_coins(context, data)
    found = {name: of_float(context, *how) for name, how in ordinary.items()}
    found |= {name: of_coins(context, recipe) for name, recipe in coins.items()}
    rows = [
        {"": name}
        | {f"{what}: {score}": aurocs[score] for what, aurocs in numbers.items() for score in SCORES}
        for name, numbers in found.items()
    ]
    return [
        Table.from_records(
            "out-of-distribution",
            f"AUROC of out-of-distribution images, {context.budget.samples} samples",
            rows,
        )
    ]


def of_coins(context: Context, recipe: Coins) -> Numbers:
    """AUROC of a network of coins, by kind of out-of-distribution images and by score: a row of the cache."""
    samples = context.budget.samples

    def make() -> Numbers:
        model = context.coins(recipe)
        return _aurocs(context, recipe.data, lambda x: logits(context, model, x, samples), scale_of(model))

    return context.cache.row("out-of-distribution", answer_settings(recipe, samples), make)


def of_float(context: Context, recipes: list[Float], passes: int) -> Numbers:
    """The same AUROCs of an ensemble of ordinary networks, or of several passes with dropout."""
    data = recipes[0].data

    def make() -> Numbers:
        networks = [context.ordinary(recipe) for recipe in recipes]
        return _aurocs(context, data, lambda x: float_logits(context, networks, x, data, passes), 1.0)

    settings = {"recipes": [recipe.settings for recipe in recipes], "passes": passes}
    return context.cache.row("out-of-distribution", settings, make)


def _aurocs(
    context: Context, data: str, answer: Callable[[NDArray[np.uint8]], NDArray[np.number]], scale: float
) -> Numbers:
    scores = {name: _scores(answer(images), scale) for name, images in image_sets(context, data).items()}
    own = scores.pop("test")
    return {
        name: {score: outside_auroc(own[score], theirs[score]) if score in own else None for score in SCORES}
        for name, theirs in scores.items()
    }


def _scores(z: NDArray[np.number], scale: float) -> dict[str, NDArray[np.float64]]:
    """Scores [N] by name, of logits [S, N, C]. Without mutual information if S is 1."""
    used = np.full(z.shape[1], len(z))
    mean, expected = softmax_moments(z, used, scale)
    found = {"entropy": entropy(mean), "energy": energy(z, used, scale)}
    return found | ({"mutual information": mutual_information(mean, expected)} if len(z) > 1 else {})
