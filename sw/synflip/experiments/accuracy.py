"""Experiments on accuracy: networks, votes, early stopping, and the networks that other experiments share."""

from dataclasses import replace
from typing import Any

import numpy as np

from synflip.evaluation.margins import count, fit_shape, margins, try_margins
from synflip.experiments import plots
from synflip.experiments.blocks import Picture
from synflip.experiments.datasets import is_table
from synflip.experiments.findings import Numbers
from synflip.experiments.networks import Context
from synflip.experiments.predictions import (
    Answers,
    aggregate,
    answer_settings,
    coin_answers,
    float_answer,
    logits,
    mean_answer,
    measured_row,
    scale_of,
)
from synflip.experiments.recipes import Coins, Float
from synflip.inference.request import check_logits
from synflip.report.tables import Table
from synflip.uncertainty import entropy
from synflip.uncertainty.aggregate import AGGREGATES, powers
from synflip.uncertainty.metrics import metrics

VOTES = (1, 8, 16)
ERRORS = (0.003, 0.001)
Parts = list[Table | Picture]


def is_colour(context: Context, data: str) -> bool:
    """Whether the data set is in colour; only networks with convolutions are trained for such."""
    return len(context.data(data).shape) == 3


def main_coins(context: Context, data: str, seed: int = 0) -> Coins:
    """The network of coins that most experiments are about."""
    if is_colour(context, data):
        return conv_coins(context, data)
    budget = context.budget
    return context.recipe(data, budget.hidden, budget.epochs, seed=seed, held_out=context.held_out(data))


def main_float(context: Context, data: str, seed: int = 0, **settings: Any) -> Float:
    """The ordinary network that ``main_coins`` is compared with. settings: others of its recipe."""
    if is_colour(context, data):
        return conv_float(context, data)
    settings["held_out"] = context.held_out(data)
    return context.float_recipe(data, context.budget.hidden, context.budget.epochs, seed=seed, **settings)


def conv_coins(context: Context, data: str) -> Coins:
    """Convolutions with coins behind them."""
    epochs = context.budget.colour if is_colour(context, data) else context.budget.conv
    return Coins(data, (), epochs, conv=True, held_out=context.held_out(data))


def sampled_coins(context: Context, data: str) -> Coins:
    """The same network with convolutions of coins."""
    return replace(conv_coins(context, data), sampled=True)


def conv_float(context: Context, data: str) -> Float:
    """The ordinary network of the same shape as ``conv_coins``."""
    return conv_coins(context, data).teacher(0)


def accuracies(context: Context, recipe: Coins) -> Numbers:
    """Accuracies of one sample and of votes, and metrics of the mean softmax: a row of the cache."""
    samples = context.budget.samples

    def make() -> Numbers:
        found = coin_answers(context, recipe, samples)
        votes = {f"vote of {n}": found.votes(n) for n in (*VOTES, samples) if n <= samples}
        mean = found.kinds["mean softmax"].numbers()
        return {
            "network": context.coins(recipe).shape,
            "one sample": found.one,
            **votes,
            **{f"mean softmax {name}": value for name, value in mean.items()},
        }

    return context.cache.row("networks", answer_settings(recipe, samples), make)


def float_accuracy(context: Context, recipe: Float) -> float:
    """Accuracy of an ordinary network, 0..1: a row of the cache."""
    row = context.cache.row("networks", recipe.settings, lambda: float_answer(context, [recipe]).numbers())
    accuracy: float = row["accuracy"]
    return accuracy


def headline(context: Context, data: str) -> Parts:
    """The main network and the ordinary one, for every seed, and their ensembles."""
    seeds = context.budget.seeds[:1] if is_colour(context, data) else context.budget.seeds
    pairs = [(main_coins(context, data, seed), main_float(context, data, seed)) for seed in seeds]
    rows = [accuracy_row(context, coins, ordinary, f"seed {coins.seed}") for coins, ordinary in pairs]
    if len(rows) > 1:
        names = [name for name in rows[0] if name not in ("", "coins")]
        columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in names}
        known = {name: column for name, column in columns.items() if None not in column}
        rows.append({"": "mean", **{name: float(np.mean(column)) for name, column in known.items()}})
    parts: Parts = [
        Table.from_records("headline", f"The network and its votes, {context.budget.samples} samples", rows)
    ]
    if len(seeds) > 1:
        parts.append(_together(context, [coins for coins, _ in pairs], [ordinary for _, ordinary in pairs]))
    return parts


def _together(context: Context, coins: list[Coins], ordinary: list[Float]) -> Table:
    """The networks of all seeds as an ensemble: of coins, and of ordinary networks."""
    samples = context.budget.samples

    def make() -> Numbers:
        answers = [coin_answers(context, recipe, samples).kinds["mean softmax"] for recipe in coins]
        return mean_answer(answers).numbers()

    settings = {"coins": [answer_settings(recipe, samples) for recipe in coins]}
    found = {
        "coins, mean softmax": context.cache.row("together", settings, make),
        "ordinary networks": context.cache.row(
            "together",
            {"ordinary": [recipe.settings for recipe in ordinary]},
            lambda: float_answer(context, ordinary).numbers(),
        ),
    }
    rows = [measured_row(name, numbers) for name, numbers in found.items()]
    return Table.from_records("together", f"Ensembles of these {len(coins)}, {samples} samples of each", rows)


def networks(context: Context, data: str) -> Parts:
    """Networks of other shapes."""
    rows = []
    for hidden in context.budget.others:
        coins = context.recipe(data, hidden, context.budget.sweep, held_out=context.held_out(data))
        rows.append(accuracy_row(context, coins, coins.teacher(0), f"{coins.epochs} epochs"))
    return [Table.from_records("networks", f"Other networks, {context.budget.samples} samples", rows)]


def accuracy_row(context: Context, coins: Coins, ordinary: Float | None, name: str) -> dict[str, object]:
    """A row of the tables of accuracies. ordinary: the network beside it, if there is one."""
    found = accuracies(context, coins)
    samples = context.budget.samples
    return {
        "": name,
        "coins": found["network"],
        "float %": None if ordinary is None else float_accuracy(context, ordinary),
        "one sample %": found["one sample"],
        **{f"vote of {n} %": found[f"vote of {n}"] for n in (8, 16, samples) if f"vote of {n}" in found},
        "mean softmax %": found["mean softmax accuracy"],
        "NLL": found["mean softmax nll"],
        "NLL, scaled": found["mean softmax scaled nll"],
        "ECE": found["mean softmax ece"],
        "AUROC wrong": found["mean softmax auroc"],
    }


def samples(context: Context, data: str) -> Parts:
    """Accuracy by number of samples, up to ``budget.most``, and by aggregate."""
    most = context.budget.most
    recipe = main_coins(context, data)

    def make() -> Numbers:
        dataset = context.data(data)
        check_logits(most, len(dataset.test_labels), len(dataset.classes))
        model = context.coins(recipe)
        z = logits(context, model, dataset.test_images, most)
        found: Numbers = {}
        for number, name in enumerate(AGGREGATES):
            context.say(f"adding up: {name}", number, len(AGGREGATES))
            found[name] = {
                str(n): metrics(aggregate(name, z[:n], scale_of(model)), dataset.test_labels).as_dict()
                for n in powers(most)
            }
        return found

    found = context.cache.row("samples", answer_settings(recipe, most), make)
    counts = list(found["vote"])
    rows = [
        {"samples": int(n), **{f"{name} %": found[name][n]["accuracy"] for name in found}} for n in counts
    ]
    likely = [{"samples": int(n), **{name: found[name][n]["nll"] for name in found}} for n in counts]
    curves = [
        (name, [int(n) for n in counts], [found[name][n]["accuracy"] for n in counts]) for name in found
    ]
    return [
        Table.from_records("samples", "Accuracy, by samples and by what is made of them", rows),
        Table.from_records("samples-nll", "The same, NLL in nats", likely),
        Picture(
            "samples", "Accuracy against samples",
            f"Curves of accuracy against 1 to {most} samples, one for each way to add them up.",
            plots.lines(curves, "samples", "% right", log=True),
        ),
    ]  # fmt: skip


def early(context: Context, data: str) -> Parts:
    """Early stopping: margins fitted to the votes of every other image, and tried on the others."""
    samples = context.budget.samples
    recipes = [main_coins(context, data)]
    if not is_table(context.data(data)):
        recipes.append(conv_coins(context, data))
    rows = [
        {
            "coins": accuracies(context, recipe)["network"],
            "--error": error,
            **early_row(context, recipe, error),
        }
        for recipe in dict.fromkeys(recipes)
        for error in ERRORS
    ]
    return [
        Table.from_records(
            "early", f"Early stopping, at most {samples} samples; half of the test images", rows
        )
    ]


def early_row(context: Context, recipe: Coins, error: float) -> Numbers:
    """Samples and accuracy with margins for this error: a row of the cache."""
    samples = context.budget.samples
    settings = {**answer_settings(recipe, samples), "error": error}
    return context.cache.row("early", settings, lambda: _early(coin_answers(context, recipe, samples), error))


def _early(found: Answers, error: float) -> Numbers:
    fitted, tried = found.winners[:, ::2], found.winners[:, 1::2]
    table = margins(fit_shape(count(fitted, found.classes)), len(fitted), error)
    trial = try_margins(tried, table, found.classes, found.labels[1::2])
    return {
        "samples an image": trial.samples,
        "class of the full vote %": trial.agrees,
        "accuracy %": trial.accuracy,
        "accuracy of the full vote %": trial.full_accuracy,
    }


def gallery(context: Context, data: str) -> Parts:
    """The images that the votes are least sure of, and the wrong ones that they are surest of."""
    found = coin_answers(context, main_coins(context, data), context.budget.samples)
    votes = count(found.winners, found.classes)
    entropies = entropy(found.kinds["mean softmax"].shares)
    wrong = np.flatnonzero(votes.argmax(1) != found.labels)
    shown = context.budget.gallery
    groups = {
        "least sure": np.argsort(-entropies, kind="stable")[:shown],
        "wrong and sure": wrong[np.argsort(entropies[wrong], kind="stable")][:shown],
    }
    return [
        Picture(
            f"gallery-{name.replace(' ', '-')}", f"Images and their votes: {name}",
            "Images with bars of their votes for each class; the bar of the label is blue.",
            plots.gallery(context.data(data), chosen, votes),
        )
        for name, chosen in groups.items()
        if len(chosen)
    ]  # fmt: skip
