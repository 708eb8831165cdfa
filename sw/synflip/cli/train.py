"""The command train."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synflip.cli.console import table, write_json
from synflip.cli.options import (
    Balance,
    Board,
    BoardActivationBits,
    BoardBits,
    Data,
    Header,
    JsonFile,
    Label,
    ModelOut,
    Quantiles,
    Resume,
    Size,
    TrainingSeed,
    Votes,
    model_files,
    picture_size,
    shares,
)
from synflip.errors import SynflipError

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
if TYPE_CHECKING:
    from synflip_hdl.boards import catalogue
    from torch import nn

    from synflip.data.dataset import Dataset
    from synflip.training.checkpoint import Checkpoint
    from synflip.training.feature_network import FeatureNetwork
    from synflip.training.layers import SynapticNetwork
    from synflip.training.loop import Progress, TrainStep

app = typer.Typer()


class Stopped(SynflipError):
    """A training was stopped, and a checkpoint keeps it: the same command with --resume goes on."""


class NetworkShape(StrEnum):
    """Networks all of whose weights are coins."""

    dense = "dense"
    conv = "conv"
    conv_deep = "conv-deep"


class FeaturesName(StrEnum):
    """Networks that are trained in front of the coins."""

    none = "none"
    conv = "conv"


@contextmanager
def resumable(checkpoint: "Checkpoint | None") -> Iterator[None]:
    """Raises Stopped if the block is stopped and ``checkpoint`` keeps the training."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if checkpoint is None or not checkpoint.path.is_file():
            raise
        raise Stopped(str(stop) or f"stopped; {checkpoint.path} keeps the training") from None


@app.command()
def train(
    out: ModelOut,
    data: Data = "digits",
    label: Label = None,
    header: Header = True,
    size: Size = None,
    quantiles: Quantiles = None,
    network: Annotated[
        NetworkShape,
        typer.Option(
            "--network",
            help="conv: 32 filters in front of the hidden layers, of images in colour 32, 64 and 128; every "
            "weight is a coin. conv-deep: twice as many convolutions.",
        ),
    ] = NetworkShape.dense,
    features: Annotated[
        FeaturesName,
        typer.Option(
            "--features",
            help="conv: the convolutions of --network conv as features, which are not sampled, in front of "
            "coins.",
        ),
    ] = FeaturesName.none,
    filters: Annotated[
        str | None,
        typer.Option(
            "--filters",
            metavar="F,F,..",
            help="With --network conv: filters of each convolution, 3x3, with the maximum of 2x2 behind it.",
        ),
    ] = None,
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
    bits: BoardBits = None,
    activation_bits: BoardActivationBits = None,
    board: Board = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            metavar="N",
            min=1,
            help="Passes over the data. Without it: 15, or 40 of a small data set.",
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
    json: JsonFile = None,
) -> None:
    """Train a network of coins, compile it to integers, and write it.

    Prints the test accuracy of one sample and of the vote, counted by running the compiled model exactly.
    Ctrl-C keeps M.checkpoint.safetensors beside the model; the same command with --resume goes on from it, to
    the same bytes. Teachers are not kept: they are trained again.

    Example: synflip train --data digits --hidden 64,128 --out digits.safetensors

    Example: synflip train --data patients.csv --label diagnosis --hidden 64 --out patients.safetensors

    Example: synflip train --for icebreaker --out icebreaker.safetensors

    Example: SYNFLIP_DATA=datasets synflip train --data mnist --hidden 512,512 --out mnist.safetensors

    Example: SYNFLIP_DATA=datasets synflip train --data mnist --network conv --filters 16 --hidden 64 --out
    conv.safetensors
    """
    from synflip.data.registry import files as data_files
    from synflip.inference.request import check_logits
    from synflip.modelfile.safetensors import check_pair
    from synflip.util.outputs import check_outputs
    from synflip.util.progress import bar, waiting

    sizes = None if hidden is None else _sizes(hidden, "--hidden")
    if filters is not None and network != NetworkShape.conv:
        raise SynflipError(f"--filters {filters} is of --network conv; give that, or leave --filters out")
    given_filters = None if filters is None else _sizes(filters, "--filters")
    if given_filters == []:
        raise SynflipError(f"--filters {filters} leaves no convolution: leave out --network conv, too")
    if network != NetworkShape.dense:
        _check_convolutions(network, features, board)
    chosen, bits, activation_bits = board_words(board, bits, activation_bits)
    two_files = features == FeaturesName.conv
    check_outputs([*(model_files(out) if two_files else [out]), json], data_files(data))
    if two_files:
        check_pair(out)
    with waiting("Loading torch"):
        from synflip.training.checkpoint import checkpoint_beside

        checkpoint = checkpoint_beside(out, resume)  # refused here, before the teachers are trained
        from synflip.data.registry import load
        from synflip.training import convnets
        from synflip.training.baseline import float_network
        from synflip.training.distillation import train_teachers
        from synflip.training.loop import default_epochs
        from synflip.training.shapes import default_filters, default_hidden
        from synflip.training.train import train as fit

    dataset = load(data, label, header, picture_size(size), seed, quantiles=shares(quantiles))
    check_logits(samples, len(dataset.test_labels), len(dataset.classes))
    if chosen is not None:
        inputs = dataset.train_images.shape[1]
        if features == FeaturesName.conv:
            inputs = convnets.feature_count(dataset)
            sizes = [*default_hidden(dataset)] if sizes is None else sizes
        sizes = board_hidden(chosen, dataset.name, inputs, len(dataset.classes), sizes)
    epochs = default_epochs(dataset) if epochs is None else epochs
    ordinary: Callable[[int], nn.Module]
    coins: Callable[..., SynapticNetwork | FeatureNetwork]
    if features == FeaturesName.conv:
        ordinary = partial(convnets.float_network, dataset, sizes, None)
        coins = partial(convnets.train, dataset, sizes, None)
    elif network != NetworkShape.dense:
        kernels = default_filters(dataset, network) if given_filters is None else given_filters
        sizes = [*default_hidden(dataset, network)] if sizes is None else sizes
        ordinary = partial(convnets.float_network, dataset, sizes, kernels)
        coins = partial(fit, dataset, sizes, filters=kernels)
    else:
        sizes = [512, 512] if sizes is None else sizes
        ordinary, coins = partial(float_network, dataset, sizes), partial(fit, dataset, sizes)
    began = time.perf_counter()
    taught_by = []
    if teachers:
        with bar(f"Training {teachers} ordinary networks") as advance:

            def of_teacher(number: int, count: int) -> "Progress":
                return lambda step: advance(
                    (number - 1) * step.steps + step.step, count * step.steps, step.words
                )

            taught_by = train_teachers(ordinary, teachers, dataset, epochs, seed, augment, of_teacher)
    with bar(f"Training on {dataset.name}") as advance:

        def show(step: "TrainStep") -> None:
            advance(step.step, step.steps, step.words)

        with resumable(checkpoint):
            trained = coins(
                bits, activation_bits, epochs, seed, augment, show, mean_of,
                teachers=taught_by, checkpoint=checkpoint,
            )  # fmt: skip
    seconds = time.perf_counter() - began
    took = ("training", f"{seconds:.1f} s")
    numbers = finish(trained, dataset, out, samples, took, balanced=balance, checkpoint=checkpoint)
    write_json(json, {**numbers, "training_seconds": seconds})


def _check_convolutions(network: NetworkShape, features: FeaturesName, board: str | None) -> None:
    """Raises SynflipError for options that do not go together with convolutions of coins."""
    for given, option, why in (
        (features != FeaturesName.none, f"--features {features}", "convolutions are coins, or features"),
        (board is not None, f"--for {board}", "what fits a board is known of dense layers only"),
    ):
        if given:
            raise SynflipError(f"--network {network} and {option} do not go together: {why}; leave one out")


def board_words(
    name: str | None, bits: int | None, activation_bits: int | None
) -> "tuple[catalogue.Board | None, int, int]":
    """The board called ``name``, if one is named, and k and A: those that were asked for, else the board's,
    else 4 and 8. Raises SynflipError if they are more than the board's, with the option to change."""
    if name is None:
        return None, 4 if bits is None else bits, 8 if activation_bits is None else activation_bits
    from synflip_hdl.boards.catalogue import find_board

    from synflip.inference.plan import check_words

    board = find_board(name)
    # A narrower k may have a build of its own; the board's default build must run the model.
    bits = board.geometry.bits if bits is None else bits
    activation_bits = board.geometry.activation_bits if activation_bits is None else activation_bits
    try:
        check_words(bits, activation_bits, board.geometry)
    except SynflipError as error:
        raise SynflipError(f"{name}: {error}") from None
    return board, bits, activation_bits


def board_hidden(
    board: "catalogue.Board", data: str, inputs: int, classes: int, hidden: list[int] | None
) -> list[int]:
    """Hidden layers for a board: those that were asked for, else the largest that fit. Raises SynflipError
    if they do not fit, with layers that do."""
    from synflip.inference.plan import largest_hidden

    most = largest_hidden(inputs, classes, board.geometry)
    if hidden is None:
        hidden = most or []
    way = f"no network on {data} fits: take another --data, or a larger board"
    if most is not None:
        way = f"try --hidden {','.join(map(str, most)) or 'none'}"
    check_board(board, [inputs, *hidden, classes], way)
    return hidden


def check_board(board: "catalogue.Board", sizes: list[int], way: str) -> None:
    """Raises SynflipError if a network does not fit a board, with what is short, and ``way``, what to do.

    sizes: inputs, outputs of each hidden layer, classes.
    """
    from synflip.inference.plan import shortage

    if missing := shortage(sizes, board.geometry):
        shape = "-".join(map(str, sizes))
        raise SynflipError(f"{shape} does not fit {board.name}: it needs {missing}; {way}")


def _sizes(text: str, option: str) -> list[int]:
    """The numbers of a list such as ``512,512``, which ``option`` gives. Raises SynflipError."""
    if text.strip() in ("", "none"):
        return []
    parts = text.split(",")
    if not all(part.strip().isdecimal() and len(part) < 8 for part in parts):
        raise SynflipError(f"{option} {text!r} is not a list of layer sizes, such as 512,512")
    return [int(part) for part in parts]


def finish(
    network: "SynapticNetwork | FeatureNetwork",
    dataset: "Dataset",
    out: Path,
    samples: int,
    *rows: tuple[str, str],
    balanced: bool = False,
    checkpoint: "Checkpoint | None" = None,
) -> dict[str, Any]:
    """The last steps of train and convert: compile, save, count votes, and print a table that begins with
    ``rows``. The checkpoint is removed once the model is written. Returns the table's other numbers, and what
    the file says of its source, for ``--json``."""
    from synflip.util.progress import bar
    from synflip.workflows import compile_and_save

    with bar("Counting votes") as advance, resumable(checkpoint):
        found = compile_and_save(network, dataset, out, samples, balanced, advance)
    if checkpoint is not None:
        checkpoint.done()
    model = found.model
    table(
        f"{dataset.title}, {model.shape}, k = {model.bits}, A = {model.activation_bits}",
        *rows,
        ("test images", str(len(dataset.test_labels))),
        ("accuracy of one sample (mean)", f"{found.one_sample:.2%}"),
        (f"accuracy of the vote of {samples}", f"{found.vote:.2%}"),
        ("wrote", ", ".join(map(str, found.files))),
    )
    return {
        "network": model.shape,
        "bits": model.bits,
        "activation_bits": model.activation_bits,
        "test_images": len(dataset.test_labels),
        "source": dict(model.source),
        "files": list(map(str, found.files)),
    }
