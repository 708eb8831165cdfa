"""Key memory: one sample's keys are read while the next sample's are filled in."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.cycles import KEY_RELEASE

from synflip_hdl.bundles import log2


class KeyMemory(wiring.Component):
    """Two halves of ``depth`` keys a bank; sample s lives in half s mod 2.

    Filling starts with ``start`` and takes a transfer of the source a cycle; it runs at most two samples
    ahead of ``release``. Reading: ``data`` is there a cycle after ``address``.

    Parameters
    ----------
    banks: Q. depth: keys of a bank in one half.

    Members
    -------
    source: stream of Q keys. run: filling is allowed. start: forget everything, sample 0 comes next.
    blocks: transfers that make a sample. release: the oldest sample is no longer needed (acts KEY_RELEASE
        cycles later, when reads under way are done).
    sample: low two bits of the sample that asks; end: transfers it needs; ready: they are there.
    address: half and block, the half on top. data: Q keys, a cycle later.
    """

    def __init__(self, banks: int, depth: int) -> None:
        self.banks, self.depth = banks, depth
        self.block_bits = log2(depth)
        super().__init__(
            {
                "source": In(stream.Signature(data.ArrayLayout(64, banks), always_valid=True)),
                "run": In(1),
                "start": In(1),
                "blocks": In(24),
                "release": In(1),
                "sample": In(2),
                "end": In(24),
                "ready": Out(1),
                "address": In(data.ArrayLayout(self.block_bits + 1, banks)),
                "data": Out(data.ArrayLayout(64, banks)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        filling = Signal(2)  # sample being filled, modulo 4
        oldest = Signal(2)  # oldest sample that may still be read, modulo 4
        block = Signal(self.block_bits + 1)
        delay = Signal(KEY_RELEASE - 1)
        last = Signal()
        ahead = Signal(2)

        m.d.comb += [
            ahead.eq(filling - oldest),
            self.source.ready.eq(self.run & (ahead < 2)),
            last.eq(block + 1 == self.blocks),
            self.ready.eq(Mux(filling == self.sample, block >= self.end, 1)),
        ]
        m.d.sync += delay.eq(Cat(self.release, delay))
        with m.If(delay[-1]):
            m.d.sync += oldest.eq(oldest + 1)
        with m.If(self.source.ready):
            m.d.sync += block.eq(Mux(last, 0, block + 1))
            with m.If(last):
                m.d.sync += filling.eq(filling + 1)
        with m.If(self.start):
            m.d.sync += [filling.eq(0), oldest.eq(0), block.eq(0), delay.eq(0)]

        for bank in range(self.banks):
            m.submodules[f"bank_{bank}"] = memory = Memory(
                shape=unsigned(64), depth=2 << self.block_bits, init=[]
            )
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.addr.eq(Cat(block[: self.block_bits], filling[0])),
                write.data.eq(self.source.payload[bank]),
                write.en.eq(self.source.ready),
                read.addr.eq(self.address[bank]),
                self.data[bank].eq(read.data),
            ]
        return m
