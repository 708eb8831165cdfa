"""AXI4-Stream: many words into the memory map, and logits out."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.axi_map import NOWHERE
from synflip.spec.memory_map import ADDRESS_BITS, IMAGE_WORD_BITS, OFFSET_BITS, Region
from synflip.spec.sizes import MAX_OUTPUTS, address_bits

from synflip_hdl.bus.arbiter import BUS, OUTSTANDING
from synflip_hdl.interfaces import RUN_SLOTS, WATCHED_LOGIT

WORD = data.StructLayout({"data": 32, "last": 1})


class StreamSink(wiring.Component):
    """Writes packets of words into the map. A packet's first word is a word address, the words after it go to
    that address and the ones above it; ``last`` ends the packet.

    While a run is busy, words for image slots that the run does not use are written, and every other word
    waits for the run's end, so no word is refused for being early. A packet may itself start a run. The map
    refuses a word outside of it or for a place that is only read: ``refused`` strobes, and the packet goes
    on.

    Throughput: a word a cycle. Latency: a word's request is there in the cycle after its handshake.
    ``words.ready`` does not depend on an input of the same cycle. Reset: outside a packet.

    Members
    -------
    words : In(stream of WORD)
        The packets.
    bus : Out(BUS)
        Their writes, to the arbiter.
    run : In(1)
        A run is busy. It must be high from the cycle after the request that starts the run was taken: the
        next word of the packet comes then, and must wait.
    run_slots : In(RUN_SLOTS)
        The image slots of that run.
    busy : Out(1)
        A packet is not finished, or a word of it has no answer yet.
    refused : Out(1)
        Strobe: the map refused a word.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "words": In(stream.Signature(WORD)),
                "bus": Out(BUS),
                "run": In(1),
                "run_slots": In(RUN_SLOTS),
                "busy": Out(1),
                "refused": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = fifo.SyncFIFO(width=WORD.size, depth=2)
        word = Signal(WORD)
        place, inside = Signal(32), Signal()
        pending = Signal(range(OUTSTANDING + 1))
        region, slot = place[OFFSET_BITS:], place[IMAGE_WORD_BITS:OFFSET_BITS]
        meanwhile = (region == Region.IMAGES) & (
            (slot < self.run_slots.first) | (slot >= self.run_slots.past)
        )
        request = self.bus.request
        taken = request.valid & request.ready
        m.d.comb += [
            queue.w_data.eq(self.words.payload),
            queue.w_en.eq(self.words.valid),
            self.words.ready.eq(queue.w_rdy),
            word.eq(queue.r_data),
            request.valid.eq(queue.r_rdy & inside & (~self.run | meanwhile)),
            request.payload.write.eq(1),
            # The map has addresses of 28 bits: a larger one goes to NOWHERE, not to its lower bits.
            request.payload.address.eq(Mux(place[ADDRESS_BITS:].any(), NOWHERE, place)),
            request.payload.data.eq(word.data),
            queue.r_en.eq(~inside | taken),
            self.bus.response.ready.eq(1),
            self.refused.eq(self.bus.response.valid & self.bus.response.payload.error),
            self.busy.eq(queue.r_rdy | inside | (pending != 0)),
        ]
        m.d.sync += pending.eq(pending + taken - self.bus.response.valid)
        with m.If(queue.r_rdy & queue.r_en):
            m.d.sync += [inside.eq(~word.last), place.eq(Mux(inside, place + 1, word.data))]
        return m


class LogitSource(wiring.Component):
    """Logits of a run as packets of a stream: one packet a pass, sent once the pass's last logit is there.

    The accelerator cannot wait for the stream. A pass that finds too little room is dropped as a whole, and
    ``lost`` strobes; a pass that an abort cuts short is dropped too. So every packet is a whole pass. The
    buffer holds ``depth`` logits, by default those of the two largest passes. A reader that takes a word
    every cycle never loses a pass: while one is read, the next one comes, no faster.

    Latency from a pass's last logit to the packet's first word: 2 cycles. Throughput: a word a cycle.
    ``words.valid`` and ``words.payload`` do not depend on an input of the same cycle. Reset: empty.

    Parameters
    ----------
    depth: logits in the buffer, a power of two.

    Members
    -------
    logit_valid : In(1)
        Strobe: ``logit`` is there.
    logit : In(WATCHED_LOGIT)
        A logit from the accelerator, and whether it is its pass's first or last.
    words : Out(stream of WORD)
        The packets: a logit a word, sign-extended.
    lost : Out(1)
        Strobe: a pass was dropped.
    """

    def __init__(self, depth: int = 2 * MAX_OUTPUTS) -> None:
        self.depth = depth
        super().__init__(
            {
                "logit_valid": In(1),
                "logit": In(WATCHED_LOGIT),
                "words": Out(stream.Signature(WORD)),
                "lost": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = Memory(shape=WORD, depth=self.depth, init=[])
        write, read = rows.write_port(), rows.read_port()

        # Counters of words, one bit wider than an address so that full and empty differ. head: words read.
        # whole: words of the passes that are complete. tail: words written, an incomplete pass included.
        bits = address_bits(self.depth)
        head, whole, tail = Signal(bits + 1), Signal(bits + 1), Signal(bits + 1)
        place, losing, lose = Signal(bits + 1), Signal(), Signal()
        m.d.comb += [
            place.eq(Mux(self.logit.first, whole, tail)),
            lose.eq((~self.logit.first & losing) | ((place - head)[: bits + 1] == self.depth)),
            write.addr.eq(place),
            write.data.data.eq(self.logit.z),
            write.data.last.eq(self.logit.last),
            write.en.eq(self.logit_valid & ~lose),
            self.lost.eq(self.logit_valid & self.logit.last & lose),
        ]
        with m.If(self.logit_valid):
            m.d.sync += [tail.eq(place + 1), losing.eq(lose)]
            with m.If(self.logit.last & ~lose):
                m.d.sync += whole.eq(place + 1)

        fetch = Signal()
        m.d.comb += [
            fetch.eq((head != whole) & (~self.words.valid | self.words.ready)),
            read.addr.eq(head),
            read.en.eq(fetch),
            self.words.payload.eq(read.data),
        ]
        with m.If(self.words.ready):
            m.d.sync += self.words.valid.eq(0)
        with m.If(fetch):
            m.d.sync += [self.words.valid.eq(1), head.eq(head + 1)]
        return m
