"""Segments: what is ready is the program's, and was looked up, whatever the windows and tiles are."""

from amaranth.hdl import Assert, Assume, Cat, Cover, Elaboratable, Module, Mux, Signal
from amaranth.lib import data
from synflip.spec.cycles import SEGMENT_SPACING
from synflip.spec.geometry import Geometry
from synflip_hdl.engine.segments import Segments

from tests.formal.helpers import Followed, Opened, delayed, free_inputs
from tests.formal.runner import Proof


class Programs(Elaboratable):
    """Any program, restarts at any time, segments that are taken when they are ready, any number of tiles."""

    def __init__(self, banks: int) -> None:
        self.geometry = Geometry(lanes=16, banks=banks, bits=1, event_depth=64, map_depth=64)

    def elaborate(self, platform):
        m = Module()
        dut = Segments(self.geometry)
        inside = Opened(m, dut, platform=Followed())
        free_inputs(m, dut, "demand.index")
        demand, places, segment = dut.demand, dut.places, dut.demand.segment
        m.d.comb += Assume(~demand.take | demand.ready)

        # The number that counts: from the restart's on, one more with each segment that is taken; back to the
        # window's first where a window ends and there is another tile, which is said a cycle later.
        number, window = Signal.like(demand.entry), Signal.like(demand.entry)
        taken, of_window_end, known = Signal(), Signal(), Signal()
        wanted, following = Signal.like(number), Signal.like(number)
        m.d.comb += [
            following.eq(number + 1),
            wanted.eq(Mux(taken, Mux(of_window_end & demand.again, window, following), number)),
        ]
        m.d.sync += [number.eq(wanted), taken.eq(demand.take), of_window_end.eq(segment.window_end)]
        with m.If(taken & of_window_end & ~demand.again):
            m.d.sync += window.eq(following)
        since = Signal(range(SEGMENT_SPACING + 1))
        with m.If(demand.restart | demand.take):
            m.d.sync += since.eq(1)
        with m.Elif(since != SEGMENT_SPACING):
            m.d.sync += since.eq(since + 1)
        with m.If(demand.restart):
            m.d.sync += [number.eq(demand.entry), window.eq(demand.entry), taken.eq(0)]
        # The host writes no program after the restart (registers: it does not while a run is busy).
        with m.If(dut.host.write.any()):
            m.d.sync += known.eq(0)
        with m.Elif(demand.restart):
            m.d.sync += known.eq(1)
        mine = known & (number == inside["program.address"])
        ready = mine & demand.ready  # any entry is followed

        # What the event lists were asked for: the answers come a cycle later. The first one is kept.
        asked = delayed(m, Cat(places.first, places.past), 1, "asked")
        kept, answer, none = Signal(), Signal.like(asked), Signal()
        with m.If(places.kept):
            m.d.sync += [kept.eq(1), answer.eq(asked), none.eq(places.none)]
        with m.If(demand.restart | demand.take):
            m.d.sync += kept.eq(0)
        row = data.View(segment.shape(), inside["program.row"])
        of_row = Cat(row.first[: len(places.first)], row.past[: len(places.past)])
        m.d.comb += [
            Assert(demand.ready == (since == SEGMENT_SPACING)),
            Assert(~ready | (segment.as_value() == row.as_value())),
            Assert(~ready | (kept & (answer == of_row) & (none == ~row.first.any()))),
            Cover(ready & (number == window) & delayed(m, taken & demand.again, 3, "went_back")),
        ]

        # The image's activations of the position that was taken last, row block after row block.
        taps, address = inside["taps.row"], inside["taps.address"]  # any row block is followed
        position, block = Signal(len(taps) // self.geometry.banks), Signal.like(demand.index)
        opened = Signal()  # since the host wrote last
        with m.If(demand.take):
            m.d.sync += [position.eq(segment.first), block.eq(0)]
        with m.Elif(demand.step):
            m.d.sync += block.eq(block + 1)
        with m.If(dut.host.write.any()):
            m.d.sync += opened.eq(0)
        with m.Elif(demand.take):
            m.d.sync += opened.eq(1)
        is_asked = opened & (block[: len(address)] == address)
        is_next = opened & ((block + 1)[: len(address)] == address)
        m.d.comb += [
            demand.index.eq(block),
            Assert(address.any() | (inside["first"] == taps)),
            Assert(~is_asked | (inside["tap"] == taps)),
            Assert(~is_next | (inside["taps.hit_0"] & (inside["taps.kept_0"] == taps))),
            Cover(is_asked & (block == 2)),
        ]
        for bank, place in enumerate(places.image):
            tap = taps.word_select(bank, len(position))
            m.d.comb += Assert(~is_asked | (place == (position + tap)[: len(place)]))

        # The same of the inside. The program was asked for the entry that comes next, if no other tile does.
        age, ends, asked_for = inside["age"], inside["window_end"], inside["asked"]
        looked_up = (since != 0) & ((since != 1) | taken)
        of_window = known & looked_up & (inside["program.address"] == window)
        next_one = Mux(taken, following, number)
        answers = inside["program.hit_0"] & (inside["program.kept_0"] == inside["program.row"])
        m.d.comb += [
            Assert((age == since) & (since <= SEGMENT_SPACING)),
            Assert(~known | (since != 0)),
            Assert(~taken | (since == 1)),
            Assert(~known | ~looked_up | ((inside["number"] == number) & (inside["window"] == window))),
            Assert(~of_window | (inside["window_entry"] == row.as_value())),
            Assert(~known | (since != 1) | ((inside["restarted"] == ~taken) & (asked_for == next_one))),
            Assert(~known | (since != 1) | (next_one != inside["program.address"]) | answers),
            Assert(~known | (since != 1) | (ends == (taken & of_window_end))),
            Assert(~kept | (since == SEGMENT_SPACING)),
            Assert(inside["position"] == position),
        ]
        # The entry is kept in the first cycle, and what was asked for is there in the third.
        m.d.comb += [
            Assert(~mine | (since != 3) | ((asked == of_row) & (places.none == ~row.first.any()))),
            Assert(~mine | (since < 2) | (inside["segment"] == row.as_value())),
        ]
        return m


PROOFS = [
    Proof(
        f"segments Q={banks}",
        "a segment is ready 4 cycles after a restart or after the one before was taken, not sooner, when the "
        "ends of both its sides were asked for and kept; it is the program's entry of the number that "
        "counts: one more with each that is taken, back to its pool window's first while there is another "
        "tile; over an image each bank reads at the position that was taken plus its tap of the row block",
        f"Q = {banks}, 128 segments, 64 row blocks of taps; assumes that a segment is taken when it is ready "
        "(sequencer.maps), and no word of the program after a restart (registers)",
        lambda banks=banks: Programs(banks),
        depth=2,
        induction=True,
        cover=12,
        fast=banks == 2,
    )
    for banks in (2, 8)
]
