"""Memories as Verilog modules, in place of the memories that Amaranth writes.

Amaranth writes out the initial contents of every row. Here no result depends on a row that was never written,
so hardware may start with any contents, and the text of a memory of a million rows is as short as that of one
of eight.

Simulators that know unknown values are the exception: a bank without an event adds 0, but if its weight is
unknown, the simulator adds an unknown value. For them the rows start with 0.
"""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Shape

from synflip_hdl.export.names import read_names_as_python_3_11_does
from synflip_hdl.interfaces import ONE_PORT

# Here, because every text of the gateware is made with this file.
read_names_as_python_3_11_does()

# STYLE: where Yosys puts the rows: "block" RAM, "huge" (SPRAM), or its own choice, "auto".
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
# One port is enough for memories whose read in the cycle of a write is not used.
_ONE_PORT = MEMORY.format(
    name="synflip_memory_one_port",
    kind="reg",
    access="""wire [ADDRESS-1:0] address = write ? write_address : read_address;
    always @(posedge clk)
        if (write) rows[address] <= write_data;
        else if (read) read_data <= rows[address];""",
)
#: Verilog of the three modules, for the synthesis of boards.
MODULES = _CLOCKED + _UNCLOCKED + _ONE_PORT

# Verilator is left out: it gives every bit a value, and its option --x-initial says which.
_MACROS = """
// No result depends on what rows hold at first. But a simulator with unknown values that adds an unknown
// weight 0 times makes an unknown sum, so there rows start with 0, and are as many as the address can name.
// Another start: -DSYNFLIP_ROWS="{WIDTH{1'bx}}", for example.
`ifndef SYNTHESIS
`ifndef VERILATOR
`define SYNFLIP_SIMULATED
`endif
`endif
`ifdef SYNFLIP_SIMULATED
`define SYNFLIP_DEPTH (1 << ADDRESS)
`ifndef SYNFLIP_ROWS
`define SYNFLIP_ROWS {WIDTH{1'b0}}
`endif
`else
`define SYNFLIP_DEPTH DEPTH
`endif
"""
_START = """`ifdef SYNFLIP_SIMULATED
    integer row;
    initial begin{output}
        for (row = 0; row < `SYNFLIP_DEPTH; row = row + 1) rows[row] = `SYNFLIP_ROWS;
    end
`endif
endmodule"""


def _simulated(module: str) -> str:
    """The module with a start of its rows, and of its output if that is a register."""
    output = "\n        read_data = `SYNFLIP_ROWS;" if "output reg" in module else ""
    text = module.replace("rows [0:DEPTH-1]", "rows [0:`SYNFLIP_DEPTH-1]")
    return text.replace("endmodule", _START.replace("{output}", output))


#: Verilog of the modules that exported text uses, for synthesis and simulation.
EXPORTED_MODULES = _MACROS + _simulated(_CLOCKED) + _simulated(_UNCLOCKED)

LEAST_BLOCK = 16  # bits of a memory


class MemoryModules:
    """A platform that replaces every ``lib.memory.Memory`` by an instance of one of the modules above.

    compact: for small devices: memories with the attribute ONE_PORT have one port and may be SPRAM, and other
        clocked ones of at least LEAST_BLOCK bits are block RAM.
    """

    device = ""  # LUNA asks every platform which it is for, to count in the DSPs of one

    def __init__(self, compact: bool = False) -> None:
        self.compact = compact

    def get_memory(self, memory):
        """The module with the instance. Amaranth calls this for each memory. A table that nothing writes,
        and a memory between two clocks, are what Amaranth makes of them.

        Raises NotImplementedError for a memory with other ports than one that writes whole rows and one that
        reads, not transparent.
        """
        if not memory.write_ports or between_clocks(memory):
            return memory.elaborate(None)
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
            i_clk=ClockSignal(write.domain),
            i_write=write.en,
            i_write_address=Cat(write.addr, missing),
            i_write_data=write.data,
            i_read=read.en,
            i_read_address=Cat(read.addr, missing),
            o_read_data=read.data,
        )
        return m


def between_clocks(memory) -> bool:
    """Whether a memory's clocked ports are in several domains."""
    ports = (*memory.write_ports, *memory.read_ports)
    return len({port.domain for port in ports} - {"comb"}) > 1
