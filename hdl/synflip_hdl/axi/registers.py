"""The registers of the AXI front end, in a region of the map that the accelerator does not use."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, fifo, wiring
from amaranth.lib.wiring import In, Out
from synflip.spec.axi_map import AXI_REGISTERS, REGION
from synflip.spec.memory_map import OFFSET_BITS

from synflip_hdl.bus.arbiter import BUS, OUTSTANDING

ANSWER = data.StructLayout({"own": 1, "data": 32, "error": 1})


class AxiRegisters(wiring.Component):
    """Passes requests and answers on, and puts its own answers in place of those for ``axi_map.REGION``.

    A request for that region goes to the accelerator too, which refuses it without effect and in order; its
    answer is replaced on the way back. So answers need no reordering, and latency and throughput are the
    accelerator's. Reset: the counters are 0.

    Members
    -------
    bus : In(BUS)
        Requests from the arbiter, and answers to it.
    accelerator : Out(BUS)
        The same requests to the accelerator, and its answers.
    stream_busy : In(1)
        The stream's sink is busy: the register's value.
    refused : In(1)
        Strobe: count a refused word.
    lost : In(1)
        Strobe: count a lost pass.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "bus": In(BUS),
                "accelerator": Out(BUS),
                "stream_busy": In(1),
                "refused": In(1),
                "lost": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.answers = answers = fifo.SyncFIFO(width=ANSWER.size, depth=OUTSTANDING)
        request, response = self.bus.request, self.bus.response
        passed = self.accelerator.request.valid & self.accelerator.request.ready
        own, kept = Signal(ANSWER), Signal(ANSWER)
        m.d.comb += [
            self.accelerator.request.valid.eq(request.valid & answers.w_rdy),
            self.accelerator.request.payload.eq(request.payload),
            request.ready.eq(self.accelerator.request.ready & answers.w_rdy),
            answers.w_data.eq(own),
            answers.w_en.eq(passed),
            kept.eq(answers.r_data),
            answers.r_en.eq(response.valid & response.ready),
            response.valid.eq(self.accelerator.response.valid),
            response.payload.eq(self.accelerator.response.payload),
            self.accelerator.response.ready.eq(response.ready),
        ]
        with m.If(kept.own):
            m.d.comb += [response.payload.data.eq(kept.data), response.payload.error.eq(kept.error)]

        counted = {"WORDS_REFUSED": self.refused, "PASSES_LOST": self.lost}
        address = request.payload.address
        m.d.comb += [own.own.eq(address[OFFSET_BITS:] == REGION), own.error.eq(1)]
        for name, register in AXI_REGISTERS.items():
            here = address[:OFFSET_BITS] == register.offset
            if name in counted:
                value = Signal(register.bits, name=name.lower())
                m.d.sync += value.eq(value + counted[name])
                with m.If(own.own & here & request.payload.write & passed):
                    m.d.sync += value.eq(0)
            else:
                value = self.stream_busy
            with m.If(here & ~request.payload.write):
                m.d.comb += [own.data.eq(value), own.error.eq(0)]
            if register.access == "RC":
                with m.If(here & request.payload.write):
                    m.d.comb += own.error.eq(0)
        return m
