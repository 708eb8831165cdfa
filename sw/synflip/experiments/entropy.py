"""Experiments on entropy: of right and wrong answers, and of a class with few training images."""

from synflip.experiments import datasets, plots
from synflip.experiments.accuracy import Parts, main_coins
from synflip.experiments.blocks import Picture
from synflip.experiments.findings import Numbers
from synflip.experiments.networks import Context
from synflip.experiments.predictions import TEST, answer_settings, coin_answers
from synflip.experiments.recipes import Coins
from synflip.report.tables import Table
from synflip.uncertainty import entropy
from synflip.uncertainty.metrics import outside_auroc

KINDS = ("vote", "logit sum", "mean softmax")


def entropies(context: Context, data: str) -> Parts:
    """Mean entropy of right and wrong answers, and how often a wrong answer's second choice is right."""
    recipe = main_coins(context, data)
    samples = context.budget.samples
    found = coin_answers(context, recipe, samples)
    rows = []
    for kind in KINDS:
        numbers = context.cache.row(
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
        Table.from_records("entropies", f"Right and wrong answers, {samples} samples", rows),
        *(
            Picture(
                f"entropy-{kind.replace(' ', '-')}", f"Entropy of the {kind}",
                "Histograms of the entropy of right, wrong and out-of-distribution images.",
                plots.entropies(found.kinds[kind]),
            )
            for kind in ("vote", "mean softmax")
        ),
        Picture(
            "second", "Second choices of wrong answers", "A matrix of labels and second choices, in images.",
            plots.second_choices(found.kinds["mean softmax"], context.data(data).classes),
        ),
    ]  # fmt: skip


def removal(context: Context, data: str) -> Parts:
    """Entropy of a class, most of whose training images were removed, against that of the others."""
    budget = context.budget
    rare = datasets.rare(context.data(data))
    rows = []
    for kept in budget.kept:
        recipe = context.recipe(data, budget.hidden, budget.sweep, kept=kept)

        def make(recipe: Coins = recipe) -> Numbers:
            found = coin_answers(context, recipe, budget.samples)
            answer = found.kinds["mean softmax"]
            energies = found.scores[TEST]["energy"]
            bits, its = entropy(answer.shares), answer.labels == rare
            return {
                "accuracy of the class": float(answer.right[its].mean()),
                "accuracy of the others": float(answer.right[~its].mean()),
                "entropy of the class": float(bits[its].mean()),
                "entropy of the others": float(bits[~its].mean()),
                "entropy of the class, wrong": (
                    float(bits[its & ~answer.right].mean()) if (its & ~answer.right).any() else None
                ),
                "auroc of entropy": outside_auroc(bits[~its], bits[its]),
                "auroc of energy": outside_auroc(energies[~its], energies[its]),
            }

        found = context.cache.row("removal", answer_settings(recipe, budget.samples), make)
        rows.append(
            {
                "removed %": 1 - kept,
                "accuracy, its images %": found["accuracy of the class"],
                "others %": found["accuracy of the others"],
                "entropy, its images, bits": found["entropy of the class"],
                "its wrong ones": found["entropy of the class, wrong"],
                "others": found["entropy of the others"],
                "AUROC by entropy": found["auroc of entropy"],
                "by energy": found["auroc of energy"],
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
        Table.from_records("removal", title, rows),
        Picture(
            "removal", "Entropy against the share removed",
            "Curves of the mean entropy of the class's images and of others against the share removed.",
            plots.lines(curves, "share of the class's training images removed", "bits", percent=False),
        ),
    ]  # fmt: skip
