"""Verilog text of the accelerator."""

import os

from amaranth.back import verilog
from amaranth.hdl import Cat, ClockDomain, ClockSignal, Const, Instance, Module, Shape, Signal, Value
from amaranth.lib import wiring
from synflip.spec.frames import BAUD, SILENCE_BITS
from synflip.spec.geometry import Geometry

from synflip_hdl.accelerator import Accelerator
from synflip_hdl.axi.top import AxiTop
from synflip_hdl.interfaces import ONE_PORT
from synflip_hdl.serial.top import SerialTop

TOP, AXI_TOP = "synflip", "synflip_axi"

# Amaranth writes every row of a memory's initial contents; here nothing is ever read before it is written,
# so the
# contents may stay unknown, and a memory of a million rows is as short as one of eight.
# STYLE: where it is to be, for Yosys.
MEMORY = """
module {name} #(
    parameter WIDTH = 1, parameter DEPTH = 1, parameter ADDRESS = 1, parameter STYLE = "auto"
) (
    input clk, input write, input [ADDRESS-1:0] write_address, input [WIDTH-1:0] write_data,
    input read, input [ADDRESS-1:0] read_address, output {kind} [WIDTH-1:0] read_data
);
    (* ram_style = STYLE *) reg [WIDTH-1:0] rows [0:DEPTH-1];
    {access}
endmodule
"""
WRITE = "always @(posedge clk) if (write) rows[write_address] <= write_data;\n    "
_CLOCKED = MEMORY.format(
    name="synflip_memory",
    kind="reg",
    access=WRITE + "always @(posedge clk) if (read) read_data <= rows[read_address];",
)
_UNCLOCKED = MEMORY.format(
    name="synflip_memory_unclocked", kind="wire", access=WRITE + "assign read_data = rows[read_address];"
)
# One port: nothing is read in the cycle of a write.
_ONE_PORT = MEMORY.format(
    name="synflip_memory_one_port",
    kind="reg",
    access="""wire [ADDRESS-1:0] address = write ? write_address : read_address;
    always @(posedge clk)
        if (write) rows[address] <= write_data;
        else if (read) read_data <= rows[address];""",
)
#: Verilog of all.
MODULES = _CLOCKED + _UNCLOCKED + _ONE_PORT

LEAST_BLOCK = 16  # bits of a memory


class MemoryModules:
    """A platform that replaces ``lib.memory.Memory`` (one write port, one read port) by one of the modules
    above.

    compact: those with ``ONE_PORT`` have one port, and the other clocked ones are block RAM from LEAST_BLOCK
        bits on.
    """

    def __init__(self, compact: bool = False) -> None:
        self.compact = compact

    def get_memory(self, memory):
        """A module with an instance, for Amaranth's ``Memory``."""
        (write,), (read,) = memory.write_ports, memory.read_ports
        if read.transparent_for or len(write.en) != 1:
            raise NotImplementedError(
                "only memories with a whole-row write and a non-transparent read are used"
            )
        m = Module()
        # A memory of one row has an address of no bits, which Amaranth would leave unconnected.
        missing = Const(0, 1 if memory.depth == 1 else 0)
        kind, style = "synflip_memory", {}
        if read.domain == "comb":
            kind = "synflip_memory_unclocked"
        elif self.compact and ONE_PORT in memory.attrs:
            kind, style = "synflip_memory_one_port", {"p_STYLE": "huge"}
        elif self.compact and memory.depth * Shape.cast(memory.shape).width >= LEAST_BLOCK:
            style = {"p_STYLE": "block"}
        m.submodules.rows = Instance(
            kind,
            **style,
            p_WIDTH=Shape.cast(memory.shape).width,
            p_DEPTH=memory.depth,
            p_ADDRESS=len(write.addr) + len(missing),
            i_clk=ClockSignal(),
            i_write=write.en,
            i_write_address=Cat(write.addr, missing),
            i_write_data=write.data,
            i_read=read.en,
            i_read_address=Cat(read.addr, missing),
            o_read_data=read.data,
        )
        return m


def to_verilog(top: wiring.Component, name: str = TOP, reset: bool = True) -> str:
    """Verilog-2005 of any component, module ``name``, and of the memories that it may have. The same
    component gives the same text.

    reset: whether there is one; without it, registers only start with their initial values.
    """
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    members = [Value.cast(value) for _, _, value in top.signature.flatten(top)]
    ports = [value for value in members if isinstance(value, Signal)]  # no constants
    design = top
    if not reset:
        design = Module()
        design.submodules.top = top
        design.domains.sync = sync = ClockDomain(reset_less=True)
        ports.append(sync.clk)
    text = verilog.convert(
        design, name=name, platform=MemoryModules(), ports=ports, strip_internal_attrs=True, emit_src=False
    )
    return text + MODULES


def convert(geometry: Geometry, reset: bool = True) -> str:
    """An accelerator: the bus's two streams are its ports. reset: see ``to_verilog``."""
    return to_verilog(Accelerator(geometry), reset=reset)


def convert_axi(geometry: Geometry) -> str:
    """An accelerator behind AXI, module ``synflip_axi``, see ``axi.AxiTop``."""
    return to_verilog(AxiTop(geometry), AXI_TOP)


def convert_serial(
    geometry: Geometry, clock: float, baud: float = BAUD, silence_bits: int = SILENCE_BITS
) -> str:
    """An accelerator behind a UART, see ``serial_top.SerialTop``."""
    return to_verilog(SerialTop(geometry, clock, baud, silence_bits))
