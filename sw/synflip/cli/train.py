"""The command train."""

import time
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synflip.cli.console import table
from synflip.cli.options import (
    ActivationBits,
    Balance,
    Bits,
    DataName,
    ModelOut,
    TrainingSeed,
    Votes,
    data_files,
    model_files,
)
from synflip.errors import SynflipError

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
if TYPE_CHECKING:
    from torch import nn

    from synflip.data.dataset import Dataset
    from synflip.training.feature_network import FeatureNetwork
    from synflip.training.layers import SynapticNetwork
    from synflip.training.loop import Progress, TrainStep

app = typer.Typer()


class FeaturesName(StrEnum):
    """Networks that are trained in front of the coins."""

    none = "none"
    conv = "conv"


@app.command()
def train(
    out: ModelOut,
    data: Annotated[
        DataName,
        typer.Option(
            "--data", help="digits needs no files; the others are read from the folder in SYNFLIP_DATA."
        ),
    ] = DataName.digits,
    features: Annotated[
        FeaturesName,
        typer.Option(
            "--features",
            help="conv: convolutions, trained with the coins behind them: 32 filters, or of images in colour "
            "32, 64 and 128.",
        ),
    ] = FeaturesName.none,
    hidden: Annotated[
        str | None,
        typer.Option(
            "--hidden",
            metavar="J,J,..",
            help="Outputs of each hidden layer; none for no hidden layer. Without it: 512,512, and behind "
            "convolutions 100, or 256,128 for images in colour.",
            show_default=False,
        ),
    ] = None,
    bits: Bits = 4,
    activation_bits: ActivationBits = 8,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", metavar="N", min=1, help="Passes over the data. Without it: as many as are worth it."
        ),
    ] = None,
    seed: TrainingSeed = 0,
    augment: Annotated[
        bool,
        typer.Option(
            "--augment",
            help="Shift training images by up to one pixel; those in colour by up to four, and mirror them.",
        ),
    ] = False,
    mean_of: Annotated[
        int,
        typer.Option(
            "--mean-of",
            metavar="M",
            min=1,
            help="Make the mean softmax of M samples likely, not each: samples differ where they are not "
            "sure. Takes up to M times as long.",
        ),
    ] = 1,
    teachers: Annotated[
        int,
        typer.Option(
            "--teachers",
            metavar="N",
            min=0,
            help="Train N ordinary networks of the same shape first; the coins learn the mean of their "
            "softmaxes in place of the labels.",
        ),
    ] = 0,
    samples: Votes = 8,
    balance: Balance = False,
) -> None:
    """Train a network of coins, compile it to integers, and write it.

    Prints the test accuracy of one sample and of the vote, counted by running the compiled model exactly.

    Example: synflip train --data digits --hidden 64,128 --out digits.safetensors

    Example: SYNFLIP_DATA=datasets synflip train --data mnist --hidden 512,512 --out mnist.safetensors

    Example: SYNFLIP_DATA=datasets synflip train --data mnist --features conv --out conv.safetensors
    """
    from synflip.inference.request import check_logits
    from synflip.modelfile.safetensors import check_pair
    from synflip.util.outputs import check_outputs
    from synflip.util.progress import bar, waiting

    sizes = None if hidden is None else _hidden(hidden)
    check_seed(seed)
    two_files = features == FeaturesName.conv
    check_outputs(model_files(out) if two_files else [out], data_files())
    if two_files:
        check_pair(out)
    with waiting("Loading torch"):
        from synflip.data.registry import load
        from synflip.training import convnets
        from synflip.training.baseline import float_network
        from synflip.training.distillation import train_teachers
        from synflip.training.loop import default_epochs
        from synflip.training.train import train as fit

    dataset = load(data.value)
    check_logits(samples, len(dataset.test_labels), len(dataset.classes))
    epochs = default_epochs(dataset) if epochs is None else epochs
    ordinary: Callable[[int], nn.Module]
    coins: Callable[..., SynapticNetwork | FeatureNetwork]
    if features == FeaturesName.conv:
        ordinary = partial(convnets.float_network, dataset, sizes, None)
        coins = partial(convnets.train, dataset, sizes, None)
    else:
        sizes = [512, 512] if sizes is None else sizes
        ordinary, coins = partial(float_network, dataset, sizes), partial(fit, dataset, sizes)
    began = time.perf_counter()
    taught_by = []
    if teachers:
        with bar(f"Training {teachers} ordinary networks") as advance:

            def of_teacher(number: int, count: int) -> "Progress":
                return lambda step: advance(
                    (number - 1) * step.steps + step.step, count * step.steps, words(step)
                )

            taught_by = train_teachers(ordinary, teachers, dataset, epochs, seed, augment, of_teacher)
    with bar(f"Training on {dataset.name}") as advance:

        def show(step: "TrainStep") -> None:
            advance(step.step, step.steps, words(step))

        network = coins(bits, activation_bits, epochs, seed, augment, show, mean_of, teachers=taught_by)
    seconds = time.perf_counter() - began
    source = {"data": dataset.title, "seed": seed, "epochs": epochs, "augment": augment}
    if mean_of > 1:
        source["mean_of"] = mean_of
    if teachers:
        source["teachers"] = teachers
    took = ("training", f"{seconds:.1f} s")
    finish(network, dataset, source, out, samples, took, balanced=balance)


def _hidden(text: str) -> list[int]:
    """The numbers of a list such as ``512,512``. Raises SynflipError."""
    if text.strip() in ("", "none"):
        return []
    parts = text.split(",")
    if not all(part.strip().isdecimal() and len(part) < 8 for part in parts):
        raise SynflipError(f"--hidden {text!r} is not a list of layer sizes, such as 512,512")
    return [int(part) for part in parts]


def finish(
    network: "SynapticNetwork | FeatureNetwork",
    dataset: "Dataset",
    source: dict[str, Any],
    out: Path,
    samples: int,
    *rows: tuple[str, str],
    balanced: bool = False,
) -> None:
    """The last steps of train and convert: compile, save, count votes, and print a table that begins with
    ``rows``."""
    from synflip.util.progress import bar
    from synflip.workflows import compile_and_save

    with bar("Counting votes") as advance:
        found = compile_and_save(network, dataset, source, out, samples, balanced, advance)
    model = found.model
    table(
        f"{dataset.title}, {model.shape}, k = {model.bits}, A = {model.activation_bits}",
        *rows,
        ("test images", str(len(dataset.test_labels))),
        ("accuracy of one sample (mean)", f"{found.one_sample:.2%}"),
        (f"accuracy of the vote of {samples}", f"{found.vote:.2%}"),
        ("wrote", ", ".join(map(str, found.files))),
    )


def words(step: "TrainStep") -> str:
    """Text beside a progress bar: ``epoch 1 of 3, loss 0.123``."""
    return f"epoch {step.epoch} of {step.epochs}, loss {step.loss:.3f}"


def check_seed(seed: int) -> None:
    """Raises SynflipError for a seed that torch does not take."""
    if seed >> 63:
        raise SynflipError(f"the seed of a training must be in 0..2**63-1, not {seed}")
