"""The command coins: tests of the coins of every key source."""

from pathlib import Path
from typing import Annotated

import typer

from synflip.cli.console import table, write_json
from synflip.cli.options import JsonFile, Page, output_file
from synflip.errors import SynflipError
from synflip.workflows import NetworkName, train_small

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
app = typer.Typer()
TITLE = "# Evidence on the coins"


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
    seed: Annotated[int, typer.Option("--seed", metavar="K", min=0, help="Seed of the coins.")] = 1,
    page: Page = None,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="X.png", parser=output_file, help="Write coins.png here too."),
    ] = None,
    json: JsonFile = None,
) -> None:
    """Test the coins of every key source, and what they do to a network, against ideal coins.

    Trains a small network. Takes one to some minutes a source; --samples 3000 --keys 30000 is a quick look.
    Some sources are unfair: they show that the tests can fail. Exit status 0 if and only if the fair sources
    pass and the unfair ones do not.

    Example: synflip coins --out out/coins
    """
    from synflip.data.registry import files as data_files
    from synflip.report.sections import find_section, replace_section
    from synflip.util.extras import require
    from synflip.util.outputs import check_new, check_outputs, says, write_text
    from synflip.util.progress import bar, waiting

    require("matplotlib")  # before the work, not after it
    written, drawn = out / "coins.md", out / "coins.png"
    check_outputs([written, drawn, page, picture, json], data_files(data))
    if not says(written, TITLE):
        check_new([written, drawn], "synflip coins")
    if page is not None:
        find_section(page, f"coins {data}")
    with waiting("Loading torch"):
        from synflip.randomness import evidence as gathered
        from synflip.randomness import report
    dataset, model = train_small(data)
    pixels, labels = dataset.test_images[:count], dataset.test_labels[:count]
    with bar("Stepping and jumping") as advance:
        agree = gathered.jumps_agree(seed, gathered.JUMPS, lambda done: advance(done, gathered.JUMPS))
    evidence, ideal = gathered.gather(model, pixels, samples, keys, seed)
    settings = f"--samples {samples} --images {len(pixels)} --keys {keys} --seed {seed}"
    command = f"synflip coins --data {data} {settings}"
    network = f"a trained {model.shape} network ({data}, k = {model.bits})"
    text = report.summary(evidence, ideal, labels, network, command, keys, agree)
    write_text(written, f"{TITLE}\n\n{text}\n{report.details(evidence)}")
    for path in (drawn, picture):
        if path is not None:
            report.draw(
                evidence, ideal, f"{model.shape}, {data}: {len(pixels)} images, {samples:,} samples", path
            )
    if page is not None:
        replace_section(page, f"coins {data}", text)
    numbers = {
        "network": model.shape,
        "data": data.value,
        "bits": model.bits,
        "images": len(pixels),
        "samples": samples,
        "keys": keys,
        "seed": seed,
        "jumps_agree": agree,
        "sources": [item.numbers() for item in evidence],
    }
    write_json(json, numbers)
    rows = [(item.source.name, "fair" if item.fair else "not fair") for item in evidence]
    table("Coins", *rows, ("jumps", "agree" if agree else "DIFFERENT"), ("wrote", str(out)))
    if not agree or any(item.fair != item.source.fair for item in evidence):
        raise SynflipError(f"a verdict is not the one expected: see {written}")
