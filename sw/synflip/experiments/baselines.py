"""The experiment on baselines: softmax, MC dropout and ensembles of the same shape, data and epochs."""

from dataclasses import replace

from synflip.experiments import plots
from synflip.experiments.accuracy import Parts, accuracies, main_coins, main_float
from synflip.experiments.blocks import Picture
from synflip.experiments.networks import Context
from synflip.experiments.predictions import Answer, coin_answers, float_answer, measured_row
from synflip.experiments.recipes import Coins, Float
from synflip.report.tables import Table


def mean_coins(context: Context, data: str) -> Coins:
    """The network of coins that is trained on the likelihood of the mean of some samples."""
    budget = context.budget
    return context.recipe(data, budget.hidden, budget.epochs, mean_of=budget.mean_of)


def taught_coins(context: Context, data: str) -> Coins:
    """The network of ``mean_coins``, taught by the ensemble of ordinary networks that it is compared with."""
    return replace(mean_coins(context, data), teachers=context.budget.members)


def networks_of_coins(context: Context, data: str) -> dict[str, Coins]:
    """The networks of coins that are compared with baselines, by name."""
    return {
        "coins": main_coins(context, data),
        f"coins trained on the mean of {context.budget.mean_of}": mean_coins(context, data),
        "the same, taught by the ensemble": taught_coins(context, data),
    }


def ordinary_networks(context: Context, data: str) -> dict[str, tuple[list[Float], int]]:
    """The baselines by name: the networks of each, and the number of passes through each network."""
    budget = context.budget
    members = [main_float(context, data, seed) for seed in range(budget.members)]
    return {
        "softmax": (members[:1], 1),
        f"MC dropout, {budget.samples} passes": (
            [main_float(context, data, dropout=budget.dropout)], budget.samples,
        ),
        f"ensemble of {budget.members}": (members, 1),
    }  # fmt: skip


def baselines(context: Context, data: str) -> Parts:
    """Metrics of coins and of baselines, all trained on the same data for as many epochs."""
    budget = context.budget
    answers: dict[str, Answer] = {}
    for name, recipe in networks_of_coins(context, data).items():
        kinds = coin_answers(context, recipe, budget.samples).kinds
        answers |= {f"{name}, votes": kinds["vote"], f"{name}, mean softmax": kinds["mean softmax"]}
    for recipe in (mean_coins(context, data), taught_coins(context, data)):
        accuracies(context, recipe)  # for the targets
    ordinary = ordinary_networks(context, data)
    answers = {name: float_answer(context, *how) for name, how in ordinary.items()} | answers
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
    shown = {name: answers[name] for name in (*list(answers)[:5], list(answers)[-1])}
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
