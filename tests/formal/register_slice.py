"""RegisterSlice and SkidBuffer: registers in a stream lose nothing, repeat nothing, and keep the order."""

from amaranth.hdl import Assert, Assume, Cover, Elaboratable, Module, Mux, Signal
from synflip_hdl.lib.register_slice import RegisterSlice, SkidBuffer

from tests.formal.helpers import delayed, free_inputs
from tests.formal.runner import Proof

BITS = 8


class Streams:
    """``dut`` in ``m`` between any transfers and pauses of either side.

    enters, leaves: a transfer does. inside, payload: whether one is, and the last that stayed. Asserts a
    stream's rule of the output: valid stays, and the payload with it, until ready.
    """

    def __init__(self, m, dut, passes: bool) -> None:
        """passes: what leaves in the cycle in which it enters was never inside."""
        m.submodules.dut = dut
        free_inputs(m, dut)
        self.inside, self.payload = Signal(), Signal(BITS)
        self.enters = dut.input.valid & dut.input.ready
        self.leaves = dut.output.valid & dut.output.ready
        with m.If(self.enters & ~self.leaves if passes else self.enters):
            m.d.sync += [self.inside.eq(1), self.payload.eq(dut.input.payload)]
        with m.Elif(self.leaves):
            m.d.sync += self.inside.eq(0)
        waits = delayed(m, dut.output.valid & ~dut.output.ready, 1, "waits")
        before = delayed(m, dut.output.payload, 1, "payload")
        m.d.comb += Assert(~waits | (dut.output.valid & (dut.output.payload == before)))


class Transfers(Elaboratable):
    """Any transfers and pauses of either side; at most one is inside, so what leaves is what entered last."""

    def elaborate(self, platform):
        m = Module()
        dut = RegisterSlice(BITS)
        streams = Streams(m, dut, passes=False)
        enters, leaves = streams.enters, streams.leaves
        inside, payload = streams.inside, streams.payload
        m.d.comb += [
            # Nothing is lost or repeated: it is offered from the cycle after it entered until it leaves.
            Assert(dut.output.valid == inside),
            Assert(~inside | (dut.output.payload == payload)),
            Assert(~enters | ~inside | leaves),
            # A transfer a cycle: it waits only for one that does not leave.
            Assert(dut.input.ready == (~inside | leaves)),
            Cover(enters & leaves & (payload == 1) & (dut.input.payload == 2)),
            Cover(inside & ~enters & ~leaves & dut.input.valid),
        ]
        return m


class Skidding(Elaboratable):
    """The same of SkidBuffer: one is inside only if it was not taken in the cycle in which it came."""

    def elaborate(self, platform):
        m = Module()
        dut = SkidBuffer(BITS)
        streams = Streams(m, dut, passes=True)
        enters, leaves = streams.enters, streams.leaves
        inside, payload = streams.inside, streams.payload
        refused = delayed(m, dut.input.valid & ~dut.input.ready, 1, "refused")
        asked = delayed(m, dut.input.payload, 1, "asked")
        m.d.comb += [
            # The input keeps a stream's rule.
            Assume(~refused | (dut.input.valid & (dut.input.payload == asked))),
            # Nothing is lost or repeated: it is offered at once, and until it leaves.
            Assert(dut.output.valid == (inside | dut.input.valid)),
            Assert(~dut.output.valid | (dut.output.payload == Mux(inside, payload, dut.input.payload))),
            # Whether it is ready was known in the cycle before.
            Assert(dut.input.ready == ~inside),
            Cover(inside & leaves & (payload == 1) & dut.input.valid & (dut.input.payload == 2)),
            Cover(enters & leaves),
        ]
        return m


PROOFS = [
    Proof(
        "register_slice",
        "every transfer that enters leaves once, in order, from the next cycle on; valid and payload stay "
        "until ready; one is taken in every cycle but those in which another waits inside",
        f"a payload of {BITS} bits, any pauses of either side",
        Transfers,
        depth=2,
        induction=True,
        cover=5,
        fast=True,
    ),
    Proof(
        "skid_buffer",
        "every transfer that enters leaves once, in order, at once or when it can; valid and payload stay "
        "until ready; the input is ready unless one waits inside",
        f"a payload of {BITS} bits, any pauses of either side",
        Skidding,
        depth=2,
        induction=True,
        cover=5,
        fast=True,
    ),
]
