"""A compiled network on a data set: accuracy by samples, and what its uncertainty is worth.

Uncertainty is compared between images answered right, images answered wrong, and images of another data set.
"""

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synflip.data.dataset import Dataset, require_dataset
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.inference.device import Device, model_of
from synflip.inference.request import Progress, check_logits, whole_samples, whole_seed
from synflip.report.tables import markdown_table
from synflip.spec.model import CompiledModel
from synflip.uncertainty import entropy
from synflip.uncertainty.aggregate import AGGREGATES, powers, second_choice
from synflip.uncertainty.metrics import metrics, outside_auroc
from synflip.util.progress import check_progress, shown

IMAGES_AT_ONCE = 1000  # bounds the memory that softmaxes take


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The result of an evaluation: its numbers, and the arrays that its pictures are drawn from.

    numbers: values that JSON holds. shares: by aggregate, float64 [N, C] of all samples. outside: by
    aggregate, float64 [M, C] of the out-of-distribution images; empty without them. labels: int64 [N].
    second: by aggregate, int64 [N], second choices; equal shares are told apart by the sums of the logits.
    """

    numbers: dict[str, Any]
    shares: dict[str, NDArray[np.float64]]
    outside: dict[str, NDArray[np.float64]]
    labels: NDArray[np.int64]
    second: dict[str, NDArray[np.int64]]


def evaluate(
    model: CompiledModel | str | os.PathLike[str],
    dataset: Dataset,
    samples: int,
    seed: int = 0,
    outside: Dataset | None = None,
    progress: Progress | bool | None = None,
    device: Device | None = None,
) -> Evaluation:
    """Evaluate a model on all test images of a data set, on the golden model, as every device would answer.

    model: compiled, with the scale of its logits, or the path of its file. dataset: N test images and labels
    of its C classes. samples: S, network samples of each image. seed: of the coins, 0..2**64-1. Both are
    integers, also numpy's. outside: another data set with images of the same size, whose test images are to
    be detected. progress: True shows a bar; or a function that is called with (done, total), in network
    samples times images of both data sets. device: what runs the model, such as a cluster, and stays open;
    None: a golden model of its own. Raises SynflipError, among others for a model whose file lacks the scale
    of its logits.
    """
    datasets = [dataset] if outside is None else [dataset, outside]
    for item in datasets:
        require_dataset(item)
    model = model_of(model)
    samples, seed = whole_samples(samples), whole_seed(seed)
    check_progress(progress, "(done, total)")
    if device is not None and not isinstance(device, Device):
        raise SynflipError(f"device must be an open device, of synflip.open_device, not {device!r:.40}")
    scale = _checked_scale(model, dataset, outside)
    with (
        shown(progress, "Flipping coins") as advance,
        Golden(predict=False) if device is None else nullcontext(device) as runs,
    ):
        runs.load(model)
        answers = _answers(runs, model, datasets, samples, seed, scale, advance)
    inside = answers[0].shares
    second = {name: second_choice(by_count[samples], answers[0].sums) for name, by_count in inside.items()}
    last = [{name: by_count[samples] for name, by_count in one.shares.items()} for one in answers]
    numbers = _numbers(model, datasets, samples, seed, answers, second)
    return Evaluation(numbers, last[0], last[1] if len(last) > 1 else {}, dataset.test_labels, second)


@dataclass(frozen=True)
class _Answers:
    """What the images of one data set were answered.

    shares: by aggregate and by number of samples, float64 [N, C]. sums: int64 [N, C], of the logits. scores:
    by name, [N].
    """

    shares: dict[str, dict[int, NDArray[np.float64]]]
    sums: NDArray[np.int64]
    scores: dict[str, NDArray[np.float64]]


def _checked_scale(model: CompiledModel, dataset: Dataset, outside: Dataset | None) -> float:
    """The scale of the model's logits. Raises SynflipError if it has none, and for data that do not fit."""
    dataset.check_classes(model.classes)
    if model.logit_scale is None:
        raise SynflipError("the model's file does not say the scale of its logits (source.logit_scale)")
    if outside is not None and outside.test_images.shape[1] != dataset.test_images.shape[1]:
        raise SynflipError(f"the images of {outside.name} are not of the size of {dataset.name}'s")
    return model.logit_scale


def _answers(
    runs: Device,
    model: CompiledModel,
    datasets: list[Dataset],
    samples: int,
    seed: int,
    scale: float,
    advance: Progress | None,
) -> list[_Answers]:
    """The answers to each data set's test images: to the first by 1, 2, 4, ... samples, to others by all."""
    total = sum(len(item.test_images) for item in datasets) * samples
    done = 0
    answers: list[_Answers] = []
    for item in datasets:
        check_logits(samples, len(item.test_images), len(model.classes))
        report: Progress | None = None if advance is None else _offset(advance, done, total)
        images = item.for_model(item.test_images, model)
        result = runs.infer(images, samples, seed, logits=True, progress=report)
        assert result.logits is not None
        done += len(item.test_images) * samples
        shares = _aggregate(result.logits, scale, [samples] if answers else list(powers(samples)))
        scores = {"mutual information": result.mutual_information, "energy": result.energy}
        answers.append(_Answers(shares, result.logit_sums, scores))
    return answers


def _numbers(
    model: CompiledModel,
    datasets: list[Dataset],
    samples: int,
    seed: int,
    answers: list[_Answers],
    second: dict[str, NDArray[np.int64]],
) -> dict[str, Any]:
    """``Evaluation.numbers``."""
    inside, labels = answers[0].shares, datasets[0].test_labels
    numbers: dict[str, Any] = {
        "network": model.shape,
        "data": datasets[0].name,
        "images": len(labels),
        "samples": samples,
        "seed": seed,
        "k": model.bits,
        "aggregates": {
            name: {str(count): metrics(shares, labels).as_dict() for count, shares in by_count.items()}
            for name, by_count in inside.items()
        },
        "second choice": {
            name: _second(by_count[samples], second[name], labels) for name, by_count in inside.items()
        },
        "entropy": {name: _entropies(by_count[samples], labels) for name, by_count in inside.items()},
    }
    if model.energy_threshold is not None:
        numbers["foreign"] = {
            item.name: float((one.scores["energy"] > model.energy_threshold).mean())
            for item, one in zip(datasets, answers, strict=True)
        }
    if len(datasets) > 1:
        numbers["outside"] = {
            "data": datasets[1].name,
            "auroc": {
                name: outside_auroc(entropy(inside[name][samples]), entropy(by_count[samples]))
                for name, by_count in answers[1].shares.items()
            },
            "auroc by": {
                name: outside_auroc(answers[0].scores[name], theirs)
                for name, theirs in answers[1].scores.items()
            },
        }
    return numbers


#: Columns of ``markdown``: head, name of the metric, format.
COLUMNS = (
    ("accuracy", "accuracy", ".2%"),
    ("NLL", "nll", ".4f"),
    ("Brier", "brier", ".4f"),
    ("ECE", "ece", ".4f"),
    ("AUROC of wrong answers", "auroc", ".4f"),
)


def markdown(numbers: dict[str, Any]) -> str:
    """A table of ``Evaluation.numbers`` after all samples, and a line that says what was evaluated."""
    most, outside = str(numbers["samples"]), numbers.get("outside")
    outside_heads = [] if outside is None else [f"AUROC of {outside['data']}"]
    heads = [f"{most} samples", *(head for head, _, _ in COLUMNS), *outside_heads]
    rows = []
    for name, by_count in numbers["aggregates"].items():
        cells = [name, *(format(by_count[most][key], form) for _, key, form in COLUMNS)]
        if outside is not None:
            cells.append(f"{outside['auroc'][name]:.4f}")
        rows.append(cells)
    first = numbers["aggregates"]["vote"]["1"]["accuracy"]
    what = f"{numbers['network']}, k = {numbers['k']}; {numbers['images']:,} test images of {numbers['data']}"
    what += f", seed {numbers['seed']}; the first sample alone: {first:.2%}"
    if outside is not None:
        scores = ", ".join(f"by {name} {auroc:.4f}" for name, auroc in outside["auroc by"].items())
        what += f"; AUROC of {outside['data']} {scores}"
    if "foreign" in numbers:
        what += f"; foreign by the model's energy threshold: {foreign_words(numbers)}"
    return f"{markdown_table(heads, rows)}\n\n*{what}.*"


def foreign_words(numbers: dict[str, Any]) -> str:
    """``1.5% of mnist, 93.0% of fashion-mnist``: false alarms, and images of another data set that are found.
    The numbers are those of a model with an energy threshold."""
    return ", ".join(f"{share:.1%} of {name}" for name, share in numbers["foreign"].items())


def _offset(progress: Progress, done: int, total: int) -> Callable[[int, int], None]:
    return lambda now, _: progress(done + now, total)


def _aggregate(
    logits: NDArray[np.int32], scale: float, counts: list[int]
) -> dict[str, dict[int, NDArray[np.float64]]]:
    """Shares [N, C] by aggregate and by number of samples; logits are [S, N, C]."""
    images = logits.shape[1]
    return {
        name: {
            count: np.concatenate(
                [
                    make(logits[:count, first : first + IMAGES_AT_ONCE], scale)
                    for first in range(0, images, IMAGES_AT_ONCE)
                ]
            )
            for count in counts
        }
        for name, make in AGGREGATES.items()
    }


def _second(shares: NDArray[np.float64], second: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """Share of wrong answers whose second choice is right; NaN if none is wrong."""
    wrong = shares.argmax(1) != labels
    return float((second[wrong] == labels[wrong]).mean()) if wrong.any() else float("nan")


def _entropies(shares: NDArray[np.float64], labels: NDArray[np.int64]) -> dict[str, float]:
    """Mean entropy, in bits, of right and of wrong answers; NaN of none."""
    bits = entropy(shares)
    right = shares.argmax(1) == labels
    return {
        name: float(bits[chosen].mean()) if chosen.any() else float("nan")
        for name, chosen in (("right", right), ("wrong", ~right))
    }
