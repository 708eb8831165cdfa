"""Registers in a stream, so that no path of logic goes through it: forwards, or backwards."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class StreamComponent(wiring.Component):
    """What has a stream in and the same stream out."""

    def __init__(self, shape) -> None:
        super().__init__({"input": In(stream.Signature(shape)), "output": Out(stream.Signature(shape))})


class RegisterSlice(StreamComponent):
    """Holds one transfer. Latency a cycle; throughput a transfer a cycle: it takes one while it hands on the
    one before.

    Members
    -------
    input, output: streams of ``shape``.
    """

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.input.ready.eq(~self.output.valid | self.output.ready)
        with m.If(self.input.ready):
            m.d.sync += [self.output.valid.eq(self.input.valid), self.output.payload.eq(self.input.payload)]
        return m


class SkidBuffer(StreamComponent):
    """Takes a transfer that the output is not ready for, so that ``input.ready`` comes from a register.

    Latency none; throughput a transfer a cycle.

    Members
    -------
    input, output: streams of ``shape``.
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
