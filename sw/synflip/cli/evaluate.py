"""The command evaluate."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from synflip.cli.console import show, table, write_json
from synflip.cli.model_data import load_for
from synflip.cli.options import (
    ClusterAddress,
    ClusterWorkers,
    Header,
    JsonFile,
    Label,
    ModelData,
    ModelFile,
    Page,
    Size,
    cluster_client,
    model_files,
    output_file,
    wants_cluster,
)

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
app = typer.Typer()


@app.command()
def evaluate(
    model: ModelFile,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for the numbers and the picture.")
    ],
    data: ModelData = None,
    label: Label = None,
    header: Header = True,
    size: Size = None,
    outside: Annotated[
        str | None,
        typer.Option(
            "--outside",
            metavar="NAME",
            help="Another data set, whose images are of none of the model's classes: how many are found?",
            show_default=False,
        ),
    ] = None,
    samples: Annotated[int, typer.Option("--samples", metavar="S", min=1, help="Network samples.")] = 64,
    seed: Annotated[int, typer.Option("--seed", metavar="K", min=0, help="Seed of the coins.")] = 0,
    page: Page = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture",
            metavar="FILE",
            parser=output_file,
            help="A second copy of the picture.",
            show_default=False,
        ),
    ] = None,
    cluster: ClusterAddress = None,
    workers: ClusterWorkers = None,
    json: JsonFile = None,
) -> None:
    """Measure a compiled model on all test images: accuracy, and what its uncertainty is worth.

    Runs the golden model: every device gives the same numbers. For 1, 2, 4, ... samples and five ways to make
    one answer of them: accuracy, likelihood, Brier score, calibration error, and how well entropy finds wrong
    answers; with --outside, how well it, mutual information and energy find out-of-distribution images.
    DIR gets evaluation.json and evaluation.png.

    Example: synflip evaluate mnist.safetensors --data mnist --outside fashion-mnist --out out/mnist
    """
    from synflip.data.registry import data_of
    from synflip.data.registry import files as data_files
    from synflip.modelfile.safetensors import load
    from synflip.report.sections import find_section, replace_section
    from synflip.report.tables import Table
    from synflip.util.extras import require
    from synflip.util.outputs import check_new, check_outputs, replacing, says
    from synflip.util.progress import bar, waiting

    require("matplotlib")  # before the work, not after it
    on_cluster = wants_cluster(cluster, workers)
    network = load(model)
    name = data_of(network) if data is None else data
    numbers, drawn = out / "evaluation.json", out / "evaluation.png"
    read = [*model_files(model), *data_files(name), *(data_files(outside) if outside is not None else ())]
    check_outputs([numbers, drawn, page, picture, json], read)
    if not says(numbers, '"aggregates": {'):
        check_new([numbers, drawn], "synflip evaluate")
    if page is not None:
        find_section(page, "evaluation")
    with waiting("Loading torch"):
        from synflip.data.registry import load as load_data
        from synflip.evaluation import evaluate as work
        from synflip.evaluation.plots import draw
    dataset = load_for(network, name, data is not None, label, header, size)
    outside_data = None if outside is None else load_data(outside)
    with ExitStack() as stack:
        device = None
        if on_cluster:
            from synflip.cluster import ClusterDevice

            device = ClusterDevice(stack.enter_context(cluster_client(cluster, workers)))
        advance = stack.enter_context(bar("Flipping coins"))
        found = work.evaluate(network, dataset, samples, seed, outside_data, advance, device)
    for path in (numbers, json):
        write_json(path, found.numbers)
    for path in (drawn, picture):
        if path is not None:
            with replacing(path) as partial:
                draw(found, partial)
    if page is not None:
        replace_section(page, "evaluation", work.markdown(found.numbers))
    heads = ("accuracy", "nll", "brier", "ece", "auroc", "aupr", "aurc")
    rows: list[list[Any]] = []
    for name, by_count in found.numbers["aggregates"].items():
        for count in dict.fromkeys(("1", str(samples))):
            row = [name, count, *(by_count[count][head] for head in heads)]
            if outside:
                row.append(found.numbers["outside"]["auroc"][name] if count == str(samples) else None)
            rows.append(row)
    title = f"{network.shape} on {dataset.title}, k = {network.bits}, S of {samples} samples, seed {seed}"
    columns = ("", "S", *heads, *(["outside"] if outside else []))
    show(Table(title, columns, rows))
    also = [
        (f"AUROC of {outside} by {name}", f"{auroc:.4f}")
        for name, auroc in found.numbers.get("outside", {}).get("auroc by", {}).items()
    ]
    if "foreign" in found.numbers:
        also.append(("foreign by energy (the model's threshold)", work.foreign_words(found.numbers)))
    also += [
        (f"second choice right, first wrong, {name}", f"{share:.1%}")
        for name, share in found.numbers["second choice"].items()
    ]
    table("Also", *also, ("wrote", f"{numbers} and evaluation.png"))
