"""Sequencer: for sample, for image still in the batch, for layer, for tile: stream events."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, fifo, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.cycles import DRAIN_LATENCY, VOTE_GAP, pipeline_depth
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import LAYER_WORDS, OFFSET_BITS, LayerField
from synflip.spec.sizes import MAX_OUTPUTS

from synflip_hdl.interfaces import SLOT_BITS, address_layout, layer_layout, pass_layout, tile_layout
from synflip_hdl.lib.entry_writer import EntryWriter


class Sequencer(wiring.Component):
    """Issues the events of one pass after the other, and keeps what follows the issue from colliding.

    A tile's last event waits until the drain will be free when its sums arrive; a layer waits until the last
    events of the one before are in their lists, and until its keys are there. Meanwhile its first tile reads
    what all tiles but the last have left there, the head, and only the rest later. All waiting happens here:
    nothing downstream stalls.

    Images take turns in a queue: an image whose pass begins, or whose vote was counted if it may leave early,
        goes to its end for the next sample, unless it was the last. The order of images in a sample never
        changes.

    Members
    -------
    start: begin a run. busy: it runs. cycles: clock cycles that it took so far.
    layers: layers - 1. first_slot, images, samples: of the run. early: images may leave early.
    open, rest, hidden, hidden_set, slot, longest, short, read, index: the event lists.
    key_sample, key_end, key_ready, key_release: the key memory.
    place, last: to the array, with ``read``. tile_valid, tile: to the drain.
    decided, leaves, decision: from the votes.
    layer_write, offset, data: a word of the layer table from the host.
    """

    def __init__(self, geometry: Geometry, index_bits: int) -> None:
        self.geometry = geometry
        self.index_bits = index_bits
        super().__init__(
            {
                "start": In(1),
                "busy": Out(1),
                "cycles": Out(64),
                "layers": In(4),
                "first_slot": In(SLOT_BITS),
                "images": In(SLOT_BITS + 1),
                "samples": In(geometry.sample_bits),
                "early": In(1),
                "open": Out(1),
                "rest": Out(1),
                "hidden": Out(1),
                "hidden_set": Out(1),
                "slot": Out(SLOT_BITS),
                "longest": In(index_bits + 1),
                "short": In(1),
                "read": Out(1),
                "index": Out(index_bits),
                "key_sample": Out(2),
                "key_end": Out(24),
                "key_ready": In(1),
                "key_release": Out(1),
                "place": Out(address_layout(geometry)),
                "last": Out(1),
                "tile_valid": Out(1),
                "tile": Out(tile_layout(geometry)),
                "decided": In(1),
                "leaves": In(1),
                "decision": In(pass_layout(geometry)),
                "layer_write": In(1),
                "offset": In(OFFSET_BITS),
                "data": In(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        geometry = self.geometry
        lanes, banks = geometry.lanes, geometry.banks
        bank_bits = banks.bit_length() - 1
        tile_steps = lanes // banks

        # The layer table.
        m.submodules.writer = writer = EntryWriter(32 * LAYER_WORDS)
        m.submodules.table = table = Memory(shape=layer_layout(geometry), depth=geometry.layer_depth, init=[])
        table_write, table_read = table.write_port(), table.read_port()
        layer = Signal(range(max(geometry.layer_depth, 2)))
        words = data.View(data.ArrayLayout(32, LAYER_WORDS), writer.value)
        field = {item: table_read.data[item.name] for item in LayerField}
        m.d.comb += [
            writer.valid.eq(self.layer_write),
            writer.offset.eq(self.offset),
            writer.data.eq(self.data),
            table_write.addr.eq(writer.entry),
            *(table_write.data[item.name].eq(words[item]) for item in LayerField),
            table_write.en.eq(writer.commit),
            table_read.addr.eq(layer),
        ]

        # The queue of images: (slot, lowest bit of the sample that it waits for).
        waiting = data.StructLayout({"slot": SLOT_BITS, "parity": 1})
        m.submodules.queue = queue = fifo.SyncFIFO(width=waiting.size, depth=geometry.image_slots)
        head = Signal(waiting)
        back = Signal(waiting)
        m.d.comb += [head.eq(queue.r_data), queue.w_data.eq(back)]
        fresh = Signal(SLOT_BITS + 1)
        retired = Signal(SLOT_BITS + 1)
        past_slot = Signal(SLOT_BITS + 1, reset_less=True)  # the settings stay as they are for longer
        m.d.sync += past_slot.eq(self.first_slot + self.images)
        sample = Signal(geometry.sample_bits)

        place = Signal(address_layout(geometry))
        tile = Signal(tile_layout(geometry))
        tiles = Signal(range(MAX_OUTPUTS // 16))
        final = layer == self.layers
        m.d.comb += [
            self.hidden.eq(layer != 0),
            self.hidden_set.eq(~layer[0]),
            self.key_sample.eq(sample),
            self.key_end.eq(field[LayerField.KEY_END]),
            self.place.eq(place),
        ]

        opened = Signal()  # a list was opened in the cycle before
        ending = Signal()  # the event at ``index`` is its list's last, from the second cycle on
        last_event = Signal()
        m.d.comb += last_event.eq(Mux(opened, self.short, ending))
        m.d.sync += [opened.eq(self.open), ending.eq(last_event)]
        with m.If(self.read):
            m.d.sync += [self.index.eq(self.index + 1), ending.eq(self.index + 2 >= self.longest)]

        # Cycles until the drain takes a tile, until all the layer's outputs are in their lists, until those
        # of all tiles but the last are, and as long as the last one's are not.
        arrival = pipeline_depth(banks) + DRAIN_LATENCY
        hold = Signal(range(lanes + VOTE_GAP + 1))
        turn = Signal(range(arrival + tile_steps + 1))
        head_turn = Signal(range(arrival + tile_steps + 1))
        window = Signal(range(arrival + 1))
        for counter in (hold, turn, head_turn, window):
            with m.If(counter != 0):
                m.d.sync += counter.eq(counter - 1)
        drained = Signal(init=1)  # hold is 0
        m.d.sync += drained.eq(hold <= 1)
        from_rest = Signal()  # the tile reads the rest, after the head
        with m.If(self.busy):
            m.d.sync += self.cycles.eq(self.cycles + 1)
        with m.If(self.decided & self.leaves):
            m.d.sync += retired.eq(retired + 1)
        # Back to the queue: in the cycle after a pass begins, or, with early stopping, when it was decided.
        again = Signal()
        m.d.sync += again.eq(0)
        m.d.comb += queue.w_en.eq(again | (self.decided & self.early & ~self.leaves))
        with m.If(self.early):
            m.d.comb += [back.slot.eq(self.decision.slot), back.parity.eq(~self.decision.sample[0])]
        with m.Else():
            m.d.comb += [back.slot.eq(self.slot), back.parity.eq(~sample[0])]

        def begin(slot, pass_sample):
            m.d.sync += [self.slot.eq(slot), sample.eq(pass_sample), layer.eq(0), turn.eq(0)]

        with m.FSM():
            with m.State("idle"), m.If(self.start):
                m.d.sync += [
                    fresh.eq(self.first_slot),
                    retired.eq(0),
                    sample.eq(0),
                    hold.eq(0),
                    drained.eq(1),
                    self.cycles.eq(0),
                ]
                m.next = "pick"

            with m.State("pick"):
                m.d.comb += self.busy.eq(1)
                following = Signal(geometry.sample_bits)
                m.d.comb += following.eq(sample + (head.parity != sample[0]))
                with m.If(fresh != past_slot):
                    begin(fresh[:SLOT_BITS], sample)
                    m.d.sync += fresh.eq(fresh + 1)
                    m.next = "load"
                with m.Elif(queue.r_rdy):
                    begin(head.slot, following)
                    m.d.comb += [queue.r_en.eq(1), self.key_release.eq(head.parity != sample[0])]
                    m.next = "load"
                with m.Elif(retired == self.images):
                    m.next = "idle"

            with m.State("load"):
                m.d.comb += self.busy.eq(1)
                m.d.sync += again.eq((layer == 0) & ~self.early & (sample + 1 != self.samples))
                m.next = "ready"

            with m.State("ready"):
                m.d.comb += self.busy.eq(1)
                whole = turn == 0
                with m.If((whole | ((window != 0) & (head_turn == 0))) & self.key_ready):
                    m.d.comb += self.open.eq(1)
                    m.d.sync += [
                        self.index.eq(0),
                        tiles.eq(field[LayerField.TILES]),
                        place.half.eq(sample[0]),
                        place.key.eq(field[LayerField.KEY_BASE]),
                        place.weight.eq(field[LayerField.WEIGHT_BASE]),
                        place.turn.eq(0),
                        tile.bias.eq(field[LayerField.BIAS_BASE]),
                        tile.block.eq(0),
                        tile.shift.eq(field[LayerField.SHIFT]),
                        tile.hidden_set.eq(layer[0]),
                        tile.begin.eq(1),
                        tile.final.eq(final),
                        tile.current.slot.eq(self.slot),
                        tile.current.sample.eq(sample),
                    ]
                    with m.If(whole):
                        m.next = "stream"
                    with m.Else():
                        m.next = "head"

            with m.State("head"):
                m.d.comb += [self.busy.eq(1), self.read.eq(1)]
                with m.If(last_event):
                    m.d.sync += self.index.eq(0)
                    m.next = "rest"

            with m.State("rest"):
                m.d.comb += self.busy.eq(1)
                with m.If(turn == 0):
                    m.d.comb += [self.open.eq(1), self.rest.eq(1)]
                    m.d.sync += from_rest.eq(1)
                    m.next = "stream"

            with m.State("stream"):
                m.d.comb += self.busy.eq(1)
                last_tile = Signal()
                steps = Signal(range(max(tile_steps, 2)))
                m.d.comb += [
                    last_tile.eq(tiles == 0),
                    self.read.eq(~last_event | drained),
                    self.last.eq(last_event & drained),
                    self.tile_valid.eq(self.last),
                    steps.eq(Mux(last_tile, field[LayerField.LAST_STEPS], tile_steps - 1)),
                    self.tile.eq(tile),
                    self.tile.steps.eq(steps),
                ]
                with m.If(self.last):
                    m.d.comb += self.open.eq(from_rest & ~last_tile)  # the tiles to come read all
                    m.d.sync += [
                        from_rest.eq(0),
                        self.index.eq(0),
                        ending.eq(self.short),
                        tiles.eq(tiles - 1),
                        place.weight.eq(place.weight + field[LayerField.ROW_BLOCKS]),
                        place.turn.eq(place.turn + lanes // 16),
                        tile.bias.eq(tile.bias + tile_steps),
                        tile.block.eq(tile.block + tile_steps),
                        tile.begin.eq(0),
                        # A final tile leaves one logit a cycle: (steps + 1) * Q of them, and then VOTE_GAP.
                        hold.eq(Mux(final, (steps << bank_bits) + banks + VOTE_GAP - 1, steps)),
                        drained.eq(~final & (steps == 0)),
                    ]
                    with m.If(last_tile):
                        several = field[LayerField.TILES] != 0
                        m.d.sync += [
                            turn.eq(arrival + field[LayerField.LAST_STEPS][: len(steps)]),
                            window.eq(Mux(several & ~final, arrival, 0)),
                        ]
                        with m.If(final):
                            m.next = "pick"
                        with m.Else():
                            m.d.sync += layer.eq(layer + 1)
                            m.next = "load"
                    with m.Else():
                        m.d.sync += head_turn.eq(arrival + tile_steps - 1)
        return m
