"""FrameQueue behind a Deframer: a whole frame stays in the ring as it came until it is dropped."""

from amaranth.hdl import Assert, Assume, Cover, Elaboratable, Module, Mux, Signal
from synflip.spec.frames import QUEUE_WORDS
from synflip_hdl.serial.frame_queue import FrameQueue
from synflip_hdl.serial.framing import LONGEST, Deframer

from tests.formal.helpers import Followed, Opened, free_inputs
from tests.formal.runner import Proof


class Frames(Elaboratable):
    """Any bytes at any times, and a reader that asks for any word and drops what is there. One place of the
    ring is followed, which may be any."""

    def elaborate(self, platform):
        m = Module()
        frame, dut = Deframer(64), FrameQueue()
        m.submodules.deframer = frame
        inside = Opened(m, dut, platform=Followed())
        free_inputs(m, frame, "listen")
        free_inputs(m, dut, "word", "word_valid", "length", "end", "good")
        m.d.comb += dut.fed_by(frame)
        begin, oldest, used = inside["begin"], inside["oldest"], inside["used"]
        address, row = inside["ring.address"], inside["ring.row"]
        coming = inside["coming"]
        place = Signal.like(oldest)  # of the followed word behind the oldest frame's header
        kept, held = Signal(32), Signal()  # the word as it was when its frame had ended; it is in the ring
        before, asked = Signal(), Signal()
        usable = dut.good & (dut.length >= 4) & (dut.length <= LONGEST)
        taken = Mux(usable, dut.length, 1)
        new = Signal.like(oldest)  # place of the followed word behind the next frame's header
        m.d.comb += [
            place.eq(address - oldest),
            new.eq(address - begin),
            Assume(~dut.drop | (dut.taken <= used)),
            Assume((dut.taken >= 1) & (dut.taken <= LONGEST)),
        ]
        with m.If(dut.end & (new < taken)):
            m.d.sync += held.eq(1)
            with m.If(new != 0):
                m.d.sync += kept.eq(row)
        with m.If(dut.end & (new == 0)):
            m.d.sync += [kept[:10].eq(dut.length), kept[10].eq(usable), kept[11:].eq(0)]
        with m.If(dut.drop & (place < dut.taken)):
            m.d.sync += held.eq(0)
        m.d.sync += [
            before.eq(held & ~(dut.drop & (place < dut.taken))),
            asked.eq(address == oldest + dut.index),
        ]
        m.d.comb += [
            Assert(used <= QUEUE_WORDS),
            Assert(begin == (oldest + used)[: len(begin)]),
            Assert(dut.there == (used != 0)),
            # The claim, and that it is read so.
            Assert(~held | (row == kept)),
            Assert(~(before & asked) | (dut.value == kept)),
            Assert(held == (place < used + coming)),
            Assert((coming == 0) | ~dut.end),
            Assert(used + coming <= QUEUE_WORDS),
            Assert(~dut.listen | (used + dut.length + 3 <= QUEUE_WORDS)),
            Assert(dut.length <= LONGEST + 1),
            Cover(held & dut.drop),
        ]
        return m


PROOFS = [
    Proof(
        "frame_queue",
        "a frame that has ended stays in the ring as it came until it is dropped, whatever comes meanwhile, "
        "and is read so; what finds no room changes nothing of it",
        f"a ring of {QUEUE_WORDS} words behind the Deframer, any bytes; assumes that what is dropped is "
        "there (the bridge drops the oldest frame, by its header)",
        Frames,
        depth=2,
        induction=True,
        cover=6,
        fast=True,
    )
]
