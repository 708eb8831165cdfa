"""The command coin-cost: the FPGA cells that coins need."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from synflip.cli.console import table, write_json
from synflip.cli.options import JsonFile, Page, output_file

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
app = typer.Typer()


@app.command(name="coin-cost")
def coin_cost(
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="X.md", parser=output_file, help="Where to write the table."),
    ] = None,
    page: Page = None,
    json: JsonFile = None,
) -> None:
    """Count the cells that coins need: the contract's words, and simpler schemes, some of them unfair.

    Synthesizes one bank of 64 lanes for an ECP5, with each scheme. Takes half a minute to some minutes.

    Example: synflip coin-cost --out coin-cost.md
    """
    from synflip.report.sections import find_section, replace_section
    from synflip.util.outputs import check_outputs, write_text
    from synflip.util.progress import bar, waiting

    check_outputs([out, page, json])
    if page is not None:
        find_section(page, "coin-cost")
    with waiting("Loading the gateware"):
        from synflip_hdl.flow.coin_cost import GEOMETRY, markdown, measure
    with bar("Synthesizing") as advance:
        costs = measure(advance)
    text = markdown(costs, "synflip coin-cost")
    if out is not None:
        write_text(out, text)
    if page is not None:
        replace_section(page, "coin-cost", text)
    schemes = [
        {
            "name": scheme.name,
            "bank": asdict(bank),
            "source": None if source is None else asdict(source),
            "banks_of_a_source": scheme.banks,
        }
        for scheme, bank, source in costs
    ]
    write_json(json, {"lanes": GEOMETRY.lanes, "bits": GEOMETRY.bits, "schemes": schemes})
    rows = [(scheme.name, f"{bank.luts:,} LUT4, {bank.flip_flops:,} flip-flops") for scheme, bank, _ in costs]
    table("Coins of a bank of 64 lanes", *rows, *([("wrote", str(out))] if out is not None else []))
