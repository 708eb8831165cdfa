"""Verilog text of the accelerator."""

import os

from amaranth.back import verilog
from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Shape, Signal, Value
from amaranth.lib import wiring
from synflip.spec.frames import BAUD, SILENCE_BITS
from synflip.spec.geometry import Geometry

from synflip_hdl.accelerator import Accelerator
from synflip_hdl.axi import AxiTop
from synflip_hdl.serial_top import SerialTop

TOP, AXI_TOP = "synflip", "synflip_axi"

# Amaranth writes every row of a memory's initial contents; here nothing is ever read before it is written,
# so the
# contents may stay unknown, and a memory of a million rows is as short as one of eight.
MEMORY = """
module {name} #(parameter WIDTH = 1, parameter DEPTH = 1, parameter ADDRESS = 1) (
    input clk, input write, input [ADDRESS-1:0] write_address, input [WIDTH-1:0] write_data,
    input read, input [ADDRESS-1:0] read_address, output {kind} [WIDTH-1:0] read_data
);
    reg [WIDTH-1:0] rows [0:DEPTH-1];
    always @(posedge clk) if (write) rows[write_address] <= write_data;
    {read}
endmodule
"""
_CLOCKED = MEMORY.format(
    name="synflip_memory",
    kind="reg",
    read="always @(posedge clk) if (read) read_data <= rows[read_address];",
)
_UNCLOCKED = MEMORY.format(
    name="synflip_memory_unclocked", kind="wire", read="assign read_data = rows[read_address];"
)
#: Verilog of both.
MODULES = _CLOCKED + _UNCLOCKED


class MemoryModules:
    """A platform that replaces ``lib.memory.Memory`` (one write port, one read port) by one of the modules
    above."""

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
        m.submodules.rows = Instance(
            "synflip_memory_unclocked" if read.domain == "comb" else "synflip_memory",
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


def to_verilog(top: wiring.Component, name: str = TOP) -> str:
    """Verilog-2005 of any component, module ``name``, and of the memories that it may have. The same
    component gives the same text."""
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    members = [Value.cast(value) for _, _, value in top.signature.flatten(top)]
    ports = [value for value in members if isinstance(value, Signal)]  # no constants
    text = verilog.convert(
        top, name=name, platform=MemoryModules(), ports=ports, strip_internal_attrs=True, emit_src=False
    )
    return text + MODULES


def convert(geometry: Geometry) -> str:
    """An accelerator: the bus's two streams are its ports."""
    return to_verilog(Accelerator(geometry))


def convert_axi(geometry: Geometry) -> str:
    """An accelerator behind AXI, module ``synflip_axi``, see ``axi.AxiTop``."""
    return to_verilog(AxiTop(geometry), AXI_TOP)


def convert_serial(
    geometry: Geometry, clock: float, baud: float = BAUD, silence_bits: int = SILENCE_BITS
) -> str:
    """An accelerator behind a UART, see ``serial_top.SerialTop``."""
    return to_verilog(SerialTop(geometry, clock, baud, silence_bits))
