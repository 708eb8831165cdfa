"""Experiment on out-of-distribution images: does entropy, mutual information or energy detect them best?"""

from collections.abc import Callable

from synflip.experiments.accuracy import Parts
from synflip.experiments.baselines import MEAN, networks_of_coins, rivals
from synflip.experiments.findings import Numbers
from synflip.experiments.networks import Context
from synflip.experiments.predictions import TEST, Answers, answer_settings, coin_answers
from synflip.experiments.recipes import Coins
from synflip.report.tables import Table
from synflip.uncertainty import entropy
from synflip.uncertainty.metrics import outside_auroc

SCORES = ("entropy", "mutual information", "energy")


def out_of_distribution(context: Context, data: str) -> Parts:
    """AUROC with which each score, of coins and of their baselines, detects out-of-distribution images."""
    found = {name: of_rival(context, make) for name, make in rivals(context, data).items()}
    found |= {name: of_coins(context, coins) for name, coins in networks_of_coins(context, data).items()}
    rows = [auroc_row(name, numbers) for name, numbers in found.items()]
    return [
        Table.from_records(
            "out-of-distribution",
            f"AUROC of out-of-distribution images, {context.budget.samples} samples",
            rows,
        )
    ]


def auroc_row(name: str, found: Numbers) -> dict[str, object]:
    """A row of the tables of AUROC: of what ``of_coins`` or ``of_rival`` gives."""
    return {"": name} | {
        f"{what}: {score}": aurocs[score] for what, aurocs in found.items() for score in SCORES
    }


def of_coins(context: Context, recipe: Coins) -> Numbers:
    """AUROC of a network of coins, by kind of out-of-distribution images and by score: a row of the cache."""
    samples = context.budget.samples

    def make() -> Numbers:
        return _aurocs(coin_answers(context, recipe, samples))

    return context.cache.row("out-of-distribution", answer_settings(recipe, samples), make)


def of_rival(context: Context, make: Callable[[], Answers]) -> Numbers:
    """The same AUROCs of the answers that ``make`` gives."""
    answers = make()
    return context.cache.row("out-of-distribution", answers.settings, lambda: _aurocs(answers))


def _aurocs(answers: Answers) -> Numbers:
    answer = answers.kinds[MEAN]
    own = {"entropy": entropy(answer.shares), **answers.scores[TEST]}
    found: Numbers = {}
    for name, shares in answer.outside.items():
        theirs = {"entropy": entropy(shares), **answers.scores[name]}
        found[name] = {
            score: outside_auroc(own[score], theirs[score]) if score in own else None for score in SCORES
        }
    return found
