"""Key memory: one sample's keys are read while the next sample's are filled in."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.cycles import KEY_RELEASE
from synflip.spec.geometry import Geometry
from synflip.spec.sizes import KEY_BITS, address_bits, log2_ceil

from synflip_hdl.interfaces import HostAccess, KeyDemand, KeyReads, RunControl
from synflip_hdl.lib.memory_reads import read_late


class KeyMemory(wiring.Component):
    """Two halves of ``key_depth`` keys a bank, sample s in half s mod 2; or one half, which saves memory.

    Filling starts with ``control.start`` and takes at most a transfer of the source a cycle. It runs at most
    as many samples ahead of ``demand.release`` as there are halves, and ends with the run's last sample, so
    that the last samples' keys are there when a run is over.

    Parameters
    ----------
    geometry: of the accelerator.
    compact: see ``accelerator.Accelerator``.

    Members
    -------
    control: In(RunControl); a start forgets everything, sample 0 comes next. SAMPLES of the run, and
        KEY_BLOCKS, the transfers that make a sample.
    source: In(stream of Q keys).
    demand: In(KeyDemand), from the sequencer.
    reads: In(KeyReads), from the array; ``data`` is there two cycles after ``address``.
    host: In(HostAccess), reads while no run is busy; its offset is, from the top: half, block, bank, and
        whether it is the high half of the key.
    word: Out(32), three cycles after the offset.
    """

    def __init__(self, geometry: Geometry, compact: bool = False) -> None:
        self.geometry, self.compact = geometry, compact
        self.block_bits = address_bits(geometry.key_depth)
        super().__init__(
            {
                "control": In(RunControl(geometry)),
                "source": In(stream.Signature(data.ArrayLayout(KEY_BITS, geometry.banks))),
                "demand": In(KeyDemand()),
                "reads": In(KeyReads(geometry)),
                "host": In(HostAccess()),
                "word": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        taken, block, filling = self._fill(m)
        self._memories(m, taken, block, filling)
        return m

    def _fill(self, m):
        """Which key comes next, and whether there is room for it. Returns (a transfer is taken, its block,
        its sample)."""
        geometry, demand, settings = self.geometry, self.demand, self.control.settings
        filling = Signal(geometry.sample_bits)  # sample being filled
        oldest = Signal(2)  # oldest sample that may still be read, modulo 4
        block = Signal(self.block_bits + 1)
        delay = Signal(KEY_RELEASE - 1)
        # These four are registers, because much follows from them in the same cycle:
        last = Signal()  # the block is its sample's last
        last_sample = Signal()  # the sample being filled is the run's last
        more = Signal()  # the run's last sample is not filled yet
        room = Signal()  # that, and there is a half for it
        still_more = Signal()
        ahead = Signal(2)
        taken = Signal()
        blocks = settings["KEY_BLOCKS"][: len(block)]
        samples = settings["SAMPLES"][: geometry.sample_bits]

        m.d.comb += [
            self.source.ready.eq(demand.run & room),
            taken.eq(self.source.ready & self.source.valid),
            demand.ready.eq(Mux(filling[:2] == demand.sample, block >= demand.end[: len(block)], 1)),
            # A cycle later:
            still_more.eq(more & ~(taken & last & last_sample)),
            ahead.eq(filling + (taken & last) - oldest - delay[-1]),
        ]
        m.d.sync += [
            delay.eq(Cat(demand.release, delay)),
            more.eq(still_more),
            room.eq(still_more & (ahead < geometry.key_halves)),
        ]
        with m.If(delay[-1]):
            m.d.sync += oldest.eq(oldest + 1)
        with m.If(taken):
            m.d.sync += [
                block.eq(Mux(last, 0, block + 1)),
                last.eq(Mux(last, blocks == 1, block + 2 == blocks)),
            ]
            with m.If(last):
                m.d.sync += [filling.eq(filling + 1), last_sample.eq(filling + 2 == samples)]
        with m.If(self.control.start):
            m.d.sync += [
                filling.eq(0),
                oldest.eq(0),
                block.eq(0),
                delay.eq(0),
                last.eq(blocks == 1),
                last_sample.eq(samples == 1),
                more.eq(1),
                room.eq(1),
            ]
        return taken, block, filling

    def _memories(self, m, taken, block, filling):
        """A memory a bank: written by the source, read by the array, or by the host while no run is busy."""
        banks, host = self.geometry.banks, self.host
        # Keys are written a cycle later than taken, from registers, as the banks are far apart: early enough,
        # as an event reads its key some cycles after its layer was opened.
        write_address = Signal(1 + self.block_bits, reset_less=True)
        written = Signal(self.source.payload.shape(), reset_less=True)
        write_enable = Signal()
        m.d.sync += [
            # With one half the address has no bit for it.
            write_address.eq(Cat(block[: self.block_bits], filling[0])),
            written.eq(self.source.payload),
            write_enable.eq(taken & ~self.control.start),
        ]
        bank_bits = log2_ceil(banks)
        for bank in range(banks):
            m.submodules[f"bank_{bank}"] = memory = Memory(
                shape=unsigned(KEY_BITS), depth=self.geometry.key_halves << self.block_bits, init=[]
            )
            write, read = memory.write_port(), memory.read_port()
            asked = Mux(self.demand.run, self.reads.address[bank], host.offset[1 + bank_bits :])
            m.d.comb += [
                write.addr.eq(write_address),
                write.data.eq(written[bank]),
                write.en.eq(write_enable),
                self.reads.data[bank].eq(read_late(m, read, asked, self.compact)),
            ]

        # The host reads one half of one bank's key. The banks are far apart: it leaves through a register.
        half, half_read = Signal(1 + bank_bits), Signal(1 + bank_bits)
        m.d.sync += [half.eq(host.offset), half_read.eq(half)]
        m.d.sync += self.word.eq(self.reads.data.as_value().word_select(half_read, 32))
