"""The commands that write and draw the accelerator, its memory map and its netlist, and simulate it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from synflip.cli.console import table, write_json
from synflip.cli.options import (
    ActivationBits,
    Bits,
    GeometryOption,
    Header,
    ImagesFile,
    JsonFile,
    ModelFile,
    Seed,
    model_files,
    output_file,
)
from synflip.errors import SynflipError
from synflip.spec.usb import SERIAL_NUMBER, Speed, check_serial_number

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
app = typer.Typer()


class FamilyName(StrEnum):
    """FPGA families that netlists are made for."""

    ecp5 = "ecp5"
    ice40 = "ice40"


class MapFormat(StrEnum):
    """Formats of the memory map."""

    md = "md"
    c = "c"
    rdl = "rdl"


class FrontName(StrEnum):
    """Front ends of the accelerator."""

    bare = "bare"
    axi = "axi"
    serial = "serial"
    usb = "usb"


@app.command()
def verilog(
    out: Annotated[
        Path, typer.Option("--out", metavar="top.v", parser=output_file, help="Where to write the Verilog.")
    ],
    geometry: GeometryOption = "64x8",
    bits: Bits = 4,
    activation_bits: ActivationBits = 8,
    front: Annotated[
        FrontName,
        typer.Option(
            "--front",
            help="bare: streams of requests and answers. axi: AXI4-Lite and AXI4-Stream. serial: a UART. "
            "usb: a USB device.",
        ),
    ] = FrontName.bare,
    clock: Annotated[
        float | None,
        typer.Option(
            "--clock",
            metavar="MHZ",
            min=1,
            max=10_000,
            help="The accelerator's clock, for the baud rate of --front serial and the times of --front usb.",
            show_default=False,
        ),
    ] = None,
    baud: Annotated[
        int | None,
        typer.Option(
            "--baud",
            metavar="BAUD",
            min=1,
            help="Baud rate of --front serial. Without it: 3000000.",
            show_default=False,
        ),
    ] = None,
    speed: Annotated[
        Speed | None,
        typer.Option(
            "--speed",
            help="Of --front usb: high, with a transceiver (ULPI), or full, with D+ and D-.",
            show_default=False,
        ),
    ] = None,
    serial_number: Annotated[
        str | None,
        typer.Option(
            "--serial-number",
            metavar="TEXT",
            help=f"Of the device of --front usb. Without it: {SERIAL_NUMBER}.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the accelerator as one Verilog file, for any FPGA tool or simulator.

    The file depends on no network: a model that fits is loaded later, through the memory map. The top module
    is synflip, with --front axi, serial or usb synflip_axi, synflip_serial or synflip_usb. Beside top.v it
    writes top.vlt, waivers for Verilator's lint with their reasons, and top.core, a core file for FuseSoC.

    Example: synflip verilog --geometry 64x8 --bits 4 --out top.v

    Example: synflip verilog --geometry 32x4 --front serial --clock 50 --out top.v

    Example: synflip verilog --geometry 32x4 --front usb --clock 50 --out top.v
    """
    from synflip_hdl.export import verilog as export
    from synflip_hdl.export.companions import companions
    from synflip_hdl.serial.uart import phase_step

    from synflip.spec.frames import BAUD
    from synflip.spec.geometry import Geometry
    from synflip.util.outputs import check_outputs, write_text
    from synflip.util.progress import waiting

    machine = Geometry.parse(geometry, bits=bits, activation_bits=activation_bits)
    hertz, rate = 1e6 * (clock or 0), baud or BAUD
    number = SERIAL_NUMBER if serial_number is None else serial_number
    if front not in (FrontName.serial, FrontName.usb) and clock is not None:
        raise SynflipError("--clock is of --front serial and --front usb")
    if front != FrontName.serial and baud is not None:
        raise SynflipError("--baud is of --front serial")
    if front != FrontName.usb and (speed, serial_number) != (None, None):
        raise SynflipError("--speed and --serial-number are of --front usb")
    if front in (FrontName.serial, FrontName.usb) and clock is None:
        made = "its baud rate" if front == FrontName.serial else "its times"
        raise SynflipError(f"--front {front} makes {made} from the clock: give --clock MHZ")
    if front == FrontName.serial:
        phase_step(hertz, rate)  # refuses what the clock cannot make, before the work
    check_serial_number(number)
    top, write = {
        FrontName.bare: (export.TOP, export.convert),
        FrontName.axi: (export.AXI_TOP, export.convert_axi),
        FrontName.serial: (export.SERIAL_TOP, lambda machine: export.convert_serial(machine, hertz, rate)),
        FrontName.usb: (
            export.USB_TOP,
            lambda machine: export.convert_usb(machine, hertz, speed or Speed.high, number),
        ),
    }[front]
    beside = companions(out, top)
    check_outputs([out, *beside])
    with waiting(f"Elaborating {machine.name}"):
        text = write(machine)
    for path, content in {out: text, **beside}.items():
        write_text(path, content)
    table(
        f"{machine.name}, k = {machine.bits}, A = {machine.activation_bits}",
        ("lines", f"{text.count(chr(10)):,}"),
        *(("wrote", str(path)) for path in (out, *beside)),
    )


@app.command(name="map")
def memory_map(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", parser=output_file, help="Where to write it.")
    ],
    format: Annotated[
        MapFormat, typer.Option("--format", help="md: tables. c: a C header. rdl: SystemRDL 2.0.")
    ] = MapFormat.md,
    json: JsonFile = None,
) -> None:
    """Write the accelerator's memory map: for people, for C programs, or for register tools.

    Example: synflip map --format c --out synflip.h
    """
    from synflip_hdl.export.register_map import FORMATS, numbers

    from synflip.util.outputs import check_outputs, write_text

    check_outputs([out, json])
    write_text(out, FORMATS[format.value]())
    write_json(json, numbers())
    table("Memory map", ("format", format.value), ("wrote", str(out)))


@app.command(name="export-c")
def export_c(
    model: ModelFile,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for what it writes.")],
    json: JsonFile = None,
) -> None:
    """Write a compiled model as a C array, with a C library that loads and runs it.

    For a processor that reaches the accelerator over AXI. Writes into DIR the model (model.h, model.c), the
    memory map (synflip.h), the library (synflip_host.h, synflip_host.c), and an example (main.c), which stays
    as it is if it is there already. The model loads into any accelerator that has room for it.

    Example: synflip export-c digits.safetensors --out out/host
    """
    from synflip_hdl.host.c_export import (
        EXAMPLE,
        example,
        is_ours,
        library,
        model_header,
        model_source,
        model_words,
    )

    from synflip.modelfile.safetensors import load
    from synflip.util.outputs import check_new, check_outputs, write_text

    network = load(model)
    words = model_words(network)
    texts = {"model.h": model_header(network), "model.c": model_source(words, network.classes), **library()}
    if not (out / EXAMPLE).exists():
        texts[EXAMPLE] = example()
    check_outputs([json, *(out / name for name in texts)], model_files(model))
    check_new((out / name for name in texts if not is_ours(out / name)), "synflip export-c")
    write_json(json, {"network": network.shape, "bytes": words.nbytes, "files": list(texts)})
    for name, text in texts.items():
        write_text(out / name, text)
    table(
        f"{network.shape} for C",
        ("bytes of the array", f"{words.nbytes:,}"),
        *(("wrote", str(out / name)) for name in texts),
        *(() if EXAMPLE in texts else (("kept", str(out / EXAMPLE)),)),
    )


@app.command()
def netlist(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for what it writes.")],
    family: Annotated[FamilyName, typer.Option("--family", help="The FPGA family.")] = FamilyName.ecp5,
    geometry: GeometryOption = "16x1",
    bits: Bits = 4,
    activation_bits: ActivationBits = 8,
    json: JsonFile = None,
) -> None:
    """Synthesize the accelerator to the cells of an FPGA family, and count them.

    Writes into DIR the Verilog (synflip.v), the netlist (netlist.v) and its cell counts (cells.json). The
    memories are small ones, those of the netlist devices.

    Example: synflip netlist --family ecp5 --geometry 16x1 --bits 4 --out out/netlist
    """
    from synflip_sim.simulators.netlist import FILES, Family, small, synthesize

    from synflip.spec.geometry import Geometry
    from synflip.util.outputs import check_new, check_outputs, make_folder
    from synflip.util.progress import waiting

    machine = Geometry.parse(geometry, bits=bits, activation_bits=activation_bits)
    files = [out / name for name in FILES]
    check_outputs([json, *files])
    if not all(path.is_file() for path in files[:2]):  # the Verilog, and what was made of it first
        check_new(files, "synflip netlist")
    with waiting(f"Synthesizing {machine.name} for {family}"):
        make_folder(out)
        counts = synthesize(small(machine), Family(family.value), out)
    write_json(json, {"geometry": machine.text, "family": family.value, "cells": counts})
    table(
        f"{machine.name}, k = {machine.bits}, A = {machine.activation_bits}, {family}",
        *((cell, f"{count:,}") for cell, count in counts.items()),
        ("wrote", str(out)),
    )


@app.command()
def simulate(
    geometry: Annotated[
        str | None,
        typer.Option(
            "--geometry",
            metavar="PxQ",
            help="Size of the accelerator: P lanes (16..128), Q banks (1, 2, 4, 8). Word sizes and memories "
            "may follow: 16x2,bits=3,image_slots=4. Without it: 16x2, or the board's own.",
            show_default=False,
        ),
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option(
            "--bits", metavar="K", help="Bits of a coin's probability: 4, or the board's.", show_default=False
        ),
    ] = None,
    board: Annotated[
        str | None,
        typer.Option(
            "--board",
            metavar="BOARD",
            help="A whole board, pin by pin, with its UART, PLL and reset: synflip boards lists them.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Give the simulated accelerator a serial port, to try programs that expect a board.

    Prints the name of a pseudo-terminal with the accelerator's UART behind it, and serves it until Ctrl-C,
    which ends it with exit status 0. Give the name to another program, such as synflip selftest, in another
    terminal. With --board, the name ends in @BAUD. That rate is low, so that programs wait as long as the
    simulation needs.

    Example: synflip simulate --geometry 16x2

    Example: synflip simulate --board ulx3s-85f --geometry 16x2
    """
    import sys
    import time
    from contextlib import suppress

    from synflip_sim.serial.pty import PtyDevice, PtyServer
    from synflip_sim.simulators.verilator import progress

    from synflip.spec.geometry import Geometry

    simulator: PtyServer
    rate = ""
    if board is None:
        simulator = PtyDevice(
            Geometry.parse(geometry or "16x2", bits=4 if bits is None else bits), say=progress()
        )
    else:
        from synflip_hdl.boards.catalogue import find_board
        from synflip_sim.serial.board import SLOW, BoardDevice

        chosen = find_board(board)
        simulator = BoardDevice(chosen, chosen.sized(geometry, bits, 0), say=progress())
        rate = f"@{SLOW}"
    with simulator:
        port = f"{simulator.path}{rate}"
        print(port, flush=True)
        print(
            f"The simulated accelerator answers at {port}. In another terminal: synflip selftest {port}\n"
            "Ctrl-C here ends it.",
            file=sys.stderr,
            flush=True,
        )
        with suppress(KeyboardInterrupt):  # the way to end it, not an error
            while True:
                time.sleep(1)


diagram = typer.Typer()
app.add_typer(diagram, name="diagram")
PictureOut = Annotated[
    Path, typer.Option("--out", metavar="F.svg", parser=output_file, help="Where to write the picture.")
]


@diagram.callback(invoke_without_command=True)
def group(context: typer.Context) -> None:
    """Draw the accelerator: its blocks, a pass cycle by cycle, a recorded waveform."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@diagram.command()
def blocks(out: PictureOut, geometry: GeometryOption = "64x8", bits: Bits = 4) -> None:
    """Draw the accelerator's blocks and what connects them, as the gateware of a geometry says.

    Example: synflip diagram blocks --geometry 64x8 --out blocks.svg
    """
    from synflip_hdl.diagrams.block_diagram import block_diagram

    from synflip.spec.geometry import Geometry
    from synflip.util.outputs import check_outputs

    machine = Geometry.parse(geometry, bits=bits)
    check_outputs([out])
    _write_picture(out, block_diagram(machine), f"Blocks of {machine.name}, k = {machine.bits}")


@diagram.command(name="pass")
def pass_(
    model: ModelFile,
    images: ImagesFile,
    out: PictureOut,
    geometry: GeometryOption = "16x2",
    image: Annotated[int, typer.Option("--image", metavar="I", min=0, help="The image, from 0.")] = 0,
    sample: Annotated[
        int, typer.Option("--sample", metavar="S", min=0, help="The network sample, from 0.")
    ] = 0,
    seed: Seed = 0,
    header: Header = True,
) -> None:
    """Draw one pass, an image through one network sample, cycle by cycle, as the golden model predicts it.

    The pass is one of a run of all images up to that one, which the accelerator must hold together. What
    happens in other passes meanwhile is grey.

    Example: synflip diagram pass digits.safetensors --images x.npy --geometry 16x2 --out pass.svg
    """
    from synflip.data.registry import open_inputs
    from synflip.golden.pass_diagram import pass_diagram
    from synflip.golden.trace import cycle_trace
    from synflip.modelfile.safetensors import load
    from synflip.spec.geometry import Geometry
    from synflip.util.outputs import check_outputs

    check_outputs([out], [*model_files(model), images])
    network = load(model)
    pixels = open_inputs(images, network, header=header)
    if image >= len(pixels):
        raise SynflipError(f"there is no image {image}: {images} has {len(pixels)}, numbered from 0")
    machine = Geometry.parse(geometry, bits=network.bits, activation_bits=network.activation_bits)
    trace = cycle_trace(network, machine, pixels[: image + 1], sample + 1, seed)
    _write_picture(out, pass_diagram(trace, image, sample), f"A pass of {network.shape} on {machine.name}")


@diagram.command()
def waves(
    file: Annotated[Path, typer.Argument(metavar="F.fst", help="A file of --waves of run or verify.")],
    out: PictureOut,
    window: Annotated[
        str, typer.Option("--window", metavar="FIRST:PAST", help="Clock cycles FIRST..PAST-1.")
    ] = "0:60",
    signal: Annotated[
        list[str] | None,
        typer.Option(
            "--signal",
            metavar="BLOCK.NAME",
            help="A signal, as sequencer.lists__index; may be given several times. Without it: the way of an "
            "event through the blocks.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Draw some signals of a recorded waveform. Needs the package pywellen, which synflip[dev] brings.

    Example: synflip diagram waves w.fst --window 0:60 --out waves.svg
    """
    from synflip_sim.simulators.wave_diagram import USUAL, wave_diagram
    from synflip_sim.simulators.waves import window_of

    from synflip.util.outputs import check_outputs

    check_outputs([out], [file])
    picture = wave_diagram(file, *window_of(window), signal or USUAL)
    _write_picture(out, picture, f"Cycles {window} of {file}")


def _write_picture(out: Path, picture: str, title: str) -> None:
    from synflip.util.outputs import write_text

    write_text(out, picture)
    table(title, ("wrote", str(out)))
