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
    Balance,
    Board,
    Data,
    Header,
    Label,
    ModelOut,
    Resume,
    Size,
    TrainingSeed,
    Votes,
    model_files,
    picture_size,
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


class Stopped(SynflipError):
    """A training was stopped, and a checkpoint keeps it: the same command with --resume goes on."""


class FeaturesName(StrEnum):
    """Networks that are trained in front of the coins."""

    none = "none"
    conv = "conv"


@app.command()
def train(
    out: ModelOut,
    data: Data = "digits",
    label: Label = None,
    header: Header = True,
    size: Size = None,
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
    bits: Annotated[
        int | None,
        typer.Option(
            "--bits",
            metavar="K",
            help="Bits of a coin's probability, 1..16. Without it: 4, or with --for the board's.",
            show_default=False,
        ),
    ] = None,
    activation_bits: Annotated[
        int | None,
        typer.Option(
            "--activation-bits",
            metavar="A",
            help="Bits of an activation, 1..8. Without it: 8, or with --for the board's.",
            show_default=False,
        ),
    ] = None,
    board: Board = None,
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
    resume: Resume = False,
) -> None:
    """Train a network of coins, compile it to integers, and write it.

    Prints the test accuracy of one sample and of the vote, counted by running the compiled model exactly.
    Ctrl-C keeps M.checkpoint.safetensors beside the model; the same command with --resume goes on from it, to
    the same bytes. Teachers are not kept: they are trained again.

    Example: synflip train --data digits --hidden 64,128 --out digits.safetensors

    Example: synflip train --data patients.csv --label diagnosis --hidden 64 --out patients.safetensors

    Example: synflip train --for icebreaker --out icebreaker.safetensors

    Example: SYNFLIP_DATA=datasets synflip train --data mnist --hidden 512,512 --out mnist.safetensors

    Example: SYNFLIP_DATA=datasets synflip train --data mnist --features conv --out conv.safetensors
    """
    from synflip.data.registry import files as data_files
    from synflip.inference.request import check_logits
    from synflip.modelfile.safetensors import check_pair
    from synflip.util.outputs import check_outputs
    from synflip.util.progress import bar, waiting

    sizes = None if hidden is None else _hidden(hidden)
    check_seed(seed)
    two_files = features == FeaturesName.conv
    check_outputs(model_files(out) if two_files else [out], data_files(data))
    if two_files:
        check_pair(out)
    with waiting("Loading torch"):
        from synflip.training.checkpoint import Checkpoint, Interrupted, checkpoint_path

        Checkpoint(checkpoint_path(out), resume)  # refused here, before the teachers are trained
        from synflip.data.registry import load
        from synflip.training import convnets
        from synflip.training.baseline import float_network
        from synflip.training.distillation import train_teachers
        from synflip.training.loop import default_epochs
        from synflip.training.train import train as fit

    dataset = load(data, label, header, picture_size(size), seed)
    check_logits(samples, len(dataset.test_labels), len(dataset.classes))
    if board is not None:
        inputs = dataset.train_images.shape[1]
        if features == FeaturesName.conv:
            inputs = convnets.feature_count(dataset)
            sizes = [*convnets.default_hidden(dataset)] if sizes is None else sizes
        sizes, bits, activation_bits = _fitting(
            board, dataset.name, inputs, len(dataset.classes), sizes, bits, activation_bits
        )
    bits, activation_bits = 4 if bits is None else bits, 8 if activation_bits is None else activation_bits
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

        try:
            network = coins(
                bits, activation_bits, epochs, seed, augment, show, mean_of,
                teachers=taught_by, checkpoint=checkpoint_path(out), resume=resume,
            )  # fmt: skip
        except Interrupted as stop:
            raise Stopped(str(stop)) from None
    seconds = time.perf_counter() - began
    source = {"data": dataset.title, "seed": seed, "epochs": epochs, "augment": augment}
    if mean_of > 1:
        source["mean_of"] = mean_of
    if teachers:
        source["teachers"] = teachers
    took = ("training", f"{seconds:.1f} s")
    finish(network, dataset, source, out, samples, took, balanced=balance)


def _fitting(
    name: str, data: str, inputs: int, classes: int, hidden: list[int] | None, bits: int | None, a: int | None
) -> tuple[list[int], int, int]:
    """Hidden layers, k and A for a board: those that were asked for, else the board's. Raises SynflipError
    if they do not fit, with what to change."""
    from synflip_hdl.boards.catalogue import find_board

    from synflip.inference.plan import check_words, largest_hidden, shortage

    board = find_board(name)
    default = board.geometry
    bits, a = default.bits if bits is None else bits, default.activation_bits if a is None else a
    try:
        check_words(bits, a, default)
    except SynflipError as error:
        raise SynflipError(f"{name}: {error}") from None
    # A narrower k may have a build of its own; the board's default build must run the model.
    most = largest_hidden(inputs, classes, default)
    if hidden is None and most is not None:
        return most, bits, a
    asked = [] if hidden is None else hidden
    if not (missing := shortage([inputs, *asked, classes], default)):
        return asked, bits, a
    shape = "-".join(map(str, [inputs, *asked, classes]))
    way = (
        f"no network on {data} fits: take another --data, or a larger board"
        if most is None
        else f"try --hidden {','.join(map(str, most)) or 'none'}"
    )
    raise SynflipError(f"{shape} does not fit {name}: it needs {missing}; {way}")


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
