"""The commands bench and headline."""

from pathlib import Path
from typing import Annotated

import typer

from synflip.cli.options import JsonFile, Page, model_files, output_file
from synflip.errors import SynflipError

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
app = typer.Typer()


@app.command()
def bench(
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="F.json", parser=output_file, help="Findings; pictures and networks beside it."
        ),
    ],
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer and smaller cases, in minutes: to see what there is.")
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            metavar="PART,..",
            help="Of engine, balance, golden, convolutions, gpu, simulator, rivals, scale, memory, start, "
            "cluster.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME=M.safetensors",
            help="A network instead of one trained for this: mnist-512, mnist-200, fashion-512, digits.",
            show_default=False,
        ),
    ] = None,
    page: Page = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            "--pictures", metavar="DIR", help="Pictures here, not beside F.json.", show_default=False
        ),
    ] = None,
    json: JsonFile = None,
) -> None:
    """Measure the speed of the accelerator, the golden model and the simulator.

    engine: cycles beyond the ideal, and what each of them is lost to. balance: cycles that train --balance
    saves. golden: the golden model beside a plain torch loop. convolutions: beside torch's own. gpu: both
    loops on a GPU, if there is one. simulator: Verilator. rivals: Monte Carlo dropout in the C simulation of
    hls4ml, beside coins; it needs the extra benchmarks. scale: time against images, samples and layer sizes.
    memory: peak memory against the number of images. start: how long small commands take. cluster: one worker
    of a Dask cluster against two, what a task costs, and a plan for many. What is compared is measured in the
    same run. Parts that are in F.json already are not measured again.

    Example: synflip bench --quick --out out/bench.json

    Example: synflip bench --out out/bench.json --only engine,scale
    """
    from synflip.cli.console import say, show, table, write_json
    from synflip.data.registry import files as data_files
    from synflip.report.sections import find_section, replace_section
    from synflip.report.tables import section
    from synflip.util.extras import require
    from synflip.util.outputs import check_folder, check_new, check_outputs, replacing
    from synflip.util.progress import bar, waiting

    require("matplotlib")  # before the work, not after it
    given = _given(model or [])
    networks = out.with_suffix("")
    if networks == out:
        raise SynflipError(f"--out {out} is where the networks go: give it an ending, such as .json")
    read = [*data_files(), *(file for path in given.values() for file in model_files(path))]
    check_outputs([out, page, json], read)
    if pictures is not None:
        check_folder(pictures)
    with waiting("Loading torch"):
        from synflip.benchmarks import machine, registry
        from synflip.benchmarks.findings import Findings
        from synflip.benchmarks.networks import QUICK_NOTE, Models
        from synflip.benchmarks.plots import PLOTS
        from synflip.benchmarks.tables import TABLES
    names = registry.chosen(only, say)
    folder, stem = (out.parent, out.stem) if pictures is None else (pictures, "performance")
    drawn = {name: folder / f"{stem}-{name}.png" for name in names if name in PLOTS}
    check_outputs([out, page, json, *drawn.values()], read)
    if pictures is None and not out.exists():
        check_new(drawn.values(), "this bench")
    if page is not None:
        for name in names:
            find_section(page, registry.page_section(name))
    findings = Findings(out, machine.describe(), quick)
    with bar("Benching") as advance:
        place = (0, 1)

        def step(done: int, total: int, word: str) -> None:
            nonlocal place
            place = (done, total)
            advance(done, total, word)

        models = Models(networks, quick, given, say=lambda word: advance(*place, word))
        registry.run(findings, names, models, step)
    described = machine.describe()
    table("Machine", *((key, str(value)) for key, value in described.items()))
    for name in names:
        found = findings.parts[name]
        tables = TABLES[name](found)
        show(*tables)
        if page is not None:
            text = section(tables)
            where = _where(findings.head["machine"], found["load"])
            replace_section(
                page, registry.page_section(name), f"{text}\n\n{where}" + f"\n\n*{QUICK_NOTE}*" * quick
            )
        if name in drawn:
            with replacing(drawn[name]) as partial:
                PLOTS[name](found, partial)
    write_json(json, {**findings.head, "parts": {name: findings.parts[name] for name in names}})
    if quick:
        say(QUICK_NOTE)
    table("Findings", ("wrote", str(out)))


@app.command()
def headline(
    builds: Annotated[list[Path], typer.Argument(metavar="DIR ...", help="Folders of builds.")],
    networks: Annotated[
        Path,
        typer.Option(
            "--networks",
            metavar="DIR",
            help="Folder of compiled networks, as synflip boards --networks and synflip train write them.",
        ),
    ],
    page: Page = None,
    json: JsonFile = None,
) -> None:
    """Say what builds do with networks, beside published accelerators.

    For each build and each network with its k and A: samples a second, latencies, with early stopping too,
    operations and coins a second, a bound of the energy, accuracy and calibration. They are predicted by the
    cycle model over all test images; clock, LUTs and block RAMs are those of the build's report. A network in
    a file with the name of a board counts for this board only.

    Example: synflip headline out/ulx3s out/ulx3s-2 --networks out/networks --page docs/results/headline.md
    """
    from synflip.cli.console import show, write_json
    from synflip.report.sections import find_section, replace_section
    from synflip.report.tables import section
    from synflip.util.outputs import check_outputs
    from synflip.util.progress import bar, waiting

    read = [path for folder in (*builds, networks) for path in folder.glob("*") if path.is_file()]
    check_outputs([page, json], read)
    if page is not None:
        for name in ("ours", "published"):
            find_section(page, name)
    with waiting("Loading torch"):
        from synflip.benchmarks.headline import figures, tables
    built, models = [figures.Build.read(folder) for folder in builds], figures.read_networks(networks)
    with bar("Headline") as advance:
        found = figures.run(built, models, advance)
    parts = {"ours": tables.ours(built, found), "published": [tables.published()]}
    for name, part in parts.items():
        show(*part)
        if page is not None:
            replace_section(page, name, section(part))
    write_json(json, {"builds": [item.numbers() for item in found]})


def _where(machine: object, load: list[float | None]) -> str:
    assert isinstance(machine, dict)
    return (
        f"*{machine['processor']}, {machine['cores']} cores, torch {machine['torch']}; processes that wanted "
        f"a core at the beginning and at the end: {load[0]}, {load[1]}.*"
    )


def _given(options: list[str]) -> dict[str, Path]:
    given = {}
    for text in options:
        name, equals, path = text.partition("=")
        if not equals:
            raise SynflipError(f"--model {text!r} is not NAME=M.safetensors")
        given[name] = Path(path)
    return given
