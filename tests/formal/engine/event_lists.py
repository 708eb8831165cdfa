"""Event lists: nothing lost, nothing twice, in order, no zeros.

One row, any of them, is followed. If each row that is not zero is found at the place that is the number of
such rows before it, and the list is as long as there are such rows, then the list is exactly right.
"""

from amaranth.hdl import Assert, Assume, Cat, Const, Cover, Elaboratable, Module, Mux, Signal
from synflip.spec.geometry import Geometry
from synflip.spec.sizes import address_bits
from synflip_hdl.engine.event_lists import EventLists
from synflip_hdl.interfaces import end_bits

from tests.formal.helpers import Followed, Opened, delayed, fixed, free, free_inputs
from tests.formal.runner import Proof

SLOTS, DEPTH = 4, 16
MAPS = {"bias_depth": 16, "map_depth": 64}


def small_geometry(banks, **more):
    """One with few places in every list."""
    return Geometry(lanes=16, banks=banks, bits=1, key_depth=16, event_depth=DEPTH, image_slots=SLOTS, **more)


def check_reading(m, dut, inside, counts, opens, spoils, row, segment=False):
    """Asserts what is read of the list: its lengths while it is open, and nothing beyond its ends.

    counts: of every bank's list, or of every bank's part of it that is a ``segment``. opens: it is opened
    now, as long as it is: what comes later does not matter. spoils: it is begun anew now, or another is
    opened.
    row: (it is in the list, its bank, its rank, its value). Returns whether the list is open, and for
    each bank whether the memories now answer with the followed row, and whether the events are it.
    """
    banks = len(counts)
    there, bank, rank, value = row
    opened = Signal(name="opened")
    lengths = [Signal.like(count, name=f"length_{b}") for b, count in enumerate(counts)]
    with m.If(opens):
        m.d.sync += opened.eq(1)
        m.d.sync += [length.eq(count) for length, count in zip(lengths, counts, strict=True)]
    with m.Elif(spoils):
        m.d.sync += opened.eq(0)
    was_opened, reading = delayed(m, opened, 2, "opened"), delayed(m, dut.reads.read, 2, "read")
    index = delayed(m, dut.reads.index, 2, "index")
    asked, followed = Signal(banks, name="followed_is_asked"), Signal(banks, name="followed_is_read")
    m.d.sync += followed.eq(asked)
    width = len(inside["lengths"]) // banks
    for b, length in enumerate(lengths):
        past_length, event = delayed(m, length, 2, f"length_{b}"), dut.events.payload[b]
        m.d.sync += asked[b].eq(
            opened
            & dut.reads.read
            & there
            & (bank == b)
            & value.any()
            & (dut.reads.index == rank)
            & (rank < length)
        )
        if not segment:
            m.d.comb += Assert(~opened | (dut.reads.longest >= length))
        m.d.comb += [
            Assert(~opened | (inside["lengths"].word_select(b, width) == length)),
            Assert(~opened | (length <= counts[b])),
            Assert(reading | ~event.value.any()),
            Assert(~was_opened | (index < past_length) | ~event.value.any()),
        ]
    if segment:
        short = Cat(length <= 1 for length in lengths).all()
        ended = Cat(dut.reads.index + 2 >= length for length in lengths).all()
        m.d.comb += [
            Assert(~opened | (dut.reads.short == short)),
            Assert(~opened | (dut.reads.ended == ended)),
            Cover(followed.any() & (rank == 1)),
        ]
        return opened, asked, followed
    any_opened, past_longest = Signal(name="any_opened"), Signal.like(dut.reads.longest, name="past_longest")
    m.d.sync += [any_opened.eq(any_opened | dut.reads.open), past_longest.eq(dut.reads.longest)]
    past_open, of_segment = delayed(m, dut.reads.open, 1, "open"), Const(0, 1)
    if dut.geometry.map_depth:
        of_segment = Signal(name="of_segment")
        with m.If(dut.reads.open):
            m.d.sync += of_segment.eq(dut.reads.segment)
    m.d.comb += [
        Assert(~any_opened | of_segment | (dut.reads.short == (dut.reads.longest <= 1))),
        # It stays until the next open, whatever comes in.
        Assert(past_open | (dut.reads.longest == past_longest)),
        Assert(~opened | Cat(dut.reads.longest == length for length in lengths).any()),
        Cover(followed.any() & (rank == 1)),
    ]
    return opened, asked, followed


def check_row(m, inside, memory, asked, row, place_bits):
    """Asserts that ``memory`` answers with a row, (place, event), if it was ``asked`` for it."""
    with m.If(asked & (inside[f"{memory}.address"] == row[:place_bits])):
        m.d.comb += Assert(inside[f"{memory}.hit_0"] & (inside[f"{memory}.kept_0"] == row[place_bits:]))


class Images(Elaboratable):
    """Words of images in ascending order, word 0 first, with any pauses; then lists are opened and read."""

    def __init__(self, banks: int) -> None:
        self.geometry = small_geometry(banks)

    def elaborate(self, platform):
        m = Module()
        banks = self.geometry.banks
        dut = EventLists(self.geometry)
        inside = Opened(m, dut, platform=Followed())
        free_inputs(m, dut, "control", "reads.open")
        opens = free(m, 1, "opens")
        shift, slot, row = fixed(m, 5, "shift"), fixed(m, 8, "slot"), fixed(m, 18, "row")
        m.d.comb += [dut.control.settings["INPUT_SHIFT"].eq(shift), dut.reads.open.eq(opens)]

        # The host: images are whole words in order, and fit the places that they have.
        load, word = dut.load.payload, dut.load.payload.word
        last_word, last_slot, any_word = Signal(16), Signal(8), Signal()
        accepted = dut.load.valid & dut.load.ready
        bank_of_row, block_of_row = row % banks, row // banks
        last_row = Signal(18)
        m.d.comb += [
            last_row.eq((word << 2) + 3),
            Assume(shift <= (DEPTH - 1).bit_length()),
            Assume((slot < SLOTS) & (((slot + 1) << shift) <= DEPTH)),
            Assume(block_of_row < 1 << shift),
            Assume(~accepted | ((load.slot < SLOTS) & (((load.slot + 1) << shift) <= DEPTH))),
            Assume(~accepted | ((last_row // banks) < (1 << shift))),
            Assume(~accepted | (word == 0) | (any_word & (word == last_word + 1) & (load.slot == last_slot))),
        ]
        with m.If(accepted):
            m.d.sync += [last_word.eq(word), last_slot.eq(load.slot), any_word.eq(1)]

        # A word is worked off in steps of as many activations as there are banks, at most 4.
        at_once = min(4, banks)
        steps = 4 // at_once
        busy, step, data = Signal(), Signal(range(max(steps, 2))), Signal(32)
        done = step == steps - 1
        m.d.comb += Assert(dut.load.ready == (~busy | done))
        with m.If(busy):
            m.d.sync += step.eq(Mux(done, 0, step + 1))
        with m.If(accepted):
            m.d.sync += [busy.eq(1), data.eq(load.data)]
        with m.Elif(done):
            m.d.sync += busy.eq(0)

        # Rows not zero so far: of the image that comes in, and of the followed image.
        width = len(inside["running"]) // (banks + 1)
        coming = [Signal(width, name=f"coming_{b}") for b in range(banks)]
        counts = [Signal(width, name=f"count_{b}") for b in range(banks)]
        known, there, rank, value, gone = Signal(), Signal(), Signal(width), Signal(8), Signal(19)
        begins, mine = busy & (last_word == 0) & (step == 0), busy & (last_slot == slot)
        with m.If(busy):
            m.d.sync += gone.eq(Mux(begins, 0, gone) + at_once)
        with m.If(mine & begins):
            m.d.sync += [known.eq(1), there.eq(0)]
        for b in range(banks):
            before = Mux(begins, 0, coming[b])
            found = []
            for byte in range(4):
                this, number = data.word_select(byte, 8), (last_word << 2) + byte
                here = busy & (byte // at_once == step) & (number % banks == b)
                found.append(here & this.any())
                with m.If(here & mine & (number == row)):
                    m.d.sync += [there.eq(1), value.eq(this), rank.eq(before)]
            after = (before + sum(found))[:width]
            with m.If(busy):
                m.d.sync += coming[b].eq(after)
            with m.If(mine):
                m.d.sync += counts[b].eq(after)

        # Lists that are opened while words of the same image come in, or a cycle later, are opened again
        # before they are read: ``clash``. None is opened while a list is read; the slot is there a cycle
        # before. Words of other images may come at any time.
        followed_slot = known & (inside["tallies.address"] == slot)
        past_slot, started = Signal(8), Signal()
        m.d.sync += [started.eq(1), past_slot.eq(dut.reads.slot)]
        past_busy, past_host = delayed(m, busy, 1, "busy"), delayed(m, last_slot, 1, "host_slot")
        older_busy, older_host = delayed(m, past_busy, 1, "past_busy"), delayed(m, past_host, 1, "past_host")
        clash = (
            (busy & (last_slot == dut.reads.slot))
            | (past_busy & (past_host == dut.reads.slot))
            | (older_busy & (older_host == dut.reads.slot))
        )
        past_mine, older_mine = past_busy & (past_host == slot), older_busy & (older_host == slot)
        kept_now = followed_slot & ~past_mine  # the tally is written a cycle later
        m.d.comb += Assume(~opens | (started & (dut.reads.slot == past_slot)))
        m.d.comb += Assume(~(opens & dut.reads.read) | (dut.reads.hidden & inside["from_hidden"]))
        whole = opens & ~clash & ~dut.reads.rest
        image_opens = whole & ~dut.reads.hidden & (dut.reads.slot == slot) & known
        opened, asked, followed = check_reading(
            m, dut, inside, counts, image_opens, mine | opens, (there, bank_of_row, rank, value)
        )

        def tally(signal):
            return [signal.word_select(b, width) for b in range(banks + 1)]

        # The same of the inside.
        *lengths, longest = tally(inside["running"])
        behind = inside["running"][-banks:]
        *kept, kept_longest = tally(inside["tallies.row"])
        m.d.comb += [
            Assume(inside["tallies.address"] == slot),  # the one row of interest
            Assert(inside["busy"] == busy),
            Assert(~busy | (inside["word"] == Cat(last_slot, last_word, data))),
            Assert(~busy | (inside["word_base"] == (last_slot << shift)[: len(inside["word_base"])])),
            Assert(~busy | (inside["begin"] == begins)),
            Assert(~busy | (inside["not_zero"] == Cat(data.word_select(i, 8).any() for i in range(4)))),
            Assert(~busy | any_word),
            Assert(inside["step"] == step),
            Assert(step < steps),
            Assert(busy | (step == 0)),
            Assert(inside["tallies.hit_0"] == (started & (past_slot[:2] == slot[:2]))),
            Assert(
                past_mine
                | older_mine
                | (inside["tallies.kept_0"] == inside["tallies.row"])
                | ~inside["tallies.hit_0"]
            ),
            Assert(~any_word | ((last_slot < SLOTS) & (((last_slot + 1) << shift) <= DEPTH))),
            Assert(~any_word | ((((last_word << 2) + 3) // banks) < (1 << shift))),
            Assert(~busy | begins | (gone == (last_word << 2) + step * at_once)),
            Assert(busy | ~any_word | (gone == (last_word << 2) + 4)),
            Assert(inside["counted"] == past_busy),
            Assert(~inside["counted"] | (inside["counted_slot"] == past_host)),
            Assert(Cat(longest == length for length in lengths).any()),
            Assert(~kept_now | Cat(kept_longest == length for length in kept).any()),
            Assert(~there | known),
            Assert(~known | any_word),
            Assert(~opened | (~inside["from_hidden"] & (inside["base"] == (slot << shift)))),
            Assert(known | ~any_word | (last_slot != slot) | begins),
        ]
        for b in range(banks):
            before = Mux(begins, 0, coming[b])
            m.d.comb += [
                Assert(lengths[b] == coming[b]),
                Assert(longest >= coming[b]),
                Assert(~kept_now | (kept[b] == counts[b])),
                Assert(~kept_now | (kept_longest >= counts[b])),
                Assert(behind[b] == (lengths[b] != longest)),
                Assert(~any_word | begins | (coming[b] <= (gone + banks - 1 - b) // banks)),
                Assert(~known | (last_slot != slot) | begins | (coming[b] == counts[b])),
                Assert(~known | (counts[b] <= (1 << shift))),
            ]
            place = ((slot << shift) + rank)[: len(inside[f"images_{b}.address"])]
            held, address = inside[f"images_{b}.row"], inside[f"images_{b}.address"]
            event = Cat(block_of_row[: len(held) - 8], value)
            read = delayed(m, Cat(place, event), 1, f"asked_{b}")
            past = delayed(m, read, 1, f"followed_{b}")
            with m.If(there & (bank_of_row == b) & value.any()):
                m.d.comb += [
                    Assert(rank < counts[b]),
                    Assert((address != place) | (held == event)),
                ]
            check_row(m, inside, f"images_{b}", asked[b], read, len(place))
            m.d.comb += Assert(~asked[b] | ~inside["from_hidden"])
            with m.If(followed[b] & (address == past[: len(place)])):
                m.d.comb += Assert(dut.events.payload[b].as_value() == past[len(place) :])
        return m


class Hidden(Elaboratable):
    """Outputs of hidden layers in ascending row blocks, with any pauses; then lists are opened and read.

    maps: of convolutions too, of which segments are opened; a pass is alone, or no layer is a convolution.
    """

    def __init__(self, banks: int, flight: int, maps: bool = False) -> None:
        self.maps = maps
        self.geometry = small_geometry(banks, flight=flight, **(MAPS if maps else {}))

    def elaborate(self, platform):
        m = Module()
        banks = self.geometry.banks
        dut = EventLists(self.geometry)
        inside = Opened(m, dut, platform=Followed())
        free_inputs(m, dut, "reads.open")
        opens = free(m, 1, "opens")
        append = dut.appends.payload
        block_bits = len(append.block)
        chosen = fixed(m, len(append.hidden_set), "chosen")
        bank, block = fixed(m, 3, "bank"), fixed(m, block_bits, "block")
        m.d.comb += [dut.reads.open.eq(opens), Assume(bank < banks)]

        # Of the chosen set: the last block that came, rows not zero so far, and the followed row.
        for some, each in zip(append["some"], append["values"], strict=True):
            m.d.comb += Assume(some == each.any())  # requantizer.sums
        mine = dut.appends.valid & (append.hidden_set == chosen)
        known, there, value, last_block = Signal(), Signal(), Signal(8), Signal(block_bits)
        several = self.geometry.flight > 1
        width = (len(inside["hidden_tally" if several else "hidden_tally_0"]) - banks) // (banks + 1)
        rank, counts = Signal(width), [Signal(width, name=f"count_{b}") for b in range(banks)]
        # The set that is appended to changes where a layer begins: layers are drained one after the other.
        last_set = Signal.like(append.hidden_set)
        with m.If(dut.appends.valid):
            m.d.sync += last_set.eq(append.hidden_set)
        m.d.comb += Assume(~mine | append.begin | (known & (append.block > last_block)))
        m.d.comb += Assume(~dut.appends.valid | append.begin | (append.hidden_set == last_set))
        with m.If(mine):
            m.d.sync += [known.eq(1), last_block.eq(append.block)]
            with m.If(append.begin):
                m.d.sync += there.eq(0)
        for b in range(banks):
            before = Mux(append.begin, 0, counts[b])
            with m.If(mine):
                m.d.sync += counts[b].eq(before + append["values"][b].any())
                with m.If((bank == b) & (append.block == block)):
                    m.d.sync += [there.eq(1), value.eq(append["values"][b]), rank.eq(before)]

        # Only a hidden layer's list that is read is opened again at once, to be read further (sequencer); of
        # a convolution, one segment follows another so.
        if self.maps:
            m.d.comb += Assume(~(opens & dut.reads.read) | (dut.reads.hidden == inside["from_hidden"]))
            m.d.comb += Assume(~(dut.reads.segment & dut.reads.rest))
        else:
            m.d.comb += Assume(~(opens & dut.reads.read) | (dut.reads.hidden & inside["from_hidden"]))
        part = dut.reads.segment if self.maps else Const(0, 1)
        begun = mine & append.begin
        opened, asked, followed = check_reading(
            m,
            dut,
            inside,
            counts,
            opens
            & ~(dut.reads.rest | part)
            & dut.reads.hidden
            & (dut.reads.hidden_set == chosen)
            & known
            & ~begun,
            begun | opens,
            (there, bank, rank, value),
        )

        # What the tile that was appended last added, if it is one of the chosen set.
        added_steps = self.geometry.lanes // banks
        steps, in_rest, of_chosen = Signal(range(added_steps + 1)), Signal(), Signal()
        rest_width = len(inside["added"]) // (banks + 1)
        rest_rank = Signal(rest_width)
        rest_counts = [Signal(rest_width, name=f"rest_count_{b}") for b in range(banks)]
        goes_on = (steps != 0) & (steps < added_steps)
        m.d.comb += Assume(~dut.appends.valid | append.first | (~append.begin & goes_on))
        m.d.comb += Assume(~dut.appends.valid | ~append.begin | append.first)
        with m.If(dut.appends.valid):
            m.d.sync += [steps.eq(Mux(append.first, 0, steps) + 1), of_chosen.eq(mine)]
            with m.If(append.first):
                m.d.sync += in_rest.eq(0)
        for b in range(banks):
            before = Mux(append.first, 0, rest_counts[b])
            with m.If(dut.appends.valid):
                m.d.sync += rest_counts[b].eq(before + append["values"][b].any())
                with m.If(mine & (bank == b) & (append.block == block)):
                    m.d.sync += [in_rest.eq(1), rest_rank.eq(before)]
        of_chosen_set = dut.reads.hidden & (dut.reads.hidden_set == chosen)
        rest_opened, rest_asked, rest_followed = check_reading(
            m,
            dut,
            inside,
            rest_counts,
            opens & dut.reads.rest & of_chosen_set & of_chosen & ~dut.appends.valid,
            dut.appends.valid | opens,
            (there & in_rest, bank, rest_rank, value),
        )
        start_bits = len(inside["starts"]) // banks
        for b in range(banks):
            start = inside["starts"].word_select(b, start_bits)
            m.d.comb += [
                Assert(inside["added"].word_select(b, rest_width) == rest_counts[b]),
                Assert(inside["added"].word_select(banks, rest_width) >= rest_counts[b]),
                Assert(rest_counts[b] <= steps),
                Assert(~of_chosen | (start + rest_counts[b] == counts[b])),
                Assert(~(of_chosen & in_rest & (bank == b)) | (rank == start + rest_rank)),
                Assert(~rest_opened | (inside["start"].word_select(b, start_bits) == start)),
                Assert(~opened | (inside["start"].word_select(b, start_bits) == 0)),
            ]
        m.d.comb += [
            Assert(
                Cat(inside["added"].word_select(banks, rest_width) == count for count in rest_counts).any()
            ),
            Assert(~of_chosen | known),
            Assert(~in_rest | there),
            Assert(~rest_opened | (of_chosen & inside["from_hidden"] & (inside["from_set"] == chosen))),
        ]

        alone = None
        if self.maps:
            alone = fixed(m, 1, "alone")
            self.check_alone(m, dut, inside, alone, chosen, last_block)
            row = (there, bank, rank, value, block)
            of_last = (mine, known, of_chosen, chosen, alone, opens)
            part_asked, part_followed = self.check_segments(m, dut, inside, counts, row, of_last)

        # The same of the inside.
        if several:
            tally, is_last = inside["hidden_tally"], of_chosen
            m.d.comb += Assume(inside["hidden_tallies.address"] == chosen)  # the one row of interest
            row = inside["hidden_tallies.row"]
        else:
            row = tally = Mux(chosen, inside["hidden_tally_1"], inside["hidden_tally_0"])
            is_last = Const(1)
        *lengths, longest = (tally.word_select(b, width) for b in range(banks + 1))
        *row_lengths, row_longest = (row.word_select(b, width) for b in range(banks + 1))
        behind, rest_behind = tally[(banks + 1) * width :], inside["added"][-banks:]
        rest_longest = inside["added"].word_select(banks, rest_width)
        m.d.comb += [
            Assert(~there | (known & (block <= last_block))),
            Assert(~is_last | Cat(longest == length for length in lengths).any()),
            Assert(~known | Cat(row_longest == length for length in row_lengths).any()),
            Assert((last_set == chosen) | ~of_chosen),
            Assert(of_chosen | ~known | (last_set != chosen)),
            Assert(~opened | (inside["from_hidden"] & (inside["from_set"] == chosen))),
        ]
        for b in range(banks):
            m.d.comb += [
                Assert(~is_last | (lengths[b] == counts[b])),
                Assert(~is_last | (longest >= counts[b])),
                Assert(~is_last | (behind[b] == (lengths[b] != longest))),
                Assert(~known | (row_lengths[b] == counts[b])),
                Assert(~known | (row_longest >= counts[b])),
                Assert(rest_behind[b] == (rest_counts[b] != rest_longest)),
                Assert(Mux(known, counts[b] <= last_block + 1, counts[b] == 0)),
            ]
            held, address = inside[f"hidden_{b}.row"], inside[f"hidden_{b}.address"]
            place = self.place(rank, chosen, alone)
            event = Cat(block, Const(0, len(held) - 8 - block_bits), value)
            with m.If(there & (bank == b) & value.any()):
                m.d.comb += [Assert(rank < counts[b]), Assert((address != place) | (held == event))]
            read = delayed(m, Cat(place, event), 1, f"asked_{b}")
            past = delayed(m, read, 1, f"followed_{b}")
            asks, is_followed = asked[b] | rest_asked[b], followed[b] | rest_followed[b]
            if self.maps:
                asks, is_followed = asks | part_asked[b], is_followed | part_followed[b]
            check_row(m, inside, f"hidden_{b}", asks, read, len(place))
            m.d.comb += Assert(~asks | inside["from_hidden"])
            with m.If(is_followed & (address == past[: len(place)])):
                m.d.comb += Assert(dut.events.payload[b].as_value() == past[len(place) :])
        return m

    def place(self, rank, hidden_set, alone):
        """Where an event is in its bank's memory."""
        if not self.maps:
            return Cat(rank[: address_bits(self.geometry.list_depth)], hidden_set)
        low, high = address_bits(self.geometry.list_places), address_bits(self.geometry.list_depth)
        return Cat(rank[:low], hidden_set[0], Mux(alone, rank[low:high], hidden_set[1:])[: high - low])

    def check_alone(self, m, dut, inside, alone, chosen, last_of_chosen):
        """A pass is alone where there are convolutions: it has the places of all. Other lists are no longer
        than their places, of any set."""
        append, reads = dut.appends.payload, dut.reads
        last_block, places = Signal(len(append.block), name="last_of_any"), self.geometry.list_places
        with m.If(dut.appends.valid):
            m.d.sync += last_block.eq(append.block)
        m.d.comb += [
            Assume(~alone | ((chosen < 2) & (append.hidden_set < 2) & (reads.hidden_set < 2))),
            Assume(alone | ~reads.segment),
            Assume(alone | ~dut.appends.valid | (append.block < places)),
            Assume(~dut.appends.valid | append.begin | (append.block > last_block)),
            Assert(alone | ((last_block < places) & (last_of_chosen < places))),
        ]
        if self.geometry.flight > 1:
            width = (len(inside["hidden_tally"]) - self.geometry.banks) // (self.geometry.banks + 1)
            for b in range(self.geometry.banks):
                m.d.comb += Assert(inside["hidden_tally"].word_select(b, width) <= last_block + 1)

    def check_segments(self, m, dut, inside, counts, row, of_last):
        """Two numbers of pixels, any, are followed: where the events of so many pixels end, and what is read
        of a segment from the one to the other."""
        banks, append, reads, places = self.geometry.banks, dut.appends.payload, dut.reads, dut.places
        there, bank, rank, value, block = row
        mine, known, of_chosen, chosen, alone, opens = of_last
        bits, most = end_bits(self.geometry), self.geometry.map_pixels
        first, past = fixed(m, bits, "first_pixel"), fixed(m, bits, "past_pixel")
        m.d.comb += [
            Assume((first < past) & (past <= most)),
            Assume(inside["ends_before.address"] == Cat(first, chosen[0])),
            Assume(inside["ends_up_to.address"] == Cat(past, chosen[0])),
        ]

        # Pixels so far of the chosen set, that which comes now too; the pixel of the followed row.
        pixel, of_row = Signal(bits, name="pixel_now"), Signal(bits, name="pixel_of_row")
        now = Mux(append.begin, 1, pixel + (append.first & append.pooled.top))
        m.d.comb += Assume(~mine | (now <= most))
        with m.If(mine):
            m.d.sync += pixel.eq(now)
            with m.If(append.block == block):
                m.d.sync += of_row.eq(now)

        # Events of so many pixels, in each bank.
        ends = [[Signal.like(counts[0], name=f"end_{n}_{b}") for b in range(banks)] for n in range(2)]
        quiet = ~(mine | delayed(m, mine, 1, "mine") | delayed(m, mine, 2, "mine_before"))
        late = delayed(m, mine, 1, "late")
        numbers = len(inside["ends"]) // banks
        memories = ("ends_before", "ends_up_to")
        for n, pixels in enumerate((first, past)):
            is_there = known & alone & (pixel >= pixels) & (pixels != 0)
            pending = late & (pixel == pixels)
            for b in range(banks):
                end, held = ends[n][b], inside[f"{memories[n]}.row"].word_select(b, numbers)
                some = append["values"][b].any()
                with m.If(mine):
                    m.d.sync += end.eq(
                        Mux(
                            now <= pixels,
                            Mux(append.begin, 0, counts[b]) + some,
                            Mux(append.begin, 0, end),
                        )
                    )
                m.d.comb += [
                    Assert(~is_there | pending | (held == end)),
                    Assert(~(is_there & pending) | (inside["ends"].word_select(b, numbers) == end)),
                    Assert(~known | (pixel > pixels) | (end == counts[b])),
                    Assert(~known | (end <= counts[b])),
                    Assert((pixels != 0) | ~known | (end == 0)),
                    Assert(
                        ~(inside[f"{memories[n]}.hit_0"] & is_there & quiet)
                        | (inside[f"{memories[n]}.kept_0"].word_select(b, numbers) == end)
                    ),
                    # The followed row is among them, or behind them.
                    Assert(
                        ~(there & (bank == b) & value.any())
                        | ((of_row <= pixels) == (rank < end))
                    ),
                ]  # fmt: skip
        of_set = reads.hidden_set[0]
        asked = [
            delayed(m, Cat(pixels, of_set), 1, f"asked_{n}_pixels")
            for n, pixels in enumerate((places.first, places.past))
        ]
        started = Signal(name="segments_started")
        m.d.sync += started.eq(1)
        last_set = delayed(m, append.hidden_set[0], 1, "appended_set")
        m.d.comb += [
            Assume(~places.kept | (places.none == (asked[0][:bits] == 0))),  # segments
            Assert(started | ~known),
            Assert(~known | (pixel != 0)),
            Assert(~known | (pixel <= most)),
            Assert(~there | ((of_row != 0) & (of_row <= pixel))),
            Assert(~of_chosen | (inside["kept"] == pixel)),
            Assert(inside["write_enable"] == delayed(m, dut.appends.valid, 1, "appended")),
            Assert(~late | (inside["number"] == Cat(pixel, chosen[0]))),
            Assert(~late | (of_chosen & known)),
            Assert(~inside["write_enable"] | (inside["number"][-1] == last_set)),
            Assert(~(alone & inside["write_enable"] & (last_set == chosen[0])) | late),
            *(
                Assert(inside[f"{memories[n]}.hit_0"] == (started & (asked[n] == Cat(pixels, chosen[0]))))
                for n, pixels in enumerate((first, past))
            ),
        ]

        # The segment is looked up when its map is whole, with its set (segments, sequencer.maps).
        from_there = Signal()
        whole = known & alone & (pixel >= past) & quiet
        both = (asked[0] == Cat(first, chosen[0])) & (asked[1] == Cat(past, chosen[0]))
        with m.If(places.kept):
            m.d.sync += from_there.eq(whole & both)
        with m.Elif(mine):
            m.d.sync += from_there.eq(0)
        of_chosen_set = reads.hidden & (reads.hidden_set == chosen)
        lengths = [(ends[1][b] - ends[0][b])[: len(counts[0])] for b in range(banks)]
        begins = Signal.like(rank)
        for b in range(banks):
            with m.If(bank == b):
                m.d.comb += begins.eq(ends[0][b])
        within = there & (of_row > first) & (of_row <= past)
        part_opened, part_asked, part_followed = check_reading(
            m,
            dut,
            inside,
            [_named(m, length, f"part_{b}") for b, length in enumerate(lengths)],
            opens & reads.segment & of_chosen_set & from_there & whole,
            mine | opens,
            (within, bank, _named(m, (rank - begins)[: len(rank)], "rank_in_part"), value),
            segment=True,
        )
        m.d.comb += [
            Assert(~from_there | (known & alone & (pixel >= past))),
            Assert(~part_opened | (known & alone & (pixel >= past))),
            Assert(~part_opened | (inside["from_hidden"] & (inside["from_set"] == chosen))),
        ]
        start_bits = len(inside["start"]) // banks
        for b in range(banks):
            for n, name in enumerate(("first", "past")):
                kept = inside[name].word_select(b, numbers)
                m.d.comb += Assert(~from_there | (kept == ends[n][b]))
            m.d.comb += [
                Assert(
                    ~part_opened | (inside["start"].word_select(b, start_bits) == ends[0][b][:start_bits])
                ),
                Assert(~known | (ends[0][b] <= ends[1][b])),
            ]
        return part_asked, part_followed


class Whole(Elaboratable):
    """Words of images that are kept whole, in any order; then a kernel's row blocks over them are read.

    One pixel, any of any image, is followed: where a bank is asked for it, its value comes.
    """

    def __init__(self, banks: int) -> None:
        self.geometry = small_geometry(banks, **MAPS)

    def elaborate(self, platform):
        m = Module()
        banks = self.geometry.banks
        dut = EventLists(self.geometry)
        inside = Opened(m, dut, platform=Followed())
        free_inputs(m, dut, "control", "reads.open")
        opens = free(m, 1, "opens")
        shift, slot, pixel = fixed(m, 5, "shift"), fixed(m, 8, "slot"), fixed(m, 18, "pixel")
        reads, settings = dut.reads, dut.control.settings
        m.d.comb += [settings["INPUT_SHIFT"].eq(shift), settings["MAPS"].eq(1), reads.open.eq(opens)]

        # The host: every word fits into the places of its image.
        load, accepted = dut.load.payload, dut.load.valid & dut.load.ready
        m.d.comb += [
            Assume(shift <= (DEPTH - 1).bit_length()),
            Assume((slot < SLOTS) & (((slot + 1) << shift) <= DEPTH)),
            Assume(pixel < 1 << shift),
            Assume(~accepted | ((load.slot < SLOTS) & (((load.slot + 1) << shift) <= DEPTH))),
            Assume(~accepted | (((load.word << 2) + 3)[:18] < 1 << shift)),
            Assume(~accepted | (load.word < DEPTH)),
        ]

        # A word is worked off in four steps, a pixel each, which is written in every bank.
        busy, step, data = Signal(), Signal(2), Signal(32)
        word, its_slot = Signal(16), Signal(8)
        done = step == 3
        with m.If(busy):
            m.d.sync += step.eq(step + 1)
        with m.If(accepted):
            m.d.sync += [busy.eq(1), data.eq(load.data), word.eq(load.word), its_slot.eq(load.slot)]
        with m.Elif(done):
            m.d.sync += busy.eq(0)
        mine = busy & (its_slot == slot) & ((word << 2) + step == pixel)
        known, value = Signal(), Signal(8)
        with m.If(mine):
            m.d.sync += [known.eq(1), value.eq(data.word_select(step, 8))]

        # Of two lists that follow each other without a cycle between, both are of images or of maps.
        m.d.comb += Assume(~(opens & reads.read) | (reads.hidden == inside["from_hidden"]))
        opened, rows = Signal(), Signal.like(reads.rows)
        with m.If(opens):
            m.d.sync += [opened.eq(~reads.hidden & reads.segment & (reads.slot == slot)), rows.eq(reads.rows)]
        within = Signal()
        m.d.sync += within.eq(opened & reads.read & (reads.index < rows))
        index = delayed(m, reads.index, 2, "index")
        was_within = delayed(m, within, 1, "within")
        was_opened = delayed(m, opened, 2, "opened")
        place = ((slot << shift) + pixel)[: address_bits(DEPTH)]
        m.d.comb += [
            Assert(dut.load.ready == (~busy | done)),
            Assert(inside["busy"] == busy),
            Assert(~busy | (inside["word"] == Cat(its_slot, word, data))),
            Assert(~busy | (inside["word_base"] == (its_slot << shift)[: address_bits(DEPTH)])),
            Assert(~busy | ((its_slot < SLOTS) & (((its_slot + 1) << shift) <= DEPTH))),
            Assert(~busy | ((((word << 2) + 3)[:18] < 1 << shift) & (word < DEPTH))),
            Assert(inside["step"] == step),
            Assert(busy | (step == 0)),
            Assert(~opened | (~inside["from_hidden"] & (inside["base"] == (slot << shift)))),
            Assert(~opened | (reads.short == (rows <= 1))),
            Assert(~opened | (reads.ended == (reads.index + 2 >= rows))),
            Assert(~within | ~inside["from_hidden"]),
            Assert(~was_within | ~inside["was_hidden"]),
        ]
        width = len(inside["lengths"]) // banks
        for b in range(banks):
            row, event = inside[f"images_{b}.row"], dut.events.payload[b]
            asked, followed = Signal(name=f"asked_{b}"), Signal(name=f"followed_{b}")
            past_value = Signal(8, name=f"value_{b}")
            m.d.comb += [
                Assume(inside[f"images_{b}.address"] == place),  # the one row of interest
                Assume(dut.places.image[b] < 1 << shift),  # segments
                Assert(~known | (row[-8:] == value)),
                Assert(~opened | (inside["lengths"].word_select(b, width) == rows)),
                Assert(~asked | inside[f"images_{b}.hit_0"]),
                Assert(~asked | (inside[f"images_{b}.kept_0"][-8:] == past_value)),
                Assert(~was_within | (event.block == index)),
                Assert(~was_opened | was_within | ~event.value.any()),
                Assert(~followed | (event.value == delayed(m, past_value, 1, f"value_{b}"))),
                Cover(followed & (event.value == 3) & (index == 1)),
            ]
            m.d.sync += [
                asked.eq(opened & reads.read & (reads.index < rows) & known & (dut.places.image[b] == pixel)),
                past_value.eq(value),
                followed.eq(asked),
            ]
        return m


def _named(m, value, name):
    """``value`` as a signal."""
    signal = Signal(value.shape(), name=name)
    m.d.comb += signal.eq(value)
    return signal


PROOFS = [
    *(
        Proof(
            f"event_lists.images Q={banks}",
            "an opened image's lists hold exactly its activations that are not zero, in order, and are as "
            "long; the longest's length is known, and whether it is at most 1, until the next open; there is "
            "value 0 beyond a list's end and without read; every accepted word is worked off once",
            f"Q = {banks}, {SLOTS} slots, {DEPTH} events a bank, all shifts and activations of 8 bits; "
            "assumes words in order (driver), no word of an image in a run of it (registers), and that "
            "only a hidden layer's list that is read is opened again at once (sequencer)",
            lambda banks=banks: Images(banks),
            depth=2,
            induction=True,
            cover=16,
            fast=banks == 2,
            slow=banks >= 4,
        )
        for banks in (1, 2, 4, 8)
    ),
    *(
        Proof(
            f"event_lists.hidden Q={banks}" + (f" F={flight}" if flight > 1 else ""),
            "the same of a hidden layer's lists: exactly its outputs that are not zero, in order, also while "
            "more are added; and of what its last tile added, where only that is opened",
            f"Q = {banks}, passes in flight F = {flight}, 1024 outputs; assumes ascending row blocks, and "
            "layers and tiles of up to P / Q steps that are not mixed (requantizer.sums), and that a set "
            "that is begun anew, or a rest that is added to, is not read any more (sequencer)",
            lambda banks=banks, flight=flight: Hidden(banks, flight),
            depth=2,
            induction=True,
            cover=8,
            fast=banks == 1,
            slow=(banks, flight) not in ((1, 1), (2, 4)),
        )
        for banks, flight in ((1, 1), (2, 1), (4, 1), (8, 1), (2, 4), (8, 4))
    ),
    *(
        Proof(
            f"event_lists.maps Q={banks} F={flight}",
            "the same where there are convolutions, whose passes are alone; and of a segment, whose map is "
            "whole: exactly the events of its pixels, in order, each bank's from where the pixels before "
            "end; where a map's pixels end is not touched by the other map",
            f"Q = {banks}, F = {flight}, maps of up to 16 pixels and 64 events a bank; assumes the same, and "
            "that a segment is looked up when its map is whole (segments, sequencer.maps), passes that are "
            "alone (sequencer.maps), or lists of at most their places (driver)",
            lambda banks=banks, flight=flight: Hidden(banks, flight, maps=True),
            depth=2,
            induction=True,
            cover=14,
            fast=banks == 1,
            slow=banks > 1,
        )
        for banks, flight in ((1, 1), (2, 4), (4, 2))
    ),
    *(
        Proof(
            f"event_lists.whole Q={banks}",
            "of an image that is kept whole, every bank that is asked for a pixel gives its value, zero or "
            "not, with the row block that it was asked for; there is value 0 beyond the kernel's row blocks "
            "and without read; every accepted word is worked off once",
            f"Q = {banks}, {SLOTS} slots, {DEPTH} pixels, all shifts and activations of 8 bits; assumes "
            "words and taps inside their image (driver, segments), and that no image is opened while a map "
            "is read, nor the other way round (sequencer.maps)",
            lambda banks=banks: Whole(banks),
            depth=2,
            induction=True,
            cover=12,
            fast=banks == 2,
            slow=banks > 2,
        )
        for banks in (1, 2, 8)
    ),
]
