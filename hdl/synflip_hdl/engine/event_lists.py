"""Event lists: the non-zero activations as (row block, value), one list a bank."""

from types import SimpleNamespace

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import ACTIVATIONS_PER_WORD
from synflip.spec.sizes import address_bits, log2_ceil

from synflip_hdl.interfaces import (
    SLOT_BITS,
    ListReads,
    RunControl,
    SegmentPlaces,
    append_layout,
    end_bits,
    event_layout,
    image_word_layout,
    index_bits,
    set_bits,
)
from synflip_hdl.lib.memory_reads import read_late


class _Tally:
    """Lengths of Q lists and the length of the longest, kept up to date as events are appended.

    A maximum would need comparisons in front of an addition. Instead a bit a list, ``behind``, says that the
    list is shorter than the longest. The longest grows, by 1, when an event is appended to a list that is not
    behind. Lengths 3, 2, so longest = 3, behind = 0, 1: an event for the second list makes 3, 3, longest = 3,
    behind = 0, 0; the next one for either makes the longest 4, and the other list is behind.

    layout: lengths, longest, behind: what is kept. result: the lengths and the longest, for readers.
    """

    def __init__(self, banks: int, depth: int) -> None:
        members = {"lengths": data.ArrayLayout(depth.bit_length(), banks), "longest": depth.bit_length()}
        self.result = data.StructLayout(members)
        self.layout = data.StructLayout(members | {"behind": banks})

    def after(self, m, old, begin, appended):
        """The tally ``old`` before and after the lists of ``appended`` (Q bits) grow by an event each.

        begin: the lists are emptied first. Returns (before, after).
        """
        before = Signal(self.layout, name="tally_before")
        after = Signal(self.layout, name="tally_after")
        m.d.comb += before.eq(Mux(begin, 0, old.as_value()))
        longest_grows = Signal(name="tally_higher")
        m.d.comb += [
            longest_grows.eq((Cat(appended) & ~before.behind).any()),
            after.longest.eq(before.longest + longest_grows),
        ]
        for bank, grows in enumerate(appended):
            was_behind = before.behind[bank]
            m.d.comb += [
                after.lengths[bank].eq(before.lengths[bank] + grows),
                after.behind[bank].eq(
                    Mux(
                        longest_grows,
                        was_behind | ~grows,
                        was_behind & (after.lengths[bank] != before.longest),
                    )
                ),
            ]
        return before, after


class EventLists(wiring.Component):
    """Lists of the batch's images, and for each pass in flight two sets of lists for its hidden layers, which
    take turns.

    Appending drops zeros. The lists of one image or layer are opened, then read by index. In the banks whose
    list has ended, and in all banks in a cycle without ``read``, an event has the value 0.

    Members
    -------
    control: In(RunControl); INPUT_SHIFT is log2 of the places that an image has in each bank.
    load: In(stream of image_word_layout), the words of an image in ascending order; word 0 empties its lists.
        Takes 4 / min(4, Q) cycles a word.
    appends: In(stream of append_layout, always ready), Q outputs of a hidden layer; ``begin`` empties the set
        first.
    reads: In(ListReads), from the sequencer.
    events: Out(stream of Q event_layout, always valid and ready), an event of every bank, two cycles after
        its index.
    places: In(SegmentPlaces), where there are maps, from the segments.
    """

    def __init__(self, geometry: Geometry, compact: bool = False) -> None:
        """compact: see ``accelerator.Accelerator``."""
        self.geometry = geometry
        self.compact = compact
        self.index_bits = index_bits(geometry)
        self.event = event_layout(geometry)
        events = data.ArrayLayout(self.event, geometry.banks)
        super().__init__(
            {
                "control": In(RunControl(geometry)),
                "load": In(stream.Signature(image_word_layout())),
                "appends": In(stream.Signature(append_layout(geometry), always_ready=True)),
                "reads": In(ListReads(geometry, self.index_bits)),
                "events": Out(stream.Signature(events, always_valid=True, always_ready=True)),
                **({"places": In(SegmentPlaces(geometry))} if geometry.map_depth else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        banks, reads = self.geometry.banks, self.reads
        self._load_shift = self.control.settings["INPUT_SHIFT"]
        loaded, load_write = self._load(m)
        source, added, starts, after, hidden_write = self._append(m)

        lengths = Signal(data.ArrayLayout(self.index_bits + 1, banks))
        from_hidden = Signal()
        was_hidden = Signal()
        from_set = Signal(set_bits(self.geometry))
        base = Signal(address_bits(self.geometry.event_depth))
        longest = Mux(reads.rest, added.longest, Mux(reads.hidden, source.longest, loaded.longest))
        start = Signal(starts.shape())  # of each bank's list: the first event that is read
        m.d.sync += was_hidden.eq(from_hidden)
        maps = self.geometry.map_depth > 0
        segment = self._segment(m, after) if maps else None
        with m.If(reads.open):
            m.d.sync += [
                from_hidden.eq(reads.hidden),
                from_set.eq(reads.hidden_set),
                base.eq(reads.slot << self._load_shift),
                reads.longest.eq(longest),
                reads.short.eq(longest <= 1),
            ]
            for bank in range(banks):
                whole = Mux(reads.hidden, source.lengths[bank], loaded.lengths[bank])
                m.d.sync += [
                    lengths[bank].eq(Mux(reads.rest, added.lengths[bank], whole)),
                    start[bank].eq(Mux(reads.rest, starts[bank], 0)),
                ]
        if segment is not None:
            self._open_segment(m, segment, lengths, start)

        place_bits = set_bits(self.geometry) + address_bits(self.geometry.list_places)
        for bank in range(banks):
            m.submodules[f"images_{bank}"] = images = Memory(
                shape=self.event, depth=self.geometry.event_depth, init=[]
            )
            m.submodules[f"hidden_{bank}"] = layers = Memory(shape=self.event, depth=1 << place_bits, init=[])
            load_write(m, bank, images.write_port())
            hidden_write(m, bank, layers.write_port())
            image_read, layer_read = images.read_port(), layers.read_port()
            inside, is_event = Signal(name=f"inside_{bank}"), Signal(name=f"is_event_{bank}")
            m.d.sync += [inside.eq(reads.read & (reads.index < lengths[bank])), is_event.eq(inside)]
            place = self._place((reads.index + start[bank])[: start[bank].shape().width], from_set)
            of_image = base | reads.index
            if maps:
                whole = self.control.settings["MAPS"]
                of_image = base | Mux(whole, self.places.image[bank], reads.index)
            of_image = read_late(m, image_read, of_image, self.compact)
            of_layer = read_late(m, layer_read, place, self.compact)
            event = data.View(self.event, Mux(was_hidden, of_layer.as_value(), of_image.as_value()))
            block = event.block
            if segment is not None:  # of an image that is whole the block is the kernel's row block
                block = Mux(self.control.settings["MAPS"] & ~was_hidden, segment.block, block)
            m.d.comb += [
                self.events.payload[bank].block.eq(block),
                self.events.payload[bank].value.eq(Mux(is_event, event.value, 0)),
            ]
        return m

    def _place(self, index, hidden_set):
        """Address of an event of a hidden list. A pass that is alone has the places of all passes in flight:
        where the number of its pass would stand, which is 0, its longer index goes on."""
        if not self.geometry.map_depth:
            return Cat(index, hidden_set)
        bits = address_bits(self.geometry.list_places)
        return Cat(index[:bits], hidden_set[0], hidden_set[1:] | index[bits:])

    def _segment(self, m, after):
        """Where the events of each pixel of a map end: written with the pixel's last outputs, a cycle late,
        read for the segment that is looked up. after: the tally with the outputs that come now. Returns the
        first event of the segment in each bank, the one past its last, and the index of two cycles ago.

        Both ends are read at once, of two memories that hold the same, and kept: block RAM answers late in
        its cycle, and the segment's length is computed in the cycle in which it may be opened."""
        bits = self.geometry.list_depth.bit_length()
        numbers = data.ArrayLayout(bits, self.geometry.banks)
        depth, places, of_set = 2 << end_bits(self.geometry), self.places, self.reads.hidden_set[0]
        m.submodules.ends_before = ends_before = Memory(shape=numbers, depth=depth, init=[])
        m.submodules.ends_up_to = ends_up_to = Memory(shape=numbers, depth=depth, init=[])
        before, up_to = ends_before.read_port(), ends_up_to.read_port()
        first = Signal(numbers)
        past = Signal(numbers)
        with m.If(places.kept):
            m.d.sync += [first.eq(Mux(places.none, 0, before.data.as_value())), past.eq(up_to.data)]
        m.d.comb += [before.addr.eq(Cat(places.first, of_set)), up_to.addr.eq(Cat(places.past, of_set))]
        self._keep_end(m, [ends_before.write_port(), ends_up_to.write_port()], after)
        asked, block = Signal(self.index_bits), Signal(self.index_bits)
        m.d.sync += [asked.eq(self.reads.index), block.eq(asked)]
        return SimpleNamespace(first=first, past=past, block=block)

    def _open_segment(self, m, segment, lengths, start):
        """Opens the segment that was looked up, or all row blocks of a kernel over an image."""
        reads = self.reads
        short, ended = [], []
        with m.If(reads.open & reads.segment):
            for bank in range(self.geometry.banks):
                length = Signal(lengths[bank].shape(), name=f"segment_length_{bank}")
                m.d.comb += length.eq(Mux(reads.hidden, segment.past[bank] - segment.first[bank], reads.rows))
                m.d.sync += [lengths[bank].eq(length), start[bank].eq(segment.first[bank])]
                short.append(length <= 1)
            m.d.sync += reads.short.eq(Cat(short).all())
        for bank in range(self.geometry.banks):
            ended.append(reads.index + 2 >= lengths[bank])
        m.d.comb += reads.ended.eq(Cat(ended).all())

    def _keep_end(self, m, writes, after):
        """Writes how many events of a map there are behind its newest pixel."""
        append = self.appends.payload
        pixels, kept = Signal(end_bits(self.geometry)), Signal(end_bits(self.geometry))
        m.d.comb += pixels.eq(Mux(append.begin, 1, kept + (append.first & append.pooled.top)))
        with m.If(self.appends.valid):
            m.d.sync += kept.eq(pixels)
        number = Signal(writes[0].addr.shape(), reset_less=True)
        ends = Signal(writes[0].data.shape(), reset_less=True)
        write_enable = Signal()
        m.d.sync += [
            number.eq(Cat(pixels, append.hidden_set[0])),
            *(ends[bank].eq(after.lengths[bank]) for bank in range(self.geometry.banks)),
            write_enable.eq(self.appends.valid),
        ]
        for write in writes:
            m.d.comb += [write.addr.eq(number), write.data.eq(ends), write.en.eq(write_enable)]

    def _load(self, m):
        """Appends the host's words to an image's lists, without the zeros.

        Returns the tally of the image in ``reads.slot``, and a function that drives a bank's write port.
        """
        banks = self.geometry.banks
        at_once = min(ACTIVATIONS_PER_WORD, banks)
        steps = ACTIVATIONS_PER_WORD // at_once
        whole = self.control.settings["MAPS"] if self.geometry.map_depth else None
        word = Signal(self.load.payload.shape())
        word_base = Signal(address_bits(self.geometry.event_depth))  # of the word's image in a bank
        busy = Signal()
        begin = Signal()  # it is the first step of the image's first word
        not_zero = Signal(ACTIVATIONS_PER_WORD)
        step = Signal(range(max(steps, 2)) if whole is None else range(ACTIVATIONS_PER_WORD))
        done = step == (steps - 1 if whole is None else Mux(whole, ACTIVATIONS_PER_WORD - 1, steps - 1))
        row = Cat(step[: log2_ceil(steps)], word.word)  # in units of at_once rows
        block = row[1:] if banks > at_once else row

        m.d.comb += self.load.ready.eq(~busy | done)
        with m.If(busy):
            m.d.sync += [step.eq(Mux(done, 0, step + 1)), begin.eq(0)]
        with m.If(self.load.ready):
            coming = self.load.payload
            m.d.sync += [
                busy.eq(self.load.valid),
                begin.eq(coming.word == 0),
                word.eq(coming),
                word_base.eq(coming.slot << self._load_shift),
            ]
            m.d.sync += [bit.eq(coming.data.word_select(i, 8).any()) for i, bit in enumerate(not_zero)]

        values = []
        for bank in range(banks):
            value = Signal(self.geometry.activation_bits, name=f"load_value_{bank}")
            # The activation step * at_once + bank % at_once of the word, and its first bit, 8 times that:
            # at_once is a power of two, so bits are put side by side and nothing is multiplied.
            lane = Const(bank % at_once, log2_ceil(at_once))
            place = Cat(lane, step[: log2_ceil(steps)])
            m.d.comb += value.eq(word.data.bit_select(Cat(Const(0, 3), place), 8))
            here = row[0] == bank // at_once if banks > at_once else 1
            values.append((value, busy & here & not_zero.bit_select(place, 1)))

        tally = _Tally(banks, self.geometry.event_depth)
        running = Signal(tally.layout)
        before, after = tally.after(m, running, begin, [appended for _, appended in values])
        m.submodules.tallies = tallies = Memory(shape=tally.result, depth=self.geometry.image_slots, init=[])
        tally_write, tally_read = tallies.write_port(), tallies.read_port()
        # A tally is written a cycle later: that is long before a run that needs it can have its first keys.
        counted = Signal()
        counted_slot = Signal(SLOT_BITS, reset_less=True)
        m.d.sync += [counted.eq(busy), counted_slot.eq(word.slot)]
        m.d.comb += [
            tally_write.addr.eq(counted_slot),
            tally_write.data.eq(running),
            tally_write.en.eq(counted),
            tally_read.addr.eq(self.reads.slot),
        ]
        with m.If(busy):
            m.d.sync += running.eq(after)

        def drive(m, bank, write):
            value, appended = values[bank]
            address = word_base | before.lengths[bank]  # a list is no longer than its place
            if whole is not None:  # all activations, zeros too
                address = Mux(whole, word_base | Cat(step, word.word), address)
                value = Mux(whole, word.data.word_select(step, 8), value)
                appended |= whole & busy
            m.d.comb += [
                write.addr.eq(address),
                write.data.block.eq(block),
                write.data.value.eq(value),
                write.en.eq(appended),
            ]

        return tally_read.data, drive

    def _append(self, m):
        """Appends the outputs of hidden layers to their lists, without the zeros.

        Returns the tally of the set ``reads.hidden_set``, the tally of what the last tile added, the place of
        the first of these events in each bank, the tally with the outputs that come now, and a function that
        drives a bank's write port.
        """
        append = self.appends.payload
        tally = _Tally(self.geometry.banks, self.geometry.list_depth)
        appended = append["some"]  # if valid
        current, source, keep = self._hidden_tallies(m, tally)
        before, after = tally.after(m, current, append.begin, appended)
        with m.If(self.appends.valid):
            keep(after)
        place_bits = address_bits(self.geometry.list_depth)
        of_tile = _Tally(self.geometry.banks, self.geometry.lanes // self.geometry.banks)
        added = Signal(of_tile.layout)
        starts = Signal(data.ArrayLayout(place_bits, self.geometry.banks))
        _, grown = of_tile.after(m, added, append.first, appended)
        with m.If(self.appends.valid):
            m.d.sync += added.eq(grown)
            with m.If(append.first):
                for bank, length in enumerate(before.lengths):
                    m.d.sync += starts[bank].eq(length)

        def drive(m, bank, write):
            m.d.comb += [
                write.addr.eq(self._place(before.lengths[bank][:place_bits], append.hidden_set)),
                write.data.block.eq(append.block),
                write.data.value.eq(append["values"][bank]),
                write.en.eq(self.appends.valid & appended[bank]),
            ]

        return source, added, starts, after, drive

    def _hidden_tallies(self, m, tally):
        """A tally a set. Returns that of the set that is appended to, the lengths and the longest of the set
        ``reads.hidden_set``, and a function that assigns the former anew."""
        if self.geometry.flight > 1:
            return self._tallies_in_memory(m, tally)
        hidden_set, kept = self.appends.payload.hidden_set, []
        for index in range(2):
            kept.append(Signal(tally.layout, name=f"hidden_tally_{index}"))
        current, source = Signal(tally.layout), Signal(tally.result)
        m.d.comb += [
            current.eq(Mux(hidden_set, kept[1].as_value(), kept[0].as_value())),
            source.eq(Mux(self.reads.hidden_set, kept[1].as_value(), kept[0].as_value())),
        ]

        def keep(after):
            for index, row in enumerate(kept):
                with m.If(hidden_set == index):
                    m.d.sync += row.eq(after)

        return current, source, keep

    def _tallies_in_memory(self, m, tally):
        """As ``_hidden_tallies``. Layers are drained one after the other: only the tally of the last one
        changes. The others wait in a memory that answers in the same cycle."""
        hidden_set, depth = self.appends.payload.hidden_set, 1 << set_bits(self.geometry)
        current = Signal(tally.layout, name="hidden_tally")
        m.submodules.hidden_tallies = tallies = Memory(shape=tally.result, depth=depth, init=[])
        write, read = tallies.write_port(), tallies.read_port(domain="comb")
        m.d.comb += read.addr.eq(self.reads.hidden_set)

        def keep(after):
            m.d.comb += [write.addr.eq(hidden_set), write.data.eq(after), write.en.eq(1)]
            m.d.sync += current.eq(after)

        return current, read.data, keep
