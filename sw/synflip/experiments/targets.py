"""The experiment on targets: numbers that were aimed at, and by how much they were missed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from synflip.experiments.accuracy import (
    ERRORS,
    Parts,
    accuracies,
    conv_coins,
    conv_float,
    early_row,
    float_accuracy,
    headline,
    main_coins,
    main_float,
    sampled_coins,
)
from synflip.experiments.baselines import mean_coins, taught_coins
from synflip.experiments.blocks import NOT_RUN
from synflip.experiments.convolutions import longer_coins
from synflip.experiments.findings import Missing
from synflip.experiments.networks import Context
from synflip.experiments.out_of_distribution import of_coins
from synflip.experiments.recipes import Coins
from synflip.report.tables import Table

#: Gives a number of a data set; raises Missing where nothing was run for it.
Find = Callable[[Context, str], float]


@dataclass(frozen=True)
class Target:
    """A number that was aimed at.

    what: the number in words. wanted: the target, or the number that it is derived from. found: the number
    reached. least: whether it should be at least the target, else at most. share: whether it is a share,
    which is shown in percent.
    """

    what: str
    data: str
    wanted: float | Find
    found: Find
    least: bool = True
    share: bool = True


def _of(recipe: Callable[[Context, str], Coins], key: str) -> Find:
    return lambda context, data: float(accuracies(context, recipe(context, data))[key])


def _seeds(column: str, less: float = 0.0) -> Find:
    """The last row, the mean over the seeds, of a column of the headline's table; minus ``less``."""

    def find(context: Context, data: str) -> float:
        table = headline(context, data)[0]
        assert isinstance(table, Table)
        return float(table.column(column)[-1]) - less

    return find


def _mean(recipe: Callable[[Context, str], Coins], column: str) -> Find:
    """``column`` of the headline's table: of ``main_coins`` the mean over the seeds, of others the first."""
    keys = {"NLL": "mean softmax nll", "ECE": "mean softmax ece", "AUROC wrong": "mean softmax auroc"}
    return _seeds(column) if recipe is main_coins else _of(recipe, keys[column])


def _float(less: float) -> Find:
    """Accuracy of the ordinary network of the first seed; minus ``less``."""
    return lambda context, data: float_accuracy(context, main_float(context, data)) - less


def _by_energy(recipe: Callable[[Context, str], Coins], other: str) -> Find:
    return lambda context, data: float(of_coins(context, recipe(context, data))[other]["energy"])


def _together(row: int) -> Find:
    """NLL of a row of the headline's table of ensembles: 0 of coins, 1 of ordinary networks."""

    def find(context: Context, data: str) -> float:
        table = headline(context, data)[1]
        assert isinstance(table, Table)
        return float(table.column("NLL")[row])

    return find


def _early(field: str) -> Find:
    """A column of the table of early stopping, at --error 0.003."""
    return lambda context, data: float(early_row(context, main_coins(context, data), ERRORS[0])[field])


def _lost(context: Context, data: str) -> float:
    return _early("accuracy of the full vote %")(context, data) - _early("accuracy %")(context, data)


MNIST, FASHION, CIFAR = "mnist", "fashion-mnist", "cifar10"
_AUROC = "mean softmax auroc"
ROUNDING = 1e-9  # of a share: 99.01 % less 0.1 points is 98.91 %
TARGETS = (
    Target("one sample", MNIST, 0.985, _seeds("one sample %")),
    Target("vote of 8", MNIST, 0.990, _seeds("vote of 8 %")),
    Target("vote of 8, 0.1 points below float", MNIST, _seeds("float %", 0.001), _seeds("vote of 8 %")),
    Target("the same, trained on the mean, seed 0", MNIST, _float(0.001), _of(mean_coins, "vote of 8")),
    Target("the same, vote of 16", MNIST, _float(0.001), _of(mean_coins, "vote of 16")),
    Target("vote of 8, taught by the ensemble", MNIST, _float(0.001), _of(taught_coins, "vote of 8")),
    Target("convolutions, vote of 8", MNIST, 0.991, _of(conv_coins, "vote of 8")),
    Target("sampled convolutions, vote of 16", MNIST, 0.991, _of(sampled_coins, "vote of 16")),
    Target("vote of 16", FASHION, 0.901, _seeds("vote of 16 %")),
    Target("vote of 16, trained on the mean", FASHION, 0.901, _of(mean_coins, "vote of 16")),
    Target("vote of 16, taught by the ensemble", FASHION, 0.901, _of(taught_coins, "vote of 16")),
    Target("convolutions, vote of 8", FASHION, 0.915, _of(conv_coins, "vote of 8")),
    Target("sampled convolutions, vote of 16", FASHION, 0.91, _of(sampled_coins, "vote of 16")),
    Target("the same, trained for longer", FASHION, 0.91, _of(longer_coins, "vote of 16")),
    Target(
        "convolutions, vote of 16, 1 point below float", CIFAR,
        lambda context, data: float_accuracy(context, conv_float(context, data)) - 0.01,
        _of(conv_coins, "vote of 16"),
    ),
    Target(
        "sampled convolutions, vote of 16, 2 points below float", CIFAR,
        lambda context, data: float_accuracy(context, conv_float(context, data)) - 0.02,
        _of(sampled_coins, "vote of 16"),
    ),
    Target(
        "the same of both, trained for longer", CIFAR,
        lambda context, data: float_accuracy(context, longer_coins(context, data).teacher(0)) - 0.02,
        _of(longer_coins, "vote of 16"),
    ),
    Target("early stopping, samples an image", MNIST, 2.5, _early("samples an image"), False, False),
    Target("early stopping, accuracy lost", MNIST, 0.001, _lost, False),
    *(
        target
        for data, wrong, outside, calibration, likely, other in (
            (MNIST, 0.983, 0.92, 0.004, (0.027, 0.027, 0.0235), FASHION),
            (FASHION, 0.905, 0.88, 0.008, (0.270, 0.270, 0.258), MNIST),
        )
        for trained, recipe, likelihood in zip(
            ("", ", trained on the mean", ", taught"), (main_coins, mean_coins, taught_coins), likely,
            strict=True,
        )
        for target in (
            Target(
                f"AUROC of wrong answers{trained}", data, wrong, _mean(recipe, "AUROC wrong"), True, False
            ),
            Target(
                f"AUROC of {other}{trained}", data, outside, _of(recipe, f"{_AUROC} {other}"), True, False
            ),
            Target(f"the same by energy{trained}", data, outside, _by_energy(recipe, other), True, False),
            Target(f"ECE{trained}", data, calibration, _mean(recipe, "ECE"), False, False),
            Target(f"NLL{trained}", data, likelihood, _mean(recipe, "NLL"), False, False),
        )
    ),
    *(
        Target("NLL of all seeds together, the ordinary ones'", data, _together(1), _together(0), False,
               False)
        for data in (MNIST, FASHION)
    ),
)  # fmt: skip


def targets(context: Context, data: str) -> Parts:
    """Every target of this data set whose numbers are there; nothing is trained for them."""
    rows: list[dict[str, Any]] = []
    making, context.cache.making = context.cache.making, False
    try:
        for target in TARGETS:
            if target.data != data:
                continue
            try:
                found = target.found(context, data)
                wanted = target.wanted if isinstance(target.wanted, float) else target.wanted(context, data)
            except Missing:
                rows.append({"": target.what, "target": "", "found": NOT_RUN, "missed by": ""})
                continue
            missed = wanted - found if target.least else found - wanted
            rows.append(
                {
                    "": target.what,
                    "target": f"{'at least' if target.least else 'at most'} {_text(wanted, target.share)}",
                    "found": _text(found, target.share),
                    "missed by": _missed(missed, target.share) if missed > ROUNDING else "",
                }
            )
    finally:
        context.cache.making = making
    return [Table.from_records("targets", "Targets", rows)] if rows else []


def _text(value: float, share: bool) -> str:
    return f"{100 * value:.2f} %" if share else f"{value:.4f}"


def _missed(value: float, share: bool) -> str:
    """A miss is never 0: one that the last digit does not show is less than this digit."""
    digits, name = (2, " points") if share else (4, "")
    text = f"{100 * value if share else value:.{digits}f}"
    return f"{text}{name}" if float(text) else f"less than {10**-digits}{name}"
