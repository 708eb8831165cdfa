"""Coins, and what people would use instead: the same data, shape, augmentation and epochs."""

from dataclasses import replace

from synflip.paper import figures
from synflip.paper.accuracy import Parts, accuracies, main_coins, main_float
from synflip.paper.answers import coin_answers, float_answer, measured_row
from synflip.paper.networks import Context
from synflip.paper.parts import Picture, Table
from synflip.paper.recipes import Coins


def mean_coins(context: Context, data: str) -> Coins:
    """The network of coins that is trained on the likelihood of the mean of some samples."""
    budget = context.budget
    return Coins(data, budget.hidden, budget.epochs, mean_of=budget.mean_of)


def taught_coins(context: Context, data: str) -> Coins:
    """The same, which learns from the ensemble that it is compared with."""
    return replace(mean_coins(context, data), teachers=context.budget.members)


def rivals(context: Context, data: str) -> Parts:
    """Coins, and what people would use instead, all trained on the same data for as many epochs."""
    budget = context.budget
    members = [main_float(context, data, seed) for seed in range(budget.members)]
    coins = coin_answers(context, main_coins(context, data), budget.samples)
    mean = coin_answers(context, mean_coins(context, data), budget.samples)
    taught = coin_answers(context, taught_coins(context, data), budget.samples)
    for recipe in (mean_coins(context, data), taught_coins(context, data)):
        accuracies(context, recipe)  # for the targets
    answers = {
        "softmax": float_answer(context, members[:1]),
        f"MC dropout, {budget.samples} passes": float_answer(
            context, [main_float(context, data, dropout=budget.dropout)], budget.samples
        ),
        f"ensemble of {budget.members}": float_answer(context, members),
        "coins, votes": coins.kinds["vote"],
        "coins, mean softmax": coins.kinds["mean softmax"],
        f"coins trained on the mean of {budget.mean_of}, votes": mean.kinds["vote"],
        f"coins trained on the mean of {budget.mean_of}, mean softmax": mean.kinds["mean softmax"],
        "the same, taught by the ensemble, votes": taught.kinds["vote"],
        "the same, taught by the ensemble, mean softmax": taught.kinds["mean softmax"],
    }
    rows = []
    for name, answer in answers.items():
        settings = {
            **main_coins(context, data).settings,
            "rival": name,
            "samples": budget.samples,
            "dropout": budget.dropout,
        }
        found = context.store.row("rivals", settings, answer.numbers)
        rows.append(measured_row(name, found))
    shown = {name: answers[name] for name in (*list(answers)[:5], list(answers)[-1])}
    return [
        Table("rivals", f"Coins and rivals, {budget.samples} samples, {budget.epochs} epochs each", rows),
        Picture(
            "risk", "Risk and coverage", "Curves of the share of wrong answers against the share answered.",
            figures.risk(shown),
        ),
        Picture(
            "reliability", "Reliability", "Curves of the share right against the largest share.",
            figures.reliability(shown),
        ),
    ]  # fmt: skip
