"""The experiment on soft votes: integers that an accelerator could add up in place of votes."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from synflip.experiments.accuracy import Parts, main_coins
from synflip.experiments.findings import Numbers
from synflip.experiments.networks import Context
from synflip.experiments.predictions import Answer, aggregate, answer_settings, logits, scale_of
from synflip.report.tables import Table
from synflip.uncertainty.soft_votes import SoftTable, memory, posterior

#: F, the bits of a soft vote; entries of the first table; P, the bits that index the second one.
TABLES = ((4, 16, 2), (6, 32, 2), (8, 64, 2), (8, 64, 4), (8, 256, 4))


def soft_votes(context: Context, data: str) -> Parts:
    """Soft votes, plain votes and logit sums against the mean softmax of a host."""
    recipe = main_coins(context, data)
    budget = context.budget

    def make() -> Numbers:
        dataset = context.data(data)
        model = context.coins(recipe)
        scale, classes = scale_of(model), len(dataset.classes)
        z = logits(context, model, dataset.test_images, budget.samples)
        wanted = aggregate("mean softmax", z, scale)
        answers = {
            "votes": (0, aggregate("vote", z, scale)),
            "logit sums": (0, aggregate("logit sum", z, scale)),
        }
        for fraction, entries, precision in TABLES:
            table = SoftTable.of(scale, classes, fraction, entries, precision)
            answers[f"soft votes, F = {fraction}, {entries} entries, P = {precision}"] = (
                table.bits,
                posterior(_added(table.votes, z)),
            )
            answers[f"the first table only, F = {fraction}, {entries} entries"] = (
                memory(table.exponential),
                posterior(_added(table.plain, z)),
            )
        answers["mean softmax"] = (0, wanted)
        return {
            name: {
                "bits": bits,
                "distance": float(np.abs(shares - wanted).sum(1).mean() / 2),
                **Answer(shares, dataset.test_labels, {}).numbers(),
            }
            for name, (bits, shares) in answers.items()
        }

    settings = {**answer_settings(recipe, budget.samples), "tables": TABLES}
    found = context.cache.row("soft-votes", settings, make)
    rows = [
        {
            "added up": name,
            "bits of tables": numbers["bits"] or None,
            "distance from mean softmax": numbers["distance"],
            "accuracy %": numbers["accuracy"],
            "NLL": numbers["nll"],
            "ECE": numbers["ece"],
            "AUROC wrong": numbers["auroc"],
        }
        for name, numbers in found.items()
    ]
    return [Table.from_records("soft-votes", f"Soft votes, {budget.samples} samples", rows)]


def _added(
    soft_votes: Callable[[NDArray[np.int32]], NDArray[np.int64]], z: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Soft votes summed over samples, [N, C], of logits [S, N, C]."""
    total = np.zeros(z.shape[1:], dtype=np.int64)
    for sample in z:
        total += soft_votes(sample)
    return total
