"""A board in Verilator, pin by pin: the files that are synthesized, with a model of each cell of the family.

Yosys turns the files that ``synflip build`` gives to the tools (PLL, pads, reset, UART, LEDs, accelerator)
into Verilog, which is simulated as a serial port. The simulated oscillator already has the PLL's output
frequency, and a bit of the UART lasts as many of its cycles as on the board, such as 33.3. Not simulated: the
PLL's frequency, synthesis, placement, any delay.
"""

from pathlib import Path
from typing import Any

from synflip.errors import SynflipError
from synflip.randomness.mtj_model import JunctionModel
from synflip.spec.frames import BAUD, SILENCE_BITS
from synflip.spec.geometry import Geometry
from synflip.util.libraries import cached
from synflip_hdl.boards import pll
from synflip_hdl.boards.catalogue import Board
from synflip_hdl.flow.job import NAME, BuildJob
from synflip_hdl.flow.toolchain import YOSYS, run_yosys

from synflip_sim.serial import pty
from synflip_sim.serial.pty import CYCLES, PtyServer, SerialBench, SerialLine
from synflip_sim.simulators.verilate import (
    GATEWARE,
    Say,
    compile_library,
    content_key,
    device_flags,
)

CELLS = Path(__file__).parents[1] / "simulators" / "cells"
#: The name of the board's top in the simulation, the file of its Verilog, the file of the top around it.
INNER, BOARD, PINS = "synflip_board", "board.v", "pins.v"
#: A model's refusal ($fatal while Verilator builds) is an error, and so is a cell without a model.
STRICT = ("-Werror-USERFATAL",)
#: The parts of synflip_hdl beyond the accelerator that decide a board's Verilog.
BUILD = ("boards", "flow/job.py")
#: Cycles that are simulated after the last sign of life; a request takes fewer. A silence that ends a frame
#: would take millions; no host needs it, because the next frame's flag ends the frame too.
LINGER = 10 * CYCLES
POWER_UP = 1000  # cycles until the PLL has locked and the reset is over
#: For ``synflip.open_device(f"{path}@{SLOW}")``: a simulated line is slower than any timeout of a real one.
SLOW = 300


def frequency(board: Board, clock: float | None = None) -> float:
    """The frequency that the board's PLL makes for ``clock``, the board's own if None, in Hz."""
    reference = board.make_platform().default_clk_frequency
    return pll.frequency(board.family, reference, clock or board.clock)


def board_line(board: Board, clock: float | None = None) -> SerialLine:
    """The serial line as the accelerator's clock sees it."""
    return SerialLine(frequency(board, clock) / BAUD, SILENCE_BITS)


def build(board: Board, geometry: Geometry, clock: float | None = None, say: Say = lambda text: None) -> Path:
    """Path of the library of the board's top, built if it is not cached. Raises SynflipError, also if the
    board has no serial line."""
    if not board.serial:
        raise SynflipError(f"{board.name} has no serial line, behind which boards are simulated")

    def make(folder: Path) -> None:
        write_sources(board, geometry, folder, clock, say)
        compile_board(board, geometry, folder, say)

    asked = f"{board.name}-{round(clock or board.clock)}"
    return cached("verilator", f"{geometry.name}-k{geometry.bits}-{asked}", library_key(geometry), make)


def library_key(geometry: Geometry) -> str:
    """The key of a board's library: its top, the files that its build writes and the cells' models decide it
    too."""
    files = [Path(__file__), Path(pty.__file__), pty.HARNESS, *sorted(CELLS.glob("board_*"))]
    return content_key(geometry, files, [YOSYS], (*GATEWARE, *BUILD))


def write_sources(
    board: Board,
    geometry: Geometry,
    folder: Path,
    clock: float | None = None,
    say: Say = lambda text: None,
) -> None:
    """Write the board's top as Verilog, BOARD, and a top around it whose pins have no polarity, PINS, into
    ``folder``. Raises SynflipError."""
    say(f"Gateware of {board.name}: {geometry.name}, k = {geometry.bits}")
    job = BuildJob(board, geometry, clock or board.clock, folder)
    job.write_gateware()
    say("Yosys")
    script = (
        f"{job.read_script}; hierarchy -top {NAME}; proc; opt_clean -purge; "
        f"rename {NAME} {INNER}; write_verilog -noattr -norename {BOARD}"
    )
    run_yosys(script, folder)
    (folder / PINS).write_text(_pins(board, geometry))


def compile_board(board: Board, geometry: Geometry, folder: Path, say: Say = lambda text: None) -> None:
    """Make the library of BOARD and PINS in ``folder``. Raises SynflipError, also for a cell without a
    model."""
    cells = [str(CELLS / f"board_{name}.sv") for name in (board.family, "lock")]
    sources = [*STRICT, PINS, BOARD, *cells, *device_flags(geometry)]
    compile_library(folder, sources, say, harness=pty.HARNESS)


def _pins(board: Board, geometry: Geometry) -> str:
    """Verilog of the top: ``rst`` is 1 while the reset button is pressed, an LED 1 while it is lit."""
    platform = board.make_platform()
    ports = ["input clk", "input rst", "input rx", "output tx", "output busy", "output error"]
    pins = {(platform.default_clk, 0): "clk", ("uart", 0, "rx"): "rx", ("uart", 0, "tx"): "tx"}
    pins |= dict(zip(board.leds, ("busy", "error"), strict=True))
    if board.reset is not None:
        pins[board.reset] = "rst"
    if geometry.devices:
        ports += [f"input [{geometry.devices - 1}:0] raw", "input strobe"]
        pins[("junctions", 0, "strobe")] = "strobe"
        pins |= {("junction", device): f"raw[{device}]" for device in range(geometry.devices)}
    wires, connections = [], []
    for place, (resource, signal) in enumerate(pins.items()):
        level = "~" if _inverted(platform, resource) else ""
        pin = f"pin_{place}"
        if signal in ("tx", "busy", "error"):
            wires.append(f"wire {pin}; assign {signal} = {level}{pin};")
        else:
            wires.append(f"wire {pin} = {level}{signal};")
        name, number, *inner = resource
        connections.append(f".{'__'.join((f'{name}_{number}', *map(str, inner), 'io'))}({pin})")
    return "module synflip({});\n{}\n{} board({});\nendmodule\n".format(
        ", ".join(ports), "\n".join(wires), INNER, ", ".join(connections)
    )


def _inverted(platform: Any, resource: tuple[Any, ...]) -> bool:
    """Whether the resource's pin is active low."""
    name, number, *inner = resource
    ios = platform.lookup(name, number).ios
    if inner:
        (ios,) = ([item] for item in ios if item.name == inner[0])
        ios = ios[0].ios
    return bool(ios[0].invert)


class BoardDevice(PtyServer):
    """A board as a serial port, ``path``; see ``PtyServer``. Nobody presses its reset button."""

    def __init__(
        self,
        board: Board,
        geometry: Geometry | None = None,
        clock: float | None = None,
        library: Path | None = None,
        say: Say = lambda text: None,
        junctions: JunctionModel | None = None,
    ) -> None:
        """geometry: instead of the board's own. library: of ``build``, if it is not to be built here.
        junctions: see ``PtyDevice``. Raises SynflipError if the simulator cannot be built."""
        geometry = geometry or board.geometry
        clock = clock or board.clock_of(geometry)
        if geometry.devices and junctions is None:
            junctions = JunctionModel(geometry.devices, seed=0)
        library = library or build(board, geometry, clock, say)
        bench = open_bench(board, library, clock, junctions)
        bench.run(POWER_UP)
        super().__init__(bench, LINGER)


def open_bench(
    board: Board, library: Path, clock: float | None = None, junctions: JunctionModel | None = None
) -> SerialBench:
    """The simulator of a board, just switched on."""
    return SerialBench(library, board_line(board, clock), junctions, reset=0)
