"""Predicted shares of test images and of out-of-distribution images, by coins and by their baselines."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from synflip.evaluation.margins import count
from synflip.experiments.findings import Numbers
from synflip.experiments.networks import Context
from synflip.experiments.recipes import Coins, Float
from synflip.golden.cpu import Golden
from synflip.spec.model import CompiledModel
from synflip.training.loop import TEST_BATCH
from synflip.uncertainty import entropy, second_choice, softmax
from synflip.uncertainty.aggregate import AGGREGATES
from synflip.uncertainty.metrics import metrics, outside_auroc
from synflip.util.threads import one_thread

SEED = 1  # of coins and of dropout in all answers
AT_ONCE = 1000  # images whose softmaxes are in memory
KEPT = ("vote", "logit sum", "mean softmax")


@dataclass(frozen=True, eq=False)
class Answer:
    """Predicted shares of classes.

    shares: float64 [N, C] of the test images. labels: int64 [N]. outside: by name, float64 [M, C] of each set
    of out-of-distribution images. logit_sums: int64 [N, C] of the test images, which tell equal shares apart;
    None of ordinary networks, whose shares are not equal.
    """

    shares: NDArray[np.float64]
    labels: NDArray[np.int64]
    outside: dict[str, NDArray[np.float64]]
    logit_sums: NDArray[np.int64] | None = None

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
        the AUROC of detecting each set of out-of-distribution images by entropy. NaN, which JSON lacks, is
        None.
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
        return {key: None if value != value else value for key, value in found.items()}  # no NaN in JSON


def measured_row(name: str, found: Numbers) -> dict[str, object]:
    """A row of a table of metrics, from ``Answer.numbers``."""
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


def mean_answer(answers: list[Answer]) -> Answer:
    """The ensemble of several networks: the mean of their shares."""
    return Answer(
        np.mean([answer.shares for answer in answers], axis=0),
        answers[0].labels,
        {name: np.mean([each.outside[name] for each in answers], axis=0) for name in answers[0].outside},
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


def aggregate(name: str, z: NDArray[np.int32], scale: float) -> NDArray[np.float64]:
    """Shares [N, C] by the aggregate called ``name``, of logits [S, N, C]."""
    parts = [AGGREGATES[name](z[:, at : at + AT_ONCE], scale) for at in range(0, z.shape[1], AT_ONCE)]
    return np.concatenate(parts)


def scale_of(model: CompiledModel) -> float:
    """The scale of the logits in the softmax; every network of a report has one."""
    assert model.logit_scale is not None
    return model.logit_scale


@dataclass(frozen=True, eq=False)
class CoinAnswers:
    """Answers of a network of coins.

    kinds: an answer for each aggregate in KEPT. winners: int64 [S, N], the class of each sample. labels: [N].
    """

    kinds: dict[str, Answer]
    winners: NDArray[np.int64]
    labels: NDArray[np.int64]
    classes: int

    @property
    def one(self) -> float:
        """Accuracy of one sample, 0..1: the mean over all samples."""
        return float((self.winners == self.labels).mean())

    def votes(self, samples: int) -> float:
        """Accuracy, 0..1, of the vote of the first ``samples`` samples."""
        return float((count(self.winners[:samples], self.classes).argmax(1) == self.labels).mean())


def coin_answers(context: Context, recipe: Coins, samples: int) -> CoinAnswers:
    """Answers of the network of a recipe to test images and out-of-distribution images."""

    def make() -> dict[str, NDArray[Any]]:
        model = context.coins(recipe)
        found: dict[str, NDArray[Any]] = {}
        for name, images in image_sets(context, recipe.data).items():
            z = logits(context, model, images, samples)
            found |= {f"{kind}/{name}": aggregate(kind, z, scale_of(model)) for kind in KEPT}
            if name == "test":
                found["winners"] = z.argmax(-1).astype(np.uint16)
                found["sums"] = z.sum(0, dtype=np.int64)
        return found

    kept = context.cache.tensors("answers", answer_settings(recipe, samples), make)
    data = context.data(recipe.data)
    winners, sums = kept.pop("winners").astype(np.int64), kept.pop("sums")
    kinds = {
        kind: _answer(
            {key: value for key, value in kept.items() if key.startswith(f"{kind}/")}, data.test_labels, sums
        )
        for kind in KEPT
    }
    return CoinAnswers(kinds, winners, data.test_labels, len(data.classes))


def answer_settings(recipe: Coins, samples: int) -> dict[str, Any]:
    """The settings that an answer of coins depends on."""
    return {**recipe.settings, "samples": samples, "seed of coins": SEED, "ties": "logit sums"}


def float_answer(context: Context, recipes: list[Float], passes: int = 1) -> Answer:
    """The answer of ordinary networks: the mean softmax over the networks and their passes with dropout."""

    def make() -> dict[str, NDArray[Any]]:
        networks = [context.ordinary(recipe) for recipe in recipes]
        found = {}
        for name, images in image_sets(context, recipes[0].data).items():
            z = float_logits(context, networks, images, recipes[0].data, passes)
            found[f"mean softmax/{name}"] = np.mean([softmax(one, 1.0) for one in z], axis=0)
        return found

    settings = {"recipes": [recipe.settings for recipe in recipes], "passes": passes, "seed": SEED}
    kept = context.cache.tensors("answers", settings, make)
    return _answer(kept, context.data(recipes[0].data).test_labels)


def float_logits(
    context: Context, networks: list[nn.Module], images: NDArray[np.uint8], data: str, passes: int = 1
) -> NDArray[np.float32]:
    """Logits float32 [networks * passes, N, C]. Dropout is on if there is more than one pass."""
    largest = context.data(data).input_max
    found = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(SEED)
        for network in networks:
            network.train(passes > 1)
            for number in range(passes):
                context.say("passes of an ordinary network", number, passes)
                parts = [
                    network(torch.from_numpy(images[at : at + TEST_BATCH]).float() / largest)
                    for at in range(0, len(images), TEST_BATCH)
                ]
                found.append(torch.cat(parts).numpy())
            network.eval()
    return np.stack(found)


def image_sets(context: Context, data: str) -> dict[str, NDArray[np.uint8]]:
    """Images by name: ``test``, and the sets of out-of-distribution images."""
    return {"test": context.data(data).test_images, **context.out_of_distribution(data)}


def _answer(
    kept: dict[str, NDArray[Any]], labels: NDArray[np.int64], sums: NDArray[np.int64] | None = None
) -> Answer:
    by_name = {key.split("/", 1)[1]: shares for key, shares in kept.items()}
    return Answer(by_name.pop("test"), labels, by_name, sums)
