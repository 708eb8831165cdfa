"""Registers that cut a stream's long paths: forwards (valid, payload), or backwards (ready)."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class StreamComponent(wiring.Component):
    """A component between two streams of the same shape: each transfer of ``input`` leaves by ``output``."""

    def __init__(self, shape) -> None:
        super().__init__({"input": In(stream.Signature(shape)), "output": Out(stream.Signature(shape))})


class RegisterSlice(StreamComponent):
    """A forward register slice: ``output.valid`` and the payload come from registers.

    It holds one transfer, and takes another in the cycle in which that one leaves. Latency a cycle;
    throughput a transfer a cycle.

    Members
    -------
    input: In(stream of ``shape``).
    output: Out(stream of ``shape``).
    """

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.input.ready.eq(~self.output.valid | self.output.ready)
        with m.If(self.input.ready):
            m.d.sync += [self.output.valid.eq(self.input.valid), self.output.payload.eq(self.input.payload)]
        return m


class SkidBuffer(StreamComponent):
    """``input.ready`` comes from a register, which says that the buffer is empty.

    A transfer passes through at once. If the output is not ready for it, it is kept in the buffer until the
    output is. Latency none; throughput a transfer a cycle.

    Members
    -------
    input: In(stream of ``shape``).
    output: Out(stream of ``shape``).
    """

    def elaborate(self, platform):
        m = Module()
        kept = Signal.like(self.input.payload)
        full = Signal()
        m.d.comb += [
            self.input.ready.eq(~full),
            self.output.valid.eq(full | self.input.valid),
            self.output.payload.eq(Mux(full, kept, self.input.payload)),
        ]
        m.d.sync += full.eq(self.output.valid & ~self.output.ready)
        with m.If(~full):
            m.d.sync += kept.eq(self.input.payload)
        return m
