"""The command report paper."""

from pathlib import Path
from typing import Annotated

import typer

from synflip.cli.console import say, write_json
from synflip.cli.options import (
    ClusterAddress,
    ClusterWorkers,
    DataName,
    Header,
    JsonFile,
    Label,
    Page,
    Size,
    cluster_client,
    output_file,
    picture_size,
    wants_cluster,
)
from synflip.errors import SynflipError

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
app = typer.Typer()
report = typer.Typer()
app.add_typer(report, name="report")
#: What it writes, beside what it keeps.
PAGES = ("index.html", "numbers.json", "numbers.csv")
DATA = "mnist,fashion-mnist,cifar10"


@report.callback(invoke_without_command=True)
def group(context: typer.Context) -> None:
    """Run many experiments and write one page about them."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@report.command()
def paper(
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Folder for the page, the numbers, and what was trained."),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="NAME|FILE,..",
            help=f"Data sets: {', '.join(DataName)}; or your own, F.npz, F.csv, F.parquet, or a folder of "
            f"pictures. Without it: {DATA}.",
            show_default=False,
        ),
    ] = None,
    label: Label = None,
    header: Header = True,
    size: Size = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            metavar="NAME,..",
            help="Run only these; what others found before is shown too.",
            show_default=False,
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Small networks on digits, in minutes, to see what there is."),
    ] = False,
    page: Page = None,
    cluster: ClusterAddress = None,
    workers: ClusterWorkers = None,
    json: JsonFile = None,
) -> None:
    """Run the experiments of the synaptic sampling paper, and more, and write a page about them.

    Takes hours. Finished parts are kept in DIR: after Ctrl-C the same command goes on. DIR gets index.html,
    which needs no network, and numbers.json and numbers.csv with the command and the commit of every number.
    With --cluster, whose machines must share DIR, or --workers each experiment on a data set is a task.

    Example: synflip report paper --quick --out out/quick

    Example: SYNFLIP_DATA=datasets synflip report paper --only headline,baselines --data mnist --out out/paper

    Example: synflip report paper --data wine.csv --label kind --out out/wine
    """
    import shlex

    from synflip.data.registry import files as data_files
    from synflip.util.extras import require
    from synflip.util.outputs import check_folder, check_new, check_outputs, says
    from synflip.util.progress import long_work, waiting

    require("jinja2", "matplotlib")  # before the work, not after it
    from synflip.experiments.pages.page import QUICK_WARNING, TITLE, commit, filled, into, write

    on_cluster = wants_cluster(cluster, workers)
    if page is not None and not page.is_file():
        raise SynflipError(f"{page} is missing; --page wants a page with sections to fill")
    names = _names("--data", ("digits" if quick else DATA) if data is None else data)
    files = [name for name in names if name not in list(DataName)]
    if missing := [name for name in files if not Path(name).exists()]:
        raise SynflipError(f"{missing[0]!r} is neither a file nor one of {', '.join(DataName)}")
    if not files and (label is not None or size is not None or not header):
        raise SynflipError("--label, --no-header and --size are of files, and --data names none")
    check_folder(out)
    pages = [out / name for name in PAGES]
    check_outputs(
        [page, json, *pages],
        [*data_files(), *(file for name in files for file in data_files(name))],
    )
    if not says(pages[0], f"<title>{TITLE}"):
        check_new(pages, "synflip report paper")
    with waiting("Loading torch"):
        from synflip.data.registry import load
        from synflip.experiments import datasets, registry
        from synflip.experiments.findings import ResultCache
        from synflip.experiments.networks import Context
        from synflip.experiments.recipes import QUICK, Budget
    own = {name: datasets.own(load(name, label, header, picture_size(size))) for name in files}
    chosen = None if only is None else _names("--only", only)
    run = {experiment.name for experiment in registry.chosen(chosen)}
    if page is not None and not filled(page, run):
        raise SynflipError(
            f"{page} has no section for what is run, such as one between <!-- begin paper {min(run)} --> and "
            f"<!-- end paper {min(run)} -->"
        )
    words = ["synflip report paper", *(["--quick"] if quick else [])]
    words += [f"--data {shlex.quote(','.join(names))}", *([f"--only {only}"] if only else [])]
    words += [f"--label {shlex.quote(label)}"] if label is not None else []
    words += [*([] if header else ["--no-header"]), *([f"--size {size}"] if size else [])]
    command, at = " ".join(words), commit()
    cache = ResultCache(out, command, at)
    asked = [own[name].name if name in own else name for name in names]
    with long_work("Report", begins=False) as advance:
        now = ("", 0, 1)

        def watch(what: str, number: int, total: int) -> None:
            nonlocal now
            now = (what, number, total)
            advance(number, total, what)

        def within(what: str, done: int, total: int) -> None:
            advance(now[1], now[2], f"{now[0]}: {what} {100 * done // max(total, 1)} %")

        context = Context(QUICK if quick else Budget(), cache, within, list(own.values()))
        if on_cluster:
            from synflip.experiments import clusters

            with cluster_client(cluster, workers) as shared:
                clusters.fill(shared, context, asked, chosen, watch, list(own.values()))
        sections = registry.run(context, asked, chosen, watch)
    warning = QUICK_WARNING if quick else ""
    rows = cache.rows()
    write(out, sections, rows, command, at, warning)
    write_json(json, {"command": command, "commit": at, "rows": rows})
    if warning:
        say(warning)
    for section in sections:
        say(f"{section.data}: {section.title}")
    say(f"wrote {out / 'index.html'}, numbers.json and numbers.csv")
    if page is not None:
        done = into(page, [section for section in sections if section.experiment in run])
        say(f"wrote {', '.join(done) or 'no section'} into {page}")


@report.command()
def opening(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS.md", help="The page that `synflip report paper --page` filled.")
    ],
    page: Annotated[
        Path, typer.Option("--page", metavar="FILE", help="Fill the section opening of this page.")
    ],
    picture: Annotated[
        Path, typer.Option("--picture", metavar="F.png", parser=output_file, help="Draw the picture here.")
    ],
    json: JsonFile = None,
) -> None:
    """Sum up the experiments' tables in one table and one picture. Nothing is run.

    Example: synflip report opening results.md --page uncertainty.md --picture uncertainty.png
    """
    from synflip.util.extras import require
    from synflip.util.outputs import check_outputs, replacing
    from synflip.util.progress import waiting

    require("matplotlib")
    check_outputs([page, picture, json], [results])
    with waiting("Loading torch"):
        from synflip.experiments.pages.opening import SECTION, draw, opening
        from synflip.report.sections import find_section, replace_section
    find_section(page, SECTION)
    table = opening(results)
    with replacing(picture) as partial:
        draw(table, partial)
    replace_section(page, SECTION, table.markdown())
    write_json(json, {"rows": [dict(zip(table.heads, row, strict=True)) for row in table.rows]})
    say(f"wrote {SECTION} into {page}, and {picture}")


def _names(option: str, text: str) -> list[str]:
    names = [part.strip() for part in text.split(",")]
    if not all(names):
        raise SynflipError(f"{option} {text!r} is not a list of names, such as a,b")
    return list(dict.fromkeys(names))
