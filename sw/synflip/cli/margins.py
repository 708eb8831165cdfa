"""The command margins."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synflip.cli.console import table as print_table
from synflip.cli.console import write_json
from synflip.cli.model_data import load_for
from synflip.cli.options import Header, JsonFile, Label, ModelData, ModelFile, Size, model_files, output_file
from synflip.errors import SynflipError

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
if TYPE_CHECKING:
    from synflip.spec.model import Images

app = typer.Typer()


@app.command()
def margins(
    model: ModelFile,
    data: ModelData = None,
    label: Label = None,
    header: Header = True,
    size: Size = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="X.npy",
            help="Instead of --data: these images; no labels.",
            show_default=False,
        ),
    ] = None,
    error: Annotated[
        float,
        typer.Option(
            "--error", metavar="E", help="How likely the wrong class may lead at most when an image leaves."
        ),
    ] = 0.001,
    samples: Annotated[int, typer.Option("--samples", metavar="S", min=2, help="Samples at most.")] = 64,
    seed: Annotated[int, typer.Option("--seed", metavar="K", min=0, help="Seed of the coins.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            parser=output_file,
            help="Write them here, for --margins of run.",
            show_default=False,
        ),
    ] = None,
    json: JsonFile = None,
) -> None:
    """Compute the lead of votes with which an image may leave after each sample, and try it.

    The rule is fitted to the votes of every second image, without labels, and tried on the other images. It
    is a symmetric beta distribution of the two leading classes' shares: docs/explanation/uncertainty.md.

    Example: synflip margins mnist.safetensors --data mnist --error 0.001 --samples 64 --out margins.txt
    """
    from synflip.data.registry import data_of, open_inputs
    from synflip.data.registry import files as data_files
    from synflip.modelfile.safetensors import load
    from synflip.util.outputs import check_outputs, write_text
    from synflip.util.progress import bar, waiting

    if data is not None and images is not None:
        raise typer.BadParameter("give --data or --images, one of them")
    network = load(model)
    name = data
    if data is None and images is None:
        name = data_of(network)
    check_outputs([out, json], [*model_files(model), images, *([] if name is None else data_files(name))])
    with waiting("Loading torch"):
        from synflip.evaluation import margins as rule
        from synflip.golden.cpu import Golden
    pixels: Images
    labels, title = None, network.shape
    if name is not None:
        dataset = load_for(network, name, data is not None, label, header, size)
        title += f" on {dataset.title}"
        pixels, labels = dataset.for_model(dataset.test_images, network), dataset.test_labels
    else:
        assert images is not None
        pixels = open_inputs(images, network, 2, header)
    if len(pixels) < 2:
        raise SynflipError("margins need at least 2 images: one half to fit them, one to try them")
    with Golden() as golden, bar("Flipping coins") as advance:
        golden.load(network)
        winners = rule.winners(golden, pixels, samples, seed, advance)
    classes = len(network.classes)
    shape = rule.fit_shape(rule.count(winners[:, ::2], classes))
    table = rule.margins(shape, samples, error)
    trial = rule.try_margins(winners[:, 1::2], table, classes, None if labels is None else labels[1::2])
    text = ",".join(map(str, table))
    rows = [
        ("shape a of the beta distribution", f"{shape:.4g}"),
        ("margins", text.replace(",", ", ")),
        ("samples an image, mean", f"{trial.samples:.3f} of {samples}"),
        ("class of the full vote", f"{trial.agrees:.4%} of {trial.images} other images"),
    ]
    if trial.accuracy is not None:
        rows.append(("accuracy", f"{trial.accuracy:.4%}, full vote {trial.full_accuracy:.4%}"))
    numbers = {"network": network.shape, "error": error, "samples": samples, "seed": seed, "shape": shape}
    write_json(json, {**numbers, "margins": list(map(int, table)), "trial": asdict(trial)})
    if out is not None:
        write_text(out, text + "\n")
        rows.append(("wrote", str(out)))
    print_table(f"{title}: early stopping, error {error:g}, counted on the golden model", *rows)
