"""Experiments on uncertainty: what it finds, what people would use instead, and how to train for it."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from synflip.measures import measure
from synflip.paper import figures, sets
from synflip.paper.accuracy import Parts, main_coins, main_float
from synflip.paper.answers import (
    Answer,
    aggregate,
    answer_settings,
    coin_answers,
    float_answer,
    float_logits,
    logits,
    scale_of,
)
from synflip.paper.networks import Context
from synflip.paper.parts import Picture, Table
from synflip.paper.recipes import Coins, Float
from synflip.paper.store import Numbers
from synflip.soft_votes import SoftTable, memory, posterior
from synflip.temperature import fit_scale
from synflip.uncertainty import entropy, softmax

#: Bits F of a soft vote, entries of its table, and bits P of the second one.
SOFT = ((4, 16, 2), (6, 32, 2), (8, 64, 2), (8, 64, 4), (8, 256, 4))
KINDS = ("vote", "logit sum", "mean softmax")


def mean_coins(context: Context, data: str) -> Coins:
    """The network of coins that is trained on the likelihood of the mean of some samples."""
    budget = context.budget
    return Coins(data, budget.hidden, budget.epochs, mean_of=budget.mean_of)


def rivals(context: Context, data: str) -> Parts:
    """Coins, and what people would use instead, all trained on the same data for as many epochs."""
    budget = context.budget
    members = [main_float(context, data, seed) for seed in range(budget.members)]
    coins = coin_answers(context, main_coins(context, data), budget.samples)
    mean = coin_answers(context, mean_coins(context, data), budget.samples)
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


def measured_row(name: str, found: Numbers) -> dict[str, object]:
    """A row of a table of measures."""
    return {
        "": name,
        "accuracy %": found["accuracy"],
        "NLL": found["nll"],
        "Brier": found["brier"],
        "ECE": found["ece"],
        "AUROC wrong": found["auroc"],
        "AUPR wrong": found["aupr"],
        "AURC": found["aurc"],
        **{
            f"AUROC {key.removeprefix('auroc ')}": value
            for key, value in found.items()
            if key[:6] == "auroc "
        },
    }


def entropies(context: Context, data: str) -> Parts:
    """Entropy of right and wrong answers, and whether the second choice is right if the first is wrong."""
    recipe = main_coins(context, data)
    samples = context.budget.samples
    found = coin_answers(context, recipe, samples)
    rows = []
    for kind in KINDS:
        numbers = context.store.row(
            "entropies", {**answer_settings(recipe, samples), "kind": kind}, found.kinds[kind].numbers
        )
        rows.append(
            {
                "": kind,
                "entropy if right, bits": numbers["entropy right"],
                "if wrong": numbers["entropy wrong"],
                "second right, first wrong %": numbers["second right"],
                "AUROC wrong": numbers["auroc"],
            }
        )
    return [
        Table("entropies", f"Right and wrong answers, {samples} samples", rows),
        *(
            Picture(
                f"entropy-{kind.replace(' ', '-')}", f"Entropy of the {kind}",
                "Histograms of the entropy of right, wrong and foreign images.",
                figures.entropies(found.kinds[kind]),
            )
            for kind in ("vote", "mean softmax")
        ),
        Picture(
            "second", "Second choices of wrong answers", "A matrix of labels and second choices, in images.",
            figures.second_choices(found.kinds["mean softmax"], context.data(data).classes),
        ),
    ]  # fmt: skip


def removal(context: Context, data: str) -> Parts:
    """Training without most images of one class: does entropy say so?"""
    budget = context.budget
    rare = sets.RARE
    rows = []
    for kept in budget.kept:
        recipe = Coins(data, budget.hidden, budget.sweep, kept=kept)

        def make(recipe: Coins = recipe) -> Numbers:
            answer = coin_answers(context, recipe, budget.samples).kinds["mean softmax"]
            bits, its = entropy(answer.shares), answer.labels == rare
            return {
                "accuracy of the class": float(answer.right[its].mean()),
                "accuracy of the others": float(answer.right[~its].mean()),
                "entropy of the class": float(bits[its].mean()),
                "entropy of the others": float(bits[~its].mean()),
                "entropy of the class, wrong": (
                    float(bits[its & ~answer.right].mean()) if (its & ~answer.right).any() else None
                ),
            }

        found = context.store.row("removal", answer_settings(recipe, budget.samples), make)
        rows.append(
            {
                "removed %": 1 - kept,
                "accuracy, its images %": found["accuracy of the class"],
                "others %": found["accuracy of the others"],
                "entropy, its images, bits": found["entropy of the class"],
                "its wrong ones": found["entropy of the class, wrong"],
                "others": found["entropy of the others"],
            }
        )
    name = context.data(data).classes[rare]
    removed = [row["removed %"] for row in rows]
    curves = [
        (what, removed, [row[column] for row in rows])
        for what, column in ((f"images of {name}", "entropy, its images, bits"), ("others", "others"))
    ]
    title = (
        f"Training images of class {name} removed; mean softmax of {budget.samples}, {budget.sweep} epochs"
    )
    return [
        Table("removal", title, rows),
        Picture(
            "removal", "Entropy against the share removed",
            "Curves of the mean entropy of the class's images and of others against the share removed.",
            figures.lines(curves, "share of the class's training images removed", "bits", percent=False),
        ),
    ]  # fmt: skip


def temperature(context: Context, data: str) -> Parts:
    """The scale of the logits that training found, and one fitted to training images held out."""
    budget = context.budget
    recipe = Coins(data, budget.hidden, budget.sweep, held_out=budget.held_out)
    ordinary = Float(data, budget.hidden, budget.sweep, held_out=budget.held_out)

    def make_coins() -> Numbers:
        dataset = context.data(data)
        _, images, labels = sets.held_out(dataset, budget.held_out)
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
        _, images, labels = sets.held_out(dataset, budget.held_out)
        network = context.ordinary(ordinary)
        fitted = fit_scale(float_logits(context, [network], images, data), labels, 1.0)
        z = float_logits(context, [network], dataset.test_images, data)[0]
        return _two_scales(fitted, [softmax(z, each) for each in (1.0, fitted)], dataset.test_labels)

    found = {
        "coins, mean softmax": context.store.row(
            "temperature", answer_settings(recipe, budget.samples), make_coins
        ),
        "softmax": context.store.row("temperature", ordinary.settings, make_float),
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
    title = (
        f"Scale of the logits, fitted to {budget.held_out} training images held out; {budget.sweep} epochs"
    )
    return [Table("temperature", title, rows)]


def _two_scales(ratio: float, shares: list[NDArray[np.float64]], labels: NDArray[np.int64]) -> Numbers:
    before, after = (measure(each, labels).as_dict() for each in shares)
    return {"ratio": ratio, "before": before, "after": after}


def front(context: Context, data: str) -> Parts:
    """Accuracy against calibration, by how many samples' mean is made likely."""
    budget = context.budget
    rows = []
    for mean_of in budget.front:
        recipe = Coins(data, budget.hidden, budget.sweep, mean_of=mean_of)

        def make(recipe: Coins = recipe) -> Numbers:
            found = coin_answers(context, recipe, budget.samples)
            return {"one sample": found.one} | {
                kind: found.kinds[kind].numbers() for kind in ("vote", "mean softmax")
            }

        found = context.store.row("front", answer_settings(recipe, budget.samples), make)
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
        Table("front", title, rows),
        Picture(
            "front", "Accuracy against likelihood",
            f"Points of accuracy against NLL for --mean-of {', '.join(map(str, budget.front))}, joined.",
            figures.lines(curves, "NLL, nats", "% right"),
        ),
    ]  # fmt: skip


def soft_votes(context: Context, data: str) -> Parts:
    """What a chip could add up in place of bare votes, against the host's mean softmax."""
    recipe = main_coins(context, data)
    budget = context.budget

    def make() -> Numbers:
        dataset = context.data(data)
        model = context.coins(recipe)
        scale, classes = scale_of(model), len(dataset.classes)
        z = logits(context, model, dataset.test_images, budget.samples)
        wanted = aggregate("mean softmax", z, scale)
        made = {
            "votes": (0, aggregate("vote", z, scale)),
            "logit sums": (0, aggregate("logit sum", z, scale)),
        }
        for fraction, entries, precision in SOFT:
            table = SoftTable.of(scale, classes, fraction, entries, precision)
            made[f"soft votes, F = {fraction}, {entries} entries, P = {precision}"] = (
                table.bits,
                posterior(_added(table.votes, z)),
            )
            made[f"the first table only, F = {fraction}, {entries} entries"] = (
                memory(table.exponential),
                posterior(_added(table.plain, z)),
            )
        made["mean softmax"] = (0, wanted)
        return {
            name: {
                "bits": bits,
                "distance": float(np.abs(shares - wanted).sum(1).mean() / 2),
                **Answer(shares, dataset.test_labels, {}).numbers(),
            }
            for name, (bits, shares) in made.items()
        }

    settings = {**answer_settings(recipe, budget.samples), "tables": SOFT}
    found = context.store.row("soft-votes", settings, make)
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
    return [Table("soft-votes", f"Soft votes, {budget.samples} samples", rows)]


def _added(soft: Callable[[NDArray[np.int32]], NDArray[np.int64]], z: NDArray[np.int32]) -> NDArray[np.int64]:
    """Sums [N, C] over samples of logits [S, N, C]."""
    total = np.zeros(z.shape[1:], dtype=np.int64)
    for sample in z:
        total += soft(sample)
    return total
