"""The command fuzz."""

from pathlib import Path
from typing import Annotated

import typer

from synflip.cli.console import table, write_json
from synflip.cli.options import DeviceOption, JsonFile
from synflip.errors import SynflipError
from synflip.util.terminal import console

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
app = typer.Typer()


@app.command()
def fuzz(
    minutes: Annotated[
        float,
        typer.Option(
            "--minutes",
            metavar="N",
            min=0,
            help="How long. Only the first build and the shrinking of a failure may take longer.",
        ),
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
    json: JsonFile = None,
) -> None:
    """Look for a difference between a device and the golden model in random cases.

    Draws an accelerator, runs 100 random models on it, draws the next. A case that fails is made as small as
    possible, and saved with the command that replays it. Exit status 0 if and only if there was none.

    Example: synflip fuzz --minutes 10 --seed 1
    """
    from synflip.util.outputs import check_folder, check_outputs
    from synflip.util.progress import bar, waiting

    check_folder(out)
    check_outputs([json, out / "failure"])  # which stands for the folders of failures
    with waiting("Loading torch"):
        from synflip.verification.coverage import BINS
        from synflip.verification.fuzz import Session

    session = Session(seed, device, out, first)
    with bar(f"Fuzzing {device}") as advance:
        session.run(minutes * 60, advance)
    numbers = {
        "device": device,
        "seed": seed,
        "first": first,
        "cases": session.cases,
        "accelerators": session.accelerators,
        "cases_per_second": session.rate,
        "seconds": session.seconds,
        "bins": len(BINS),
        "not_reached": session.missed,
        "failures": [
            {"folder": str(item.folder), "difference": item.difference, "command": item.command}
            for item in session.findings
        ],
    }
    write_json(json, numbers)
    table(
        f"fuzz: {device} against golden, seed {seed}",
        ("cases", f"{session.cases} on {session.accelerators} accelerators, {session.rate:.1f} a second"),
        ("time", _time(session.seconds, minutes * 60)),
        ("coverage", f"{len(BINS) - len(session.missed)} of {len(BINS)} bins"),
        ("not reached", "; ".join(session.missed) or "none"),
        ("failures", str(len(session.findings))),
        *((f"{finding.folder}", finding.difference) for finding in session.findings),
    )
    for finding in session.findings:
        console().print(finding.command, soft_wrap=True)
    if session.findings:
        raise SynflipError(f"{len(session.findings)} failures, saved in {out}")


def _time(took: float, asked: float) -> str:
    late = took - asked
    over = f", {late:.0f} s more than asked for: a build or a failure's shrinking is not cut short"
    return f"{took:.0f} s{over if late >= 1 else ''}"
