"""Event lists: the non-zero activations as (row block, value), one list a bank."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import ACTIVATIONS_PER_WORD, IMAGE_WORD_BITS

from synflip_hdl.interfaces import SLOT_BITS, append_layout, event_layout, log2
from synflip_hdl.lib.memory_reads import read_late


class _Tally:
    """Lengths of Q lists and the greatest of them, kept up to date as events are appended.

    The greatest grows by one when a list grows that is not behind it, which a bit a list tells: there is no
    comparison in front of an addition. layout: of what changes. result: of its lower bits, for readers.
    """

    def __init__(self, banks: int, depth: int) -> None:
        members = {"lengths": data.ArrayLayout(depth.bit_length(), banks), "longest": depth.bit_length()}
        self.result = data.StructLayout(members)
        self.layout = data.StructLayout(members | {"behind": banks})

    def after(self, m, old, begin, appended):
        """The tally once ``appended`` (Q bits) lists grew; ``begin``: from empty lists."""
        start = Signal(self.layout, name="tally_before")
        new = Signal(self.layout, name="tally_after")
        m.d.comb += start.eq(Mux(begin, 0, old.as_value()))
        higher = Signal(name="tally_higher")
        m.d.comb += [
            higher.eq((Cat(appended) & ~start.behind).any()),
            new.longest.eq(start.longest + higher),
        ]
        for bank, grown in enumerate(appended):
            is_behind = start.behind[bank]
            m.d.comb += [
                new.lengths[bank].eq(start.lengths[bank] + grown),
                new.behind[bank].eq(
                    Mux(higher, is_behind | ~grown, is_behind & (new.lengths[bank] != start.longest))
                ),
            ]
        return start, new


class EventLists(wiring.Component):
    """Lists of the batch's images, and two sets of lists for the hidden layers, which take turns.

    Appending drops zeros. The lists of one image or layer are opened, then read by index: ``events`` are
    there two cycles after ``index``, with value 0 in the banks whose list has ended, and in all banks without
    ``read``.

    Members
    -------
    load: stream of words of four activations of image ``slot``, in ascending order; word 0 empties the lists.
        Takes 4 / min(4, Q) cycles a word.
    load_shift: log2 of the places an image has in each bank.
    append: Q outputs of a hidden layer (``append_valid``); ``begin`` empties the set first.
    open, hidden, hidden_set, slot: open a set or an image's lists; ``slot`` must have been there a cycle
        before.
    rest: open only what the tile that was appended last added to its set.
    longest: events of the longest list, from the cycle after ``open``. short: it has one at most.
    read, index, events: one event of every bank.
    """

    def __init__(self, geometry: Geometry, compact: bool = False) -> None:
        """compact: see ``accelerator.Accelerator``."""
        self.geometry = geometry
        self.compact = compact
        self.index_bits = max(log2(geometry.event_depth), log2(geometry.hidden_depth))
        self.event = event_layout(geometry)
        super().__init__(
            {
                "load": In(
                    stream.Signature(
                        data.StructLayout({"slot": SLOT_BITS, "word": IMAGE_WORD_BITS, "data": 32})
                    )
                ),
                "load_shift": In(5),
                "append_valid": In(1),
                "append": In(append_layout(geometry)),
                "open": In(1),
                "rest": In(1),
                "hidden": In(1),
                "hidden_set": In(1),
                "slot": In(SLOT_BITS),
                "longest": Out(self.index_bits + 1),
                "short": Out(1),
                "read": In(1),
                "index": In(self.index_bits),
                "events": Out(data.ArrayLayout(self.event, geometry.banks)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        banks = self.geometry.banks
        loaded, load_write = self._load(m)
        hidden, added, starts, hidden_write = self._append(m)

        lengths = Signal(data.ArrayLayout(self.index_bits + 1, banks))
        from_hidden = Signal()
        was_hidden = Signal()
        from_set = Signal()
        base = Signal(log2(self.geometry.event_depth))
        source = Signal.like(hidden[0])
        longest = Mux(self.rest, added.longest, Mux(self.hidden, source.longest, loaded.longest))
        # Where a bank's list begins to be read.
        start = Signal(starts.shape())
        m.d.sync += was_hidden.eq(from_hidden)
        m.d.comb += source.eq(Mux(self.hidden_set, hidden[1].as_value(), hidden[0].as_value()))
        with m.If(self.open):
            m.d.sync += [
                from_hidden.eq(self.hidden),
                from_set.eq(self.hidden_set),
                base.eq(self.slot << self.load_shift),
                self.longest.eq(longest),
                self.short.eq(longest <= 1),
            ]
            for bank in range(banks):
                whole = Mux(self.hidden, source.lengths[bank], loaded.lengths[bank])
                m.d.sync += [
                    lengths[bank].eq(Mux(self.rest, added.lengths[bank], whole)),
                    start[bank].eq(Mux(self.rest, starts[bank], 0)),
                ]

        for bank in range(banks):
            m.submodules[f"images_{bank}"] = images = Memory(
                shape=self.event, depth=self.geometry.event_depth, init=[]
            )
            m.submodules[f"hidden_{bank}"] = layers = Memory(
                shape=self.event, depth=2 << log2(self.geometry.hidden_depth), init=[]
            )
            load_write(m, bank, images.write_port())
            hidden_write(m, bank, layers.write_port())
            image_read, layer_read = images.read_port(), layers.read_port()
            inside, is_event = Signal(name=f"inside_{bank}"), Signal(name=f"is_event_{bank}")
            m.d.sync += [inside.eq(self.read & (self.index < lengths[bank])), is_event.eq(inside)]
            place = Cat((self.index + start[bank])[: start[bank].shape().width], from_set)
            of_image = read_late(m, image_read, base | self.index, self.compact)
            of_layer = read_late(m, layer_read, place, self.compact)
            event = data.View(self.event, Mux(was_hidden, of_layer.as_value(), of_image.as_value()))
            m.d.comb += [
                self.events[bank].block.eq(event.block),
                self.events[bank].value.eq(Mux(is_event, event.value, 0)),
            ]
        return m

    def _load(self, m):
        """Compaction of the host's words. Returns the tally of ``slot``, and what drives a bank's write
        port."""
        banks = self.geometry.banks
        at_once = min(ACTIVATIONS_PER_WORD, banks)
        steps = ACTIVATIONS_PER_WORD // at_once
        word = Signal(self.load.payload.shape())
        word_base = Signal(log2(self.geometry.event_depth))  # of the word's image in a bank
        busy = Signal()
        begin = Signal()  # the word's first step, and the image's
        not_zero = Signal(ACTIVATIONS_PER_WORD)
        step = Signal(range(max(steps, 2)))
        done = step == steps - 1
        row = Cat(step, word.word)[1:] if steps == 1 else Cat(step, word.word)  # in units of at_once rows
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
                word_base.eq(coming.slot << self.load_shift),
            ]
            m.d.sync += [bit.eq(coming.data.word_select(i, 8).any()) for i, bit in enumerate(not_zero)]

        values = []
        for bank in range(banks):
            value = Signal(self.geometry.activation_bits, name=f"load_value_{bank}")
            # Put together, not multiplied: activation step * at_once + bank % at_once, of 8 bits.
            lane = Const(bank % at_once, (at_once - 1).bit_length())
            place = Cat(lane, step[: (steps - 1).bit_length()])
            m.d.comb += value.eq(word.data.bit_select(Cat(Const(0, 3), place), 8))
            here = row[0] == bank // at_once if banks > at_once else 1
            values.append((value, busy & here & not_zero.bit_select(place, 1)))

        tally = _Tally(banks, self.geometry.event_depth)
        running = Signal(tally.layout)
        before, after = tally.after(m, running, begin, [appended for _, appended in values])
        m.submodules.tallies = tallies = Memory(shape=tally.result, depth=self.geometry.image_slots, init=[])
        tally_write, tally_read = tallies.write_port(), tallies.read_port()
        # Kept a cycle later: long before keys of a run can be there.
        counted = Signal()
        counted_slot = Signal(SLOT_BITS, reset_less=True)
        m.d.sync += [counted.eq(busy), counted_slot.eq(word.slot)]
        m.d.comb += [
            tally_write.addr.eq(counted_slot),
            tally_write.data.eq(running),
            tally_write.en.eq(counted),
            tally_read.addr.eq(self.slot),
        ]
        with m.If(busy):
            m.d.sync += running.eq(after)

        def drive(m, bank, write):
            value, appended = values[bank]
            m.d.comb += [
                write.addr.eq(word_base | before.lengths[bank]),  # a list is no longer than its place
                write.data.block.eq(block),
                write.data.value.eq(value),
                write.en.eq(appended),
            ]

        return tally_read.data, drive

    def _append(self, m):
        """Lists of the hidden layers. Returns the tallies of both sets, that of the last tile alone, where
        its events begin in each bank, and what drives a bank's write port."""
        tally = _Tally(self.geometry.banks, self.geometry.hidden_depth)
        sets = [Signal(tally.layout, name=f"hidden_tally_{index}") for index in range(2)]
        current = Signal(tally.layout)
        appended = [self.append_valid & some for some in self.append["some"]]
        m.d.comb += current.eq(Mux(self.append.hidden_set, sets[1].as_value(), sets[0].as_value()))
        before, after = tally.after(m, current, self.append.begin, appended)
        for index, kept in enumerate(sets):
            with m.If(self.append_valid & (self.append.hidden_set == index)):
                m.d.sync += kept.eq(after)
        address_bits = log2(self.geometry.hidden_depth)
        of_tile = _Tally(self.geometry.banks, self.geometry.lanes // self.geometry.banks)
        added = Signal(of_tile.layout)
        starts = Signal(data.ArrayLayout(address_bits, self.geometry.banks))
        _, grown = of_tile.after(m, added, self.append.first, appended)
        with m.If(self.append_valid):
            m.d.sync += added.eq(grown)
            with m.If(self.append.first):
                for bank, length in enumerate(before.lengths):
                    m.d.sync += starts[bank].eq(length)

        def drive(m, bank, write):
            m.d.comb += [
                write.addr.eq(Cat(before.lengths[bank][:address_bits], self.append.hidden_set)),
                write.data.block.eq(self.append.block),
                write.data.value.eq(self.append["values"][bank]),
                write.en.eq(appended[bank]),
            ]

        return sets, added, starts, drive
