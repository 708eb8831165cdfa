"""The sequencer: what the blocks behind it may rely on, since nothing downstream stalls."""

from amaranth.hdl import Assert, Assume, Cover, Elaboratable, Module, Mux, Signal
from synflip.spec.cycles import DRAIN_LATENCY, VOTE_WRITTEN, pipeline_depth
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

    def __init__(self, lanes: int, banks: int, slots: int) -> None:
        self.geometry = Geometry(lanes=lanes, banks=banks, bits=1, bias_depth=1024, image_slots=slots)

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
        logits = Mux(inside["last_tile"], most_left + written, lanes - 1)
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
        turn, head_turn, window = inside["turn"], inside["head_turn"], inside["window"]
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

        # Turn: cycles until the outputs of all hidden tiles so far are in their lists.
        filling = Signal(range(depth + tile_steps + DRAIN_LATENCY + 1))
        arrives = depth + tile.steps + DRAIN_LATENCY
        with m.If(dut.issue.last & ~tile.final):
            m.d.sync += filling.eq(Mux(arrives > filling, arrives, filling))
        with m.Elif(filling != 0):
            m.d.sync += filling.eq(filling - 1)
        reading_hidden, reading_set = Signal(), Signal()
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
            m.d.sync += [ahead.eq(filling != 0), head_read.eq(0), of_rest.eq(lists.rest)]
        with m.If(ends & ahead):
            m.d.sync += head_read.eq(1)
        m.d.comb += [
            Assert(~opens | (filling == 0) | ((but_last == 0) & (begins_in != 0) & lists.hidden)),
            # What is open is opened again only to read all of what was read last.
            Assert(~(lists.open & lists.read) | (dut.issue.last & of_rest & reading_hidden & lists.hidden)),
            Assert(~(lists.open & lists.read) | ((lists.hidden_set == reading_set) & ~lists.rest)),
            Assert(~dut.issue.last | ~of_rest | lists.open | last_tile),
            Cover(opens & (filling != 0)),
            Assert(~lists.open | (lists.slot == delayed(m, lists.slot, 1, "slot"))),
            Assert(~dut.issue.last | tile.final | ~reading_hidden | (tile.hidden_set != reading_set)),
            Cover(lists.open & lists.hidden),
        ]
        if self.geometry.image_slots == 1:  # these take long to find: once
            m.d.comb += [Cover(opens & lists.rest), Cover(lists.open & lists.read)]
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

        # Keys: a layer is opened when its keys are there; a sample is released between passes, for the next.
        past_sample, past_release = (
            delayed(m, sample, 1, "sample"),
            delayed(m, keys.release, 1, "release"),
        )
        past_start = delayed(m, state == IDLE, 1, "idle")
        m.d.comb += [
            Assert(~opens | keys.ready | lists.rest | lists.read),  # again, with the keys of before
            Assert(~keys.release | ~(lists.read | dut.issue.last | lists.open)),
            Assert(~started | past_start | (sample == (past_sample + past_release)[: len(sample)])),
            Assert(keys.sample == sample[:2]),
        ]

        # The image queue: never fuller than the images, nor read empty. ``passes``: begun, not decided.
        queue_level, fresh = inside["queue.level"], inside["fresh"]
        enters, leaves = inside["w_en"], inside["r_en"]
        passes = Signal(16)
        begins = (state == PICK) & ((fresh != past_slot) | (queue_level != 0))
        m.d.comb += Assume(~decided | (passes != 0))  # one decision a pass: requantizer.sums, votes
        m.d.comb += Assume(passes != 0xFFFF)
        m.d.sync += passes.eq(passes + begins - decided)
        m.d.comb += [
            Assert(~enters | (queue_level < self.geometry.image_slots)),
            Assert(~leaves | (queue_level != 0)),
            Assert((state == IDLE) | (queue_level <= settings["IMAGES"])),
        ]
        if self.geometry.image_slots == 2:
            m.d.comb += Cover(enters & leaves)

        # The same of the inside. ahead_now: a layer was opened while the one before drains; reading: an open
        # list.
        ahead_now, reading = Signal(), Signal()
        m.d.comb += [
            ahead_now.eq((state == HEAD) | (state == REST)),
            reading.eq((state == STREAM) | (state == HEAD)),
            Assert((state != STREAM) | (gap <= drain)),
            # A pass's last tile may free the drain early, but a pass is chosen, loaded and opened before it
            # issues; a layer after the first is not opened before the last tile was captured.
            Assert((state != LOAD) | (layer != 0) | (gap <= drain) | (gap <= 2)),
            Assert((state != READY) | (layer != 0) | (gap <= drain) | (gap <= 1)),
            Assert(
                ~((state == LOAD) | (state == READY) | ahead_now)
                | (layer == 0)
                | (gap <= drain)
                | (gap <= filling)
            ),
        ]
        hold, from_rest = inside["hold"], inside["from_rest"]
        inner = inside.view("tile", layout)
        m.d.comb += [
            Assert(state <= REST),
            Assert(ahead_now == ahead),
            Assert(head_read == (state == REST)),
            Assert(~ahead_now | (layer != 0)),
            Assert((but_last <= head_turn) & (but_last < depth + DRAIN_LATENCY + tile_steps)),
            Assert(reading | (lists.index == 0)),
            Assert(window <= begins_in),
            Assert((window == 0) | (layer != 0)),
            Assert((window == 0) | ((state != IDLE) & (state != PICK))),
            Assert(~from_rest | (state == REST) | ((filling == 0) & (layer != 0))),
            Assert((state == STREAM) | (state == REST) | ~from_rest),
            Assert((state != STREAM) | (from_rest == of_rest)),
            Assert(~((state == LOAD) | (state == READY) | ahead_now) | (filling == turn)),
            Assert(layer <= settings["LAYERS"]),
            Assert(~started | (inside["past_slot"] == past_slot)),
            Assert((hold == drain) & (inside["drained"] == (hold == 0))),
            Assert(~(reading | ahead_now) | (inside["left"] == Mux(first_tile, settings["CLASSES"], left))),
            Assert(~(reading | ahead_now) | (inside["opening"] == (sample == 0))),
            Assert(~(reading | ahead_now) | (inner.current.sample == sample)),
            Assert(filling <= depth + DRAIN_LATENCY + hold),
            Assert((state == STREAM) | (filling <= turn)),
            Assert((state == READY) | (state == LOAD) | (state == STREAM) | ahead_now | (filling == 0)),
            Assert((state != STREAM) | ~inner.final | (filling == 0)),
            Assert(~(reading | ahead_now) | (inner.final == (layer == settings["LAYERS"]))),
            Assert(~(reading | ahead_now) | (inner.hidden_set == layer[0])),
            Assert(~(reading | ahead_now) | (reading_hidden == (layer != 0))),
            Assert(~(reading | ahead_now) | (reading_set == ~layer[0])),
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
            m.d.comb += Assert((state == IDLE) | (taken == retired + queue_level + passes))
            m.d.comb += Assert((state != IDLE) | (passes == 0))
        with m.Else():
            # A pass's image enters the queue two cycles after its choice.
            chosen = ((state == LOAD) & (layer == 0)) | inside["again"]
            m.d.comb += Assert(~inside["again"] | (state == READY))
            m.d.comb += Assert((state == IDLE) | (queue_level + chosen <= taken))
        return m


PROOFS = [
    Proof(
        f"sequencer P={lanes} Q={banks} N={slots}",
        "a tile reads each event of the fullest bank once, in order, and one if there is none; its last "
        "event waits until the drain is done with the tile before (and, in a run's first sample, a pass's "
        "vote is written); "
        "a list is opened when it is full, or, to be read once, when all of it is there but what the last "
        "tile of the layer before gives, and then that rest, and then all; it is filled while the other set "
        "is read, in ascending blocks; a "
        "layer starts when its keys are there, and a sample is released between passes; the image queue "
        "never holds more than the images, or the slots, and is not read empty",
        f"P = {lanes}, Q = {banks}, {slots} image slots, any layer table, lists of up to 16 events; assumes "
        "lists that stay while they are open (event_lists), drain steps of at most P / Q and tiles for the "
        "classes (driver), one "
        "decision a pass (requantizer.sums, votes), settings that stay (registers), and no start before the "
        "drain is done with the run before (not proved: its last decision comes later)",
        lambda lanes=lanes, banks=banks, slots=slots: Runs(lanes, banks, slots),
        depth=2,
        induction=True,
        cover=30,
        fast=slots == 3,
        slow=slots not in (3, 16),
    )
    for lanes, banks, slots in ((16, 8, 1), (16, 8, 2), (16, 4, 3), (48, 4, 16), (16, 1, 256))
]
