"""What several commands do: train a small network; compile a network, save it, count its votes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from synflip._version import __version__
from synflip.errors import SynflipError
from synflip.training.card import data_digest
from synflip.util.progress import bar, waiting

# torch is imported when it is first used: the command line must not wait for it.
if TYPE_CHECKING:
    from synflip.data.dataset import Dataset
    from synflip.inference.request import Progress
    from synflip.spec.model import CompiledModel
    from synflip.training.feature_network import FeatureNetwork
    from synflip.training.layers import SynapticNetwork

#: The network of ``synflip demo``.
HIDDEN = (64, 128)
BITS = 4
SEED = 1


class NetworkName(StrEnum):
    """Networks that coins are tried on, by the data that they are trained on."""

    digits = "digits"
    mnist = "mnist"
    fashion = "fashion-mnist"


@dataclass(frozen=True)
class Compiled:
    """A model that was compiled and saved, and how well it votes on the test images.

    one_sample, vote: accuracies, 0..1, of one network sample (the mean over all) and of the vote.
    files: what was written.
    """

    model: "CompiledModel"
    one_sample: float
    vote: float
    files: tuple[Path, ...]


def train_digits(
    hidden: Sequence[int] = HIDDEN, epochs: int | None = None
) -> "tuple[Dataset, CompiledModel, float]":
    """The digits, a compiled network of coins, and the test accuracy of an ordinary network of its shape.

    hidden: outputs of the hidden layers. epochs: None takes as many as ``train`` does by itself.
    """
    with waiting("Loading torch"):
        from synflip.compiler.compile import compile_network
        from synflip.data.registry import load
        from synflip.training.baseline import float_baseline
        from synflip.training.train import train

    data = load("digits")
    with bar("Training with coins") as advance:
        network = train(
            data,
            hidden,
            BITS,
            epochs=epochs,
            seed=SEED,
            progress=lambda s: advance(s.step, s.steps, f"loss {s.loss:.3f}"),
        )
    with bar("Training with floats") as advance:
        float_accuracy = float_baseline(
            data, hidden, epochs, SEED, progress=lambda s: advance(s.step, s.steps)
        )
    source = {"data": data.name, "seed": SEED, "synflip": __version__}
    return data, compile_network(network, data.classes, data.input_max, source), float_accuracy


def train_small(name: NetworkName) -> "tuple[Dataset, CompiledModel]":
    """A data set and a small network that is trained on it: the demo's, or one with 128 hidden outputs."""
    from synflip.compiler.compile import compile_network
    from synflip.data.registry import load
    from synflip.training.loop import default_epochs
    from synflip.training.train import train

    if name == NetworkName.digits:
        dataset, model, _ = train_digits()
        return dataset, model
    dataset = load(name.value)
    with bar(f"Training on {name}") as advance:
        network = train(
            dataset,
            [128],
            BITS,
            8,
            default_epochs(dataset),
            SEED,
            progress=lambda s: advance(s.step, s.steps),
        )
    return dataset, compile_network(network, dataset.classes, dataset.input_max, {"data": name.value})


def check_data(model: "CompiledModel", data: "Dataset") -> None:
    """Raise SynflipError if ``data`` are not those that ``model`` was trained on, by the hash in its file. A
    file without a hash is believed."""
    if model.source.get("data_sha256", digest := data_digest(data)) != digest:
        raise SynflipError(
            f"the model was trained on other data that are called {data.name}: give them with --data, or "
            f"these with --data {data.name}"
        )


def doubt(model: "CompiledModel", data: "Dataset") -> str | None:
    """Why rows that ``model`` was trained on may be in the test part of ``data``, in one line; None if they
    are not, as far as the model's file says. Its hash counts if the data are called as those of the training.
    """
    from synflip.data.registry import split_seed
    from synflip.data.tables import held_out_by

    title, digest = str(model.source.get("data")), model.source.get("data_sha256")
    called = title == data.name or title.startswith(f"{data.name} (")
    if called and digest is not None and digest != data_digest(data):
        return (
            f"{data.name} is not what the model was trained on, by the hash in its file: rows of the "
            "training may be in the test part"
        )
    if digest is None and held_out_by(data.title) is not None and split_seed(model) is None:
        return (
            "the model's file does not say which rows were held out from its training: rows of it may be in "
            f"the test part, {data.note}"
        )
    return None


def compile_and_save(
    network: "SynapticNetwork | FeatureNetwork",
    dataset: "Dataset",
    out: Path,
    samples: int,
    balanced: bool = False,
    progress: "Progress | None" = None,
) -> Compiled:
    """Compile a network, write it to ``out``, and count the votes of ``samples`` on the test images.

    The network's card travels in the file, with the accuracies of the votes and the energy above which an
    image is foreign. balanced: hidden outputs are dealt to lanes by ``compiler.lane_balance``. progress: of
    the votes; if they are not counted to the end, the model is written without their accuracies and without
    that energy. Raises SynflipError.
    """
    from synflip.compiler.compile import compile_network
    from synflip.compiler.lane_balance import balance
    from synflip.evaluation.foreign import fit_energy_threshold
    from synflip.golden.cpu import Golden
    from synflip.inference.compare import accuracies
    from synflip.modelfile import features_path, save

    model = compile_network(network, dataset.classes, dataset.input_max)
    if balanced:
        model = balance(model, dataset.train_images)
    figures: dict[str, float] = {}
    try:
        with Golden(predict=False) as device:
            device.load(model)
            result = device.infer(dataset.test_images, samples, 1, logits=True, progress=progress)
        one, vote = accuracies(result, dataset.test_labels)
        figures = {"votes": samples, "accuracy_of_one_sample": one, "accuracy_of_the_vote": vote}
        model = fit_energy_threshold(model, dataset)
    finally:
        model = replace(model, source={**model.source, **figures})
        save(model, out)
    return Compiled(model, one, vote, (out,) if model.features is None else (out, features_path(out)))
