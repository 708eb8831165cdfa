"""The sequencer with convolutions: segments and positions in order, and nothing waits for ever."""

from amaranth.hdl import Assert, Assume, Cat, Cover, Elaboratable, Module, Mux, Signal
from amaranth.lib import data
from synflip.spec.cycles import SEGMENT_SPACING, VOTE_WRITTEN, append_latency, pipeline_depth
from synflip.spec.geometry import Geometry
from synflip_hdl.engine.sequencer import Sequencer
from synflip_hdl.interfaces import layer_layout, tile_layout

from tests.formal.helpers import Opened, Spread, delayed, fixed, free, free_inputs
from tests.formal.runner import Proof

#: The FSM's states, in the order of the source.
IDLE, PICK, LOAD, READY, STREAM, HEAD, SEEK, REST, MAP = range(9)
LAYERS = 3


class Convolutions(Elaboratable):
    """Any layer table of some convolutions and dense layers, any programs, lists, keys and votes."""

    def __init__(self, lanes: int, banks: int, flight: int) -> None:
        self.geometry = Geometry(
            lanes=lanes,
            banks=banks,
            bits=1,
            weight_depth=64,
            key_depth=64,
            bias_depth=64,
            image_slots=2,
            layer_depth=LAYERS,
            flight=flight,
            map_depth=32,
        )

    def elaborate(self, platform):
        m = Module()
        geometry = self.geometry
        tile_steps = geometry.lanes // geometry.banks
        arrival = pipeline_depth(geometry.banks) + append_latency(geometry)
        dut = Sequencer(geometry, 4)
        inside = Opened(m, dut, platform=Spread(LAYERS))
        free_inputs(m, dut, "control", "host.write")
        lists, keys, segments, settings = dut.lists, dut.keys, dut.segments, dut.control.settings
        issue, tile, busy = dut.issue, dut.tiles.payload, dut.status.busy
        state, layer, sample = inside["fsm_state"], inside["layer"], inside["sample"]
        m.d.comb += [
            settings.as_value().eq(fixed(m, len(settings.as_value()), "settings")),
            dut.control.start.eq(free(m, 1, "start")),
            dut.host.write.eq(Mux(busy, 0, free(m, 16, "written"))),  # registers: none in a run
        ]

        # The driver: some convolutions, then dense layers; drain steps as there are.
        layout = layer_layout(geometry)
        rows = [data.View(layout, inside[f"table.row_{number}"]) for number in range(LAYERS)]
        m.d.comb += [
            Assume(settings["MAPS"] & (settings["IMAGES"] != 0) & (settings["SAMPLES"] != 0)),
            Assume(settings["LAYERS"] < LAYERS),
            Assume(settings["FIRST_SLOT"] + settings["IMAGES"] <= geometry.image_slots),
            *(Assume(~busy | (tile_steps > row.LAST_STEPS)) for row in rows),
            *(
                Assume(~busy | ~row.CONVOLUTION | (before.CONVOLUTION & (settings["LAYERS"] != number)))
                for number, (before, row) in enumerate(zip([rows[0], *rows], rows, strict=False))
            ),
        ]

        # The layer that is issued, and its entry.
        now_layer, now_sample, now_slot = Signal.like(layer), Signal.like(sample), Signal.like(lists.slot)
        with m.If(state == READY):
            m.d.sync += [now_layer.eq(layer), now_sample.eq(sample), now_slot.eq(lists.slot)]
        entry = Signal(layout)
        for number, row in enumerate(rows):
            with m.If(layer == number):
                m.d.comb += entry.eq(row)
        seeking, mapping = state == SEEK, state == MAP
        convolving = seeking | mapping
        stays = convolving | (state == READY) | (state == HEAD) | (state == REST)

        # A segment is ready some cycles after it may be looked up (segments), and is what the driver wrote.
        since, segment = Signal(range(SEGMENT_SPACING + 1)), segments.segment
        with m.If(segments.restart | segments.take):
            m.d.sync += since.eq(1)
        with m.Elif(since != SEGMENT_SPACING):
            m.d.sync += since.eq(since + 1)
        m.d.comb += [
            Assume(segments.ready == (since == SEGMENT_SPACING)),
            Assume(~segment.layer_end | segment.window_end),
            Assume(~segment.window_end | segment.position_end),
            Assert(since <= SEGMENT_SPACING),
            Assert(~segments.take | (segments.ready & lists.open & lists.segment)),
            Assert(~lists.segment | segments.take),
            Assert(~segments.restart | (state == READY)),
        ]

        # Events of the fullest bank of what is open (event_lists): they stay until the next open.
        length, past_length, listed = free(m, 5, "length"), Signal(5), Signal()
        opened = delayed(m, lists.open, 1, "opened")
        m.d.sync += [past_length.eq(length), listed.eq(listed | lists.open)]
        m.d.comb += [
            Assume((length <= 1 << len(lists.index)) & (~listed | opened | (length == past_length))),
            Assume(lists.short == (length <= 1)),
            Assume(lists.ended == (lists.index + 2 >= length)),
        ]
        reads, count = Signal(5), Mux(length == 0, 1, length)
        ends = lists.read & (reads + 1 == count)
        with m.If(lists.open):
            m.d.sync += reads.eq(0)
        with m.Elif(lists.read):
            m.d.sync += reads.eq(reads + 1)

        # What the segments look ahead by: the index of the cycle to come.
        ahead, mapped = Signal.like(lists.index), delayed(m, mapping, 1, "mapped")
        m.d.sync += ahead.eq(lists.index + segments.step)
        # The segment that is open, the tile of its window, and where the tile's outputs go.
        taken = delayed(m, segments.take, 1, "taken")
        m.d.comb += [
            Assert(segments.index == lists.index),
            Assert(~(taken | (mapped & mapping)) | (lists.index == Mux(taken, 0, ahead))),
        ]
        flags = Signal(3)  # position_end, window_end, layer_end
        position_end, window_end, layer_end = flags
        number, first, begin = Signal.like(entry.TILES), Signal(), Signal()  # of the tile; of window, layer
        weight, block = Signal.like(entry.WEIGHT_BASE), Signal.like(tile.block)
        bias, turn, offset = Signal.like(tile.bias), Signal(6), Signal.like(segment.offset)
        last_tile = number == entry.TILES
        steps = Mux(last_tile, entry.LAST_STEPS, tile_steps - 1)
        with m.If(segments.take):
            m.d.sync += [flags.eq(Cat(segment.position_end, segment.window_end, segment.layer_end))]
            m.d.sync += offset.eq(segment.offset)
        with m.If(state == READY):
            m.d.sync += [number.eq(0), first.eq(1), begin.eq(1), block.eq(0)]
            m.d.sync += [weight.eq(entry.WEIGHT_BASE), bias.eq(entry.BIAS_BASE), turn.eq(0)]
        with m.If(mapping & issue.last):
            m.d.sync += first.eq(window_end)
            with m.If(window_end):
                m.d.sync += [begin.eq(0), block.eq(block + steps + 1)]
                with m.If(last_tile):
                    m.d.sync += [number.eq(0), weight.eq(entry.WEIGHT_BASE)]
                    m.d.sync += [bias.eq(entry.BIAS_BASE), turn.eq(0)]
                with m.Else():
                    m.d.sync += [number.eq(number + 1), weight.eq(weight + entry.ROW_BLOCKS)]
                    m.d.sync += [bias.eq(bias + tile_steps), turn.eq(turn + geometry.lanes // 16)]
        place = issue.place
        finishes = ends & layer_end & last_tile
        with m.If(mapping):
            m.d.comb += [
                # Each event once, in order; the next segment is opened with the last one, but at the end.
                Assert(~lists.read | ((lists.index == reads) & (reads < count))),
                Assert(segments.take == (ends & ~finishes)),
                Assert(issue.last == (ends & position_end)),
                Assert(place.key == (entry.KEY_BASE + offset)[: len(place.key)]),
                Assert(place.weight == (weight + offset)[: len(place.weight)]),
                Assert(place.turn == turn),
                Assert(place.half == now_sample[0]),
                # Whether there is another tile is said when the window's last segment was taken.
                Assert(~taken | ~window_end | (segments.again == ~last_tile)),
            ]
            with m.If(issue.last):
                m.d.comb += [
                    Assert(dut.tiles.valid & (tile.steps == steps) & (tile.bias == bias)),
                    Assert((tile.block == block) & (tile.begin == begin) & ~tile.final),
                    Assert((tile.pooled.first == first) & (tile.pooled.last == window_end)),
                    Assert(tile.pooled.top == (number == 0)),
                    Assert((tile.current.slot == now_slot) & (tile.current.sample == now_sample)),
                    Assert(tile.hidden_set == now_layer[0]),
                ]
        m.d.comb += [
            Cover(mapping & issue.last & window_end & (number == 1)),
            Cover(mapping & segments.take & ~position_end & (length == 3)),
        ]

        # Passes are alone, and a convolution is followed by the next layer of the same pass.
        same = (layer == now_layer) & (sample == now_sample) & (lists.slot == now_slot)
        ended = delayed(m, mapping & finishes, 1, "ended")
        next_layer = (layer == (now_layer + 1)[: len(layer)]) & (sample == now_sample)
        next_layer = next_layer & (lists.slot == now_slot) & inside["there"]
        m.d.comb += [
            Assert(~convolving | (same & entry.CONVOLUTION & inside["there"])),
            Assert(~ended | ((state == LOAD) & next_layer)),
            Assert(~delayed(m, ended, 1, "ended_before") | ((state == READY) & next_layer)),
            Cover(ended & (layer == 1)),
            Assert(~(mapping & finishes) | (layer != settings["LAYERS"])),
            Assert(~keys.release | ~(convolving | lists.read)),
            Assert(~convolving | (lists.hidden == (layer != 0))),
            Assert(~convolving | (lists.hidden_set == Cat(~now_layer[0], lists.hidden_set[1:] & 0))),
        ]
        if geometry.flight > 1:
            m.d.comb += [
                Assert((inside["member"] == 0) & (inside["last_member"] == 0)),
                Assert(~inside["there"] | (lists.slot == inside["slot_0"])),
            ]

        # The drain is done with the tile before; a list is looked up when it is whole.
        drain, filling = Signal(range(tile_steps + 1)), Signal(range(arrival + tile_steps + 1))
        hold, wait_turn, window = inside["hold"], inside["turn_0"], inside["window"]
        m.d.sync += [drain.eq(drain - (drain != 0)), filling.eq(filling - (filling != 0))]
        of_convolution = Signal()
        with m.If(issue.last & ~tile.final):
            arrives = arrival + tile.steps
            m.d.sync += [drain.eq(tile.steps), filling.eq(Mux(arrives > filling, arrives, filling))]
        with m.If(issue.last):
            m.d.sync += of_convolution.eq(mapping)
        leaves = (state == READY) & ((wait_turn == 0) | ((window != 0) & (inside["head_turn"] == 0)))
        leaves = leaves & keys.ready
        m.d.comb += [
            Assume(~dut.control.start | busy | (drain == 0)),  # a run's last decision comes later
            Assume(~(issue.last & tile.final) | (inside["tiles"] != 0) | (inside["left"] < geometry.lanes)),
            Assert(~issue.last | (drain == 0)),
            Assert(~seeking | (filling == 0)),
            Assert(~leaves | (layer == 0) | (filling == 0) | (~of_convolution & ~entry.CONVOLUTION)),
        ]

        # No deadlock: cycles in which nothing goes on, but for a start, keys and decisions that are not
        # there. In every one of them a counter runs down.
        slowest = max(geometry.lanes + VOTE_WRITTEN, arrival + tile_steps)
        counted, waited = Signal(range(slowest + 2)), Signal(range(slowest + 2))
        available = (inside["fresh"] != inside["past_slot"]) | (inside["queue.level"] != 0)
        asks = ((state == READY) & ~keys.ready) | (state == IDLE)
        asks = asks | ((state == PICK) & ~available & (inside["retired"] != settings["IMAGES"]))
        entered = state != delayed(m, state, 1, "state")
        m.d.comb += [
            waited.eq(Mux(entered, 0, counted)),
            Assert(waited <= slowest),
            Assert((state != LOAD) | (waited == 0)),
            Assert((state != HEAD) | (waited == 0)),
            Assert(~seeking | (waited < SEGMENT_SPACING)),
            Assert(~mapping | (waited < geometry.lanes + VOTE_WRITTEN)),
        ]
        m.d.sync += counted.eq(Mux(lists.read | asks, 0, waited + 1))

        # The same of the inside.
        inner, event_ends = inside.view("tile", tile_layout(geometry)), inside["ending"]
        reading = (state == STREAM) | (state == HEAD)
        ahead = (state == HEAD) | (state == REST)
        chooses = (state == STREAM) & opened & ~inside["reread"]
        now_entry, before = Signal(layout), Signal(layout)
        for index, row in enumerate(rows):
            with m.If(now_layer == index):
                m.d.comb += now_entry.eq(row)
            with m.If(layer == index + 1):
                m.d.comb += before.eq(row)
        held = data.View(layout, inside["table.kept_0"])
        turns = [inside[f"turn_{index}"] for index in range(geometry.flight)]
        following = Mux(window_end, Mux(last_tile, entry.WEIGHT_BASE, weight + entry.ROW_BLOCKS), weight)
        m.d.comb += [
            Assert(state <= MAP),
            Assert(busy == (state != IDLE)),
            Assert(~stays | (held.as_value() == entry.as_value())),
            Assert(inside["opened"] == opened),
            Assert(inside["drained"] == (hold == 0)),
            Assert(inside["arrived"] == Cat(turn == 0 for turn in turns)),
            Assert(hold < geometry.lanes + VOTE_WRITTEN),
            Assert(wait_turn <= arrival + tile_steps),
            Assert(drain <= hold),
            Assert(filling <= arrival + drain),
            Assert((state == STREAM) | mapping | (filling <= wait_turn)),
            Assert((state != STREAM) | ~inner.final | (filling == 0)),
            Assert(~convolving | (wait_turn == 0)),
            Assert((state != STREAM) | (wait_turn == 0)),
            Assert((window == 0) | (state == LOAD) | (state == READY) | ahead),
            Assert((window == 0) | ((layer != 0) & ~before.CONVOLUTION)),
            Assert((window == 0) | ~of_convolution),
            Assert(window <= wait_turn),
            Assert(layer <= settings["LAYERS"]),
            Assert(~(ahead | chooses) | (layer == now_layer)),
            Assert(~(ahead | (state == STREAM)) | ~now_entry.CONVOLUTION),
            Assert(
                (state != STREAM)
                | chooses
                | ((layer == now_layer + 1) & (now_layer != settings["LAYERS"]))
                | ((layer == 0) & (now_layer == settings["LAYERS"]))
            ),
            Assert(inside["there"] | (state != STREAM) | inner.final),
            Assert(~(ahead | (state == STREAM)) | (inner.final == (now_layer == settings["LAYERS"]))),
            Assert(~(ahead | convolving | (state == STREAM)) | (inside["last_steps"] < tile_steps)),
            Assert(inside["there"] | ((state != READY) & ~ahead & ~chooses)),
            Assert(~(ahead | convolving | (state == STREAM)) | (inner.hidden_set < 2)),
            # Of the segment.
            Assert(reading | mapping | (lists.index == 0)),
            Assert(~mapping | ((lists.index == reads) & (reads < count) & listed)),
            Assert(~mapping | ~opened | (reads == 0)),
            Assert(~mapping | opened | (event_ends == (reads + 1 == count))),
            Assert(~mapping | (taken == (since == 1))),
            Assert(~mapping | ~taken | opened),
            Assert(~mapping | (inside["current"] == flags)),
            Assert(~mapping | (~layer_end | window_end) & (~window_end | position_end)),
            # Of the tile.
            Assert(~convolving | (inside["tiles"] + number == entry.TILES)),
            Assert(~convolving | (number <= entry.TILES)),
            Assert(~convolving | (inside["row_blocks"] == entry.ROW_BLOCKS)),
            Assert(~convolving | (inside["last_steps"] == entry.LAST_STEPS)),
            Assert(~mapping | (inside["tile_weight"] == weight)),
            Assert(~mapping | (since < 2) | (inside["following_weight"] == following[: len(weight)])),
            Assert(~seeking | (inside["following_weight"] == entry.WEIGHT_BASE)),
            Assert(~seeking | ((weight == entry.WEIGHT_BASE) & (number == 0))),
            Assert(~convolving | ((inner.bias == bias) & (inner.block == block) & (inner.begin == begin))),
            Assert(~convolving | ((inner.pooled.first == first) & (inner.pooled.top == (number == 0)))),
            Assert(~convolving | (inner.current.slot == now_slot)),
            Assert(~convolving | (inner.current.sample == now_sample)),
            Assert(~convolving | ((inner.hidden_set == now_layer[0]) & ~inner.final)),
            Assert(~convolving | ((place.turn == turn) & (place.half == now_sample[0]))),
            # Of the waiting.
            Assert(((state != READY) & (state != REST)) | (waited + wait_turn <= arrival + tile_steps)),
            Assert(
                ((state != STREAM) & ~mapping) | (hold == 0) | (waited + hold < geometry.lanes + VOTE_WRITTEN)
            ),
            Assert(~convolving | (waited < since) | (since == SEGMENT_SPACING)),
        ]
        return m


PROOFS = [
    Proof(
        f"sequencer.maps P={lanes} Q={banks} F={flight}",
        "passes are alone; a convolution is looked up when the layer before is in its lists; it reads each "
        "segment's events once, in order, and opens the next segment, if it is ready, with the last one, "
        "which waits, at a position's end, until the drain is done; keys, weights, biases, blocks and the "
        "ends of windows are those of tile after tile, window after window; behind its last segment comes "
        "the next layer of the same pass; no state waits longer than the drain, the pipeline or the look-up "
        "takes, but for keys and votes",
        f"P = {lanes}, Q = {banks}, F = {flight}, any table of up to {LAYERS} layers and any program; "
        "assumes that convolutions come first and the last layer is dense (contract), tables, and tiles "
        "for the classes, as the driver writes them, ends of windows that end positions, no write in a run "
        "(registers), a segment that is ready in time (segments), lists that stay while they are open "
        "(event_lists.maps)",
        lambda lanes=lanes, banks=banks, flight=flight: Convolutions(lanes, banks, flight),
        depth=2,
        induction=True,
        cover=16 if lanes == 16 else 0,  # what is covered takes longer there
        slow=lanes > 16,
    )
    for lanes, banks, flight in ((16, 8, 2), (48, 4, 4))
]
