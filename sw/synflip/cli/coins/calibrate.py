"""The command calibrate: measure tunnel junctions, and propose settings for them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from synflip.cli.console import columns, table, write_json
from synflip.cli.options import JsonFile, output_file
from synflip.errors import SynflipError

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
if TYPE_CHECKING:
    from synflip.devices.accelerator import Accelerator

app = typer.Typer()


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
            help="Of simulated ones: seed, mismatch, drift, temperature, correlation, stuck (which one), ...",
        ),
    ] = "mismatch=0.005,drift=0.001,correlation=0.02",
    captures: Annotated[
        int, typer.Option("--captures", metavar="N", min=1, help="Times 16,384 raw bits of each junction.")
    ] = 8,
    target: Annotated[
        float, typer.Option("--target", metavar="H", help="Min-entropy that a folded bit shall have.")
    ] = 0.999,
    least_entropy: Annotated[
        float,
        typer.Option("--least-entropy", metavar="H", help="A junction whose raw bits have less is left out."),
    ] = 0.5,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="X.json", parser=output_file, help="Write it as JSON, for read_settings."
        ),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write the settings into the accelerator, until it is reset.")
    ] = False,
    json: JsonFile = None,
) -> None:
    """Measure every tunnel junction through the accelerator, and propose settings for the source of keys.

    Captures raw bits of each junction. Prints its bias and its correlation, each with half the width of the
    95 % interval; its min-entropy by the most-common-value and Markov estimates of SP 800-90B; how many bits
    should be XORed into one; the cut-offs of the health tests; and which junctions to leave out. Exit status
    1 if all junctions are bad, or if the health tests do not cut out a bad one after --apply.

    Example: synflip calibrate --device verilator --geometry 16x2,devices=5 --junctions mismatch=0.01,stuck=3

    Example: synflip calibrate --device /dev/ttyUSB0 --out junctions.json --apply
    """
    from synflip.randomness import calibration
    from synflip.util.outputs import check_outputs
    from synflip.util.progress import bar, waiting

    calibration.check_levels(target, least_entropy)
    check_outputs([out, json])
    with waiting(f"Opening {device} (the first time, this builds it)"):
        accelerator = _with_junctions(device, geometry, junctions)
    with accelerator:
        with bar("Capturing raw bits") as advance:
            found = calibration.calibrate(accelerator, captures, target, least_entropy, advance)
        heads, rows = calibration.table(found)
        columns(f"{accelerator.geometry.devices} tunnel junctions of {accelerator.name}", heads, *rows)
        if out is not None:
            found.save(out)
        write_json(json, found.numbers())
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


def _with_junctions(device: str, geometry: str | None, text: str) -> "Accelerator":
    """The accelerator to be calibrated. Raises SynflipError if it has no junctions."""
    from synflip.devices.mtj_source import require_junctions
    from synflip.devices.registry import DeviceName, open_device
    from synflip.randomness.mtj_model import JunctionModel
    from synflip.spec.geometry import Geometry

    name = DeviceName.parse(device)
    if name.port:
        if geometry is not None:
            raise SynflipError(f"the accelerator at {device} says itself what it is: leave out --geometry")
        accelerator = cast("Accelerator", open_device(device))
        try:
            require_junctions(accelerator)
        except SynflipError:
            accelerator.transport.close()
            raise
        return accelerator
    if name.kind != "verilator":
        raise SynflipError(f"{device!r} has no tunnel junctions; there are verilator and serial ports")
    if name.geometry is not None and geometry is not None:
        raise SynflipError(f"--device {device} has a geometry: leave out --geometry {geometry}")
    machine = Geometry.parse(geometry or name.geometry or "16x2,devices=8")
    if not machine.devices:
        raise SynflipError(
            f"verilator, {machine.name}, has no tunnel junctions: its keys come from an LFSR; "
            f"--geometry {machine.name},devices=8 has some"
        )
    from synflip_sim.simulators.verilator import open_verilator

    return open_verilator(machine, junctions=JunctionModel.parse(machine.devices, text))
