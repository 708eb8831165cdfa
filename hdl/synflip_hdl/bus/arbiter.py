"""Several masters on one memory map."""

from amaranth.hdl import Module, Signal
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out
from synflip.spec.sizes import address_bits

from synflip_hdl.bus.registers import REQUEST, RESPONSE

OUTSTANDING = 4  # requests, of all masters together, that were taken and are not answered yet

#: A master's bus: requests go out, answers come in, one a request, in order.
BUS = wiring.Signature(
    {"request": Out(stream.Signature(REQUEST)), "response": In(stream.Signature(RESPONSE))}
)


class Arbiter(wiring.Component):
    """Takes requests of ``count`` masters in turns, and brings each answer to the master that asked.

    Fair: a master that offers a request waits for at most one request of each other master. An offer that was
    not taken yet may be withdrawn. A master that does not take its answers stops all others, so it should ask
    only for as much as it has room for.

    Latency none; throughput that of the accelerator.

    Members
    -------
    masters: In(BUS) of each of ``count`` masters.
    request: Out(stream of REQUEST), to the accelerator.
    response: In(stream of RESPONSE), from the accelerator.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(
            {
                "masters": In(BUS).array(count),
                "request": Out(stream.Signature(REQUEST)),
                "response": In(stream.Signature(RESPONSE)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bits = address_bits(self.count)
        m.submodules.owners = owners = fifo.SyncFIFO(width=bits, depth=OUTSTANDING)
        turn, chosen, offered = Signal(bits), Signal(bits), Signal()

        # The master whose turn it is comes first, then those after it: for turn 1 of 3, the order is 1, 2, 0.
        with m.Switch(turn):
            for first in range(self.count):
                with m.Case(first):
                    order = [(first + step) % self.count for step in range(self.count)]
                    for index in reversed(order):  # a later assignment wins
                        with m.If(self.masters[index].request.valid):
                            m.d.comb += [chosen.eq(index), offered.eq(1)]

        taken = self.request.valid & self.request.ready
        m.d.comb += [
            self.request.valid.eq(offered & owners.w_rdy),
            owners.w_data.eq(chosen),
            owners.w_en.eq(taken),
            owners.r_en.eq(self.response.valid & self.response.ready),
        ]
        for index in range(self.count):
            master = self.masters[index]
            with m.If(chosen == index):
                m.d.comb += [
                    self.request.payload.eq(master.request.payload),
                    master.request.ready.eq(offered & owners.w_rdy & self.request.ready),
                ]
                # An offer that has to wait keeps its turn, so that what is offered stays the same.
                with m.If(offered):
                    m.d.sync += turn.eq(index)
                with m.If(taken):
                    m.d.sync += turn.eq((index + 1) % self.count)
            m.d.comb += master.response.payload.eq(self.response.payload)
            with m.If(owners.r_rdy & (owners.r_data == index)):
                m.d.comb += [
                    master.response.valid.eq(self.response.valid),
                    self.response.ready.eq(master.response.ready),
                ]
        return m
