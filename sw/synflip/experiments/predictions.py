"""Predicted shares of test images, held-out images and out-of-distribution images, by coins and by rivals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from synflip.evaluation.margins import count
from synflip.experiments import datasets
from synflip.experiments.findings import Numbers
from synflip.experiments.networks import Context
from synflip.experiments.recipes import Coins, Float
from synflip.golden.cpu import Golden
from synflip.spec.model import CompiledModel
from synflip.training.loop import TEST_BATCH
from synflip.uncertainty import energy, entropy, mutual_information, second_choice, softmax_moments
from synflip.uncertainty.aggregate import AGGREGATES
from synflip.uncertainty.metrics import metrics, outside_auroc
from synflip.uncertainty.temperature import at_temperature, fit_temperature
from synflip.util.threads import one_thread

SEED = 1  # of coins and of dropout in all answers
AT_ONCE = 1000  # images whose softmaxes are in memory
KEPT = ("vote", "logit sum", "mean softmax")
TEST, HELD_OUT = "test", "held-out"
FORMAT = 2  # rises when the same settings keep other arrays
#: Gives logits [S, N, C] of images [N, I].
LogitsOf = Callable[[NDArray[np.uint8]], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Answer:
    """Predicted shares of classes.

    shares: float64 [N, C] of the test images. labels: int64 [N]. outside: by name, float64 [M, C] of each set
    of out-of-distribution images. logit_sums: int64 [N, C] of the test images, which tell equal shares apart;
    None of ordinary networks, whose shares are not equal. held_out: shares [M, C] and labels [M] of training
    images that the network was not trained on; None if there are none.
    """

    shares: NDArray[np.float64]
    labels: NDArray[np.int64]
    outside: dict[str, NDArray[np.float64]]
    logit_sums: NDArray[np.int64] | None = None
    held_out: tuple[NDArray[np.float64], NDArray[np.int64]] | None = None

    @property
    def second(self) -> NDArray[np.int64]:
        """The second choices [N], see ``synflip.uncertainty.second_choice``."""
        return second_choice(self.shares, self.logit_sums)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which images [N] are answered right."""
        return self.shares.argmax(1) == self.labels

    def numbers(self) -> Numbers:
        """All metrics, the share of wrong answers whose second choice is right, mean entropies in bits, and
        the AUROC of detecting each set of out-of-distribution images by entropy. With held-out images, the
        temperature that is fitted to them, and likelihood and calibration error at it. NaN, which JSON lacks,
        is None.
        """
        bits = entropy(self.shares)
        wrong = ~self.right
        found: Numbers = dict(metrics(self.shares, self.labels).as_dict())
        second = self.second[wrong] == self.labels[wrong]
        found["second right"] = float(second.mean()) if wrong.any() else None
        for name, chosen in (("right", self.right), ("wrong", wrong)):
            found[f"entropy {name}"] = float(bits[chosen].mean()) if chosen.any() else None
        for name, shares in self.outside.items():
            found[f"auroc {name}"] = outside_auroc(bits, entropy(shares))
        if self.held_out is not None:
            temperature = fit_temperature(*self.held_out)
            scaled = metrics(at_temperature(self.shares, temperature), self.labels)
            found |= {"temperature": temperature, "scaled nll": scaled.nll, "scaled ece": scaled.ece}
        return {key: None if value != value else value for key, value in found.items()}  # no NaN in JSON


def measured_row(name: str, found: Numbers) -> dict[str, object]:
    """A row of a table of metrics, from ``Answer.numbers`` of an answer with held-out images."""
    return {
        "": name,
        "accuracy %": found["accuracy"],
        "NLL": found["nll"],
        "NLL, scaled": found["scaled nll"],
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


def mean_answer(answers: list[Answer]) -> Answer:
    """The ensemble of several networks with the same held-out images: the mean of their shares."""
    held_out = [answer.held_out for answer in answers if answer.held_out is not None]
    return Answer(
        np.mean([answer.shares for answer in answers], axis=0),
        answers[0].labels,
        {name: np.mean([each.outside[name] for each in answers], axis=0) for name in answers[0].outside},
        held_out=(np.mean([shares for shares, _ in held_out], axis=0), held_out[0][1]) if held_out else None,
    )


def logits(
    context: Context, model: CompiledModel, images: NDArray[np.uint8], samples: int, seed: int = SEED
) -> NDArray[np.int32]:
    """Logits int32 [S, N, C] of the golden model, which every device gives too."""
    with Golden(predict=False) as golden:
        golden.load(model)
        result = golden.infer(
            images,
            samples,
            seed,
            logits=True,
            progress=lambda done, total: context.say("flipping coins", done, total),
        )
    assert result.logits is not None
    return result.logits


def aggregate(name: str, z: NDArray[Any], scale: float) -> NDArray[np.float64]:
    """Shares [N, C] by the aggregate called ``name``, of logits [S, N, C]."""
    parts = [AGGREGATES[name](z[:, at : at + AT_ONCE], scale) for at in range(0, z.shape[1], AT_ONCE)]
    return np.concatenate(parts)


def scale_of(model: CompiledModel) -> float:
    """The scale of the logits in the softmax; every network of a report has one."""
    assert model.logit_scale is not None
    return model.logit_scale


@dataclass(frozen=True, eq=False)
class Answers:
    """What is made of one network's logits.

    settings: what they depend on. kinds: an answer for each aggregate. winners: int64 [S, N], the class of
    each sample. labels: [N]. scores: of each set of images, TEST among them, mutual information in bits, if
    there are samples, and energy in nats: [N].
    """

    settings: dict[str, Any]
    kinds: dict[str, Answer]
    winners: NDArray[np.int64]
    labels: NDArray[np.int64]
    classes: int
    scores: dict[str, dict[str, NDArray[np.float64]]]

    @property
    def one(self) -> float:
        """Accuracy of one sample, 0..1: the mean over all samples."""
        return float((self.winners == self.labels).mean())

    def votes(self, samples: int) -> float:
        """Accuracy, 0..1, of the vote of the first ``samples`` samples."""
        return float((count(self.winners[:samples], self.classes).argmax(1) == self.labels).mean())


def coin_answers(context: Context, recipe: Coins, samples: int) -> Answers:
    """Answers of the network of a recipe to test images, held-out and out-of-distribution images."""

    def prepare() -> tuple[LogitsOf, float]:
        model = context.coins(recipe)
        return lambda images: logits(context, model, images, samples), scale_of(model)

    return answers_of(context, answer_settings(recipe, samples), recipe, KEPT, prepare)


def answer_settings(recipe: Coins, samples: int) -> dict[str, Any]:
    """The settings that an answer of coins depends on."""
    return {**recipe.settings, "samples": samples, "seed of coins": SEED, "format": FORMAT}


def float_answers(context: Context, recipes: list[Float], passes: int = 1) -> Answers:
    """The answers of ordinary networks: the mean softmax over the networks and their passes with dropout."""

    def prepare() -> tuple[LogitsOf, float]:
        networks = [context.ordinary(recipe) for recipe in recipes]
        return lambda images: float_logits(context, networks, images, recipes[0].data, passes), 1.0

    settings = {
        "recipes": [recipe.settings for recipe in recipes], "passes": passes, "seed": SEED, "format": FORMAT,
    }  # fmt: skip
    return answers_of(context, settings, recipes[0], ("mean softmax",), prepare)


def float_answer(context: Context, recipes: list[Float], passes: int = 1) -> Answer:
    """The mean softmax of ``float_answers``."""
    return float_answers(context, recipes, passes).kinds["mean softmax"]


def answers_of(
    context: Context,
    settings: dict[str, Any],
    recipe: Coins | Float,
    kinds: Sequence[str],
    prepare: Callable[[], tuple[LogitsOf, float]],
) -> Answers:
    """Answers to all sets of images, from the cache or made now.

    settings: what they depend on. recipe: says the data, and what was held out. kinds: the aggregates.
    prepare: gives what gives logits, and their scale.
    """
    held_out = datasets.held_out(context.data(recipe.data), recipe.held_out) if recipe.held_out else None

    def make() -> dict[str, NDArray[Any]]:
        logits_of, scale = prepare()
        sets = image_sets(context, recipe.data) | ({HELD_OUT: held_out[1]} if held_out else {})
        found: dict[str, NDArray[Any]] = {}
        for name, images in sets.items():
            z = logits_of(images)
            found |= {f"{kind}/{name}": aggregate(kind, z, scale) for kind in kinds}
            used = np.full(z.shape[1], len(z))
            found[f"energy/{name}"] = energy(z, used, scale)
            if len(z) > 1:
                found[f"mutual information/{name}"] = mutual_information(*softmax_moments(z, used, scale))
            if name == TEST:
                found["winners"] = z.argmax(-1).astype(np.uint16)
                if z.dtype.kind == "i":
                    found["sums"] = z.sum(0, dtype=np.int64)
        return found

    kept = context.cache.tensors("answers", settings, make)
    data = context.data(recipe.data)
    winners, sums = kept.pop("winners").astype(np.int64), kept.pop("sums", None)
    by_kind: dict[str, dict[str, NDArray[Any]]] = {}
    for key, values in kept.items():
        kind, name = key.split("/", 1)
        by_kind.setdefault(kind, {})[name] = values
    scores: dict[str, dict[str, NDArray[np.float64]]] = {}
    for kind in set(by_kind) - set(kinds):
        for name, values in by_kind[kind].items():
            scores.setdefault(name, {})[kind] = values
    answers = {}
    for kind in kinds:
        shares = by_kind[kind]
        apart = (shares.pop(HELD_OUT), held_out[2]) if held_out else None
        answers[kind] = Answer(shares.pop(TEST), data.test_labels, shares, sums, apart)
    return Answers(settings, answers, winners, data.test_labels, len(data.classes), scores)


def float_logits(
    context: Context, networks: list[nn.Sequential], images: NDArray[np.uint8], data: str, passes: int = 1
) -> NDArray[np.float64]:
    """Logits float64 [S, N, C], S the networks times their passes times what a ``Rival`` gives at once.
    Dropout is on if there is more than one pass."""
    largest, classes = context.data(data).input_max, len(context.data(data).classes)
    found = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(SEED)
        for network in networks:
            network.train(passes > 1)
            for number in range(passes):
                context.say("passes of an ordinary network", number, passes)
                parts = [
                    network(part.float() / largest).view(-1, len(part), classes)
                    for part in torch.from_numpy(images).split(TEST_BATCH)
                ]
                found.append(torch.cat(parts, 1).double().numpy())
            network.eval()
    return np.concatenate(found)


def image_sets(context: Context, data: str) -> dict[str, NDArray[np.uint8]]:
    """Images by name: TEST, and the sets of out-of-distribution images."""
    return {TEST: context.data(data).test_images, **context.out_of_distribution(data)}
