"""The experiment on convolutions: is it worth sampling them too?"""

from dataclasses import replace
from functools import partial

from synflip.experiments.accuracy import Parts, accuracy_row, conv_coins, conv_float, sampled_coins
from synflip.experiments.networks import Context
from synflip.experiments.out_of_distribution import auroc_row, of_coins, of_rival
from synflip.experiments.predictions import float_answers
from synflip.experiments.recipes import Coins
from synflip.report.tables import Table


def longer_coins(context: Context, data: str) -> Coins:
    """The network whose convolutions are coins, of as many epochs as networks without convolutions."""
    return replace(sampled_coins(context, data), epochs=context.budget.epochs)


def convolutions(context: Context, data: str) -> Parts:
    """Coins behind convolutions that are the same in every sample, and convolutions of coins: accuracies, and
    AUROC of out-of-distribution images by each score."""
    ordinary = conv_float(context, data)
    networks = {
        "coins behind them": conv_coins(context, data),
        "coins themselves": sampled_coins(context, data),
        "the same, longer": longer_coins(context, data),
    }
    rows, aurocs = [], []
    aurocs.append(auroc_row("softmax", of_rival(context, partial(float_answers, context, [ordinary]))))
    for name, coins in networks.items():
        rows.append(accuracy_row(context, coins, coins.teacher(0), f"{name}, {coins.epochs} epochs"))
        aurocs.append(auroc_row(name, of_coins(context, coins)))
    samples = context.budget.samples
    return [
        Table.from_records("convolutions", f"Convolutions, {samples} samples", rows),
        Table.from_records("outside", f"AUROC of out-of-distribution images, {samples} samples", aurocs),
    ]
