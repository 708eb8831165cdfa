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
ANSWERS = 4  # places for answers in each direction: enough for the accelerator's full rate

#: The address of a write that must have no effect and no error: a zero in CONTROL neither starts nor aborts.
#: Such a write goes to the map like any other, so its answer keeps its place among the others; so does a
#: write to NOWHERE, which the map answers with an error.
HARMLESS = register("CONTROL")


class AxiLite(wiring.Component):
    """A 32-bit AXI4-Lite slave. Byte address = word address * 4; the two low bits are ignored.

    A write needs all four byte strobes, because nothing in the map is narrower than a word. A write with no
    strobe has no effect and is answered OKAY; a write with one to three has no effect and is answered with an
    error.

    Reads do not wait for writes, nor an address for its data: each channel has a queue of two. A request goes
    out to the arbiter only when there is a place for its answer. No output depends on an input of the same
    cycle.

    Latency from a request's handshake (for a write, the later of the two) to its answer, if no other master
    asks: 4 cycles for a write, 6 for a read of a register, 7 of results, 8 of keys. Throughput: a write a
    cycle, a read of a register every three cycles, of results every four, of keys every five. Reset: queues
    are empty.

    Members
    -------
    aw : In(stream of byte addresses)
        Addresses of writes.
    w : In(stream of WRITE_DATA)
        Their data and byte strobes.
    b : Out(stream of RESPONSE)
        Their answers; only ``error`` has a meaning.
    ar : In(stream of byte addresses)
        Addresses of reads.
    r : Out(stream of RESPONSE)
        Their answers: data and error.
    writes : Out(BUS)
        The writes, to the arbiter.
    reads : Out(BUS)
        The reads, to the arbiter.
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
            """A queue of two behind a channel: ``ready`` comes from a register, and a word a cycle passes."""
            m.submodules[name] = queue = fifo.SyncFIFO(width=len(Value.cast(port.payload)), depth=2)
            m.d.comb += [
                queue.w_data.eq(port.payload),
                queue.w_en.eq(port.valid),
                port.ready.eq(queue.w_rdy),
            ]
            return queue

        def ask(name, bus, queues, port):
            """Send a request when all of its parts are in ``queues`` and its answer has a place."""
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
