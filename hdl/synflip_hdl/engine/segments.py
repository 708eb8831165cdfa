"""Segments: the program of a convolution, looked up one segment ahead."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.cycles import SEGMENT_SPACING
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import (
    FLAGS_SHIFT,
    LAYER_END,
    PAST_SHIFT,
    POSITION_END,
    SEGMENT_WORDS,
    TAP_BITS,
    TAP_BLOCKS,
    WINDOW_END,
    Region,
    segments_offset,
)
from synflip.spec.sizes import address_bits, log2_ceil

from synflip_hdl.interfaces import HostAccess, SegmentDemand, SegmentPlaces, segment_layout
from synflip_hdl.lib.entry_writer import EntryWriter


class Segments(wiring.Component):
    """Reads one segment after the other, and has the event lists look up where it lies.

    The entry behind the one that is looked up is always asked for. So, cycle by cycle from a restart or from
    the opening of the segment before: 1 entry, which is kept, 2 the events before the segment and up to its
    end are asked for, 3 they are kept, 4 it is ready.

    Members
    -------
    host: In(HostAccess), words of the segments, and of the taps behind them, behind the layer table.
    demand: In(SegmentDemand), from the sequencer.
    places: Out(SegmentPlaces), to the event lists.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        super().__init__(
            {
                "host": In(HostAccess()),
                "demand": In(SegmentDemand(geometry)),
                "places": Out(SegmentPlaces(geometry)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        demand, places = self.demand, self.places
        here = log2_ceil(segments_offset(self.geometry))
        entry = self._program(m, self.host.offset[here:] == 1)
        age = Signal(range(SEGMENT_SPACING + 1))
        number = Signal(address_bits(self.geometry.map_segments))
        asked = Signal.like(number)  # of the entry that the program answers with
        window = Signal.like(number)  # its window's first
        segment = Signal(entry.data.shape(), reset_less=True)  # from the second cycle on
        window_entry = Signal(entry.data.shape(), reset_less=True)
        restarted = Signal()
        window_end = Signal()  # of the one that was taken last
        m.d.comb += [
            demand.ready.eq(age == SEGMENT_SPACING),
            demand.segment.eq(segment),
            entry.addr.eq(Mux(demand.restart, demand.entry, number + 1)),
            places.first.eq(segment.first),
            places.past.eq(segment.past),
            places.kept.eq(age == 3),
            places.none.eq(segment.first == 0),
        ]
        m.d.sync += asked.eq(entry.addr)
        with m.If(age == 1):
            with m.If(window_end & demand.again):
                m.d.sync += [number.eq(window), segment.eq(window_entry)]
            with m.Else():
                m.d.sync += [number.eq(asked), segment.eq(entry.data)]
                with m.If(window_end | restarted):
                    m.d.sync += [window.eq(asked), window_entry.eq(entry.data)]
        with m.If(demand.take):
            m.d.sync += [age.eq(1), restarted.eq(0), window_end.eq(segment.window_end)]
        with m.Elif(age != SEGMENT_SPACING):
            m.d.sync += age.eq(age + 1)
        with m.If(demand.restart):
            m.d.sync += [age.eq(1), restarted.eq(1), window_end.eq(0)]
        self._image(m, self.host.offset[here + 1 :] == 1, segment)
        return m

    def _program(self, m, chosen):
        """The program, which the host writes. Returns its read port."""
        m.submodules.segment_writer = writer = EntryWriter(32 * SEGMENT_WORDS)
        m.submodules.program = program = Memory(
            shape=segment_layout(self.geometry), depth=self.geometry.map_segments, init=[]
        )
        write, read = program.write_port(), program.read_port()
        places, other = writer.value[:32], writer.value[32:]
        flags = {"position_end": POSITION_END, "window_end": WINDOW_END, "layer_end": LAYER_END}
        m.d.comb += [
            writer.valid.eq(self.host.write[Region.LAYERS] & chosen),
            writer.offset.eq(self.host.offset),
            writer.data.eq(self.host.data),
            write.addr.eq(writer.entry),
            write.data.first.eq(places),
            write.data.past.eq(places >> PAST_SHIFT),
            write.data.offset.eq(other),
            *(write.data[name].eq(other[FLAGS_SHIFT:] & bit != 0) for name, bit in flags.items()),
            write.en.eq(writer.commit),
        ]
        return read

    def _image(self, m, chosen, segment):
        """The taps of the rows of a kernel over images, which the host writes; and where the rows of the
        position that is open are.

        The memory is asked two cycles ahead, for the row behind the one that comes next: so the taps come out
        of registers. The first row, which follows an opening, has registers of its own.
        """
        banks, bits = self.geometry.banks, address_bits(self.geometry.event_depth)
        demand, shape = self.demand, data.ArrayLayout(bits, banks)
        m.submodules.tap_writer = writer = EntryWriter(TAP_BITS * banks)
        m.submodules.taps = taps = Memory(shape=shape, depth=TAP_BLOCKS, init=[])
        write, read = taps.write_port(), taps.read_port()
        first = Signal(shape, reset_less=True)
        tap = Signal(shape, reset_less=True)
        position = Signal(bits, reset_less=True)
        with m.If(demand.take):
            m.d.sync += [position.eq(segment.first), tap.eq(first)]
        with m.Elif(demand.step):
            m.d.sync += tap.eq(read.data)
        with m.If(write.en & (write.addr == 0)):
            m.d.sync += first.eq(write.data)
        m.d.comb += [
            writer.valid.eq(self.host.write[Region.LAYERS] & chosen),
            writer.offset.eq(self.host.offset),
            writer.data.eq(self.host.data),
            write.addr.eq(writer.entry),
            write.en.eq(writer.commit),
            read.addr.eq(Mux(demand.take, 1, demand.index + demand.step + 1)),
        ]
        for bank in range(banks):
            m.d.comb += [
                write.data[bank].eq(writer.value.word_select(bank, TAP_BITS)),
                self.places.image[bank].eq(position + tap[bank]),
            ]
