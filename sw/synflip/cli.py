"""The command line. Every command: one line for an error, on stderr, and an exit status other than 0."""

import os
import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synflip import (
    __version__,
    cli_bench,
    cli_boards,
    cli_coins,
    cli_convert,
    cli_evaluate,
    cli_margins,
    cli_merge,
    cli_paper,
    cli_selftest,
)
from synflip.cli_convert import ActivationBits, Balance, Bits, DataName, ModelOut, TrainingSeed, Votes
from synflip.console import console as _console
from synflip.console import printable as _printable
from synflip.console import table as _table
from synflip.errors import SynflipError

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
if TYPE_CHECKING:
    from synflip.features import FeatureNetwork
    from synflip.nn import SynapticNetwork
    from synflip.result import Result
    from synflip.spec.features import Features
    from synflip.spec.geometry import Geometry
    from synflip.spec.model import CompiledModel, Images
    from synflip.train import Step

INTERRUPTED = 130
MAX_MARGINS_BYTES = 1 << 20

app = typer.Typer(
    name="synflip",
    help="Neural networks whose weights are coin flips, as FPGA hardware.\n\n"
    "A trained weight becomes a coin: its size is the probability of heads. Each sample flips every coin of "
    "the network once and casts a vote; many votes give a class, and how sure to be of it.\n\n"
    "Start with: synflip demo",
    rich_markup_mode="rich",
    add_completion=False,
    pretty_exceptions_enable=False,
)


class FamilyName(StrEnum):
    """FPGA families that netlists are made for."""

    ecp5 = "ecp5"
    ice40 = "ice40"


class MapFormat(StrEnum):
    """What the memory map is written as."""

    md = "md"
    c = "c"
    rdl = "rdl"


class FrontName(StrEnum):
    """What stands in front of the accelerator."""

    bare = "bare"
    axi = "axi"


class FeaturesName(StrEnum):
    """What is trained in front of the coins."""

    none = "none"
    conv = "conv"


ModelFile = Annotated[
    Path, typer.Argument(metavar="M.safetensors", help="A compiled model, as synflip train writes it.")
]
ImagesFile = Annotated[
    Path,
    typer.Option(
        "--images", metavar="X.npy", help="Images: uint8 [N, I], one row an image, from numpy.save."
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
DEVICES = ("golden", "verilator", "icarus", "netlist:ecp5", "netlist:ice40")


def _known(device: str) -> str:
    from synflip.device import is_port

    if device not in DEVICES and not is_port(device):
        raise typer.BadParameter(f"{device!r} is not one of {', '.join(DEVICES)}, nor a serial port")
    return device


DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME",
        callback=_known,
        help="golden: the reference in torch. verilator: the hardware, simulated cycle by cycle. icarus: the "
        "same in Icarus Verilog, slow, with unknown values. netlist:ecp5, netlist:ice40: its synthesized "
        "netlist, simulated cell by cell, with small memories. /dev/ttyUSB0 or COM3, with @BAUD after it if "
        "it is not 3000000: the hardware at a serial port.",
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


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """What `synflip` does without a command."""
    if version:
        typer.echo(f"synflip {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for what it writes.")] = Path(
        "synflip-demo"
    ),
    geometry: GeometryOption = "64x8",
) -> None:
    """Train on handwritten digits, run the result on both devices, compare every number, draw the votes.

    Needs no files, no downloads and no FPGA. Writes the model, the test images and a picture (votes.png) into
    DIR. Exit status 0 if and only if the simulated hardware gave exactly the golden model's numbers.

    Example: synflip demo --out out/demo
    """
    from synflip.demo import demo as run_demo

    if not run_demo(out, geometry):
        raise typer.Exit(1)


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
    samples: Votes = 8,
    balance: Balance = False,
) -> None:
    """Train a network of coins, compile it to integers, and write it.

    Prints the test accuracy of one sample and of the vote, counted by running the compiled model exactly.

    Example: synflip train --data digits --hidden 64,128 --out digits.safetensors

    Example: SYNFLIP_DATA=datasets synflip train --data mnist --hidden 512,512 --out mnist.safetensors

    Example: SYNFLIP_DATA=datasets synflip train --data mnist --features conv --out conv.safetensors
    """
    from synflip.compare import check_logits
    from synflip.files import check_output
    from synflip.progress import bar, waiting

    sizes = None if hidden is None else _hidden(hidden)
    cli_convert.check_seed(seed)
    check_output(out)
    with waiting("Loading torch"):
        from synflip import convnets
        from synflip.data import load
        from synflip.train import default_epochs
        from synflip.train import train as fit

    dataset = load(data.value)
    check_logits(samples, len(dataset.test_labels), len(dataset.classes))
    epochs = default_epochs(dataset) if epochs is None else epochs
    began = time.perf_counter()
    with bar(f"Training on {dataset.name}") as advance:

        def show(step: "Step") -> None:
            advance(step.step, step.steps, cli_convert.words(step))

        network: SynapticNetwork | FeatureNetwork
        if features == FeaturesName.conv:
            network = convnets.train(
                dataset, sizes, None, bits, activation_bits, epochs, seed, augment, show, mean_of
            )
        else:
            sizes = [512, 512] if sizes is None else sizes
            network = fit(dataset, sizes, bits, activation_bits, epochs, seed, augment, show, mean_of)
    seconds = time.perf_counter() - began
    source = {"data": dataset.title, "seed": seed, "epochs": epochs, "augment": augment}
    if mean_of > 1:
        source["mean_of"] = mean_of
    took = ("training", f"{seconds:.1f} s")
    cli_convert.write(network, dataset, source, out, samples, took, balanced=balance)


@app.command()
def run(
    model: ModelFile,
    images: ImagesFile,
    out: Annotated[Path, typer.Option("--out", metavar="R.npz", help="Where to write the counts.")],
    samples: Samples = 16,
    seed: Seed = 0,
    device: DeviceOption = "golden",
    geometry: DeviceGeometryOption = None,
    margin: Margin = None,
    margins: Margins = None,
    logits: Annotated[bool, typer.Option("--logits", help="Keep the logits of every sample too.")] = False,
    shards: Annotated[
        str | None,
        typer.Option(
            "--shards",
            metavar="I/N",
            help="Only part I of N of the samples; synflip merge puts the parts together.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run a compiled model on images and write the votes.

    R.npz holds votes int32 [N, C], logit_sums int64 [N, C], used int32 [N] (samples that each image took part
    in), cycles int64 (of the accelerator; the golden model predicts them, -1 if the model does not fit), and
    with --logits logits int32 [S, N, C]. Images are read block by block: memory grows with their number only
    by their votes.

    Example: synflip run digits.safetensors --images x.npy --samples 16 --seed 1 --device golden --out r.npz

    Example: synflip run m.safetensors --images x.npy --samples 64 --seed 1 --shards 1/2 --out r1.npz
    """
    from synflip.files import check_output, replacing
    from synflip.shards import Part, file_digest, parse_shards, save_part

    check_output(out)
    stop = _stop(margin, margins, samples)
    part, first = None, 0
    if shards is not None:
        if stop is not None:
            raise SynflipError(
                "--shards goes without --margin: whether an image stays depends on all samples"
            )
        part = Part(*parse_shards(shards, samples), samples, seed, file_digest(model), file_digest(images))
        first, samples = part.first, part.past - part.first
    network, pixels = _open(model, images)
    machine = _geometry(geometry, network, device)
    result, seconds, clock = _infer(device, machine, network, pixels, samples, seed, stop, logits, first)
    with replacing(out) as partial:
        if part is None:
            result.save(partial)
        else:
            save_part(result, part, partial)
    rows = [
        *([] if part is None else [("part", f"{shards}, samples {part.first}..{part.past - 1}")]),
        ("images x samples", f"{len(pixels)} x {samples}"),
        ("samples used", f"{int(result.used.sum())} (mean {result.used.mean():.2f} an image)"),
        ("unanimous images", str(int((result.votes.max(1) == result.used).sum()))),
        (
            "cycles",
            f"{result.cycles:,}"
            if result.cycles >= 0
            else _why_no_cycles(network, machine, len(pixels), samples, stop, logits),
        ),
        ("time", f"{seconds:.2f} s"),
        ("wrote", str(out)),
    ]
    if clock:
        share = f"{result.cycles / clock:.1%} of {clock:,} cycles, images and results included"
        rows.insert(-2, ("engine busy", share))
    _table(f"{network.shape} on {device}, {machine.name}, seed {seed}", *rows)


@app.command()
def verify(
    model: ModelFile,
    images: ImagesFile,
    samples: Samples = 16,
    seed: Seed = 0,
    device: DeviceOption = "verilator",
    geometry: DeviceGeometryOption = None,
    margin: Margin = None,
    margins: Margins = None,
    logits: Annotated[
        bool, typer.Option("--logits/--no-logits", help="Compare the logits of every sample too.")
    ] = True,
) -> None:
    """Check that a device gives exactly the golden model's numbers.

    Compares the votes, the logits of every sample, their sums, the samples used and the cycle count. Exit
    status 0 if and only if all are equal; otherwise 1, and the first difference is printed. Without logits a
    run may take more samples, so the cycles may be others.

    Example: synflip verify digits.safetensors --images x.npy --samples 16 --seed 1 --geometry 64x8
    """
    from synflip.compare import compare

    stop = _stop(margin, margins, samples)
    network, pixels = _open(model, images, least=0)
    machine = _geometry(geometry, network, device)
    golden, *_ = _infer("golden", machine, network, pixels, samples, seed, stop, logits)
    other, seconds, _ = _infer(device, machine, network, pixels, samples, seed, stop, logits)
    comparison = compare(golden, other, device)
    rows = [
        (quantity, f"{different} of {comparison.compared[quantity]:,} differ")
        for quantity, different in comparison.different.items()
        if quantity != "cycles"
    ]
    rows += [
        ("cycles", f"{golden.cycles:,} predicted, {other.cycles:,} counted"),
        (
            "time",
            f"{seconds:.2f} s ({max(other.cycles, 0) / max(seconds, 1e-9):,.0f} engine cycles a second)",
        ),
        ("verdict", "equal" if comparison.equal else "DIFFERENT"),
    ]
    work = f"{len(pixels)} images x {samples} samples"
    _table(f"{network.shape}: {device} against golden, {machine.name}, {work}", *rows)
    if comparison.first:
        raise SynflipError(f"first difference: {comparison.first}")


@app.command()
def fuzz(
    minutes: Annotated[
        float, typer.Option("--minutes", metavar="N", min=0, help="How long; a case is never cut short.")
    ] = 1.0,
    seed: Annotated[
        int,
        typer.Option("--seed", metavar="K", min=0, help="Seed of the cases: the same seed, the same cases."),
    ] = 0,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for failures; made when there is one.")
    ] = Path("synflip-fuzz"),
    device: DeviceOption = "verilator",
    first: Annotated[
        int, typer.Option("--first", metavar="G", min=0, help="Start with accelerator G of this seed.")
    ] = 0,
) -> None:
    """Look for a difference between a device and the golden model in random cases.

    Draws an accelerator, runs 100 random models on it, draws the next. A failure is made as small as it can
    be, and saved with the command that replays it. Exit status 0 if and only if there was none.

    Example: synflip fuzz --minutes 10 --seed 1
    """
    from synflip.progress import bar, waiting

    with waiting("Loading torch"):
        from synflip.coverage import BINS
        from synflip.fuzz import Session

    session = Session(seed, device, out, first)
    with bar(f"Fuzzing {device}") as advance:
        session.run(minutes * 60, advance)
    _table(
        f"fuzz: {device} against golden, seed {seed}",
        ("cases", f"{session.cases} on {session.accelerators} accelerators, {session.rate:.1f} a second"),
        ("coverage", f"{len(BINS) - len(session.missed)} of {len(BINS)} bins"),
        ("not reached", "; ".join(session.missed) or "none"),
        ("failures", str(len(session.findings))),
        *((f"{finding.folder}", finding.difference) for finding in session.findings),
    )
    for finding in session.findings:
        _console().print(finding.command, soft_wrap=True)
    if session.findings:
        raise SynflipError(f"{len(session.findings)} failures, saved in {out}")


@app.command()
def verilog(
    out: Annotated[Path, typer.Option("--out", metavar="top.v", help="Where to write the Verilog.")],
    geometry: GeometryOption = "64x8",
    bits: Bits = 4,
    activation_bits: ActivationBits = 8,
    front: Annotated[
        FrontName,
        typer.Option(
            "--front", help="bare: streams of requests and answers. axi: AXI4-Lite and AXI4-Stream."
        ),
    ] = FrontName.bare,
) -> None:
    """Write the accelerator as one Verilog file, for any FPGA tool.

    Nothing about a network is in it: any model that fits is loaded later, through the memory map. The top
    module is synflip, with --front axi synflip_axi.

    Example: synflip verilog --geometry 64x8 --bits 4 --out top.v
    """
    from synflip.files import check_output, replacing
    from synflip.progress import waiting
    from synflip.spec.geometry import Geometry

    machine = Geometry.parse(geometry, bits=bits, activation_bits=activation_bits)
    check_output(out)
    with waiting(f"Elaborating {machine.name}"):
        from synflip_hdl.verilog import convert, convert_axi

        text = (convert_axi if front == FrontName.axi else convert)(machine)
    with replacing(out) as partial:
        partial.write_text(text)
    _table(
        f"{machine.name}, k = {bits}, A = {activation_bits}",
        ("lines", f"{text.count(chr(10)):,}"),
        ("wrote", str(out)),
    )


@app.command(name="map")
def memory_map(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write it.")],
    format: Annotated[
        MapFormat, typer.Option("--format", help="md: tables. c: a C header. rdl: SystemRDL 2.0.")
    ] = MapFormat.md,
) -> None:
    """Write the accelerator's memory map: for people, for C programs, or for register tools.

    Example: synflip map --format c --out synflip.h
    """
    from synflip.files import check_output, replacing
    from synflip.map_export import FORMATS

    check_output(out)
    with replacing(out) as partial:
        partial.write_text(FORMATS[format.value]())
    _table("Memory map", ("format", format.value), ("wrote", str(out)))


@app.command()
def netlist(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for what it writes.")],
    family: Annotated[FamilyName, typer.Option("--family", help="The FPGA family.")] = FamilyName.ecp5,
    geometry: GeometryOption = "16x1",
    bits: Bits = 4,
    activation_bits: ActivationBits = 8,
) -> None:
    """Synthesize the accelerator to the cells of an FPGA family, and count them.

    Writes into DIR the Verilog (synflip.v), the netlist (netlist.v) and its cell counts (cells.json). The
    memories are small ones, those of the netlist devices.

    Example: synflip netlist --family ecp5 --geometry 16x1 --bits 4 --out out/netlist
    """
    from synflip.progress import waiting
    from synflip.spec.geometry import Geometry

    machine = Geometry.parse(geometry, bits=bits, activation_bits=activation_bits)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SynflipError(f"cannot make the folder {out}: {error.strerror}") from None
    with waiting(f"Synthesizing {machine.name} for {family}"):
        from synflip_sim.netlist import Family, small, synthesize

        counts = synthesize(small(machine), Family(family.value), out)
    _table(
        f"{machine.name}, k = {bits}, A = {activation_bits}, {family}",
        *((cell, f"{count:,}") for cell, count in counts.items()),
        ("wrote", str(out)),
    )


@app.command()
def images(
    data: Annotated[DataName, typer.Argument(help="The data set.")],
    out: Annotated[Path, typer.Option("--out", metavar="X.npy", help="Where to write the images.")],
    count: Annotated[
        int | None, typer.Option("--count", metavar="N", min=1, help="Only the first N.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="Y.npy", help="Write their labels here.")
    ] = None,
) -> None:
    """Write test images of a data set as the .npy file that run and verify read.

    Example: synflip images digits --count 200 --out x.npy --labels y.npy
    """
    from synflip.data import load
    from synflip.files import check_output, write_array

    for path in (out, labels):
        if path is not None:
            check_output(path)
    dataset = load(data.value)
    write_array(out, dataset.test_images[:count])
    if labels is not None:
        write_array(labels, dataset.test_labels[:count])
    _table(
        f"{dataset.title}, test images",
        ("images", f"uint8 {list(dataset.test_images[:count].shape)}, pixels 0..{dataset.input_max}"),
        ("wrote", str(out) if labels is None else f"{out}, {labels}"),
    )


@app.command()
def simulate(
    geometry: Annotated[
        str | None,
        typer.Option(
            "--geometry",
            metavar="PxQ",
            help="Size of the accelerator: P lanes (16..128), Q banks (1, 2, 4, 8). Word sizes and memories "
            "may follow: 16x2,bits=3,image_slots=4. Without it: 16x2, or the board's own.",
            show_default=False,
        ),
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option(
            "--bits", metavar="K", help="Bits of a coin's probability: 4, or the board's.", show_default=False
        ),
    ] = None,
    board: Annotated[
        str | None,
        typer.Option(
            "--board",
            metavar="BOARD",
            help="A whole board, pin by pin, with its UART, PLL and reset: synflip boards lists them.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Give the simulated accelerator a serial port, to try hosts on that know nothing of simulators.

    Prints the name of a pseudo-terminal with the accelerator's UART behind it, and serves it until Ctrl-C.
    With a board, the name has a baud rate that makes hosts as patient as the simulation is slow.

    Example: synflip simulate --geometry 16x2

    Example: synflip simulate --board ulx3s-85f --geometry 16x2
    """
    import time

    from synflip_sim.pty_device import PtyDevice, PtyServer
    from synflip_sim.verilator import progress

    from synflip.spec.geometry import Geometry

    simulator: PtyServer
    rate = ""
    if board is None:
        simulator = PtyDevice(
            Geometry.parse(geometry or "16x2", bits=4 if bits is None else bits), say=progress()
        )
    else:
        from synflip_hdl.boards import find_board
        from synflip_sim.board import SLOW, BoardDevice

        chosen = find_board(board)
        simulator = BoardDevice(chosen, chosen.sized(geometry, bits, 0), say=progress())
        rate = f"@{SLOW}"
    with simulator:
        print(f"{simulator.path}{rate}", flush=True)
        while True:
            time.sleep(1)


app.add_typer(cli_convert.app)
app.add_typer(cli_coins.app)
app.add_typer(cli_boards.app)
app.add_typer(cli_selftest.app)
app.add_typer(cli_margins.app)
app.add_typer(cli_merge.app)
app.add_typer(cli_bench.app)
app.add_typer(cli_evaluate.app)
app.add_typer(cli_paper.app)


@app.command()
def info(model: ModelFile) -> None:
    """Say what is in a compiled model: its shape, its numbers, and where it came from.

    Example: synflip info digits.safetensors
    """
    from synflip.modelfile import load

    network = load(model)
    features = network.features
    synapses = sum(layer.q.size for layer in network.layers)
    silent = sum(int((layer.q == 0).sum()) for layer in network.layers)
    _table(
        str(model),
        ("shape", network.shape),
        ("synapses", f"{synapses:,}, of which {silent:,} never come up heads"),
        ("probability bits k", str(network.bits)),
        ("activation bits A", str(network.activation_bits)),
        ("shifts", ", ".join(str(shift) for shift in network.shifts) or "none"),
        ("pixels", f"0..{network.input_max}" if features is None else f"0..{features.input_max}"),
        *(() if features is None else (("features", _features(features)),)),
        ("classes", ", ".join(network.classes[:16]) + (", ..." if len(network.classes) > 16 else "")),
        *((f"source: {key}", str(value)) for key, value in network.source.items()),
    )


def _features(features: "Features") -> str:
    """For people."""
    channels, height, width = features.shape
    there = "" if features.extractor else "; the file that makes them is not there"
    return f"of {channels}x{height}x{width} pixels, in steps of 2^{features.log2_step}{there}"


def _hidden(text: str) -> list[int]:
    """``512,512`` to numbers."""
    if text.strip() in ("", "none"):
        return []
    parts = text.split(",")
    if not all(part.strip().isdecimal() and len(part) < 8 for part in parts):
        raise SynflipError(f"--hidden {text!r} is not a list of layer sizes, such as 512,512")
    return [int(part) for part in parts]


def _numbers(name: str, text: str) -> list[int]:
    """``0,3,3`` to numbers."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() and len(part) <= 18 for part in parts):
        raise SynflipError(f"{name} {text!r} is not a list of numbers, such as 0,3,3")
    return [int(part) for part in parts]


def _stop(margin: int | None, margins: str | None, samples: int) -> int | list[int] | None:
    """What --margin and --margins say; of a file's margins, as many as there are samples."""
    if margins is None:
        return margin
    if margin is not None:
        raise typer.BadParameter("--margin and --margins exclude each other")
    if Path(margins).is_file():
        with Path(margins).open("rb") as file:
            text = file.read(MAX_MARGINS_BYTES).decode(errors="replace").strip()
        return _numbers(f"--margins {margins}:", text)[:samples]
    return _numbers("--margins", margins)


def _open(model: Path, images: Path, least: int = 1) -> "tuple[CompiledModel, Images]":
    """Both files, checked against each other; at least ``least`` images."""
    from synflip.image_file import open_images
    from synflip.modelfile import load

    network, pixels = load(model), open_images(images, least)
    network.check_images(pixels)  # before a simulator is built
    return network, pixels


def _geometry(text: str | None, model: "CompiledModel", device: str = "golden") -> "Geometry":
    """An accelerator of the size asked for, or else of the device's own, with the bits that the model has; of
    hardware the one that it is."""
    from synflip.device import is_port, open_device
    from synflip.spec.geometry import Geometry

    if is_port(device):
        if text is not None:
            raise SynflipError(f"the accelerator at {device} says itself what it is: leave out --geometry")
        with open_device(device) as accelerator:
            return accelerator.geometry
    text = text or ("16x1" if device.startswith("netlist:") else "64x8")
    geometry = Geometry.parse(text, bits=model.bits, activation_bits=model.activation_bits)
    if device.startswith("netlist:"):
        from synflip_sim.netlist import small

        return small(geometry)
    return geometry


def _infer(
    name: str,
    geometry: "Geometry",
    model: "CompiledModel",
    pixels: "Images",
    samples: int,
    seed: int,
    margin: int | list[int] | None,
    logits: bool,
    first: int = 0,
) -> "tuple[Result, float, int]":
    """The result of samples from ``first`` on, the seconds that inference took, and the cycles of the
    simulated clock, 0 if there is none. margin: of every sample, or one for each."""
    from functools import partial

    import numpy as np

    from synflip.compare import check_logits
    from synflip.device import open_device
    from synflip.plan import plan
    from synflip.progress import bar, waiting
    from synflip.request import check_request

    limits = np.array(margin, dtype=np.int64) if isinstance(margin, list) else margin
    check_request(samples, seed, None)
    if name != "golden":
        # What does not fit is refused before a simulator is built.
        plan(model, geometry, len(pixels), samples, margin is not None, logits)
    if logits:
        check_logits(samples, len(pixels), len(model.classes))
    with waiting(f"Opening {name}, {geometry.name} (the first time, this builds it)"):
        device = open_device(name, geometry)
    with device:
        with waiting("Loading the model"):
            device.load(model)
        with bar(f"Flipping coins: {name}") as advance:
            transport = getattr(device, "transport", None)
            start, began = time.perf_counter(), getattr(transport, "cycles", 0)
            infer = partial(device.infer, first=first) if first else device.infer
            result = infer(pixels, samples, seed, limits, logits, advance)
            clock = getattr(transport, "cycles", 0) - began
            return result, time.perf_counter() - start, clock


def _why_no_cycles(
    model: "CompiledModel",
    geometry: "Geometry",
    images: int,
    samples: int,
    margin: int | list[int] | None,
    logits: bool,
) -> str:
    from synflip.plan import plan

    try:
        plan(model, geometry, images, samples, margin is not None, logits)
    except SynflipError as error:
        return f"not predicted: {error}"
    return "not predicted"


def _fail(message: str, status: int) -> int:
    print(f"error: {_printable(message)}", file=sys.stderr)
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (that of the process if None); its exit status."""
    try:
        status = app(args=arguments, prog_name="synflip", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        return _fail(error.format_message(), error.exit_code)
    except SynflipError as error:
        return _fail(str(error), 1)
    except MemoryError:
        return _fail("not enough memory; take fewer images or samples", 1)
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(f"{error.filename or 'input or output'}: {error.strerror or error}", 1)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    if status == INTERRUPTED:
        return _fail("interrupted", INTERRUPTED)
    return status or 0


if __name__ == "__main__":
    sys.exit(main())
