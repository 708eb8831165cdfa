"""The commands that are about coins: their evidence, their cost, and the tunnel junctions that make them."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from synflip.cli.console import columns, table
from synflip.cli.options import Page
from synflip.errors import SynflipError

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
if TYPE_CHECKING:
    from synflip.data.dataset import Dataset
    from synflip.devices.accelerator import Accelerator
    from synflip.spec.model import CompiledModel

app = typer.Typer()


class NetworkName(StrEnum):
    """Networks that coins are tried on: the data that they are trained on."""

    digits = "digits"
    mnist = "mnist"
    fashion = "fashion-mnist"


Seed = Annotated[int, typer.Option("--seed", metavar="K", min=0, help="Seed of the coins.")]


@app.command()
def coins(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for coins.md and coins.png.")
    ] = Path("out/coins"),
    samples: Annotated[
        int, typer.Option("--samples", metavar="S", min=100, help="Network samples of each source.")
    ] = 100_000,
    data: Annotated[
        NetworkName, typer.Option("--data", help="Train the network on this data; digits needs no files.")
    ] = NetworkName.digits,
    count: Annotated[int, typer.Option("--images", metavar="N", min=1, help="Test images.")] = 16,
    keys: Annotated[
        int, typer.Option("--keys", metavar="N", min=1000, help="Keys of each source that are tested.")
    ] = 1_000_000,
    seed: Seed = 1,
    page: Page = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="X.png", help="Write coins.png here too.")
    ] = None,
) -> None:
    """Test the coins of every key source, and what they do to a network, against ideal coins.

    Trains a small network. Takes a minute or two a source; --samples 3000 --keys 30000 is a quick look. Exit
    status 0 if and only if the fair sources pass and the unfair ones, there to show that the tests can fail,
    do not.

    Example: synflip coins --out out/coins
    """
    from synflip.report.sections import find_section, replace_section
    from synflip.util.atomic import check_output, make_folder, replacing
    from synflip.util.progress import bar, waiting

    make_folder(out)
    if page is not None:
        find_section(page, f"coins {data}")
    if picture is not None:
        check_output(picture)
    with waiting("Loading torch"):
        from synflip.randomness import report as coins_report
    dataset, model = _network(data)
    pixels, labels = dataset.test_images[:count], dataset.test_labels[:count]
    with bar("Stepping and jumping") as advance:
        agree = coins_report.jumps_agree(
            seed, coins_report.JUMPS, lambda done: advance(done, coins_report.JUMPS)
        )
    evidence, ideal = coins_report.gather(model, pixels, samples, keys, seed)
    settings = f"--samples {samples} --images {len(pixels)} --keys {keys} --seed {seed}"
    command = f"synflip coins --data {data} {settings}"
    network = f"a trained {model.shape} network ({data}, k = {model.bits})"
    text = coins_report.summary(evidence, ideal, labels, network, command, keys, agree)
    with replacing(out / "coins.md") as partial:
        partial.write_text(f"# Evidence on the coins\n\n{text}\n{coins_report.details(evidence)}")
    for path in (out / "coins.png", picture):
        if path is not None:
            coins_report.draw(evidence, ideal, path)
    if page is not None:
        replace_section(page, f"coins {data}", text)
    rows = [(item.source.name, "fair" if item.fair else "not fair") for item in evidence]
    table("Coins", *rows, ("jumps", "agree" if agree else "DIFFERENT"), ("wrote", str(out)))
    if not agree or any(item.fair != item.source.fair for item in evidence):
        raise SynflipError(f"a verdict is not the one expected: see {out / 'coins.md'}")


@app.command(name="coin-cost")
def coin_cost(
    out: Annotated[Path, typer.Option("--out", metavar="X.md", help="Where to write the table.")] = Path(
        "coin-cost.md"
    ),
    page: Page = None,
) -> None:
    """Count the cells of coins: the contract's words against simpler schemes, of which some are not fair.

    Synthesizes one bank of 64 lanes for an ECP5, with each scheme. Takes half a minute.

    Example: synflip coin-cost --out coin-cost.md
    """
    from synflip.report.sections import find_section, replace_section
    from synflip.util.atomic import check_output, replacing
    from synflip.util.progress import bar, waiting

    check_output(out)
    if page is not None:
        find_section(page, "coin-cost")
    with waiting("Loading the gateware"):
        from synflip_hdl.flow import coin_cost as cost
    with bar("Synthesizing") as advance:
        costs = cost.measure(advance)
    text = cost.markdown(costs, "synflip coin-cost")
    with replacing(out) as partial:
        partial.write_text(text)
    if page is not None:
        replace_section(page, "coin-cost", text)
    rows = [(scheme.name, f"{bank.luts:,} LUT4, {bank.flip_flops:,} flip-flops") for scheme, bank, _ in costs]
    table("Coins of a bank of 64 lanes", *rows, ("wrote", str(out)))


@app.command()
def calibrate(
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="NAME",
            help="verilator: simulated junctions. /dev/ttyUSB0 or COM3, with @BAUD after it if it is not "
            "3000000: the hardware at a serial port.",
        ),
    ] = "verilator",
    geometry: Annotated[
        str | None,
        typer.Option(
            "--geometry",
            metavar="PxQ,devices=N",
            help="Of a simulated accelerator. Without it: 16x2,devices=8.",
            show_default=False,
        ),
    ] = None,
    junctions: Annotated[
        str,
        typer.Option(
            "--junctions",
            metavar="NAME=N,..",
            help="Of simulated ones: seed, mismatch, drift, temperature, correlation, stuck (a device), ...",
        ),
    ] = "mismatch=0.005,drift=0.001,correlation=0.02",
    captures: Annotated[
        int, typer.Option("--captures", metavar="N", min=1, help="Times 16,384 raw bits of each device.")
    ] = 8,
    target: Annotated[
        float, typer.Option("--target", metavar="H", help="Min-entropy that a folded bit shall have.")
    ] = 0.999,
    least_entropy: Annotated[
        float,
        typer.Option("--least-entropy", metavar="H", help="A device whose raw bits have less is left out."),
    ] = 0.5,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="X.json", help="Write it as JSON, for read_settings.")
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write the settings into the accelerator, until it is reset.")
    ] = False,
) -> None:
    """Measure every tunnel junction through the accelerator, and propose settings for the source of keys.

    Captures raw bits of each device; prints its bias and correlation with half their 95 % intervals; its
    min-entropy by SP 800-90B's most-common-value and Markov estimates; how many bits should be XORed into
    one; the cut-offs of its health tests; and which devices to leave out. Exit status 1 if none is any good,
    or if --apply leaves a bad one at work.

    Example: synflip calibrate --device verilator --geometry 16x2,devices=5 --junctions mismatch=0.01,stuck=3

    Example: synflip calibrate --device /dev/ttyUSB0 --out junctions.json --apply
    """
    from synflip.randomness import calibration
    from synflip.util.atomic import check_output
    from synflip.util.progress import bar, waiting

    if out is not None:
        check_output(out)
    with waiting(f"Opening {device} (the first time, this builds it)"):
        accelerator = _with_junctions(device, geometry, junctions)
    with accelerator:
        with bar("Capturing raw bits") as advance:
            found = calibration.calibrate(accelerator, captures, target, least_entropy, advance)
        heads, rows = calibration.table(found)
        columns(f"{accelerator.geometry.devices} tunnel junctions of {accelerator.name}", heads, *rows)
        if out is not None:
            found.save(out)
        left = calibration.apply(accelerator, found) if apply and found.settings else []
    settings = found.settings
    if settings is None:
        raise SynflipError("no junction is any good")
    registers = settings.words(len(found.devices))
    table(
        "Proposed" + (", and written" if apply else ""),
        *((name, str(value)) for name, value in registers.items()),
        ("claimed min-entropy of a raw bit", f"{settings.min_entropy:g}"),
        *((f"leave out {one.device}", one.left_out) for one in found.devices if one.left_out),
        *([("wrote", str(out))] if out is not None else []),
    )
    if left:
        names = ", ".join(map(str, left))
        raise SynflipError(f"the health tests do not cut out {names}, which should be: disconnect them")


@app.command()
def rates(
    data: Annotated[
        NetworkName, typer.Option("--data", help="Train the network on this data; digits needs no files.")
    ] = NetworkName.digits,
    geometry: Annotated[
        list[str], typer.Option("--geometry", metavar="PxQ", help="Accelerators; may come again.")
    ] = ["16x1", "32x4", "64x8"],  # noqa: B006
    images: Annotated[
        list[int], typer.Option("--images", metavar="N", min=1, max=256, help="Batches; may come again.")
    ] = [1, 16, 64, 256],  # noqa: B006
    rate: Annotated[
        list[float],
        typer.Option("--rate", metavar="MBIT", min=0.001, help="Mbit/s of a junction; may come again."),
    ] = [5.0, 25.0],  # noqa: B006
    clock: Annotated[float, typer.Option("--clock", metavar="MHZ", min=1, help="The accelerator's.")] = 100,
    fold: Annotated[
        int, typer.Option("--fold", metavar="N", min=1, max=15, help="Raw bits XORed into one.")
    ] = 3,
    measure: Annotated[
        bool, typer.Option("--measure", help="Simulate some cases too, and compare their cycles.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", metavar="X.md", help="Where to write the tables.")] = Path(
        "rates.md"
    ),
    page: Page = None,
) -> None:
    """Say how many tunnel junctions keep which accelerator busy with which batch, by the cycle model.

    Trains a small network. With --measure some runs with slow junctions are simulated; exit status 1 if one
    takes other than the predicted cycles, within a tolerance that is printed.

    Example: synflip rates --geometry 16x2 --images 16 --rate 10 --measure --out rates.md
    """
    from synflip.report.sections import find_section, replace_section
    from synflip.spec.geometry import Geometry
    from synflip.util.atomic import check_output, replacing
    from synflip.util.progress import bar, waiting

    check_output(out)
    if page is not None:
        find_section(page, f"rates {data}")
    machines = [Geometry.parse(text, image_slots=256) for text in geometry]
    with waiting("Loading torch"):
        from synflip.randomness import rates as model_of_rates
    dataset, model = _network(data)
    needs = []
    with bar("Counting cycles") as advance:
        total = len(machines) * len(images)
        for number, (machine, count) in enumerate(
            (machine, count) for machine in machines for count in images
        ):
            advance(number, total, f"{machine.name}, {count} images")
            pixels = dataset.test_images[:count]
            speeds = [value * 1e6 for value in rate]
            needs.append(model_of_rates.needed(model, machine, pixels, speeds, clock * 1e6, fold))
    measurements = []
    if measure:
        with bar("Simulating") as advance:
            for number, case in enumerate(model_of_rates.CASES):
                advance(number, len(model_of_rates.CASES), f"{case.devices} junctions, FOLD {case.fold}")
                measurements.append(case.measure(model, dataset.test_images))
    settings = [("data", data), *(("geometry", text) for text in geometry), *(("images", n) for n in images)]
    settings += [*(("rate", f"{value:g}") for value in rate), ("clock", f"{clock:g}"), ("fold", fold)]
    command = "synflip rates " + " ".join(f"--{name} {value}" for name, value in settings)
    command += " --measure" * measure
    network = f"a trained {model.shape} network ({data})"
    text = model_of_rates.markdown(needs, measurements, network, clock * 1e6, fold, command)
    with replacing(out) as partial:
        partial.write_text(text)
    if page is not None:
        replace_section(page, f"rates {data}", text)
    heads = ("accelerator", "images", "cycles a sample", *(f"{value:g} Mbit/s" for value in rate))
    columns(
        f"Junctions that keep an accelerator busy: {network}",
        heads,
        *(
            (
                need.geometry.name,
                str(need.images),
                f"{float(need.busy):,.0f}",
                *(f"{count:,}" for count in need.devices.values()),
            )
            for need in needs
        ),
    )
    if measurements:
        agree = sum(one.agrees for one in measurements)
        table("Simulated", ("as predicted", f"{agree} of {len(measurements)}"), ("wrote", str(out)))
        if agree != len(measurements):
            raise SynflipError(f"a run did not take the cycles that were predicted: see {out}")


def _with_junctions(device: str, geometry: str | None, text: str) -> "Accelerator":
    """The accelerator to be calibrated. Raises SynflipError if it has no junctions."""
    from synflip.devices.mtj_source import require_junctions
    from synflip.devices.registry import is_port, open_device
    from synflip.randomness.mtj_model import Junctions
    from synflip.spec.geometry import Geometry

    if is_port(device):
        if geometry is not None:
            raise SynflipError(f"the accelerator at {device} says itself what it is: leave out --geometry")
        accelerator = cast("Accelerator", open_device(device))
        try:
            require_junctions(accelerator)
        except SynflipError:
            accelerator.transport.close()
            raise
        return accelerator
    if device != "verilator":
        raise SynflipError(f"{device!r} has no tunnel junctions; there are verilator and serial ports")
    machine = Geometry.parse(geometry or "16x2,devices=8")
    if not machine.devices:
        raise SynflipError(
            f"verilator, {machine.name}, has no tunnel junctions: its keys come from an LFSR; "
            f"--geometry {machine.name},devices=8 has some"
        )
    from synflip_sim.simulators.verilator import open_verilator

    return open_verilator(machine, junctions=Junctions.parse(machine.devices, text))


def _network(name: NetworkName) -> "tuple[Dataset, CompiledModel]":
    """A data set and a small network that is trained on it: the demo's, or one with 128 hidden outputs."""
    from synflip.cli.demo import train_digits
    from synflip.compiler.compile import compile_network
    from synflip.data.registry import load
    from synflip.training.loop import default_epochs
    from synflip.training.train import train
    from synflip.util.progress import bar

    if name == NetworkName.digits:
        dataset, model, _ = train_digits()
        return dataset, model
    dataset = load(name.value)
    with bar(f"Training on {name}") as advance:
        network = train(
            dataset, [128], 4, 8, default_epochs(dataset), 1, progress=lambda s: advance(s.step, s.steps)
        )
    return dataset, compile_network(network, dataset.classes, dataset.input_max, {"data": name.value})
