"""The experiment on baselines: what people would use in place of coins, at the same shape and epochs."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from synflip.experiments import datasets, plots
from synflip.experiments.accuracy import Parts, accuracies, main_coins, main_float
from synflip.experiments.blocks import Picture
from synflip.experiments.networks import Context
from synflip.experiments.predictions import (
    FORMAT,
    Answer,
    Answers,
    LogitsOf,
    answers_of,
    coin_answers,
    float_answers,
    measured_row,
)
from synflip.experiments.recipes import Coins
from synflip.experiments.rivals.laplace import LastLayerLaplace
from synflip.report.tables import Table

SOFTMAX, MEAN, VOTES = "softmax", "mean softmax", "votes"
TAUGHT = "the same, taught by the ensemble"


def mean_coins(context: Context, data: str) -> Coins:
    """The network of coins that is trained on the likelihood of the mean of some samples."""
    return replace(main_coins(context, data), mean_of=context.budget.mean_of)


def taught_coins(context: Context, data: str) -> Coins:
    """The network of ``mean_coins``, taught by the ensemble of ordinary networks that it is compared with."""
    return replace(mean_coins(context, data), teachers=context.budget.members)


def networks_of_coins(context: Context, data: str) -> dict[str, Coins]:
    """The networks of coins that are compared with baselines, by name."""
    return {
        "coins": main_coins(context, data),
        f"coins trained on the mean of {context.budget.mean_of}": mean_coins(context, data),
        TAUGHT: taught_coins(context, data),
    }


def rivals(context: Context, data: str) -> dict[str, Callable[[], Answers]]:
    """What gives the answers of each baseline, by name; the answer of each is its mean softmax."""
    budget = context.budget
    members = [main_float(context, data, seed) for seed in range(budget.members)]
    dropout = main_float(context, data, dropout=budget.dropout)
    masks, distances = (main_float(context, data, rival=name) for name in ("masksembles", "sngp"))
    return {
        SOFTMAX: partial(float_answers, context, members[:1]),
        f"MC dropout, {budget.samples} passes": partial(float_answers, context, [dropout], budget.samples),
        f"ensemble of {budget.members}": partial(float_answers, context, members),
        "Masksembles": partial(float_answers, context, [masks]),
        "Laplace, last layer": partial(laplace_answers, context, data),
        "SNGP": partial(float_answers, context, [distances]),
    }


def laplace_answers(context: Context, data: str) -> Answers:
    """The ordinary network with a Laplace approximation of its last layer."""
    recipe = main_float(context, data)

    def prepare() -> tuple[LogitsOf, float]:
        dataset, images, labels = datasets.held_out(context.data(data), recipe.held_out)

        def shares(pixels: NDArray[np.uint8]) -> torch.Tensor:
            return torch.from_numpy(pixels).float() / dataset.input_max

        laplace = LastLayerLaplace(
            context.ordinary(recipe), shares(dataset.train_images), shares(images), labels
        )
        return lambda pixels: laplace.logits(shares(pixels)).numpy()[None], 1.0

    settings = {**recipe.settings, "laplace": "last layer", "format": FORMAT}
    return answers_of(context, settings, recipe, (MEAN,), prepare)


def baselines(context: Context, data: str) -> Parts:
    """Metrics of coins and of baselines, all trained on the same data for as many epochs."""
    budget = context.budget
    answers: dict[str, Answer] = {}
    for name, make in rivals(context, data).items():
        answers[name] = make().kinds[MEAN]
    for name, recipe in networks_of_coins(context, data).items():
        kinds = coin_answers(context, recipe, budget.samples).kinds
        answers |= {f"{name}, {VOTES}": kinds["vote"], f"{name}, {MEAN}": kinds[MEAN]}
    for recipe in (mean_coins(context, data), taught_coins(context, data)):
        accuracies(context, recipe)  # for the targets
    rows = []
    for name, answer in answers.items():
        settings = {
            **main_coins(context, data).settings,
            "baseline": name,
            "samples": budget.samples,
            "dropout": budget.dropout,
        }
        found = context.cache.row("baselines", settings, answer.numbers)
        rows.append(measured_row(name, found))
    names = [*list(answers)[:3], f"coins, {VOTES}", f"coins, {MEAN}", f"{TAUGHT}, {MEAN}"]
    shown = {name: answers[name] for name in names}
    return [
        Table.from_records(
            "baselines", f"Coins and baselines, {budget.samples} samples, {budget.epochs} epochs each", rows
        ),
        Picture(
            "risk", "Risk and coverage", "Curves of the share of wrong answers against the share answered.",
            plots.risk(shown),
        ),
        Picture(
            "reliability", "Reliability", "Curves of the share right against the largest share.",
            plots.reliability(shown),
        ),
    ]  # fmt: skip
