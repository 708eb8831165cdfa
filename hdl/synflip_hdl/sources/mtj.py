"""Key source ``mtj``: raw bits of magnetic tunnel junctions, tested, folded, and packed into keys."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import cdc, data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import CAPTURE_BITS
from synflip.spec.sizes import KEY_BITS, address_bits

from synflip_hdl.interfaces import HostAccess, JunctionControl, JunctionResults, RunControl
from synflip_hdl.sources.health_tests import HealthTests


def compact(m, bits, mask):
    """(the bits where ``mask`` is 1, moved down next to each other; how many these are).

    bits = d c b a with mask = 1 0 1 0 gives 0 0 d b and 2. A bit moves down by the number of zeros in the
    mask below it: d by two, b by one. Stage s of multiplexers moves those bits by 2^s whose number has bit s.
    No two bits meet, and the bits above the count are 0.
    """
    n = len(bits)
    width = n.bit_length()
    zeros = Const(0, width)
    moves, values = [], []
    for place in range(n):
        moves.append(Mux(mask[place], zeros, 0))
        values.append(bits[place] & mask[place])
        below = Signal(width, name=f"zeros_below_{place + 1}")
        m.d.comb += below.eq(zeros + ~mask[place])
        zeros = below
    for stage in range(width):
        step = 1 << stage
        next_moves, next_values = [], []
        for place in range(n):
            stays = ~moves[place][stage] if place >= step else 1
            value, move = values[place] & stays, Mux(stays, moves[place], 0)
            if place + step < n:
                comes = moves[place + step][stage]
                value, move = value | values[place + step] & comes, move | Mux(comes, moves[place + step], 0)
            moved_value, moved = Signal(name=f"v{stage}_{place}"), Signal(width, name=f"s{stage}_{place}")
            m.d.comb += [moved_value.eq(value), moved.eq(move)]
            next_moves.append(moved)
            next_values.append(moved_value)
        moves, values = next_moves, next_values
    count = Signal(range(n + 1), name="how_many")
    m.d.comb += count.eq(n - zeros)
    return Cat(values), count


class MtjSource(wiring.Component):
    """Keys out of the geometry's ``devices`` junctions, each read by a latch outside.

    A rising edge of ``strobe`` says that ``raw`` holds a new bit of every junction; ``raw`` must then be
    stable for four clock cycles. Both inputs are synchronised. A strobe is at least two cycles high and two
    low.

    The source fails closed. A junction that fails a health test is cut off; all bits that are on their way,
    also those of other junctions, and the keys that were not taken yet are thrown away with its own
    (``keys.valid`` drops). With fewer than LEAST_DEVICES working junctions there is an alarm and no key,
    until ``junctions.restart``.

    Latency: the fifth clock edge that sees ``strobe`` high adds the bits to the pool that keys are cut from.
    Throughput: all bits of each strobe; a key takes 64 bits out of the pool, in one cycle.
    Reset: no junction is tested, so there is no key before a whole window of raw bits.

    Parameters
    ----------
    geometry: Q banks, which is how many keys a transfer has, and the junctions.

    Members
    -------
    raw : In(devices)
        A bit of each junction, asynchronous.
    strobe : In(1)
        Asynchronous; its rising edge says that ``raw`` has new bits.
    keys : Out(stream of Q 64-bit keys)
        While no key is taken and the buffers are full, new bits are thrown away.
    control : In(RunControl)
        FOLD: how many raw bits of a junction are XORed into one; 0 counts as 1. VON_NEUMANN: of two folded
        bits of a junction keep the first if they differ, else none. LEAST_DEVICES: alarm below so many
        working junctions. REPETITION_CUTOFF and PROPORTION_CUTOFF: see ``health_tests.HealthTests``. CAPTURE:
        the junction whose raw bits are captured. A start has no effect: keys are made between runs, too.
    junctions : In(JunctionControl)
        The alarm and the number of working junctions come a cycle after the bits that they follow from.
    host : In(HostAccess)
        The offset selects a junction for ``results.flags``, and a word of the capture for
        ``results.raw_word``.
    results : Out(JunctionResults)
        They follow the offset by a cycle.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.banks, self.devices = geometry.banks, geometry.devices
        super().__init__(
            {
                "raw": In(self.devices),
                "strobe": In(1),
                "keys": Out(stream.Signature(data.ArrayLayout(KEY_BITS, self.banks))),
                "control": In(RunControl(geometry)),
                "junctions": In(JunctionControl()),
                "host": In(HostAccess()),
                "results": Out(JunctionResults()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        settings, junctions = self.control.settings, self.junctions
        take, bits = self._synchronise(m)
        m.submodules.health = health = HealthTests(self.devices)
        discard = Signal()
        m.d.comb += [
            health.take.eq(take),
            health.bits.eq(bits),
            health.restart.eq(junctions.restart),
            health.repetition_cutoff.eq(settings["REPETITION_CUTOFF"]),
            health.proportion_cutoff.eq(settings["PROPORTION_CUTOFF"]),
            discard.eq(health.failing | junctions.restart),
        ]
        working = sum(health.working)
        m.d.sync += [
            junctions.working.eq(working),
            junctions.alarm.eq(health.tested & (working < settings["LEAST_DEVICES"])),
        ]
        folded, mask = self._fold(m, take, bits, discard)
        self._pack(m, folded, mask & health.working, discard, health.tested & ~junctions.alarm)
        self._capture(m, take, bits)

        flags = Array(
            Cat(health.working[device], health.repetition_failed[device], health.proportion_failed[device])
            for device in range(self.devices)
        )
        m.d.sync += self.results.flags.eq(flags[self.host.offset[: address_bits(self.devices)]])
        return m

    def _synchronise(self, m):
        """A pulse for each rising edge of the strobe, and the raw bits in that cycle, two cycles late."""
        strobe, before = Signal(), Signal()
        bits = Signal(self.devices)
        m.submodules.strobe_sync = cdc.FFSynchronizer(self.strobe, strobe)
        m.submodules.raw_sync = cdc.FFSynchronizer(self.raw, bits)
        m.d.sync += before.eq(strobe)
        return strobe & ~before, bits

    def _fold(self, m, take, bits, discard):
        """XOR over FOLD takes, then von Neumann's pairs: bits, and which of them count, in one cycle."""
        fold, von_neumann = self.control.settings["FOLD"], self.control.settings["VON_NEUMANN"]
        left = Signal(fold.shape())  # raw bits that the fold under way lacks, the next one included
        folding = Signal(self.devices)
        folded = Signal(self.devices)
        whole = Signal()
        m.d.comb += [folded.eq(folding ^ bits), whole.eq(take & (left <= 1))]
        with m.If(take):
            m.d.sync += [folding.eq(Mux(whole, 0, folded)), left.eq(Mux(whole, fold, left - 1))]
        second, held = Signal(), Signal(self.devices)
        with m.If(whole):
            m.d.sync += [second.eq(~second & von_neumann), held.eq(folded)]
        with m.If(discard):
            m.d.sync += [folding.eq(0), left.eq(fold), second.eq(0)]
        pairs = (held ^ folded) & second.replicate(self.devices)
        mask = Mux(von_neumann, pairs, Const(-1, self.devices)) & whole.replicate(self.devices)
        return Mux(von_neumann, held, folded), mask

    def _pack(self, m, bits, mask, discard, issue):
        """Bits in the order of junctions and time into keys, bit 0 first, and keys into transfers of Q."""
        taken_bits, taken_mask = Signal(self.devices), Signal(self.devices)
        m.d.sync += [taken_bits.eq(bits), taken_mask.eq(mask)]
        packed, count = compact(m, taken_bits, taken_mask)
        new, many = Signal(self.devices), Signal.like(count)
        m.d.sync += [new.eq(packed), many.eq(count)]

        pool, level = Signal(KEY_BITS + self.devices), Signal(range(KEY_BITS + self.devices + 1))
        filled = Signal(range(self.banks + 1))
        with m.If(level < KEY_BITS):
            m.d.sync += [pool.eq(pool | (new << level[:6])), level.eq(level + many)]
        with m.Elif(filled != self.banks):
            m.d.sync += [pool.eq(pool >> KEY_BITS), level.eq(level - KEY_BITS), filled.eq(filled + 1)]
            for bank in range(self.banks):
                with m.If(filled == bank):
                    m.d.sync += self.keys.payload[bank].eq(pool[:KEY_BITS])
        m.d.comb += self.keys.valid.eq((filled == self.banks) & issue)
        with m.If(self.keys.valid & self.keys.ready):
            m.d.sync += filled.eq(0)
        with m.If(discard):
            m.d.sync += [taken_mask.eq(0), many.eq(0), new.eq(0), level.eq(0), pool.eq(0), filled.eq(0)]

    def _capture(self, m, take, bits):
        """The next CAPTURE_BITS raw bits of one junction go into a memory, which the host reads."""
        captured, device = self.junctions.captured, self.control.settings["CAPTURE"]
        word, chosen = Signal(32), Signal()
        m.submodules.raw_bits = memory = Memory(shape=unsigned(32), depth=CAPTURE_BITS // 32, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            chosen.eq(bits.bit_select(device[: address_bits(self.devices)], 1)),
            write.addr.eq(captured[5:]),
            write.data.eq(Cat(word[1:], chosen)),
            read.addr.eq(self.host.offset),
            self.results.raw_word.eq(read.data),
        ]
        with m.If(take & (captured != CAPTURE_BITS)):
            m.d.comb += write.en.eq(captured[:5] == 31)
            m.d.sync += [word.eq(write.data), captured.eq(captured + 1)]
        with m.If(self.junctions.capture):
            m.d.sync += captured.eq(0)
