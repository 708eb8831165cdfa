"""Segments: what is ready is the program's, and was looked up, whatever the windows and tiles are."""

from amaranth.hdl import Assert, Assume, Cover, Elaboratable, Module, Mux, Signal
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
        free_inputs(m, dut)
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
        asked = delayed(m, places.pixels, 1, "asked")
        kept, of_first, none = Signal(), Signal.like(asked), Signal()
        with m.If(places.kept):
            m.d.sync += [kept.eq(1), of_first.eq(asked), none.eq(places.none)]
        with m.If(demand.restart | demand.take):
            m.d.sync += kept.eq(0)
        first = segment.first[: len(of_first)]
        m.d.comb += [
            Assert(demand.ready == (since == SEGMENT_SPACING)),
            Assert(~ready | (segment.as_value() == inside["program.row"])),
            Assert(~ready | (kept & (of_first == first) & (none == ~segment.first.any()))),
            Assert(~ready | (asked == segment.past)),
            Cover(ready & (number == window) & delayed(m, taken & demand.again, 3, "went_back")),
        ]

        # The image's activations of the position that was taken last.
        position = Signal(len(inside["taps.row"]) // self.geometry.banks)
        with m.If(demand.take):
            m.d.sync += position.eq(segment.first)
        address = inside["taps.address"]
        asked_tap = delayed(m, demand.index[: len(address)] == address, 1, "asked_tap")
        taps = delayed(m, inside["taps.row"], 1, "taps")
        for bank, place in enumerate(places.image):
            tap = taps.word_select(bank, len(position))
            m.d.comb += Assert(~asked_tap | (place == (position + tap)[: len(place)]))

        # The same of the inside.
        age, ends = inside["age"], inside["window_end"]
        past_program = inside["program.hit_0"] & (inside["program.kept_0"] == inside["program.row"])
        m.d.comb += [
            Assert((age == since) & (since <= SEGMENT_SPACING)),
            Assert(~known | (since != 0)),
            Assert(~taken | (since == 1)),
            Assert(~known | (inside["number"] == number)),
            Assert(~known | (inside["window"] == window)),
            Assert(~known | (since != 1) | (inside["restarted"] == ~taken)),
            Assert(~taken | (ends == of_window_end)),
            Assert(~mine | (since < 2) | past_program),
            Assert(~kept | (since == SEGMENT_SPACING)),
            Assert(inside["position"] == position),
        ]
        # The entry is there from the second cycle on, and stays.
        entry = inside["program.kept_0"]
        past_entry = delayed(m, segment.as_value(), 1, "entry")
        m.d.comb += [
            Assert(~mine | (since != 3) | (asked == delayed(m, first, 1, "first"))),
            Assert(~mine | (since < 3) | (past_entry == entry)),
        ]
        return m


PROOFS = [
    Proof(
        f"segments Q={banks}",
        "a segment is ready 4 cycles after a restart or after the one before was taken, not sooner, when the "
        "ends of both its sides were asked for and answered; it is the program's entry of the number that "
        "counts: one more with each that is taken, back to its pool window's first while there is another "
        "tile; over an image each bank reads at the position that was taken plus its tap",
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
