"""Options that several commands have."""

import re
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
if TYPE_CHECKING:
    from distributed import Client


class DataName(StrEnum):
    """Data sets with names."""

    digits = "digits"
    mnist = "mnist"
    fashion = "fashion-mnist"
    cifar10 = "cifar10"


def output_file(text: str) -> Path:
    """The path of a file to be written. Raises SynflipError for the name of a folder, such as ``new/``."""
    from synflip.util.outputs import file_path

    return file_path(text)


def model_files(model: Path) -> list[Path]:
    """The files of a compiled model: itself, and the network beside it that makes its features."""
    from synflip.modelfile.safetensors import features_path

    return [model, features_path(model)]


def picture_size(text: str | None) -> tuple[int, int] | None:
    """Height and width from a text such as ``32x32``. Raises SynflipError."""
    from synflip.errors import SynflipError

    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)
    if match is None or not int(match[1]) * int(match[2]):
        raise SynflipError(f"--size {text!r} is not HxW, such as 32x32")
    return int(match[1]), int(match[2])


def shares(text: str | None) -> tuple[float, float] | None:
    """Two quantiles from a text such as ``0.01,0.99``; whether they make sense is asked where they are used.
    Raises SynflipError."""
    from synflip.errors import SynflipError

    if text is None:
        return None
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise SynflipError(f"--quantiles {text!r} is not L,H, such as 0.01,0.99") from None
    return low, high


def _data(text: str | None) -> str | None:
    if text is not None and text not in list(DataName) and not Path(text).exists():
        raise typer.BadParameter(f"{text!r} is neither a file nor one of {', '.join(DataName)}")
    return text


Data = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="NAME|FILE",
        callback=_data,
        help="digits; mnist, fashion-mnist or cifar10, read from the folder in SYNFLIP_DATA; or your own: "
        "F.npz, F.csv, F.parquet, or a folder of pictures.",
    ),
]
ModelData = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="NAME|FILE",
        callback=_data,
        help="Test images of this data set, a name or a file as of train. Without it: the set with a name "
        "that the model was trained on, as its file says.",
        show_default=False,
    ),
]
Label = Annotated[
    str | None,
    typer.Option(
        "--label",
        metavar="COLUMN",
        help="The column of labels of a table. Without it: the last.",
        show_default=False,
    ),
]
Header = Annotated[
    bool,
    typer.Option("--header/--no-header", help="Whether the first line of a CSV file has the columns' names."),
]
Size = Annotated[
    str | None,
    typer.Option(
        "--size", metavar="HxW", help="Scale pictures of a folder to this size.", show_default=False
    ),
]
Quantiles = Annotated[
    str | None,
    typer.Option(
        "--quantiles",
        metavar="L,H",
        help="Each feature ranges between these quantiles of its training rows, such as 0.01,0.99; values "
        "outside are clipped. Without it: 0,1, its least and its greatest value.",
        show_default=False,
    ),
]
Bits = Annotated[int, typer.Option("--bits", metavar="K", help="Bits of a coin's probability, 1..16.")]
ActivationBits = Annotated[
    int, typer.Option("--activation-bits", metavar="A", help="Bits of an activation, 1..8.")
]
Board = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="BOARD",
        help="A board, as synflip boards lists them, that the network is to fit: bits and sizes that are not "
        "given are the board's, and what does not fit is refused.",
        show_default=False,
    ),
]
BoardBits = Annotated[
    int | None,
    typer.Option(
        "--bits",
        metavar="K",
        help="Bits of a coin's probability, 1..16. Without it: 4, or with --for the board's.",
        show_default=False,
    ),
]
BoardActivationBits = Annotated[
    int | None,
    typer.Option(
        "--activation-bits",
        metavar="A",
        help="Bits of an activation, 1..8. Without it: 8, or with --for the board's.",
        show_default=False,
    ),
]


def _training_seed(seed: int) -> int:
    from synflip.util.arrays import training_seed

    return training_seed(seed)


TrainingSeed = Annotated[
    int,
    typer.Option("--seed", metavar="K", callback=_training_seed, help="Seed of the training, 0..2**63-1."),
]
ModelOut = Annotated[
    Path,
    typer.Option(
        "--out", metavar="M.safetensors", parser=output_file, help="Where to write the compiled model."
    ),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Go on from the checkpoint that a stopped training left beside the model."),
]
Balance = Annotated[
    bool,
    typer.Option(
        "--balance",
        help="Order hidden outputs so that an accelerator's banks have equally much to do, by the training "
        "images: the same network, faster.",
    ),
]
Votes = Annotated[
    int,
    typer.Option("--samples", metavar="S", min=1, help="Votes in the accuracy that is printed at the end."),
]
ModelFile = Annotated[
    Path, typer.Argument(metavar="M.safetensors", help="A compiled model, as synflip train writes it.")
]
ImagesFile = Annotated[
    Path,
    typer.Option(
        "--images",
        metavar="X.npy",
        help="Images: uint8 [N, I], one row an image, from numpy.save; or X.npz, where they are the only "
        "array or called x, images or x_test. For a model of features: X.csv, X.parquet, X.npz, or a .npy of "
        "any numbers.",
    ),
]
JsonFile = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        parser=output_file,
        help="Write the numbers here too, as JSON.",
        show_default=False,
    ),
]
Page = Annotated[
    Path | None,
    typer.Option(
        "--page",
        metavar="X.md",
        help="Put the tables into this page too, between their begin and end lines.",
        show_default=False,
    ),
]
Samples = Annotated[
    int, typer.Option("--samples", metavar="S", min=1, help="Network samples, so votes, of each image.")
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed", metavar="K", min=0, help="Seed of the coins: the same seed, the same votes, anywhere."
    ),
]


def _known(device: str) -> str:
    from synflip.devices.registry import DeviceName
    from synflip.errors import SynflipError

    try:
        DeviceName.parse(device)
    except SynflipError as error:
        raise typer.BadParameter(str(error)) from None
    return device


DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME",
        callback=_known,
        help="golden: the reference in torch. cuda: the same on a GPU. verilator: the hardware, simulated "
        "cycle by cycle. icarus: the same in Icarus Verilog, slow, with unknown values. netlist:ecp5, "
        "netlist:ice40: its synthesized netlist, simulated cell by cell, with small memories. Each may have "
        "a size after it: golden:16x2, verilator:32x4,image_slots=8. /dev/ttyUSB0 or COM3, with @BAUD after "
        "it if it is not 3000000: the hardware at a serial port. pool:DEVICE,DEVICE: several that share the "
        "work, and go on if one dies. synflip devices lists them.",
    ),
]
GeometryOption = Annotated[
    str,
    typer.Option(
        "--geometry",
        metavar="PxQ",
        help="Size of the accelerator: P lanes (16..128), Q banks (1, 2, 4, 8). Word sizes and memories may "
        "follow: 16x2,bits=3,image_slots=4.",
    ),
]
DeviceGeometryOption = Annotated[
    str | None,
    typer.Option(
        "--geometry",
        metavar="PxQ",
        help="Size of the accelerator: P lanes (16..128), Q banks (1, 2, 4, 8). "
        "Without it: 64x8, and 16x1 of a netlist.",
        show_default=False,
    ),
]
Margin = Annotated[
    int | None,
    typer.Option(
        "--margin",
        metavar="N",
        min=1,
        help="Stop early: an image is done once its leader is N votes ahead of the next.",
    ),
]
Margins = Annotated[
    str | None,
    typer.Option(
        "--margins", metavar="N,N,..|FILE", help="Instead of --margin: one a sample, or a file of margins."
    ),
]
WavesFile = Annotated[
    Path | None,
    typer.Option(
        "--waves",
        metavar="F.fst",
        parser=output_file,
        help="Record the signals of --device verilator in this FST file, and write save files for GTKWave "
        "(F.gtkw) and Surfer (F.sucl) beside it; one that was changed is kept. Such a simulator is built "
        "apart, and slow.",
        show_default=False,
    ),
]
Window = Annotated[
    str | None,
    typer.Option(
        "--window",
        metavar="FIRST:PAST",
        help="Record clock cycles FIRST..PAST-1 only, counted from the first busy one: 0:500.",
        show_default=False,
    ),
]
ClusterAddress = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="tcp://HOST:PORT",
        help="Let the workers of this Dask scheduler do the work.",
        show_default=False,
    ),
]
ClusterWorkers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        help="Let N processes of this machine do the work; they end with the command.",
        show_default=False,
    ),
]


def wants_cluster(address: str | None, workers: int | None) -> bool:
    """Whether one of the options was given. Raises SynflipError if Dask is missing."""
    from synflip.util.extras import require

    if address is not None and workers is not None:
        raise typer.BadParameter("--cluster and --workers exclude each other")
    if address is None and workers is None:
        return False
    require("distributed")
    return True


def cluster_client(
    address: str | None, workers: int | None, device: str = "golden"
) -> "AbstractContextManager[Client]":
    """A client of the scheduler at ``address``, else of ``workers`` processes that may open ``device``."""
    from synflip.cluster.clients import connected, local_workers

    return local_workers(workers or 1, device) if address is None else connected(address)
