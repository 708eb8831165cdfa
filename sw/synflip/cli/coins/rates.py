"""The command rates: how many tunnel junctions keep an accelerator busy."""

from pathlib import Path
from typing import Annotated

import typer

from synflip.cli.console import columns, table, write_json
from synflip.cli.options import JsonFile, Page, output_file
from synflip.errors import SynflipError
from synflip.workflows import NetworkName, train_small

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
app = typer.Typer()


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
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="X.md", parser=output_file, help="Where to write the tables."),
    ] = None,
    page: Page = None,
    json: JsonFile = None,
) -> None:
    """Compute how many tunnel junctions keep an accelerator busy, for each size and batch.

    Trains a small network, and takes its cycles from the cycle model. With --measure some runs with slow
    junctions are simulated; exit status 1 if the cycles of one differ from the prediction by more than the
    tolerance that is printed.

    Example: synflip rates --geometry 16x2 --images 16 --rate 10 --measure --out rates.md
    """
    from synflip.data.registry import files as data_files
    from synflip.report.sections import find_section, replace_section
    from synflip.spec.geometry import Geometry
    from synflip.util.outputs import check_outputs, write_text
    from synflip.util.progress import bar, waiting

    check_outputs([out, page, json], data_files(data))
    if page is not None:
        find_section(page, f"rates {data}")
    machines = [Geometry.parse(text, image_slots=256) for text in geometry]
    with waiting("Loading torch"):
        from synflip.benchmarks.coin_rates import CASES, markdown
        from synflip.randomness.rates import needed
    dataset, model = train_small(data)
    needs = []
    with bar("Counting cycles") as advance:
        total = len(machines) * len(images)
        for number, (machine, count) in enumerate(
            (machine, count) for machine in machines for count in images
        ):
            advance(number, total, f"{machine.name}, {count} images")
            pixels = dataset.test_images[:count]
            speeds = [value * 1e6 for value in rate]
            needs.append(needed(model, machine, pixels, speeds, clock * 1e6, fold))
    measurements = []
    if measure:
        with bar("Simulating") as advance:
            for number, case in enumerate(CASES):
                advance(number, len(CASES), f"{case.devices} junctions, FOLD {case.fold}")
                measurements.append(case.measure(model, dataset.test_images))
    settings = [("data", data), *(("geometry", text) for text in geometry), *(("images", n) for n in images)]
    settings += [*(("rate", f"{value:g}") for value in rate), ("clock", f"{clock:g}"), ("fold", fold)]
    command = "synflip rates " + " ".join(f"--{name} {value}" for name, value in settings)
    command += " --measure" * measure
    network = f"a trained {model.shape} network ({data})"
    text = markdown(needs, measurements, network, clock * 1e6, fold, command)
    if out is not None:
        write_text(out, text)
    if page is not None:
        replace_section(page, f"rates {data}", text)
    numbers = {
        "network": model.shape,
        "data": data.value,
        "clock_hz": clock * 1e6,
        "fold": fold,
        "predicted": [need.numbers() for need in needs],
        "simulated": [one.numbers() for one in measurements],
    }
    write_json(json, numbers)
    heads = ("accelerator", "images", "cycles a sample", *(f"{value:g} Mbit/s" for value in rate))
    columns(
        f"Junctions that keep an accelerator busy, predicted by the cycle model at {clock:g} MHz: {network}",
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
        table("Simulated", ("as predicted", f"{agree} of {len(measurements)}"))
    if out is not None:
        table("Tables", ("wrote", str(out)))
    for one in measurements:
        if not one.agrees:
            raise SynflipError(
                f"a run of {one.images} images on {one.geometry.name} did not take the cycles that were "
                f"predicted: {one.counted}, not {one.predicted} or at most {one.within} more or less"
            )
