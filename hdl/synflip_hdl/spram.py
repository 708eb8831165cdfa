"""Weights in the large memories of an iCE40UP, of which each has one port for reading and writing."""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, Shape, Signal
from synflip.errors import SynflipError
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import weight_bits

from synflip_hdl.verilog import MemoryModules

BITS, ROWS, THERE = 16, 16384, 4  # of one SB_SPRAM256KA; how many an iCE40UP5K has


class WeightsInSpram(MemoryModules):
    """A platform whose weight memory is made of SB_SPRAM256KA; the others are ``MemoryModules``.

    Writing has precedence over reading. That is right for weights: nobody writes them during a run (the
    registers see to it), and what is read outside of one is not used.
    """

    def __init__(self, geometry: Geometry) -> None:
        """Raises SynflipError if the weights do not fit."""
        self.width, self.depth = weight_bits(geometry), geometry.weight_depth
        needed = -(-self.width // BITS) * geometry.banks
        if self.depth > ROWS or needed > THERE:
            raise SynflipError(
                f"weights of {geometry.name}, k = {geometry.bits}, {self.depth} entries a bank, need {needed} "
                f"SPRAMs of {ROWS} rows; there are {THERE}: take fewer bits, lanes or banks"
            )

    def get_memory(self, memory):
        """See ``MemoryModules``."""
        if (Shape.cast(memory.shape).width, memory.depth) != (self.width, self.depth):
            return super().get_memory(memory)
        (write,), (read,) = memory.write_ports, memory.read_ports
        m = Module()
        address = Cat(Mux(write.en, write.addr, read.addr), Const(0, 14))[:14]
        outputs = []
        for first in range(0, self.width, BITS):
            outputs.append(out := Signal(BITS, name=f"out_{first}"))
            m.submodules[f"spram_{first}"] = Instance(
                "SB_SPRAM256KA",
                i_ADDRESS=address,
                i_DATAIN=Cat(write.data[first : first + BITS], Const(0, BITS))[:BITS],
                i_MASKWREN=Const(0xF, 4),
                i_WREN=write.en,
                i_CHIPSELECT=Const(1),
                i_CLOCK=ClockSignal(),
                i_STANDBY=Const(0),
                i_SLEEP=Const(0),
                i_POWEROFF=Const(1),  # active low
                o_DATAOUT=out,
            )
        m.d.comb += read.data.eq(Cat(outputs))
        return m
