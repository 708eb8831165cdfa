"""The command convert."""

import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synflip.cli.console import warn, write_json
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
from synflip.cli.train import board_words, check_board, finish, resumable
from synflip.errors import ConversionWarning, SynflipError

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
if TYPE_CHECKING:
    from synflip.training.feature_network import FeatureNetwork
    from synflip.training.layers import SynapticNetwork

app = typer.Typer()
SMALLER = "convert a smaller network, or take a larger board"  # one that does not fit


@app.command()
def convert(
    network: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL.onnx|MODEL.pt2",
            help="A trained network of dense layers and convolutions: ONNX, or from torch.export.save.",
        ),
    ],
    out: ModelOut,
    data: Data = "digits",
    label: Label = None,
    header: Header = True,
    size: Size = None,
    quantiles: Quantiles = None,
    features: Annotated[
        str | None,
        typer.Option(
            "--features",
            metavar="LAYER|F.pt2",
            help="The last layer of MODEL that is not sampled; or a file of what stands in front of MODEL.",
            show_default=False,
        ),
    ] = None,
    mean: Annotated[
        str, typer.Option("--mean", metavar="X,X,..", help="The network takes (share of white - mean) / std.")
    ] = "0",
    std: Annotated[
        str, typer.Option("--std", metavar="X,X,..", help="One number, or one for each channel.")
    ] = "1",
    bits: BoardBits = None,
    activation_bits: BoardActivationBits = None,
    board: Board = None,
    epochs: Annotated[
        int, typer.Option("--epochs", metavar="N", min=0, help="Passes of fine-tuning over the data.")
    ] = 10,
    seed: TrainingSeed = 0,
    augment: Annotated[
        bool, typer.Option("--augment", help="Shift images while fine-tuning; not with --features.")
    ] = False,
    samples: Votes = 8,
    balance: Balance = False,
    resume: Resume = False,
    json: JsonFile = None,
) -> None:
    """Turn a trained network into one of coins, fine-tune it, compile it to integers, and write it.

    The data are those that it was trained on: activations are measured on them, and weights fine-tuned.
    MODEL.pt2 is what torch.export.save(torch.export.export(network.eval(), (images,)), path) writes. It is
    read without unpickling; files of torch.save are refused. MODEL.onnx needs the extra `onnx`. With
    --features a model travels as two files, M.safetensors and M.features.pt2. A value of --features that
    ends in .pt2 or .onnx, or is the name of a file, is a file; any other is the name of a layer. Ctrl-C
    keeps M.checkpoint.safetensors; --resume goes on from it.

    Example: synflip convert MODEL.onnx --data mnist --out M.safetensors
    """
    from synflip.data.registry import files as data_files
    from synflip.modelfile.safetensors import check_pair
    from synflip.util.outputs import check_outputs
    from synflip.util.progress import bar, waiting

    chosen, bits, activation_bits = board_words(board, bits, activation_bits)
    file, layer = front_of(features)
    written = [out] if features is None else model_files(out)
    check_outputs([*written, json], [network, file, *data_files(data)])
    if features is not None:
        check_pair(out)
    with waiting("Loading torch"):
        from synflip.data.registry import load
        from synflip.inference.request import check_logits
        from synflip.modelfile import pt2
        from synflip.modelfile.network import load_network
        from synflip.training.checkpoint import checkpoint_beside
        from synflip.training.convert import convert as to_coins

    checkpoint = checkpoint_beside(out, resume)
    head = load_network(network)
    extractor = None if file is None else pt2.load(file)
    dataset = load(data, label, header, picture_size(size), seed, quantiles=shares(quantiles))
    check_logits(samples, len(dataset.test_labels), len(dataset.classes))
    means, stds = floats("--mean", mean), floats("--std", std)
    with bar(f"Fine-tuning on {dataset.name}") as advance:
        coins: SynapticNetwork | FeatureNetwork
        settings: dict[str, Any] = {
            "data": dataset,
            "bits": bits,
            "activation_bits": activation_bits,
            "epochs": epochs,
            "seed": seed,
            "augment": augment,
            "mean": means,
            "std": stds,
            "progress": lambda s: advance(s.step, s.steps, s.words),
            "checkpoint": checkpoint,
            "check_sizes": None if chosen is None else partial(check_board, chosen, way=SMALLER),
        }
        with resumable(checkpoint), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConversionWarning)  # printed after the table
            coins = (
                to_coins(head, features=layer, **settings)
                if extractor is None
                else to_coins(extractor, head, **settings)
            )
    ladder = coins.ladder
    assert ladder is not None
    numbers = finish(
        coins,
        dataset,
        out,
        samples,
        ("accuracy of the network as it was", _share(ladder.original)),
        (f"accuracy before fine-tuning, vote of {ladder.votes}", _share(ladder.converted)),
        (f"same class as the network, vote of {ladder.votes}", _share(ladder.agreement)),
        balanced=balance,
        checkpoint=checkpoint,
    )
    write_json(json, {**numbers, "votes_of_the_ladder": ladder.votes, "warnings": list(ladder.warnings)})
    for line in ladder.warnings:
        warn(line)


def _share(accuracy: float | None) -> str:
    return "unknown" if accuracy is None else f"{accuracy:.2%}"


def front_of(features: str | None) -> tuple[Path | None, str | None]:
    """The file, or else the name of a layer, that the option ``--features`` says."""
    if features is None:
        return None, None
    path = Path(features)
    is_file = path.suffix.lower() in (".pt2", ".onnx") or path.is_file()
    return (path, None) if is_file else (None, features)


def floats(name: str, text: str) -> list[float]:
    """The numbers of a list such as ``0.5,0.5``. Raises SynflipError."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise SynflipError(f"{name} {text!r} is not a number, nor a list such as 0.49,0.48,0.45") from None
