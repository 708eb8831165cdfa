"""Experiments on training for uncertainty: likelihood of the mean of samples, less noise, a fitted scale."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from synflip.experiments import datasets, plots
from synflip.experiments.accuracy import Parts, accuracies, is_colour, sampled_coins
from synflip.experiments.blocks import Picture
from synflip.experiments.findings import Numbers
from synflip.experiments.networks import Context
from synflip.experiments.predictions import (
    aggregate,
    answer_settings,
    coin_answers,
    float_logits,
    logits,
    scale_of,
)
from synflip.experiments.recipes import Coins
from synflip.report.tables import Table
from synflip.training.layers import KERNEL_NOISE, NOISE
from synflip.uncertainty import softmax
from synflip.uncertainty.metrics import metrics
from synflip.uncertainty.temperature import fit_scale


def front(context: Context, data: str) -> Parts:
    """Accuracy against calibration of networks trained on the likelihood of the mean of M samples."""
    budget = context.budget
    rows = []
    for mean_of in budget.front:
        recipe = context.recipe(data, budget.hidden, budget.sweep, mean_of=mean_of)

        def make(recipe: Coins = recipe) -> Numbers:
            found = coin_answers(context, recipe, budget.samples)
            return {"one sample": found.one} | {
                kind: found.kinds[kind].numbers() for kind in ("vote", "mean softmax")
            }

        found = context.cache.row("front", answer_settings(recipe, budget.samples), make)
        rows.append(
            {
                "--mean-of": mean_of,
                "one sample %": found["one sample"],
                "vote %": found["vote"]["accuracy"],
                "mean softmax %": found["mean softmax"]["accuracy"],
                **{
                    f"{label} of {kind}": found[kind][key]
                    for kind in ("vote", "mean softmax")
                    for label, key in (("NLL", "nll"), ("ECE", "ece"))
                },
            }
        )
    curves = [
        (name, [row[f"NLL of {kind}"] for row in rows], [row[f"{kind} %"] for row in rows])
        for name, kind in (("vote", "vote"), ("mean softmax", "mean softmax"))
    ]
    title = f"Training on the likelihood of the mean of M; {budget.sweep} epochs, {budget.samples} samples"
    return [
        Table.from_records("front", title, rows),
        Picture(
            "front", "Accuracy against likelihood",
            f"Points of accuracy against NLL for --mean-of {', '.join(map(str, budget.front))}, joined.",
            plots.lines(curves, "NLL, nats", "% right"),
        ),
    ]  # fmt: skip


def training_noise(context: Context, data: str) -> Parts:
    """Networks trained with shares of the coins' noise: without convolutions with each share of the budget,
    and with convolutions of coins with all of it and with the default. The default was chosen on training
    images that were held out, so their answers are measured too."""
    budget = context.budget
    held_out = context.held_out(data)
    networks: list[tuple[Coins, float | None, float]] = []
    if not is_colour(context, data):
        plain = context.recipe(data, budget.hidden, budget.sweep, held_out=held_out)
        networks += [(replace(plain, noise=None if share == NOISE else share), None, share)
                     for share in budget.shares]  # fmt: skip
    if not datasets.is_table(context.data(data)):
        sampled = replace(sampled_coins(context, data), epochs=budget.sweep)
        networks += [(replace(sampled, noise=1.0), 1.0, 1.0), (sampled, KERNEL_NOISE, NOISE)]
    rows = []
    for recipe, of_kernels, of_dense in networks:

        def make(recipe: Coins = recipe) -> Numbers:
            kept = coin_answers(context, recipe, budget.samples).kinds["mean softmax"].held_out
            assert kept is not None
            return metrics(*kept).as_dict()

        chosen = context.cache.row("held-out", answer_settings(recipe, budget.samples), make)
        found = accuracies(context, recipe)
        rows.append(
            {
                "coins": found["network"],
                "noise in convolutions": of_kernels,
                "noise in dense layers": of_dense,
                "held out, mean softmax %": chosen["accuracy"],
                "held out, NLL": chosen["nll"],
                "one sample %": found["one sample"],
                f"vote of {budget.samples} %": found[f"vote of {budget.samples}"],
                "mean softmax %": found["mean softmax accuracy"],
                "NLL": found["mean softmax nll"],
                "NLL, scaled": found["mean softmax scaled nll"],
                "ECE": found["mean softmax ece"],
            }
        )
    title = f"Share of the noise in training; {budget.sweep} epochs, {budget.samples} samples"
    return [Table.from_records("training-noise", title, rows)]


def temperature(context: Context, data: str) -> Parts:
    """The trained scale of the logits against one fitted to held-out training images."""
    budget = context.budget
    held_out = context.held_out(data)
    recipe = context.recipe(data, budget.hidden, budget.sweep, held_out=held_out)
    ordinary = context.float_recipe(data, budget.hidden, budget.sweep, held_out=held_out)

    def make_coins() -> Numbers:
        dataset = context.data(data)
        _, images, labels = datasets.held_out(dataset, held_out)
        model = context.coins(recipe)
        z = logits(context, model, images, budget.samples)
        scale = scale_of(model)
        fitted = fit_scale(z, labels, scale)
        z = logits(context, model, dataset.test_images, budget.samples)
        return _two_scales(
            fitted / scale,
            [aggregate("mean softmax", z, each) for each in (scale, fitted)],
            dataset.test_labels,
        )

    def make_float() -> Numbers:
        dataset = context.data(data)
        _, images, labels = datasets.held_out(dataset, held_out)
        network = context.ordinary(ordinary)
        fitted = fit_scale(float_logits(context, [network], images, data), labels, 1.0)
        z = float_logits(context, [network], dataset.test_images, data)[0]
        return _two_scales(fitted, [softmax(z, each) for each in (1.0, fitted)], dataset.test_labels)

    found = {
        "coins, mean softmax": context.cache.row(
            "temperature", answer_settings(recipe, budget.samples), make_coins
        ),
        "softmax": context.cache.row("temperature", ordinary.settings, make_float),
    }
    rows = [
        {
            "": name,
            "scale": "trained" if which == "before" else "fitted",
            "times the trained one": 1.0 if which == "before" else numbers["ratio"],
            **{
                column: numbers[which][key]
                for column, key in (
                    ("accuracy %", "accuracy"),
                    ("NLL", "nll"),
                    ("ECE", "ece"),
                    ("Brier", "brier"),
                )
            },
        }
        for name, numbers in found.items()
        for which in ("before", "after")
    ]
    title = f"Scale of the logits, fitted to {held_out} training images held out; {budget.sweep} epochs"
    return [Table.from_records("temperature", title, rows)]


def _two_scales(ratio: float, shares: list[NDArray[np.float64]], labels: NDArray[np.int64]) -> Numbers:
    before, after = (metrics(each, labels).as_dict() for each in shares)
    return {"ratio": ratio, "before": before, "after": after}
