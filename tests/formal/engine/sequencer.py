"""The sequencer: what the blocks behind it may rely on, since nothing downstream stalls."""

from amaranth.hdl import Assert, Assume, Cat, Const, Cover, Elaboratable, Module, Mux, Signal
from synflip.spec.cycles import DRAIN_LATENCY, PASS_SPACING, VOTE_WRITTEN, pipeline_depth
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import OPTION_EARLY
from synflip_hdl.engine.requantizer import tile_spacing
from synflip_hdl.engine.sequencer import Sequencer
from synflip_hdl.interfaces import CLASS_BITS, tile_layout

from tests.formal.helpers import Followed, Opened, delayed, fixed, free, free_inputs
from tests.formal.runner import Proof

IDLE, PICK, LOAD, READY, STREAM, HEAD, REST = range(7)  # the FSM's states, in the order of the source


class Runs(Elaboratable):
    """Any layer table, any lists, keys and votes; settings stay as they are (the registers see to it)."""

    def __init__(self, lanes: int, banks: int, slots: int, flight: int) -> None:
        self.geometry = Geometry(
            lanes=lanes, banks=banks, bits=1, bias_depth=1024, image_slots=slots, flight=flight
        )

    def elaborate(self, platform):
        m = Module()
        lanes, tile_steps = self.geometry.lanes, self.geometry.lanes // self.geometry.banks
        depth = pipeline_depth(self.geometry.banks)
        dut = Sequencer(self.geometry, 4)
        lists, keys = dut.lists, dut.keys
        inside = Opened(m, dut, platform=Followed())
        free_inputs(m, dut, "control", "decisions.valid")
        settings = dut.control.settings
        m.d.comb += settings.as_value().eq(fixed(m, len(settings.as_value()), "settings"))
        early = (settings["OPTIONS"] & OPTION_EARLY) != 0
        decided = free(m, 1, "decided")
        past_slot = settings["FIRST_SLOT"] + settings["IMAGES"]
        state, layer, sample = inside["fsm_state"], inside["layer"], inside["sample"]
        tile, layout = dut.tiles.payload, tile_layout(self.geometry)
        flight = self.geometry.flight
        none = Const(0, 1)
        member, last_member = (inside["member"], inside["last_member"]) if flight > 1 else (none, none)
        slots = [inside[f"slot_{number}"] for number in range(flight)] if flight > 1 else [lists.slot]
        turns = [inside[f"turn_{number}"] for number in range(flight)]
        there, opened_now = inside["there"], inside["opened"]
        inner = inside.view("tile", layout)

        def of(number, values):
            """values[number]"""
            found = values[0]
            for index, value in enumerate(values[1:], 1):
                found = Mux(number == index, value, found)
            return found

        # The next layer is chosen in the first cycle of streaming: until then it is the one that is issued,
        # ``now``, which is what it was while it was opened.
        reading, ahead_now = Signal(), Signal()
        chooses = (state == STREAM) & opened_now & ~inside["reread"]
        now_layer, now_sample, now_slot = Signal.like(layer), Signal.like(sample), Signal(8)
        now_member = Signal(len(member), name="now_member")
        with m.If(state == READY):
            m.d.sync += [now_layer.eq(layer), now_sample.eq(sample), now_slot.eq(dut.lists.slot)]
            m.d.sync += now_member.eq(member)
        m.d.comb += [
            ahead_now.eq((state == HEAD) | (state == REST)),
            reading.eq((state == STREAM) | (state == HEAD)),
            Assert(
                ~(ahead_now | chooses)
                | (
                    (now_layer == layer)
                    & (now_sample == sample)
                    & (now_slot == dut.lists.slot)
                    & (now_member == member)
                )
            ),
            Assert(~(ahead_now | chooses) | there),
            Assert(~chooses | (inside["several"] == (inside["tiles"] != 0))),
            Assert(~ahead_now | (inside["several"] == (inside["tiles"] != 0))),
        ]
        m.d.comb += [
            dut.decisions.valid.eq(decided),
            dut.control.start.eq(free(m, 1, "start")),
            Assume(
                (settings["IMAGES"] != 0)
                & (past_slot <= self.geometry.image_slots)
                & (settings["SAMPLES"] != 0)
            ),
            Assume(settings["LAYERS"] < 8),
            Assume(~dut.issue.last | (tile.steps < tile_steps)),  # LAST_STEPS is as the driver writes it
        ]

        started = Signal()
        m.d.sync += started.eq(1)

        # Spacing: after a tile the drain is busy for ``drain`` cycles more. Logits leave one a cycle, from
        # this tile on ``left`` of them, less 1; in a run's first sample the pass's vote is written, too.
        drain, left = Signal(range(lanes + VOTE_WRITTEN)), Signal(CLASS_BITS)
        most_left = Mux(tile.begin, settings["CLASSES"], left)
        written = Mux(tile.current.sample == 0, VOTE_WRITTEN, 0)
        least = Mux(written != 0, 0, PASS_SPACING - 1)
        counted = Mux(most_left < least, least, most_left + written)
        logits = Mux(inside["last_tile"], counted, lanes - 1)
        m.d.comb += Assume(~(dut.issue.last & tile.final) | ((most_left < lanes) == inside["last_tile"]))
        with m.If(dut.issue.last):
            m.d.sync += [drain.eq(Mux(tile.final, logits, tile.steps)), left.eq(most_left - lanes)]
        with m.Elif(drain != 0):
            m.d.sync += drain.eq(drain - 1)
        m.d.comb += [
            # The last decision of a run comes when the drain is done: no run starts before.
            Assume(~(dut.control.start & (state == IDLE)) | (drain == 0)),
            Assert(~dut.issue.last | (drain == 0)),
            Assert(dut.tiles.valid == dut.issue.last),
            Assert(~dut.issue.last | lists.read),
            Cover(dut.issue.last & tile.final & (tile.steps == tile_steps - 1)),
        ]

        # While a layer waits, its lists are opened in every cycle; the last one, ``opens``, is what is read.
        turn, head_turn, window = of(member, turns), inside["head_turn"], inside["window"]
        goes_on = ((turn == 0) | ((window != 0) & (head_turn == 0))) & keys.ready
        opens = Signal()
        with m.If(state == READY):
            m.d.comb += opens.eq(lists.open & goes_on)
        with m.Elif(state == REST):
            m.d.comb += opens.eq(lists.open & (turn == 0))
        with m.Else():
            m.d.comb += opens.eq(lists.open)

        # Lists are as long as the event lists say, from the cycle after an open to the next one.
        listed, length = Signal(), Signal.like(lists.longest)
        opened = delayed(m, lists.open, 1, "opened")
        m.d.sync += length.eq(lists.longest)
        with m.If(lists.open):
            m.d.sync += listed.eq(1)
        m.d.comb += [
            Assume(~listed | (lists.short == (lists.longest <= 1))),
            Assume(~listed | opened | (lists.longest == length)),
            Assume(lists.longest <= 1 << len(lists.index)),
        ]
        # A tile reads each event once, in order, and one where there is none; what was opened early is read
        # once, and then the rest.
        reads = Signal.like(lists.longest)
        count = Mux(lists.longest == 0, 1, lists.longest)
        ends = lists.read & (reads + 1 == count)
        with m.If(ends | lists.open):
            m.d.sync += reads.eq(0)
        with m.Elif(lists.read):
            m.d.sync += reads.eq(reads + 1)
        ahead, head_read, of_rest = Signal(), Signal(), Signal()
        m.d.comb += [
            Assert(~lists.read | ((lists.index == reads) & (reads < count))),
            Assert(dut.issue.last == (ends & ~ahead)),
            Assert(~lists.read | ~head_read),
            Assert(~lists.rest | (lists.open & ahead & head_read)),
            Assert(~lists.open | ~ahead | lists.rest),
            # Nothing is read in the first cycle after a reset, nor between an open and the layer's end.
            Assert(started | ~lists.read),
            Assert(~lists.read | (state == STREAM) | (state == HEAD)),
            Cover(dut.issue.last & (lists.longest == 0)),
            Cover(dut.issue.last & (lists.longest == 1)),
            Cover(dut.issue.last & (lists.longest == 3) & ~tile.begin),
        ]

        # Tiles are so far apart that the drain's queue has room.
        gap = Signal(range(tile_spacing(self.geometry)))
        with m.If(dut.issue.last):
            m.d.sync += gap.eq(tile_spacing(self.geometry) - 1)
        with m.Elif(gap != 0):
            m.d.sync += gap.eq(gap - 1)
        m.d.comb += Assert(~dut.issue.last | (gap == 0))

        # Turn: cycles until the outputs of all hidden tiles so far of one pass, any of those in flight, are
        # in their lists.
        followed = fixed(m, len(member), "followed") if flight > 1 else none
        m.d.comb += Assume(followed < flight)
        its_turn, is_now, is_next = of(followed, turns), now_member == followed, member == followed
        filling = Signal(range(depth + tile_steps + DRAIN_LATENCY + 1))
        arrives = depth + tile.steps + DRAIN_LATENCY
        with m.If(dut.issue.last & ~tile.final & is_now):
            m.d.sync += filling.eq(Mux(arrives > filling, arrives, filling))
        with m.Elif(filling != 0):
            m.d.sync += filling.eq(filling - 1)
        reading_hidden, reading_set = Signal(), Signal.like(lists.hidden_set)
        with m.If(lists.open):
            m.d.sync += [reading_hidden.eq(lists.hidden), reading_set.eq(lists.hidden_set)]
        # Until those of all tiles but a layer's last are, and until the last one's first are.
        but_last, begins_in = Signal.like(filling), Signal(range(depth + DRAIN_LATENCY + 1))
        last_tile = inside["last_tile"]
        m.d.sync += [
            but_last.eq(but_last - (but_last != 0)),
            begins_in.eq(begins_in - (begins_in != 0)),
        ]
        with m.If(dut.issue.last & ~tile.final):
            with m.If(last_tile):
                m.d.sync += begins_in.eq(depth + DRAIN_LATENCY)
            with m.Else():
                m.d.sync += but_last.eq(arrives)
        with m.If(opens):
            m.d.sync += [ahead.eq((state == READY) & (turn != 0)), head_read.eq(0), of_rest.eq(lists.rest)]
        with m.If(ends & ahead):
            m.d.sync += head_read.eq(1)
        m.d.comb += [
            Assert(
                ~opens
                | ~Mux(state == STREAM, is_now, is_next)
                | (filling == 0)
                | ((but_last == 0) & (begins_in != 0) & lists.hidden)
            ),
            # What is open is opened again only to read all of what was read last.
            Assert(~(lists.open & lists.read) | (dut.issue.last & of_rest & reading_hidden & lists.hidden)),
            Assert(~(lists.open & lists.read) | ((lists.hidden_set == reading_set) & ~lists.rest)),
            Assert(~dut.issue.last | ~of_rest | lists.open | last_tile),
            Assert(~lists.open | lists.hidden | (lists.slot == delayed(m, lists.slot, 1, "slot"))),
            Assert(~dut.issue.last | tile.final | ~reading_hidden | (tile.hidden_set != reading_set)),
            Cover(lists.open & lists.hidden),
        ]
        if self.geometry.image_slots == 1:  # these take long to find: once
            m.d.comb += [
                Cover(opens & (filling != 0)),
                Cover(opens & lists.rest),
                Cover(lists.open & lists.read),
            ]
        # A layer's tiles fill its set in ascending order, from its first tile on.
        first_tile, next_block = Signal(), Signal.like(tile.block)
        with m.If(dut.issue.last):
            m.d.sync += [first_tile.eq(0), next_block.eq(tile.block + tile_steps)]
        with m.If(lists.open & ~lists.rest & ~dut.issue.last):
            m.d.sync += first_tile.eq(1)
        with m.If(dut.issue.last):
            m.d.comb += [
                Assert(tile.begin == first_tile),
                Assert(tile.block == Mux(first_tile, 0, next_block)),
            ]

        # Passes in flight: the layer that is opened follows the last one of the same image, slot and sample,
        # and reads the lists that this one left.
        seen, seen_layer, seen_slot, seen_sample = (
            Signal(),
            Signal.like(layer),
            Signal(8),
            Signal.like(sample),
        )
        with m.If(chooses & is_now):
            m.d.sync += [seen.eq(1), seen_layer.eq(layer), seen_slot.eq(now_slot), seen_sample.eq(sample)]
        same = seen & (seen_slot == of(followed, slots)) & (seen_sample == sample)
        begun_before = Mux(layer == 0, followed < member, (followed <= last_member) | (flight == 1))
        m.d.comb += [
            Assert(~there | (lists.slot == of(member, slots))),
            Assert(member <= last_member),
            Assert(last_member < flight),
            Assert((layer != 0) | (member == last_member)),
            Assert(there | ((layer == 0) & (member == 0))),
            Assert(~there | ~begun_before | same),
            Assert(~there | ~begun_before | (seen_layer + ((layer != 0) & (followed >= member)) == layer)),
            Assert(
                ~(opens & (state == READY)) | ~is_next | (layer == 0) | (same & (seen_layer + 1 == layer))
            ),
            # What follows the layer that is streamed.
            Assert(
                (state != STREAM)
                | chooses
                | Mux(
                    member != 0,
                    (now_layer == layer) & (now_member + 1 == member),
                    Mux(
                        layer != 0,
                        (now_layer + 1 == layer) & (now_member == last_member),
                        now_layer == settings["LAYERS"],
                    ),
                )
            ),
            Assert(~there | (state != PICK)),
            Assert(~there | (state != IDLE)),
            Assert(there | (state != READY)),
        ]

        # Keys: a layer is opened when its keys are there; a sample is given back before the first events of
        # the next one, and after its own last.
        given = Signal.like(sample)  # samples of this run
        past_begin = dut.control.start & (state == IDLE)
        with m.If(past_begin):
            m.d.sync += given.eq(0)
        with m.Elif(keys.release):
            m.d.sync += given.eq(given + 1)
        m.d.comb += [
            Assert(~opens | keys.ready | lists.rest | lists.read),  # again, with the keys of before
            Assert(~keys.release | ~(lists.read | dut.issue.last)),
            Assert(~lists.read | (inner.current.sample == given)),
            Assert((given + inside["releases"])[: len(given)] == sample),
            Assert(~inside["releases"] | (there & (layer == 0) & (member == 0))),
            Assert(~inside["releases"] | ~(ahead_now | chooses)),
            Assert(keys.sample == sample[:2]),
        ]

        # The image queue: never fuller than the images, nor read empty. ``passes``: begun, not decided.
        queue_level, fresh, begun = inside["queue.level"], inside["fresh"], inside["begun"]
        enters, leaves = inside["w_en"], inside["r_en"]
        passes = Signal(16)
        m.d.comb += Assume(~decided | (passes != 0))  # one decision a pass: requantizer.sums, votes
        m.d.comb += Assume(passes != 0xFFFF)
        m.d.sync += passes.eq(passes + begun - decided)
        m.d.comb += [
            Assert(~enters | (queue_level < self.geometry.image_slots)),
            Assert(~leaves | (queue_level != 0)),
            # The lowest bit of the sample that the image has waited for.
            Assert(
                ~delayed(m, leaves, 1, "taken") | (delayed(m, inside["head"][8], 1, "parity") == sample[0])
            ),
            Assert((state == IDLE) | (queue_level <= settings["IMAGES"])),
            Assert(~begun | ((there & (state == STREAM)) | (state == LOAD))),
            Assert(~begun | (there & ~chooses)),
            Assert(~inside["again"] | (state == STREAM) | (state == READY)),
        ]
        if self.geometry.image_slots == 2:
            m.d.comb += Cover(enters & leaves)

        # The same of the inside.
        waits_for = (state == LOAD) | (state == READY) | ahead_now
        if flight == 1:
            m.d.comb += [
                Assert(waits_for | (gap <= drain)),
                # A layer after the first is not opened before the last tile was captured.
                Assert((layer != 0) | (gap <= drain)),
                Assert((gap <= drain) | (gap <= filling)),
            ]
        else:
            m.d.comb += Assert((state == LOAD) | (state == READY) | (gap <= drain))
            m.d.comb += Assert((gap <= drain) | there)
        now_set = Cat(now_layer[0], now_member)[: len(inner.hidden_set)]
        hold, from_rest = inside["hold"], inside["from_rest"]
        streaming = (state == STREAM) & is_now & ~inner.final
        m.d.comb += [
            Assert(state <= REST),
            Assert(ahead_now == ahead),
            Assert(head_read == (state == REST)),
            Assert(~ahead_now | (layer != 0)),
            Assert((but_last <= head_turn) & (but_last < depth + DRAIN_LATENCY + tile_steps)),
            Assert(reading | (lists.index == 0)),
            Assert(window <= begins_in),
            Assert((window == 0) | ((layer != 0) & (last_member == 0))),
            Assert((window == 0) | waits_for),
            Assert(window <= turns[0]),
            Assert((state != STREAM) | ~from_rest | ~is_now | (filling == 0)),
            Assert(~(reading | ahead_now) | (now_sample == given)),
            Assert(~from_rest | (state == REST) | (reading_hidden & (now_layer != 0))),
            Assert((state == STREAM) | (state == REST) | ~from_rest),
            Assert((state != STREAM) | (from_rest == of_rest)),
            Assert(streaming | (filling == its_turn)),
            Assert(~streaming | (its_turn == 0)),
            Assert(layer <= settings["LAYERS"]),
            Assert(~started | (inside["past_slot"] == past_slot)),
            Assert((hold == drain) & (inside["drained"] == (hold == 0))),
            Assert(~(reading | ahead_now) | (inside["left"] == Mux(first_tile, settings["CLASSES"], left))),
            Assert(~(reading | ahead_now) | (inside["opening"] == (now_sample == 0))),
            Assert(~(reading | ahead_now) | (inner.current.sample == now_sample)),
            Assert(~(reading | ahead_now) | (inner.current.slot == now_slot)),
            Assert(now_member < flight),
            Assert(~streaming | (filling <= depth + DRAIN_LATENCY + hold)),
            Assert(inside["arrived"] == Cat(turn == 0 for turn in turns)),
            Assert(~(reading | ahead_now) | (inner.final == (now_layer == settings["LAYERS"]))),
            Assert(~(reading | ahead_now) | (inner.hidden_set == now_set)),
            Assert(~(reading | ahead_now) | (reading_hidden == (now_layer != 0))),
            Assert(~(reading | ahead_now) | (reading_set == now_set ^ 1)),
            Assert(~(reading | ahead_now) | (inner.begin == first_tile)),
            Assert(~(reading | ahead_now) | (inner.block == Mux(first_tile, 0, next_block))),
            Assert((state == IDLE) | ((fresh >= settings["FIRST_SLOT"]) & (fresh <= past_slot))),
            Assert((state != IDLE) | (queue_level == 0)),
            Assert(~reading | ((lists.index == reads) & (reads < count) & listed)),
            Assert(reading | ~delayed(m, opens, 1, "opens")),
            Assert(~reading | ~opened | (reads == 0)),
            Assert(~reading | opened | (inside["ending"] == (reads + 1 == count))),
            Assert(inside["opened"] == opened),
        ]
        retired, taken = inside["retired"], fresh - settings["FIRST_SLOT"]
        with m.If(early):
            m.d.comb += Assert((state == IDLE) | (taken == retired + queue_level + passes + begun))
            m.d.comb += Assert((state != IDLE) | (passes == 0))
            m.d.comb += Assert(last_member == 0)
        with m.Else():
            # A pass's image enters the queue two cycles after its choice.
            m.d.comb += Assert((state == IDLE) | (queue_level + begun + inside["again"] <= taken))
        return m


PROOFS = [
    Proof(
        f"sequencer P={lanes} Q={banks} N={slots}" + (f" F={flight}" if flight > 1 else ""),
        "a tile reads each event of the fullest bank once, in order, and one if there is none; its last "
        "event waits until the drain is done with the tile before (and, in a run's first sample, a pass's "
        "vote is written); "
        "a list is opened when it is full, or, to be read once, when all of it is there but what the last "
        "tile of the layer before gives, and then that rest, and then all; it is filled while the other set "
        "is read, in ascending blocks; a "
        "layer starts when its keys are there, and follows the same pass's layer before, whose lists it "
        "reads; a sample is given back after its last event and before the next one's first; the "
        "image queue never holds more than the images, or the slots, and is not read empty; an image that "
        "leaves it begins the sample that it waited for",
        f"P = {lanes}, Q = {banks}, {slots} image slots, passes in flight F = {flight}, any layer table, "
        "lists of up to 16 events; assumes lists that stay while they are open (event_lists), drain steps of "
        "at most P / Q and tiles for the classes (driver), one decision a pass (requantizer.sums, votes), "
        "settings that stay (registers), and no start before the drain is done with the run before (not "
        "proved: its last decision comes later)",
        lambda lanes=lanes, banks=banks, slots=slots, flight=flight: Runs(lanes, banks, slots, flight),
        depth=2,
        induction=True,
        cover=30,
        fast=slots == 3,
        slow=slots not in (2, 3),
    )
    for lanes, banks, slots, flight in (
        (16, 8, 1, 1),
        (16, 8, 2, 1),
        (16, 8, 4, 4),
        (16, 4, 3, 2),
        (48, 4, 16, 4),
        (16, 1, 256, 1),
    )
]
