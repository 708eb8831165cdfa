"""One build of a board: the commands of each tool, and the check that the design fits the device."""

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synflip.errors import SynflipError
from synflip.spec.fronts import Front
from synflip.spec.geometry import BANKS, LANE_STEP, Geometry
from synflip.spec.memory_map import weight_bits
from synflip.spec.usb import SERIAL_NUMBER
from synflip.util.garbage import uncollected

from synflip_hdl.flow import ecp5
from synflip_hdl.flow.cell_counts import count_cells, count_parts
from synflip_hdl.flow.ecp5 import blocks
from synflip_hdl.flow.kept_netlist import STAMP, digest_of, kept_seconds, stamp
from synflip_hdl.flow.resources import COSTS, Resource, total
from synflip_hdl.flow.toolchain import SCRIPTS, SYNTH, TOOLS, Advance, Stopwatch, run, synthesize
from synflip_hdl.flow.usb_timing import is_met, is_usb, usb_timing

if TYPE_CHECKING:
    from synflip_hdl.boards.catalogue import Board

NAME = "synflip"

REPORT = "report.json"
#: Netlists in the folder of a build: Yosys's, and nextpnr's with the place of every cell.
NETLIST, PLACED = f"{NAME}.json", f"{NAME}.placed.json"
#: Endings of the tools' input, and of what they make of it.
SOURCES = (".il", ".v", ".tcl", ".lpf", ".pcf", ".cst", ".xdc")
PRODUCTS = (".config", ".asc", ".bit", ".bin", ".fs")
#: All files that a build may write into its folder, of any board.
FILES = (
    *(REPORT, NETLIST, PLACED, STAMP, "memories.v", "nextpnr.json"),
    *(NAME + ending for ending in (*SOURCES, *PRODUCTS)),
    *(f"{tool}.log" for tool in (*TOOLS, *SCRIPTS)),
)
#: The large one-port memories of an iCE40UP5K, and how many it has.
SPRAM, SPRAMS = "SB_SPRAM256KA", 4


def is_folder_of_build(folder: Path) -> bool:
    """Whether there was a build in ``folder``, by what each writes first."""
    return any((folder / f"{NAME}{ending}").is_file() for ending in (".il", ".tcl"))


@dataclass
class BuildJob:
    """A build of a board in ``folder``, step by step.

    clock: of the accelerator, in Hz. seed: of the placement. serial_number: of a USB device. watch: seconds
    of each tool. parts: resources of each part of the accelerator, known after ``synthesize``. tried: seed,
    clock in Hz (None: nextpnr failed), why it failed, and seconds of each placement.
    """

    board: "Board"
    geometry: Geometry
    clock: float
    folder: Path
    seed: int = 1
    front: Front = Front.serial
    serial_number: str = SERIAL_NUMBER
    watch: Stopwatch = field(default_factory=Stopwatch)
    parts: dict[str, dict[str, int]] = field(default_factory=dict)
    tried: list[dict[str, Any]] = field(default_factory=list)

    # Steps

    def write_gateware(self) -> None:
        """Write the tools' input: Amaranth's RTLIL (Verilog for Vivado), constraints, memories' modules."""
        from synflip_hdl.boards.constraints import read_constraints
        from synflip_hdl.boards.top import BoardTop
        from synflip_hdl.export.memories import MODULES, MemoryModules

        platform = self.board.make_platform()
        platform.get_memory = MemoryModules(self.in_blocks).get_memory
        platform.add_file("memories.v", MODULES)
        top = BoardTop(self.board, self.geometry, self.clock, self.front, self.serial_number)
        with uncollected():
            plan = platform.build(top, NAME, do_build=False)
        for name, content in plan.files.items():
            if Path(name).suffix in SOURCES and not name.endswith(".debug.v"):
                data = content if isinstance(content, bytes) else content.encode()
                (self.folder / name).write_bytes(data)
        if self.board.constraints is not None:
            with (
                (self.folder / NAME)
                .with_suffix(Path(self.board.constraints).suffix)
                .open("a", encoding="utf-8") as file
            ):
                file.write("\n" + read_constraints(self.board.constraints))

    @property
    def in_blocks(self) -> bool:
        """Whether tables are put into block RAM and weights into SPRAM: on a compact iCE40 board. On other
        boards Yosys chooses, because there block RAM runs out before LUTs do."""
        return self.board.compact and self.board.family == "ice40"

    @property
    def read_script(self) -> str:
        """Commands of Yosys that read the gateware."""
        source = f"read_verilog {NAME}.v" if self.board.family == "xilinx" else f"read_rtlil {NAME}.il"
        return f"{source}; read_verilog memories.v"

    @property
    def synth_script(self) -> str:
        """The command of Yosys that maps the gateware to the device's cells."""
        return " ".join([SYNTH[self.board.family], *self.board.yosys, "-top", NAME])

    @cached_property
    def netlist_digest(self) -> str:
        """The digest of what the netlist is made of, once the gateware is written."""
        source = f"{NAME}.v" if self.board.family == "xilinx" else f"{NAME}.il"
        script = f"{self.read_script}; {self.synth_script}"
        return digest_of(script, [self.folder / source, self.folder / "memories.v"])

    @cached_property
    def kept_seconds(self) -> float | None:
        """The seconds that Yosys took for the netlist that the folder has already, made of the same by an
        earlier build; None if there is none. The files are looked at once."""
        return kept_seconds(self.folder / NETLIST, self.netlist_digest)

    def synthesize(self, advance: Advance) -> dict[str, int]:
        """Write the netlist, NETLIST, unless it is kept; returns how many cells it has of each type."""
        path = self.folder / NETLIST
        if self.kept_seconds is not None:
            self.watch.seconds["yosys"] = self.kept_seconds
            netlist = json.loads(path.read_text())
        else:
            scripts = self.read_script, self.synth_script, f"write_json {NETLIST}"
            self.watch.time("yosys", lambda: synthesize(*scripts, self.folder, advance))
            netlist = json.loads(path.read_text())
            if self.board.family == "ecp5":
                ecp5.finish(netlist)
                path.write_text(json.dumps(netlist))
            stamp(path, self.netlist_digest, self.watch.seconds["yosys"])
        self.parts = count_parts(netlist, COSTS[self.board.family])
        return count_cells(netlist)

    @property
    def placement_files(self) -> tuple[str, ...]:
        """The files that ``place_and_route`` writes: the log first."""
        routed = {"ecp5": (f"{NAME}.config",), "ice40": (f"{NAME}.asc",)}.get(self.board.family, ())
        return (f"nextpnr-{self.board.family}.log", "nextpnr.json", PLACED, *routed)

    def place_and_route(self, advance: Advance) -> dict[str, Any]:
        """Place and route NETLIST; returns nextpnr's report. Raises SynflipError if nextpnr fails or does not
        know the clock."""
        options = [*self.board.nextpnr, "--seed", str(self.seed), "--timing-allow-fail"]
        options += [
            "--freq",
            f"{self.clock / 1e6:g}",
            "--report",
            "nextpnr.json",
            "--detailed-timing-report",
            "--json",
            NETLIST,
        ]
        outputs = {
            "ecp5": ["--lpf", f"{NAME}.lpf", "--textcfg", f"{NAME}.config"],
            # Router 1, nextpnr's default for iCE40 and ECP5, may rip up the same few arcs without end on the
            # small chips. The other families keep their default.
            "ice40": ["--pcf", f"{NAME}.pcf", "--asc", f"{NAME}.asc", "--router", "router2"],
            "gowin": ["--vopt", f"cst={NAME}.cst"],
        }[self.board.family]
        tool = f"nextpnr-{self.board.family}"
        log = self.watch.time(
            tool, lambda: run(tool, [*options, *outputs, "--write", PLACED], self.folder, advance)
        )
        if unread := re.search(r"net '(.*)' does not exist in design, ignoring clock", log):
            raise SynflipError(f"{tool} knows no clock {unread[1]}: its constraint was not read")
        return json.loads((self.folder / "nextpnr.json").read_text())

    def pack(self, advance: Advance) -> Path:
        """Pack the placed design; returns the path of the bitstream."""
        pack: dict[str, tuple[str, list[str], str]] = {
            "ecp5": (
                "ecppack",
                ["--compress", "--input", f"{NAME}.config", "--bit", f"{NAME}.bit"],
                f"{NAME}.bit",
            ),
            "ice40": ("icepack", [f"{NAME}.asc", f"{NAME}.bin"], f"{NAME}.bin"),
            "gowin": (
                "gowin_pack",
                [*("-d", "GW1N-9C", "-o", f"{NAME}.fs", "--sspi_as_gpio", "--mspi_as_gpio"), PLACED],
                f"{NAME}.fs",
            ),
        }
        tool, arguments, product = pack[self.board.family]
        self.watch.time(tool, lambda: run(tool, arguments, self.folder, advance))
        return self.folder / product

    def usb_timing(self, placed: dict[str, Any]) -> dict[str, Any] | None:
        """Of nextpnr's report, see ``usb_timing``; None without USB."""
        return usb_timing(placed) if self.front == Front.usb else None

    def is_met(self, placed: dict[str, Any]) -> bool:
        """Whether all clocks are met, by nextpnr's report."""
        usb = self.usb_timing(placed)
        return reached_clock(placed) >= self.clock and (usb is None or is_met(usb, self.clock))

    # What fits

    def resources(self, cells: dict[str, int]) -> dict[str, Resource]:
        """LUTs, flip-flops and block RAMs: how many ``cells`` take, and how many the device has."""
        capacity = self.board.capacity
        return {
            name: Resource(total(kinds, cells), capacity[name])
            for name, kinds in COSTS[self.board.family].items()
        }

    def check_fit(self, cells: dict[str, int]) -> None:
        """Raise SynflipError if the netlist is too large. The message says which resource is short, and which
        geometry should fit."""
        if cells.get(SPRAM, 0) > SPRAMS:
            raise SynflipError(
                f"weights of {self.geometry.name}, k = {self.geometry.bits}, {self.geometry.weight_depth} "
                f"entries need {cells[SPRAM]} SPRAMs of 16 bits and 16,384 rows, and {self.board.name} has "
                f"{SPRAMS}: take fewer bits, lanes, banks or entries"
            )
        short = {name: item for name, item in self.resources(cells).items() if not item.fits}
        if not short:
            return
        needs = ", ".join(f"{item.used:,} {name} of {item.available:,}" for name, item in short.items())
        scale = min(item.available / item.used for item in short.values())
        if set(short) == {"block RAMs"} and self.in_blocks:
            advice = "smaller memories of keys, events or biases may fit"
        elif set(short) == {"block RAMs"}:
            entries = self._fewer_entries(short["block RAMs"])
            advice = f"--geometry {self.geometry.name},weight_depth={entries} should fit"
        else:
            advice = f"--geometry {smaller(self.geometry, 0.9 * scale)} should fit"
        raise SynflipError(
            f"{self.geometry.name}, k = {self.geometry.bits}, does not fit the {self.board.device} of "
            f"{self.board.name}: it needs {needs}; {advice}"
        )

    def _fewer_entries(self, found: Resource) -> int:
        """An estimate of the largest depth of the weight memory, in steps of 64, with enough block RAMs."""
        bits, depth, banks = weight_bits(self.geometry), self.geometry.weight_depth, self.geometry.banks

        def all_blocks(entries: int) -> float:
            if self.board.family == "ecp5":
                return banks * blocks(bits, entries)
            return 1.3 * found.used * entries / depth

        most = all_blocks(depth) - (found.used - found.available)
        step = 64
        return next((n for n in range(depth // step * step, step, -step) if all_blocks(n) <= most), step)


def smaller(geometry: Geometry, scale: float) -> str:
    """The largest lanes x banks of at most ``scale`` times the geometry's slots, or else the smallest.

    64x8 and a scale of 0.5 give a size of at most 256 slots.
    """
    most = geometry.lanes * geometry.banks * scale
    sizes = [(lanes, banks) for banks in BANKS for lanes in range(LANE_STEP, geometry.lanes + 1, LANE_STEP)]
    lanes, banks = max(
        (size for size in sizes if size[0] * size[1] <= most),
        key=lambda s: s[0] * s[1],
        default=(LANE_STEP, 1),
    )
    return f"{lanes}x{banks}"


def reached_clock(report: dict[str, Any]) -> float:
    """The clock that the accelerator reaches by nextpnr's report, in Hz: the slowest clock except those at an
    oscillator's pin and of a USB transceiver. Raises SynflipError if there is none."""
    clocks = {name: item["achieved"] for name, item in report.get("fmax", {}).items() if not is_usb(name)}
    inner = [speed for name, speed in clocks.items() if not re.search(r"clk\d+_0__io", name)]
    if not inner:
        raise SynflipError("nextpnr reports no clock: the design has none")
    return min(inner) * 1e6
