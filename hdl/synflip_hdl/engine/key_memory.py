"""Key memory: one sample's keys are read while the next sample's are filled in."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.cycles import KEY_RELEASE
from synflip.spec.memory_map import OFFSET_BITS
from synflip.spec.sizes import MAX_SAMPLE_BITS

from synflip_hdl.interfaces import log2
from synflip_hdl.lib.memory_reads import read_late


class KeyMemory(wiring.Component):
    """Two halves of ``depth`` keys a bank, sample s in half s mod 2; or one half, for memory's sake.

    Filling starts with ``start`` and takes at most a transfer of the source a cycle; it runs at most as many
    samples ahead of ``release`` as there are halves, and ends with the run's last sample, so that the last
    samples' keys are there when a run is over. Reading: ``data`` is there two cycles after ``address``.

    Parameters
    ----------
    banks: Q. depth: keys of a bank in one half. halves: 1 or 2. sample_bits: of a sample's number. compact:
        see ``accelerator.Accelerator``.

    Members
    -------
    source: stream of Q keys. run: a run is busy: filling is allowed, and the array reads. start: forget
        everything, sample 0 comes next. samples: of the run.
    blocks: transfers that make a sample. release: the oldest sample is no longer needed (acts KEY_RELEASE
        cycles later, when reads under way are done).
    sample: low two bits of the sample that asks; end: transfers it needs; ready: they are there in
        the next cycle.
    address: half (of the sample, whether there are two or not) and block, the half on top. data: Q keys, two
        cycles later.
    offset: half, block, bank, low or high half of the key, from the top: what the host reads while no run is
        busy. word: two cycles later.
    """

    def __init__(
        self,
        banks: int,
        depth: int,
        halves: int = 2,
        sample_bits: int = MAX_SAMPLE_BITS,
        compact: bool = False,
    ) -> None:
        self.banks, self.depth, self.halves, self.compact = banks, depth, halves, compact
        self.sample_bits = sample_bits
        self.block_bits = log2(depth)
        super().__init__(
            {
                "source": In(stream.Signature(data.ArrayLayout(64, banks))),
                "run": In(1),
                "start": In(1),
                "samples": In(sample_bits),
                "blocks": In(24),
                "release": In(1),
                "sample": In(2),
                "end": In(24),
                "ready": Out(1),
                "address": In(data.ArrayLayout(self.block_bits + 1, banks)),
                "data": Out(data.ArrayLayout(64, banks)),
                "offset": In(OFFSET_BITS),
                "word": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        filling = Signal(self.sample_bits)  # sample being filled
        oldest = Signal(2)  # oldest sample that may still be read, modulo 4
        block = Signal(self.block_bits + 1)
        delay = Signal(KEY_RELEASE - 1)
        last = Signal()
        more = Signal()  # the run's last sample is not filled yet
        room = Signal()  # that, and there is a half for it
        still_more = Signal()
        ahead = Signal(2)
        taken = Signal()

        m.d.comb += [
            self.source.ready.eq(self.run & room),
            taken.eq(self.source.ready & self.source.valid),
            last.eq(block + 1 == self.blocks[: len(block)]),
            self.ready.eq(Mux(filling[:2] == self.sample, block >= self.end[: len(block)], 1)),
            # A cycle later:
            still_more.eq(more & ~(taken & last & (filling + 1 == self.samples))),
            ahead.eq(filling + (taken & last) - oldest - delay[-1]),
        ]
        m.d.sync += [
            delay.eq(Cat(self.release, delay)),
            more.eq(still_more),
            room.eq(still_more & (ahead < self.halves)),
        ]
        with m.If(delay[-1]):
            m.d.sync += oldest.eq(oldest + 1)
        with m.If(taken):
            m.d.sync += block.eq(Mux(last, 0, block + 1))
            with m.If(last):
                m.d.sync += filling.eq(filling + 1)
        with m.If(self.start):
            m.d.sync += [
                filling.eq(0),
                oldest.eq(0),
                block.eq(0),
                delay.eq(0),
                more.eq(1),
                room.eq(1),
            ]

        # Keys are written a cycle later than taken, from registers, as the banks are far apart: early enough,
        # as an event reads its key some cycles after its layer was opened.
        write_address = Signal(1 + self.block_bits, reset_less=True)
        written = Signal(self.source.payload.shape(), reset_less=True)
        write_enable = Signal()
        m.d.sync += [
            # With one half the address has no bit for it.
            write_address.eq(Cat(block[: self.block_bits], filling[0])),
            written.eq(self.source.payload),
            write_enable.eq(taken & ~self.start),
        ]

        bank_bits = (self.banks - 1).bit_length()
        for bank in range(self.banks):
            m.submodules[f"bank_{bank}"] = memory = Memory(
                shape=unsigned(64), depth=self.halves << self.block_bits, init=[]
            )
            write, read = memory.write_port(), memory.read_port()
            asked = Mux(self.run, self.address[bank], self.offset[1 + bank_bits :])
            m.d.comb += [
                write.addr.eq(write_address),
                write.data.eq(written[bank]),
                write.en.eq(write_enable),
                self.data[bank].eq(read_late(m, read, asked, self.compact)),
            ]

        # The host reads one half of one bank's key.
        half, half_read = Signal(1 + bank_bits), Signal(1 + bank_bits)
        m.d.sync += [half.eq(self.offset), half_read.eq(half)]
        m.d.comb += self.word.eq(self.data.as_value().word_select(half_read, 32))
        return m
