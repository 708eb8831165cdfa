"""The command selftest."""

from typing import TYPE_CHECKING, Annotated

import typer

from synflip.cli.console import write_json
from synflip.cli.options import JsonFile
from synflip.errors import SynflipError
from synflip.util.text import printable

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
if TYPE_CHECKING:
    from synflip.devices.accelerator import Accelerator

app = typer.Typer()


@app.command()
def selftest(
    port: Annotated[
        str,
        typer.Argument(
            metavar="PORT",
            help="A serial port, /dev/ttyUSB0 or COM3, with @BAUD after it if it is not 3000000; or a "
            "simulated device, such as verilator:16x2.",
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
        said = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in report.line.items())
        typer.echo(f"line: {said}")
    if report.failed:
        raise SynflipError(f"the self-test of {port} failed: {', '.join(report.failed)}")
    typer.echo("passed")


def _open(port: str) -> "Accelerator":
    from synflip.devices.accelerator import Accelerator
    from synflip.devices.registry import open_device

    device = open_device(port)
    if not isinstance(device, Accelerator):
        raise SynflipError(f"{port} is no accelerator: it would be compared with itself")
    return device
