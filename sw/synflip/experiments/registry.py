"""All experiments, in the order in which they run: the headlines first."""

from collections.abc import Callable
from dataclasses import dataclass

from synflip.errors import SynflipError
from synflip.experiments import (
    accuracy,
    baselines,
    coin_precision,
    convolutions,
    entropy,
    method,
    out_of_distribution,
    soft_votes,
    targets,
    training,
)
from synflip.experiments.accuracy import Parts, is_colour
from synflip.experiments.blocks import Section
from synflip.experiments.datasets import is_table
from synflip.experiments.findings import Missing
from synflip.experiments.networks import Context
from synflip.report.tables import Table


@dataclass(frozen=True)
class Experiment:
    """An experiment.

    name: for --only. text: what it is about, for the page. run: gives tables and pictures of a data set.
    colour: whether it is run on data sets in colour too. tables: whether it is run on rows of features too.
    """

    name: str
    title: str
    text: str
    run: Callable[[Context, str], Parts]
    colour: bool = False
    tables: bool = True

    def section(self, context: Context, data: str) -> Section:
        """Its section of the page. Raises Missing if a result is not in the cache and must not be made."""
        context.cache.read.clear()
        parts = self.run(context, data)
        return Section(
            self.name, self.title, self.text, data, context.data(data).note,
            [part for part in parts if isinstance(part, Table)],
            [part for part in parts if not isinstance(part, Table)],
            sorted(context.cache.read),
        )  # fmt: skip


EXPERIMENTS = (
    Experiment(
        "headline", "Accuracy",
        "A network of coins, one of its samples, and votes; an ordinary network of the same shape, trained "
        "in the same way. The mean softmax is what the last three columns measure.",
        accuracy.headline, colour=True,
    ),
    Experiment(
        "baselines", "Uncertainty, and what people would use instead",
        "Accuracy, likelihood (nats), Brier score, calibration error (15 bins), and how well entropy finds "
        "wrong answers and out-of-distribution images: another data set, the test images turned by a "
        "quarter (of a table, rows whose columns were shuffled), noise. Scaled: at the temperature that is "
        "best on training images held out of every network.",
        baselines.baselines,
    ),
    Experiment(
        "method", "The method's own numbers",
        "Unsampled: each coin's mean in place of the coin, or the network before it was flipped. Clipped: an "
        "ordinary network whose weights are kept in a range, flipped after its training, as the paper does; "
        "k = 8. Converted: an ordinary network of two thirds of the epochs, fine-tuned as coins for the "
        "others. Precision p: each sample draws every weight anew, with standard deviation 1/p.",
        method.method,
    ),
    Experiment(
        "out-of-distribution", "Out-of-distribution images",
        "How well each is found (AUROC) by the entropy of the mean softmax, by the mutual information of "
        "class and sample, and by the energy of the logits, which a softmax forgets.",
        out_of_distribution.out_of_distribution,
    ),
    Experiment(
        "networks", "Other networks",
        "Other shapes.",
        accuracy.networks,
    ),
    Experiment(
        "convolutions", "Convolutions",
        "Is it worth sampling them too? Coins behind convolutions that are the same in every sample, and "
        "convolutions of coins.",
        convolutions.convolutions, colour=True, tables=False,
    ),
    Experiment(
        "early", "Early stopping",
        "An image leaves when its leader is far enough ahead (synflip margins).",
        accuracy.early, colour=True,
    ),
    Experiment(
        "soft-votes", "Soft votes",
        "What a chip could add up in place of one vote, with two small tables and no multiplier, against the "
        "mean softmax that a host makes of all logits. Distance: total variation, mean over images.",
        soft_votes.soft_votes,
    ),
    Experiment(
        "samples", "How many samples",
        "Five ways to make one answer of the same samples.",
        accuracy.samples,
    ),
    Experiment(
        "entropies", "Right and wrong answers",
        "What entropy they have, and whether the second choice is right if the first is wrong.",
        entropy.entropies,
    ),
    Experiment(
        "gallery", "Images and their votes",
        "The images that the network is least sure of, and the wrong ones that it is surest of.",
        accuracy.gallery, colour=True, tables=False,
    ),
    Experiment(
        "related", "Related samples",
        "Can fewer samples do if they are not independent? One word a row: all outputs of a row share their "
        "random word. Antithetic: every other sample has complemented keys. Stratified: 16 samples share "
        "keys, and each XORs its number into all words, so that every coin is heads exactly T times of 16.",
        coin_precision.related,
    ),
    Experiment(
        "bits", "Bits of a probability",
        "One trained network whose probabilities are rounded, and networks trained for so many bits.",
        coin_precision.bits,
    ),
    Experiment(
        "noise", "Devices that are off",
        "Every probability is off by its own Gaussian error, the same in all samples, cut off at 0 and 1.",
        coin_precision.noise,
    ),
    Experiment(
        "front", "Training for uncertainty",
        "Training makes the mean softmax of M samples likely (--mean-of M). M = 1 makes every sample right.",
        training.front,
    ),
    Experiment(
        "training-noise", "Noise in training",
        "Training with a share of the standard deviation of the coins. The network that is used has all of "
        "it.",
        training.training_noise, colour=True,
    ),
    Experiment(
        "temperature", "The scale of the logits",
        "The divisor of the logits in the softmax: as trained, and fitted to training images held out.",
        training.temperature,
    ),
    Experiment(
        "removal", "A class that was hardly seen",
        "Training images of one class are removed: some, most, and all, so that it is out of distribution. "
        "Do entropy and energy say so? AUROC: of its test images against the others.",
        entropy.removal,
    ),
    Experiment(
        "signs", "Signs",
        "Weights in [-1, 1] against weights in [0, 1], trained in the same way.",
        coin_precision.signs,
    ),
    Experiment(
        "targets", "Targets",
        "What was aimed at, and by how much it was missed.",
        targets.targets, colour=True,
    ),
)  # fmt: skip
LEFT_OUT = "left-out"  # the section of experiments that are not run
NAMES = tuple(experiment.name for experiment in EXPERIMENTS)

#: Called with the name of an experiment, its number from 0, and how many there are.
Watch = Callable[[str, int, int], None]


def chosen(only: list[str] | None) -> tuple[Experiment, ...]:
    """The experiments called ``only``; all for None. Raises SynflipError for an unknown name."""
    for name in only or ():
        if name not in NAMES:
            raise SynflipError(f"no experiment {name!r}; there are {', '.join(NAMES)}")
    return tuple(item for item in EXPERIMENTS if only is None or item.name in only)


def work(context: Context, names: list[str], only: list[str] | None) -> list[tuple[Experiment, str]]:
    """The chosen experiments, each with every data set called ``names`` that it is run on."""
    return [(item, data) for item in chosen(only) for data in names if _applies(context, item, data)]


def run(context: Context, names: list[str], only: list[str] | None, watch: Watch) -> list[Section]:
    """Run the chosen experiments; the sections of these, and of others whose results are in the cache.

    names: of data sets. Raises SynflipError.
    """
    todo = work(context, names, only)
    for number, (item, data) in enumerate(todo):
        watch(f"{item.name}, {data}", number, len(todo))
        item.run(context, data)
    context.cache.making = False
    sections = []
    for data in names:
        for item in EXPERIMENTS:
            if _applies(context, item, data):
                try:
                    section = item.section(context, data)
                except Missing:
                    continue
                if section.tables or section.pictures:
                    sections.append(section)
        sections += _left_out(context, data)
    return sections


def _left_out(context: Context, data: str) -> list[Section]:
    """What is not run on this data set, and why, as a section without tables; none if all is run."""
    titles = [item.title for item in EXPERIMENTS if not _applies(context, item, data)]
    if not titles:
        return []
    reason = "Coins for data in colour stand behind convolutions, and these experiments are about coins alone"
    if is_table(context.data(data)):
        reason = "Rows of features are no pictures: nothing is shown, turned, moved or convolved"
    return [Section(LEFT_OUT, "Left out", f"{reason}. {'; '.join(titles)}.", data, context.data(data).note)]


def _applies(context: Context, item: Experiment, data: str) -> bool:
    if is_table(context.data(data)):
        return item.tables
    return item.colour or not is_colour(context, data)
