"""The commands devices and selftest: which devices there are, and whether one works."""

from typing import TYPE_CHECKING, Annotated

import typer

from synflip.cli.console import columns, write_json
from synflip.cli.options import JsonFile
from synflip.errors import SynflipError
from synflip.util.text import printable

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
if TYPE_CHECKING:
    from synflip.devices.accelerator import Accelerator

app = typer.Typer()


@app.command()
def devices(json: JsonFile = None) -> None:
    """List the devices by name: those that are installed, the serial ports of this machine, and its
    accelerators on USB.

    A serial port is listed whether or not an accelerator answers there; synflip selftest asks it. Several
    devices share the work as pool:DEVICE,DEVICE.

    Example: synflip devices
    """
    from synflip.devices.registry import listed
    from synflip.util.outputs import check_outputs

    check_outputs([json])
    found = listed()
    write_json(json, {"devices": [{"name": name, "what": what} for name, what in found]})
    columns("Devices", ("name", "what it is"), *found)


@app.command()
def selftest(
    port: Annotated[
        str,
        typer.Argument(
            metavar="PORT",
            help="A serial port, /dev/ttyUSB0 or COM3, with @BAUD after it if it is not 3000000; an "
            "accelerator on USB, usb:SERIAL; or a simulated device, such as verilator:16x2.",
        ),
    ],
    out: JsonFile = None,
) -> None:
    """Test an accelerator: everything that it computes is compared with the golden model.

    Needs no files. Tests registers, the edges of the memories, coins from known keys and from its own, early
    stopping, a network in parts, the cycle counter, and that nonsense is refused. It overwrites what the
    accelerator held. Takes a second or two on a serial line of 3 Mbaud. Exit status 0 if and only if all is
    well.

    Example: synflip selftest /dev/ttyUSB0
    """
    from synflip.util.outputs import check_outputs
    from synflip.util.progress import bar, waiting

    check_outputs([out])
    with waiting("Loading torch"):
        from synflip.verification.selftest import ProbeStep, Report, selftest

    def line(step: ProbeStep) -> str:
        return f"{step.name:16}{'pass' if step.passed else 'FAIL'}  {printable(step.found)}"

    try:
        with waiting(f"Opening {port}"):
            device = _open(port)
        with device, bar("Testing") as advance:
            report = selftest(device, lambda step: advance.say(line(step)), advance)
    except SynflipError as error:
        step = ProbeStep("identity", False, str(error), 0.0)
        typer.echo(line(step))
        report = Report(port, "", (step,), {})
    write_json(out, report.as_dict())
    if report.line:
        counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in report.line.items())
        typer.echo(f"line: {counts}")
    if report.failed:
        raise SynflipError(f"the self-test of {port} failed: {', '.join(report.failed)}")
    typer.echo("passed")


def _open(port: str) -> "Accelerator":
    from synflip.devices.accelerator import Accelerator
    from synflip.devices.registry import DeviceName, open_device

    DeviceName.parse(port).single("selftest")
    device = open_device(port)
    if not isinstance(device, Accelerator):
        raise SynflipError(f"{port} is no accelerator: it would be compared with itself")
    return device
