"""The experiment on the method's own numbers: not sampled, trained without sampling, with weights redrawn."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synflip.experiments.accuracy import Parts, main_coins
from synflip.experiments.baselines import MEAN, VOTES
from synflip.experiments.coin_variants import arranged_logits, redrawn, unsampled_logits
from synflip.experiments.networks import Context, before_flipping
from synflip.experiments.predictions import (
    KEPT,
    SEED,
    Answer,
    Answers,
    LogitsOf,
    answer_settings,
    answers_of,
    coin_answers,
    float_answers,
    measured_row,
    scale_of,
)
from synflip.experiments.recipes import Coins
from synflip.report.tables import Table
from synflip.spec.model import CompiledModel

FLIPPED_BITS = 8  # of the clipped networks' words: the method itself does not round

#: Makes what gives logits of a compiled model.
Variant = Callable[[CompiledModel], LogitsOf]


def method(context: Context, data: str) -> Parts:
    """The network of coins beside what the paper does: unsampled, flipped after an ordinary training, whose
    images are not moved, with weights redrawn each sample; and beside a converted one."""
    budget = context.budget
    coins = main_coins(context, data)
    converted = replace(coins, made="converted")
    clipped = {
        f"clipped to {interval}": replace(
            coins, made="flipped", bits=FLIPPED_BITS, signed=signed, augment=False
        )
        for interval, signed in (("[0, 1]", False), ("[-1, 1]", True))
    }
    sampled = {
        "coins": coin_answers(context, coins, budget.samples),
        **{
            f"coins, precision {precision:g}": _redrawn(context, coins, precision)
            for precision in budget.precisions
        },
        **{
            f"{name}, flipped": coin_answers(context, recipe, budget.samples)
            for name, recipe in clipped.items()
        },
        "converted, fine-tuned": coin_answers(context, converted, budget.samples),
    }
    unsampled = {
        "coins": _unsampled(context, coins),
        **{name: float_answers(context, [before_flipping(recipe)]) for name, recipe in clipped.items()},
        "converted": _unsampled(context, converted),
    }
    answers = {f"{name}, unsampled": found.kinds[MEAN] for name, found in unsampled.items()}
    for name, found in sampled.items():
        answers |= {f"{name}, {VOTES}": found.kinds["vote"], f"{name}, {MEAN}": found.kinds[MEAN]}
    rows = [_row(context, coins, name, answer) for name, answer in answers.items()]
    title = f"The method's own numbers, {budget.samples} samples, {budget.epochs} epochs each"
    return [Table.from_records("method", title, rows)]


def _row(context: Context, coins: Coins, name: str, answer: Answer) -> dict[str, object]:
    settings = {**answer_settings(coins, context.budget.samples), "row": name}
    return measured_row(name, context.cache.row("method", settings, answer.numbers))


def _unsampled(context: Context, recipe: Coins) -> Answers:
    """The answers of a network with each coin's mean in place of the coin."""
    return _varied(
        context, recipe, {"unsampled": True}, (MEAN,), lambda model: partial(unsampled_logits, model)
    )


def _redrawn(context: Context, recipe: Coins, precision: float) -> Answers:
    """The answers of a network whose weights are redrawn each sample, see ``coin_variants.redrawn``."""
    samples = context.budget.samples

    def variant(model: CompiledModel) -> LogitsOf:
        def logits_of(images: NDArray[np.uint8]) -> NDArray[np.int32]:
            return arranged_logits(
                model, images, partial(redrawn, precision=precision), samples, SEED,
                lambda done, total: context.say("flipping coins", done, total),
            )  # fmt: skip

        return logits_of

    return _varied(context, recipe, {"precision": precision, "samples": samples}, KEPT, variant)


def _varied(
    context: Context, recipe: Coins, change: dict[str, Any], kinds: tuple[str, ...], variant: Variant
) -> Answers:
    """The answers of a variant of a network. change: what it is, part of the settings."""

    def prepare() -> tuple[LogitsOf, float]:
        model = context.coins(recipe)
        return variant(model), scale_of(model)

    return answers_of(context, {**answer_settings(recipe, 1), **change}, recipe, kinds, prepare)
