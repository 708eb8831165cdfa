"""Commands of boards: build, boards, program, selftest."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from synflip.cli.console import show, table, write_json
from synflip.cli.options import JsonFile, Page, output_file
from synflip.errors import SynflipError
from synflip.spec.fronts import Front
from synflip.spec.usb import SERIAL_NUMBER, check_serial_number
from synflip.util.terminal import console

app = typer.Typer()

PARTED_IMAGES, PARTED_SAMPLES = 100, 16  # of which the table of parts tells
NETWORK_VOTES = 64  # in the accuracies of --networks
MODEL_HEADS = ("board", "k", "A", "layers", "inputs", "rows", "outputs", "synapses")
MODEL_KEYS = ("board", "bits", "activation_bits", *MODEL_HEADS[3:])  # for --json
NETWORK_KEYS = (*MODEL_KEYS[:3], "network", "synapses", "accuracy_of_one_sample", "accuracy_of_the_vote")


class SourceName(StrEnum):
    """Where the keys come from."""

    lfsr = "lfsr"
    mtj = "mtj"


BoardName = Annotated[
    str, typer.Argument(metavar="BOARD", help="A board's name, as synflip boards lists them.")
]


@app.command()
def boards(
    reports: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR ...]", help="Folders of builds, to make tables of their reports."),
    ] = None,
    page: Page = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            "--pictures", metavar="DIR", help="Draw each build's floorplan into DIR.", show_default=False
        ),
    ] = None,
    times: Annotated[
        Path | None,
        typer.Option(
            "--times",
            metavar="FILE",
            parser=output_file,
            help="Write the builds' seconds.",
            show_default=False,
        ),
    ] = None,
    networks: Annotated[
        Path | None,
        typer.Option(
            "--networks",
            metavar="DIR",
            help="Train a network on digits for each board, write it into DIR, and make a table of them.",
            show_default=False,
        ),
    ] = None,
    json: JsonFile = None,
) -> None:
    """List the boards: device, default accelerator, clock, and which models each runs.

    With folders of builds, tabulate their reports. With --networks, train a network for each board, as train
    --for BOARD does. With --page alone, put the tables of models, of parts and of images a second into the
    page.

    Example: synflip boards

    Example: synflip boards --networks out/networks --page docs/results/boards.md

    Example: synflip boards out/ulx3s out/tang --page docs/results/boards.md --pictures docs/results/images
    """
    if networks is not None:
        if reports or pictures is not None or times is not None:
            raise SynflipError("--networks takes neither folders of builds, nor --pictures, nor --times")
        _networks(networks, page, json)
        return
    if reports:
        _tables(reports, page, pictures, times, json)
        return
    if pictures is not None or times is not None:
        raise SynflipError("--pictures and --times need the folders of builds")
    from synflip_hdl.boards.catalogue import every_board

    from synflip.report.tables import Table, markdown_table
    from synflip.util.outputs import check_outputs

    check_outputs([page, json])
    models = Table("Largest models, by what all layers may have together", MODEL_HEADS, _capabilities())
    listed = [
        {
            "board": board.name,
            "title": board.title,
            "device": board.device,
            "geometry": board.geometry.text,
            "clock_hz": board.clock,
            "fronts": [*board.fronts],
            "output": "bitstream" if board.family != "xilinx" else "sources for Vivado",
        }
        for board in every_board().values()
    ]
    write_json(
        json, {"boards": listed, "models": [dict(zip(MODEL_KEYS, row, strict=True)) for row in models.rows]}
    )
    if page is not None:
        from synflip.inference.end_to_end import HEADS
        from synflip.report.sections import replace_section

        replace_section(page, "models", models.markdown())
        costs = ("board", "k", "network", "parts", "bytes", "images a second")
        replace_section(page, "parts", markdown_table(costs, _parted()))
        replace_section(page, "end to end", markdown_table(HEADS, _end_to_end()))
        return
    rows = []
    for board, item in zip(every_board().values(), listed, strict=True):
        size = f"{board.geometry.name}, k = {board.geometry.bits}, {board.clock / 1e6:g} MHz"
        usb = f"; {'also ' * board.serial}with USB, {board.usb} speed" if board.usb else ""
        rows.append((board.name, f"{board.title} ({board.device}): {size}; {item['output']}{usb}"))
    table("Boards", *rows)
    show(models)


@app.command()
def build(
    board: BoardName,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the build's files.")],
    geometry: Annotated[
        str | None,
        typer.Option(
            "--geometry",
            metavar="PxQ",
            help="Lanes x banks instead of the board's own; memories may follow: 32x4,weight_depth=512.",
            show_default=False,
        ),
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option("--bits", metavar="K", help="Bits of a probability word, 1..16.", show_default=False),
    ] = None,
    source: Annotated[
        SourceName, typer.Option("--source", help="Keys from an LFSR, or from tunnel junctions at pins.")
    ] = SourceName.lfsr,
    devices: Annotated[
        int, typer.Option("--devices", metavar="N", min=1, help="Tunnel junctions, with --source mtj.")
    ] = 4,
    front: Annotated[
        Front | None,
        typer.Option(
            "--front",
            help="What the host talks to: a UART, where the board has one, or a USB device of its own.",
            show_default=False,
        ),
    ] = None,
    serial_number: Annotated[
        str | None,
        typer.Option(
            "--serial-number",
            metavar="TEXT",
            help=f"Of the USB device, with --front usb; {SERIAL_NUMBER} by itself.",
            show_default=False,
        ),
    ] = None,
    clock: Annotated[
        float | None,
        typer.Option(
            "--clock",
            metavar="MHZ",
            min=1,
            help="Clock to ask for, instead of the board's.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            metavar="N",
            min=1,
            help="Seed of the placement, instead of the board's.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds",
            metavar="N",
            help="Place with N seeds, or with these (1,5,9), until one meets the clock; keep the best.",
            show_default=False,
        ),
    ] = None,
    json: JsonFile = None,
) -> None:
    """Make a board's bitstream, and report.json: resources, clock, critical path, predictions.

    Says first how long that usually takes. The output of the tools is kept in DIR too. Exit status 0 if the
    clock is met. A bitstream that misses it is written too, and an error names its clock.

    Example: synflip build ice40-hx8k --out out/hx8k

    Example: synflip build ulx3s-85f --bits 2 --out out/ulx3s-2

    Example: synflip build ulx3s-85f --clock 105 --seeds 8 --out out/ulx3s-105

    Example: synflip build ecpix5-45f --front usb --out out/ecpix5-usb
    """
    from synflip_hdl.boards.catalogue import find_board
    from synflip_hdl.flow.build import build as make
    from synflip_hdl.flow.build_times import usual_time
    from synflip_hdl.flow.job import FILES, is_folder_of_build
    from synflip_hdl.flow.seeds import parse_seeds

    from synflip.util.outputs import check_new, check_outputs

    chosen = find_board(board)
    size = chosen.sized(geometry, bits, devices if source == SourceName.mtj else 0)
    if seed is not None and seeds is not None:
        raise SynflipError("--seed is one seed and --seeds are several: give one of the two")
    if chosen.family == "xilinx" and (seed is not None or seeds is not None):
        raise SynflipError(f"{chosen.name} is not placed here, so it takes neither --seed nor --seeds")
    if serial_number is not None:
        if chosen.front(front) != Front.usb:
            raise SynflipError("--serial-number is of a USB device: give --front usb too")
        check_serial_number(serial_number)
    tried = parse_seeds(seeds, chosen.seed) if seeds is not None else [seed or chosen.seed]
    files = [out / name for name in FILES]
    check_outputs([json, *files])
    if not is_folder_of_build(out):
        check_new(files, "synflip build")
    if usual := usual_time(chosen.name, size):
        typer.echo(f"This usually takes {usual}{' a seed' if len(tried) > 1 else ''} ...", err=True)
    asked = clock * 1e6 if clock else None
    report = make(chosen, size, out, asked, tried, _step, front, serial_number or SERIAL_NUMBER)
    write_json(json, report)
    table(f"{chosen.title}: {size.name}, k = {size.bits}", *_rows(report), ("wrote", str(out)))
    if report["meets_timing"] is False:
        reached, asked = report["clock_reached_hz"], report["clock_asked_hz"]
        if reached >= asked:
            raise SynflipError("a clock of USB, or what lies between two clocks, is too slow: try --seeds 8")
        raise SynflipError(
            f"{reached / 1e6:.1f} MHz reached, {asked / 1e6:g} asked for: try --seeds 8 or a lower --clock"
        )


def _capabilities() -> list[tuple[str | int, ...]]:
    """Of each board's builds: name, k, A, most layers, inputs, rows, outputs, synapses."""
    from synflip_hdl.boards.catalogue import every_board

    rows: list[tuple[str | int, ...]] = []
    for board in every_board().values():
        for bits in sorted({board.geometry.bits, *(k for k, _, _ in board.sizes)}, reverse=True):
            size = board.sized(None, bits, 0)
            numbers = (size.layer_depth, size.inputs, size.rows, size.outputs, size.synapses)
            rows.append((board.name, bits, size.activation_bits, *numbers))
    return rows


def _end_to_end() -> list[tuple[str, ...]]:
    """Of each board's builds: images a second, host to host (``end_to_end.table_rows``)."""
    from synflip_hdl.boards.catalogue import every_board

    from synflip.inference.end_to_end import table_rows

    return [
        row
        for board in every_board().values()
        for links in [[board.link(front) for front in board.fronts]]
        for bits in sorted({board.geometry.bits, *(k for k, _, _ in board.sizes)}, reverse=True)
        for size in [board.sized(None, bits, 0)]
        for row in table_rows(board.name, size, board.clock_of(size), links)
    ]


def _parted() -> list[tuple[str, ...]]:
    """Of each board and of some networks: name, k, network, and in how many parts it runs. If there are
    several, also bytes over the link for an image in a network sample, and images a second over the serial
    line, where there is one: of PARTED_IMAGES images in PARTED_SAMPLES network samples."""
    from synflip_hdl.boards.catalogue import every_board

    from synflip.inference.parts import cut
    from synflip.inference.plan import fits
    from synflip.inference.throughput import shape_only
    from synflip.spec.convolution import Convolution

    mnist = Convolution((28, 28, 1), (3, 3), pool=(2, 2))
    cifar = [
        Convolution((side, side, channels), (3, 3), pad=(1, 1), pool=(2, 2))
        for side, channels in ((32, 3), (16, 32), (8, 64))
    ]
    shapes: tuple[tuple[list[int], list[int], list[Convolution]], ...] = (
        ([784, 200, 200], [200, 200, 10], []),
        ([784, 512, 512], [512, 512, 10], []),
        ([9, 5408, 100], [32, 100, 10], [mnist]),
        ([27, 288, 576, 2048, 256, 128], [32, 64, 128, 256, 128, 10], cifar),
    )
    rows: list[tuple[str, ...]] = []
    for board in every_board().values():
        for numbers, outputs, places in shapes:
            geometry = board.geometry
            model = shape_only(numbers, outputs, geometry.bits, places)
            cells = (board.name, str(geometry.bits), model.shape)
            if fits(model, geometry):
                rows.append((*cells, "1", "-", "-"))
                continue
            parts = cut(model, geometry)
            work = parts.work(PARTED_IMAGES, PARTED_SAMPLES)
            each = work.traffic().bytes / (PARTED_IMAGES * PARTED_SAMPLES)
            rate = f"{PARTED_IMAGES / work.seconds(board.clock):.2g}" if board.serial else "-"
            rows.append((*cells, f"{len(parts.parts):,}", f"{each:,.0f}", rate))
    return rows


def _networks(folder: Path, page: Path | None, json: Path | None) -> None:
    """Train a network on digits for each board, and tabulate them."""
    from synflip_hdl.boards.catalogue import every_board

    from synflip.cli.train import board_hidden
    from synflip.data.registry import load
    from synflip.report.sections import find_section, replace_section
    from synflip.report.tables import Table
    from synflip.util.outputs import check_outputs
    from synflip.util.progress import bar, waiting

    every = [*every_board().values()]
    files = [folder / f"{board.name}.safetensors" for board in every]
    check_outputs([page, json, *files])
    if page is not None:
        find_section(page, "networks")
    with waiting("Loading torch"):
        from synflip.training.train import train
        from synflip.workflows import compile_and_save

    data = load("digits")
    inputs, classes = data.train_images.shape[1], len(data.classes)
    layers = [board_hidden(board, data.name, inputs, classes, None) for board in every]
    rows = []
    for board, file, hidden in zip(every, files, layers, strict=True):
        bits, activation_bits = board.geometry.bits, board.geometry.activation_bits
        with bar(f"Training for {board.name}") as advance:
            network = train(
                data, hidden, bits, activation_bits,
                progress=lambda s: advance(s.step, s.steps, s.words),
            )  # fmt: skip
        found = compile_and_save(network, data, file, NETWORK_VOTES)
        synapses = sum(layer.q.size for layer in found.model.layers)
        accuracies = (found.one_sample, found.vote)
        rows.append((board.name, bits, activation_bits, found.model.shape, synapses, *accuracies))
    numbers = [dict(zip(NETWORK_KEYS, row, strict=True)) for row in rows]
    write_json(json, {"data": data.title, "votes": NETWORK_VOTES, "networks": numbers})
    heads = ("board", "k", "A", "network", "synapses", "one sample, %", f"vote of {NETWORK_VOTES}, %")
    trained = Table("Networks on digits, by test accuracy", heads, rows)
    if page is not None:
        replace_section(page, "networks", trained.markdown())
    else:
        show(trained)


def _tables(
    folders: list[Path], page: Path | None, pictures: Path | None, times: Path | None, json: Path | None
) -> None:
    from synflip_hdl.flow.boards_page import has_maps, label, markdown, read_report, sections
    from synflip_hdl.flow.build_times import write_times
    from synflip_hdl.flow.floorplan import draw
    from synflip_hdl.flow.job import NAME, PLACED, REPORT

    from synflip.report.sections import replace_section
    from synflip.report.tables import for_terminal
    from synflip.util.outputs import check_outputs, replacing

    found = [read_report(folder) for folder in folders]
    drawn: dict[Path, tuple[Path, dict[str, Any]]] = {}
    for folder, report in zip(folders, found, strict=True):
        if pictures is not None and (folder / PLACED).is_file():
            what = f"k{report['bits']}" + ("-convolutions" if has_maps(report) else "")
            picture = pictures / f"{report['board']}-{what}.png"
            if picture in drawn:
                raise SynflipError(
                    f"{drawn[picture][0].parent} and {folder} would both be drawn as {picture}"
                )
            drawn[picture] = folder / PLACED, report
    check_outputs(
        [page, times, json, *drawn], [folder / name for folder in folders for name in (REPORT, PLACED)]
    )
    write_json(json, {"builds": found})
    for number, (section, reports) in enumerate(sections(found).items()):
        text = markdown(reports, legend=section == "builds" if page is not None else number == 0)
        if page is not None:
            replace_section(page, section, text)
        else:
            typer.echo(for_terminal(text, console().width))
    if times is not None:
        write_times(times, found)
    for picture, (netlist, report) in drawn.items():
        title = f"{report['board']}: {report['lanes']}x{report['banks']}, k = {report['bits']}"
        with replacing(picture) as partial:
            draw(netlist, partial, title)
        table(NAME, ("drawn", label(report)))


@contextmanager
def _step(name: str) -> Iterator[Any]:
    """Shows a step of a build."""
    from synflip.util.progress import long_work

    with long_work(name) as advance:
        yield lambda done, total, word: advance(done, total or None, word)


def _rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        (name, f"{item['used']:,} of {item['available']:,} ({item['used'] / item['available']:.0%})")
        for name, item in report["resources"].items()
    ]
    if cells := report["logic_cells"]:
        share = f"({cells['used'] / cells['available']:.0%} of the device's)"
        rows.append(("logic cells", f"{cells['used']:,} of {cells['available']:,} {share}"))
    rows.append(("LUTs a slot", f"{report['luts_per_slot']} ({report['slots']} slots)"))
    rows.append(("synapses on chip", f"{report['synapses_on_chip']:,}"))
    if report["clock_reached_hz"] is not None:
        reached, asked = report["clock_reached_hz"] / 1e6, report["clock_asked_hz"] / 1e6
        rows.append(("clock", f"{reached:.1f} MHz reached, {asked:g} asked for"))
    if len(report["seeds"]) > 1:
        rows.append(("seeds", ", ".join(map(_seed, report["seeds"])) + f"; {report['seed']} is kept"))
    if path := report["critical_path"]:
        rows.append(
            (
                "critical path",
                f"{path['from']} to {path['to']}: {path['logic']} ns of logic, {path['wires']} ns of wires",
            )
        )
    if usb := report["usb"]:
        for key, name in (("clock", "USB's clock"), ("sample_clock", "USB's samples")):
            if (asked := usb.get(f"{key}_asked_hz")) is not None:
                reached = usb[f"{key}_reached_hz"]
                rows.append((name, f"{reached / 1e6:.1f} MHz reached, {asked / 1e6:g} asked for"))
    link = "USB" if report["front"] == Front.usb else "its serial line"
    for item in report["predictions"]:
        rate = (
            f"predicted: {item['samples_per_second_1']:,} network samples a second, "
            f"{item['samples_per_second_batch']:,} in batches of {item['batch']}, of images that are in the "
            f"accelerator; {item['link_images_per_second']:,} images a second over {link}, with one "
            "sample of each"
            if item["fits"]
            else f"does not fit: {item['why']}"
        )
        rows.append((f"{item['network']}, k = {item['bits']}", rate))
    rows.append(("time", ", ".join(f"{name} {seconds:.0f} s" for name, seconds in report["seconds"].items())))
    return rows


def _seed(item: dict[str, Any]) -> str:
    reached = item["clock_reached_hz"]
    return f"{item['seed']}: {f'{reached / 1e6:.1f} MHz' if reached is not None else item['failed']}"


@app.command()
def program(
    board: BoardName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A bitstream, as synflip build writes it.")],
    flash: Annotated[
        bool, typer.Option("--flash", help="Into the board's flash, so that it stays when power goes.")
    ] = False,
) -> None:
    """Load a bitstream into a board over USB, with openFPGALoader.

    Example: synflip program ulx3s-85f out/ulx3s/synflip.bit
    """
    from synflip_hdl.boards.catalogue import find_board
    from synflip_hdl.flow.program import program as load

    load(find_board(board), file, flash)
