"""Experiments on coins: bits of probabilities, errors of probabilities, signs, related samples."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from synflip.experiments import plots
from synflip.experiments.accuracy import Parts, accuracies, main_coins
from synflip.experiments.blocks import Picture
from synflip.experiments.coin_variants import ARRANGEMENTS, arranged_logits, noisy, requantised
from synflip.experiments.findings import Numbers
from synflip.experiments.networks import Context
from synflip.experiments.predictions import SEED, aggregate, answer_settings, logits, scale_of
from synflip.experiments.recipes import Coins
from synflip.report.tables import Table
from synflip.spec.model import CompiledModel
from synflip.uncertainty.metrics import metrics

MOST_RELATED = 16  # samples of a group; ``coin_variants.stratified`` relates as many at k = 4


def bits(context: Context, data: str) -> Parts:
    """One network requantised to fewer bits, and networks that were trained with as few."""
    budget = context.budget
    trained = context.recipe(data, budget.hidden, budget.sweep, bits=max(budget.bits))
    rows = []
    for k in budget.bits:
        same = _changed(context, trained, {"bits": k}, partial(requantised, bits=k))
        own = accuracies(context, replace(trained, bits=k))
        rows.append(
            {
                "k": k,
                f"trained at k = {trained.bits}: one sample %": same["one sample"],
                "vote %": same["vote"],
                "mean softmax, NLL": same["nll"],
                "trained at k: one sample %": own["one sample"],
                "its vote %": own[f"vote of {budget.samples}"],
                "its NLL": own["mean softmax nll"],
            }
        )
    curves = [
        (name, budget.bits, [row[column] for row in rows])
        for name, column in (
            (f"trained at k = {trained.bits}, one sample", f"trained at k = {trained.bits}: one sample %"),
            (f"trained at k = {trained.bits}, vote", "vote %"),
            ("trained at k, one sample", "trained at k: one sample %"),
            ("trained at k, vote", "its vote %"),
        )
    ]
    return [
        Table.from_records(
            "bits", f"Bits of a probability; {trained.epochs} epochs, {budget.samples} samples", rows
        ),
        Picture(
            "bits", "Accuracy against bits", "Curves of accuracy against k.",
            plots.lines(curves, "k", "% right"),
        ),
    ]  # fmt: skip


def noise(context: Context, data: str) -> Parts:
    """A network whose probabilities each have a fixed Gaussian error."""
    recipe = main_coins(context, data)
    rows = []
    for spread in context.budget.noise:
        found = _changed(context, recipe, {"noise": spread}, partial(noisy, spread=spread, seed=SEED))
        rows.append(
            {
                "standard deviation": spread,
                "one sample %": found["one sample"],
                "vote %": found["vote"],
                "mean softmax %": found["mean softmax"],
                "NLL": found["nll"],
            }
        )
    curves = [
        (name, context.budget.noise, [row[f"{name} %"] for row in rows]) for name in ("one sample", "vote")
    ]
    return [
        Table.from_records(
            "noise", f"Devices whose probabilities are off; {context.budget.samples} samples", rows
        ),
        Picture(
            "noise", "Accuracy against errors of the probabilities",
            "Curves of accuracy of one sample and of the vote against the errors' standard deviation.",
            plots.lines(curves, "standard deviation of a probability", "% right"),
        ),
    ]  # fmt: skip


def signs(context: Context, data: str) -> Parts:
    """A network with weights in [-1, 1] against one with weights in [0, 1]."""
    budget = context.budget
    rows = []
    for signed in (True, False):
        found = accuracies(context, context.recipe(data, budget.hidden, budget.sweep, signed=signed))
        rows.append(
            {
                "weights": "[-1, 1]" if signed else "[0, 1]",
                "one sample %": found["one sample"],
                "vote %": found[f"vote of {budget.samples}"],
                "mean softmax %": found["mean softmax accuracy"],
                "NLL": found["mean softmax nll"],
            }
        )
    return [Table.from_records("signs", f"Signs; {budget.sweep} epochs, {budget.samples} samples", rows)]


def related(context: Context, data: str) -> Parts:
    """Samples that are not independent: mean metrics over groups of samples, each group with new keys."""
    recipe = main_coins(context, data)
    samples = max(context.budget.samples // MOST_RELATED, 1) * MOST_RELATED
    counts = [1, 2, 4, 8, MOST_RELATED]
    found: dict[str, Numbers] = {}
    for name in ARRANGEMENTS:

        def make(name: str = name) -> Numbers:
            dataset = context.data(data)
            model = context.coins(recipe)
            z = arranged_logits(
                model, dataset.test_images, ARRANGEMENTS[name], samples, SEED,
                lambda done, total: context.say("flipping coins", done, total),
            )  # fmt: skip
            groups = z.reshape(-1, MOST_RELATED, *z.shape[1:])
            return {
                kind: {
                    str(n): _mean(kind, groups[:, :n], scale_of(model), dataset.test_labels) for n in counts
                }
                for kind in ("vote", "mean softmax")
            }

        settings = {**answer_settings(recipe, samples), "arrangement": name, "groups of": MOST_RELATED}
        found[name] = context.cache.row("related", settings, make)
    rows = [
        {
            "samples are": name,
            **{f"vote of {n} %": found[name]["vote"][str(n)]["accuracy"] for n in counts},
            **{f"NLL of {n}": found[name]["mean softmax"][str(n)]["nll"] for n in counts[1:]},
        }
        for name in ARRANGEMENTS
    ]
    curves = [(name, counts, [found[name]["mean softmax"][str(n)]["nll"] for n in counts]) for name in found]
    return [
        Table.from_records("related", f"Related samples; means of {samples // MOST_RELATED} groups", rows),
        Picture(
            "related", "NLL of the mean softmax against samples",
            "Curves of negative log-likelihood against 1 to 16 samples, for each relation of the samples.",
            plots.lines(curves, "samples", "NLL, nats", log=True, percent=False),
        ),
    ]  # fmt: skip


def _mean(kind: str, groups: NDArray[np.int32], scale: float, labels: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy and NLL of logits [G, S, N, C] of G groups of S samples: the mean over the groups."""
    found = [metrics(aggregate(kind, group, scale), labels) for group in groups]
    return {
        "accuracy": float(np.mean([each.accuracy for each in found])),
        "nll": float(np.mean([each.nll for each in found])),
    }


def _changed(
    context: Context, recipe: Coins, change: dict[str, float], apply: Callable[[CompiledModel], CompiledModel]
) -> Numbers:
    """Numbers of a network whose compiled model ``apply`` changes before it runs: a row of the cache.

    change: name and value of the change, part of the row's settings.
    """
    samples = context.budget.samples

    def make() -> Numbers:
        dataset = context.data(recipe.data)
        model = apply(context.coins(recipe))
        z = logits(context, model, dataset.test_images, samples)
        mean = metrics(aggregate("mean softmax", z, scale_of(model)), dataset.test_labels)
        vote = metrics(aggregate("vote", z, scale_of(model)), dataset.test_labels)
        return {
            "one sample": float((z.argmax(-1) == dataset.test_labels).mean()),
            "vote": vote.accuracy,
            "mean softmax": mean.accuracy,
            "nll": mean.nll,
            "ece": mean.ece,
        }

    return context.cache.row("changed", {**answer_settings(recipe, samples), **change}, make)
