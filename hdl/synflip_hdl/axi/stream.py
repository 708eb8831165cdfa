"""AXI4-Stream: many words into the memory map, and logits out."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.axi_map import NOWHERE
from synflip.spec.memory_map import ADDRESS_BITS, IMAGE_WORD_BITS, OFFSET_BITS, Region
from synflip.spec.sizes import MAX_OUTPUTS

from synflip_hdl.bus.arbiter import BUS, OUTSTANDING
from synflip_hdl.interfaces import RUN_SLOTS, WATCHED_LOGIT, log2

WORD = data.StructLayout({"data": 32, "last": 1})


class StreamSink(wiring.Component):
    """Writes packets of words into the map. A packet's first word is a word address, the words after it go to
    that address and the ones above it; ``last`` ends the packet.

    While a run is busy, images for other slots than its own go on, and every other word waits for the run's
    end: nothing is refused for being early. A packet may start a run. A word that is refused (outside the
    map, or what is only read) is counted by who listens to ``refused``, and the packet goes on.

    Throughput a word a cycle. ``words.ready`` does not depend on an input of the same cycle.

    Members
    -------
    words: the stream. bus: to the arbiter. run, run_slots: a run is busy, with images in these slots.
        A start counts from the cycle after its request was taken: what comes behind must not be early.
    busy: a packet was begun, or a word was not answered yet. refused: strobe, a word was.
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
            # An address of more than 28 bits is none of the map's.
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
    """Logits of a run as packets of a stream, one a pass, each when its last logit has been made.

    The accelerator cannot wait. If a pass finds no place, all of it is left out, and ``lost`` says so; a pass
    that is cut by an abort is left out too. So every packet is a whole pass. The depth (a power of two)
    is that of the largest pass: a reader that never waits never loses one, as passes are VOTE_GAP apart.

    Latency from a pass's last logit to its first word: 2 cycles. Throughput a word a cycle. ``words.valid``
    and ``words.payload`` do not depend on an input of the same cycle.

    Members
    -------
    logit_valid, logit: from the accelerator. words: the stream. lost: strobe, a pass was.
    """

    def __init__(self, depth: int = MAX_OUTPUTS) -> None:
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

        # Counters of words, a bit wider than an address: whole is past the last whole pass, tail past what
        # was written of the one that is being made, head past what was read.
        bits = log2(self.depth)
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
