"""The experiments on soft votes: integers that an accelerator adds up beside votes, and may stop by."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from synflip.evaluation.margins import fit_shape, margins
from synflip.experiments.accuracy import ERRORS, Parts, main_coins
from synflip.experiments.findings import Numbers
from synflip.experiments.networks import Context
from synflip.experiments.predictions import Answer, aggregate, answer_settings, logits, scale_of
from synflip.report.tables import Table
from synflip.uncertainty.scores import lead
from synflip.uncertainty.soft_votes import SoftTable, memory, posterior

#: F, the bits of a soft vote; entries of the first table; P, the bits that index the second one.
TABLES = ((4, 16, 2), (6, 32, 2), (8, 64, 2), (8, 64, 4), (8, 256, 4))
#: Of early stopping: tables among those above, errors, and factors of a root that are tried.
STOPPED_BY = (8, 64, 2)
STOPPED_ERRORS = (*ERRORS, 0.0003)
FACTORS = np.arange(1, 401) / 100


def soft_votes(context: Context, data: str) -> Parts:
    """Soft votes, plain votes and logit sums against the mean softmax of a host; early stopping by them."""
    recipe = main_coins(context, data)
    budget = context.budget

    @cache
    def of_tests() -> NDArray[np.int32]:
        """The logits of both tables, made if one of the two is not known yet."""
        return logits(context, context.coins(recipe), context.data(data).test_images, budget.samples)

    def make() -> Numbers:
        dataset = context.data(data)
        scale, classes = scale_of(context.coins(recipe)), len(dataset.classes)
        z = of_tests()
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
    return [
        Table.from_records("soft-votes", f"Soft votes, {budget.samples} samples", rows),
        _early(context, data, of_tests),
    ]


def _early(context: Context, data: str, of_tests: Callable[[], NDArray[np.int32]]) -> Table:
    """Samples an image if it leaves by the lead in votes, and by the lead in soft votes. of_tests: gives the
    test images' logits [S, N, C]."""
    recipe = main_coins(context, data)
    samples = context.budget.samples

    def make() -> Numbers:
        dataset = context.data(data)
        z = of_tests()
        table = SoftTable.of(scale_of(context.coins(recipe)), len(dataset.classes), *STOPPED_BY)
        votes = (z.argmax(2)[..., None] == np.arange(z.shape[2])).astype(np.int64)
        soft = np.stack([table.votes(sample) for sample in z])
        shape = fit_shape(votes[:, ::2].sum(0))
        found = {}
        for error in STOPPED_ERRORS:
            for name, added, bounds in (
                ("votes, their margins", votes, margins(shape, samples, error)),
                ("votes, a root", votes, fit_root(Race.of(votes[:, ::2]), error)),
                ("soft votes, a root", soft, fit_root(Race.of(soft[:, ::2]), error)),
            ):
                race, labels = Race.of(added[:, 1::2]), dataset.test_labels[1::2]
                used, decided = race.stopped(bounds)
                found[f"{name}, --error {error}"] = {
                    "samples": float(used.mean()),
                    "agrees": float((decided == race.leaders[-1]).mean()),
                    "accuracy": float((decided == labels).mean()),
                    "full": float((race.leaders[-1] == labels).mean()),
                }
        return found

    settings = {**answer_settings(recipe, samples), "tables": STOPPED_BY, "errors": STOPPED_ERRORS}
    found = context.cache.row("soft-early", settings, make)
    rows = [
        {
            "an image leaves by": name,
            "samples an image": numbers["samples"],
            "class of all samples %": numbers["agrees"],
            "accuracy %": numbers["accuracy"],
            "accuracy of all samples %": numbers["full"],
        }
        for name, numbers in found.items()
    ]
    return Table.from_records(
        "soft-early",
        f"Early stopping by soft votes, at most {samples} samples; half of the test images",
        rows,
    )


@dataclass(frozen=True, eq=False)
class Race:
    """Sums that grow sample by sample. leads: of the leading class, [S, N]. leaders: the class, [S, N].
    most: that one sample adds."""

    leads: NDArray[np.int64]
    leaders: NDArray[np.int64]
    most: int

    @classmethod
    def of(cls, added: NDArray[np.int64]) -> "Race":
        """Of what each sample adds, [S, N, C]."""
        sums = added.cumsum(0)
        return cls(np.stack([lead(sum_) for sum_ in sums]), sums.argmax(2), int(added.max()))

    def stopped(self, bounds: NDArray[np.number]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """[N] samples used, and [N] the leader then, if an image leaves after the first sample whose lead is
        at least its bound, one of [S], or after the last."""
        leaves = self.leads >= bounds[:, None]
        leaves[-1] = True
        last = leaves.argmax(0)
        return last + 1, self.leaders[last, np.arange(len(last))]


def fit_root(race: Race, error: float) -> NDArray[np.float64]:
    """Leads [S] at which an image leaves: after s samples f x sqrt(s) x the most that one sample adds.

    f is the least of FACTORS, or the largest of them, with which a share ``error`` of the images at most
    leaves with another class than that of all samples. The lead of two equal classes is a walk, which
    grows as the root of its steps.
    """
    roots = np.sqrt(np.arange(1, len(race.leads) + 1)) * race.most
    for factor in FACTORS:
        if (race.stopped(factor * roots)[1] != race.leaders[-1]).mean() <= error:
            break
    return np.asarray(factor * roots)


def _added(
    soft_votes: Callable[[NDArray[np.int32]], NDArray[np.int64]], z: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Soft votes summed over samples, [N, C], of logits [S, N, C]."""
    total = np.zeros(z.shape[1:], dtype=np.int64)
    for sample in z:
        total += soft_votes(sample)
    return total
