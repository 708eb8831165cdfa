"""AXI4-Lite: registers and every memory of the map, a word at a time."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out
from synflip.spec.axi_map import NOWHERE
from synflip.spec.memory_map import ADDRESS_BITS, register

from synflip_hdl.bus.arbiter import BUS
from synflip_hdl.bus.registers import RESPONSE

BYTE_ADDRESS_BITS = ADDRESS_BITS + 2
WRITE_DATA = data.StructLayout({"data": 32, "strobe": 4})
ANSWERS = 4  # places for answers in each direction: enough to ask at the accelerator's rate

#: Where a write goes that must have no effect and no error: zero is neither start nor abort. Like NOWHERE, it
#: lets the map itself give the answer, so that answers stay in order.
HARMLESS = register("CONTROL")


class AxiLite(wiring.Component):
    """A 32-bit AXI4-Lite slave. Byte address = word address * 4; the two low bits are ignored.

    A write wants all four byte strobes. With none it has no effect and is answered OKAY; with some, no effect
    and an error: nothing in the map is narrower than a word.

    Reads and writes are independent, as are addresses and data of writes: neither waits for the other, until
    an answer's turn. A request goes out only when there is a place for its answer. No output depends on an
    input of the same cycle.

    Latency from the request's handshake (both, for a write) to its answer, if nobody else asks: 4 cycles for
    a write, 6 for a read. Throughput a write a cycle, a read every three.

    Members
    -------
    aw, w, ar: byte address, data with strobes, byte address. b, r: error, data and error.
    writes, reads: to the arbiter.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "aw": In(stream.Signature(BYTE_ADDRESS_BITS)),
                "w": In(stream.Signature(WRITE_DATA)),
                "b": Out(stream.Signature(RESPONSE)),
                "ar": In(stream.Signature(BYTE_ADDRESS_BITS)),
                "r": Out(stream.Signature(RESPONSE)),
                "writes": Out(BUS),
                "reads": Out(BUS),
            }
        )

    def elaborate(self, platform):
        m = Module()

        def taken_in(name, port):
            """Two places: ready in every cycle without looking at who takes them out."""
            m.submodules[name] = queue = fifo.SyncFIFO(width=len(Value.cast(port.payload)), depth=2)
            m.d.comb += [
                queue.w_data.eq(port.payload),
                queue.w_en.eq(port.valid),
                port.ready.eq(queue.w_rdy),
            ]
            return queue

        def ask(name, bus, queues, port):
            """Ask when every part of the request is there and its answer has a place."""
            m.submodules[name] = answers = fifo.SyncFIFO(width=RESPONSE.size, depth=ANSWERS)
            room = Signal(range(ANSWERS + 1), init=ANSWERS)
            taken = bus.request.valid & bus.request.ready
            m.d.comb += [
                bus.request.valid.eq((room != 0) & Cat(queue.r_rdy for queue in queues).all()),
                [queue.r_en.eq(taken) for queue in queues],
                answers.w_data.eq(bus.response.payload),
                answers.w_en.eq(bus.response.valid),
                bus.response.ready.eq(1),
                port.payload.eq(answers.r_data),
                port.valid.eq(answers.r_rdy),
                answers.r_en.eq(port.ready),
            ]
            m.d.sync += room.eq(room - taken + (port.valid & port.ready))

        aw, w, ar = taken_in("aw", self.aw), taken_in("w", self.w), taken_in("ar", self.ar)
        ask("written", self.writes, [aw, w], self.b)
        ask("answered", self.reads, [ar], self.r)

        write = Signal(WRITE_DATA)
        whole, none = write.strobe.all(), ~write.strobe.any()
        m.d.comb += [
            write.eq(w.r_data),
            self.writes.request.payload.write.eq(1),
            self.writes.request.payload.address.eq(Mux(whole, aw.r_data[2:], Mux(none, HARMLESS, NOWHERE))),
            self.writes.request.payload.data.eq(Mux(whole, write.data, 0)),
            self.reads.request.payload.address.eq(ar.r_data[2:]),
        ]
        return m
