"""Pool: the largest activation of each pool window of a convolution."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.geometry import Geometry

from synflip_hdl.interfaces import append_layout


class Pool(wiring.Component):
    """Keeps the largest activations of a tile over the positions of a pool window; the last one's leave.

    Positions of a window come one after the other, each Q outputs a step. A tile of a dense layer is a window
    of one position. Latency a cycle, throughput a step a cycle.

    Members
    -------
    appends: In(stream of append_layout, always ready), from the requantizer.
    pooled: Out(stream of append_layout, always ready), to the event lists.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        appends = stream.Signature(append_layout(geometry), always_ready=True)
        super().__init__({"appends": In(appends), "pooled": Out(appends)})

    def elaborate(self, platform):
        m = Module()
        geometry, append, pooled = self.geometry, self.appends.payload, self.pooled.payload
        kept = data.StructLayout(
            {
                "values": data.ArrayLayout(geometry.activation_bits, geometry.banks),
                "some": geometry.banks,
            }
        )
        steps = geometry.lanes // geometry.banks
        m.submodules.largest = memory = Memory(shape=kept, depth=steps, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        after = Signal(range(max(steps, 2)))  # number of the next step of the tile
        step = Signal.like(after)
        largest = Signal(kept)
        m.d.comb += [
            step.eq(Mux(append.first, 0, after)),
            read.addr.eq(step),
            write.addr.eq(step),
            write.data.eq(largest),
            write.en.eq(self.appends.valid),
            largest.some.eq(append.some | Mux(append.pooled.first, 0, read.data.some)),
        ]
        for bank in range(geometry.banks):
            old, new = read.data["values"][bank], append["values"][bank]
            keeps = ~append.pooled.first & (old > new)
            m.d.comb += largest["values"][bank].eq(Mux(keeps, old, new))
        with m.If(self.appends.valid):
            m.d.sync += after.eq(step + 1)
        m.d.sync += [
            pooled.eq(append),
            Cat(pooled["values"], pooled.some).eq(Cat(largest["values"], largest.some)),
            self.pooled.valid.eq(self.appends.valid & append.pooled.last),
        ]
        return m
