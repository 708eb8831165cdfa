"""A queue of frames: requests wait in it until the bridge takes them."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.frames import QUEUE_WORDS, REQUEST_WORDS

from synflip_hdl.serial.framing import LONGEST

#: What is stored in front of a frame: its words, CRC included, and whether these can be used.
HEADER = data.StructLayout({"length": range(LONGEST + 2), "good": 1})
SLACK = 4  # words that may come between the cycle in which the room is counted and the fall of ``listen``


class FrameQueue(wiring.Component):
    """A ring of words that holds whole frames, each behind a header. A damaged frame leaves its header only.

    A frame that finds no room is dropped as a whole, and nothing answers it. Throughput: a word a cycle in, a
    word a cycle out. Latency: a frame is there two cycles after its end; its words come a cycle after
    ``index``. Reset: empty.

    Members
    -------
    listen : Out(1)
        There is room for the frame that comes. This and the next five belong to a ``Deframer``, which has
        members of the same names; ``fed_by`` connects them.
    word : In(32)
        The next word of the frame.
    word_valid : In(1)
        Strobe: ``word`` is there in this cycle.
    length : In(0..LONGEST + 1)
        Words of the frame before ``word``.
    end : In(1)
        Strobe: the frame has ended.
    good : In(1)
        With ``end``: the frame is not damaged.
    there : Out(1)
        A whole frame is in the ring.
    index : In(0..LONGEST)
        The word that is asked for of the oldest frame: 0 is its header, 1 the first word.
    value : Out(32)
        The word of the cycle before's ``index``.
    drop : In(1)
        Strobe: the oldest frame makes room; from the next cycle on the one behind it is the oldest.
    taken : In(1..LONGEST)
        Words that the oldest frame takes, its header among them, as ``words_taken`` says; with ``drop``.
    """

    def __init__(self, depth: int = QUEUE_WORDS) -> None:
        """depth: words, a power of two."""
        self.depth = depth
        super().__init__(
            {
                "listen": Out(1),
                "word": In(32),
                "word_valid": In(1),
                "length": In(range(LONGEST + 2)),
                "end": In(1),
                "good": In(1),
                "there": Out(1),
                "index": In(range(LONGEST + 1)),
                "value": Out(32),
                "drop": In(1),
                "taken": In(range(LONGEST + 1)),
            }
        )

    def fed_by(self, frame):
        """Statements that connect a ``Deframer``."""
        return [
            frame.listen.eq(self.listen),
            self.word.eq(frame.word),
            self.word_valid.eq(frame.word_valid),
            self.length.eq(frame.length),
            self.end.eq(frame.end),
            self.good.eq(frame.good),
        ]

    def elaborate(self, platform):
        m = Module()
        m.submodules.ring = ring = Memory(shape=32, depth=self.depth, init=[])
        write, read = ring.write_port(), ring.read_port()
        begin = Signal(range(self.depth))  # of the next frame
        oldest = Signal(range(self.depth))  # frame's begin
        used = Signal(range(self.depth + 1))  # words of whole frames
        header = Signal(HEADER)
        coming = Signal(range(LONGEST + 1))  # words of the frame that ended in the cycle before
        going = Signal(range(LONGEST + 1))  # words of the frame that is dropped
        m.d.comb += [
            header.length.eq(self.length),
            header.good.eq(self.good & (self.length >= REQUEST_WORDS) & (self.length <= LONGEST)),
            self.there.eq(used != 0),
            self.value.eq(read.data),
            read.addr.eq(oldest + self.index),
            write.addr.eq(begin),
            write.data.eq(header),
            write.en.eq(self.end),
        ]
        with m.If(self.word_valid & ~self.end):
            m.d.comb += [
                write.addr.eq(begin + self.length + 1),
                write.data.eq(self.word),
                write.en.eq(self.length < LONGEST),
            ]
        m.d.comb += going.eq(Mux(self.drop, self.taken, 0))
        m.d.sync += [
            # Beyond LONGEST no words are stored, so a frame needs no room for them.
            self.listen.eq(used + self.length + SLACK < self.depth),
            coming.eq(Mux(self.end, words_taken(header), 0)),
            begin.eq(begin + coming),
            oldest.eq(oldest + going),
            used.eq(used + coming - going),
        ]
        return m


def words_taken(header):
    """Words that a frame with this ``header`` takes: the header, and behind it all but the CRC, or none if
    they cannot be used."""
    return Mux(header.good, header.length, 1)
