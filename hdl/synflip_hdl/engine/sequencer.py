"""Sequencer: for sample, for image still in the batch, for layer, for tile: stream events."""

from types import SimpleNamespace

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.cycles import DRAIN_LATENCY, VOTE_WRITTEN, pipeline_depth
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import LAYER_WORDS, OPTION_EARLY, LayerField, Region
from synflip.spec.sizes import MAX_OUTPUTS, log2_ceil

from synflip_hdl.interfaces import (
    CLASS_BITS,
    SLOT_BITS,
    EventIssue,
    HostAccess,
    KeyDemand,
    ListReads,
    RunControl,
    RunStatus,
    address_layout,
    decision_layout,
    layer_layout,
    tile_layout,
)
from synflip_hdl.lib.entry_writer import EntryWriter


class Sequencer(wiring.Component):
    """Issues the events of one pass after the other, and keeps what follows the issue from colliding.

    All waiting of a run happens here, so that nothing behind the sequencer stalls:

    - a tile's last event waits until the requantizer will be free when the tile's sums arrive;
    - a layer waits until its keys are there, and until the last events of the layer before are in their
      lists. Meanwhile its first tile reads the head of the lists, which is all that the tiles before the last
      one left there; the rest, which the last tile adds, is opened later.

    Images take turns in a queue. An image goes to the queue's end for its next sample: when its pass begins,
    or, if it may leave early, when its vote was counted and it stays. The order of images in a sample never
    changes.

    Parameters
    ----------
    geometry: of the accelerator.
    index_bits: of an index into the event lists, see ``interfaces.index_bits``.

    Members
    -------
    control: In(RunControl), a run begins.
    status: Out(RunStatus), busy, and cycles so far.
    host: In(HostAccess), words of the layer table.
    lists: Out(ListReads), to the event lists.
    keys: Out(KeyDemand), to the key memory.
    issue: Out(EventIssue), to the array, with ``lists.read``.
    tiles: Out(stream of tile_layout, always ready), to the requantizer, with a tile's last event.
    decisions: In(stream of decision_layout, always ready), from the votes.
    """

    def __init__(self, geometry: Geometry, index_bits: int) -> None:
        self.geometry = geometry
        super().__init__(
            {
                "control": In(RunControl(geometry)),
                "status": Out(RunStatus()),
                "host": In(HostAccess()),
                "lists": Out(ListReads(index_bits)),
                "keys": Out(KeyDemand()),
                "issue": Out(EventIssue(geometry)),
                "tiles": Out(stream.Signature(tile_layout(geometry), always_ready=True)),
                "decisions": In(stream.Signature(decision_layout(geometry), always_ready=True)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self._early = (self.control.settings["OPTIONS"] & OPTION_EARLY) != 0
        self._samples = self.control.settings["SAMPLES"][: self.geometry.sample_bits]
        layer = Signal(range(max(self.geometry.layer_depth, 2)))
        sample = Signal(self.geometry.sample_bits)
        field = self._layer_table(m, layer)
        queue = self._image_queue(m, sample)
        event = self._last_event(m)
        wait = self._spacing(m)
        m.d.comb += [
            self.lists.hidden.eq(layer != 0),
            self.lists.hidden_set.eq(~layer[0]),
            self.keys.run.eq(self.status.busy),
            self.keys.sample.eq(sample),
            self.keys.end.eq(field[LayerField.KEY_END]),
        ]
        with m.If(self.status.busy):
            m.d.sync += self.status.cycles.eq(self.status.cycles + 1)
        self._states(m, layer, sample, field, queue, event, wait)
        return m

    def _layer_table(self, m, layer):
        """The layer table, written by the host. Returns the fields of the entry ``layer``, a cycle later."""
        m.submodules.writer = writer = EntryWriter(32 * LAYER_WORDS)
        m.submodules.table = table = Memory(
            shape=layer_layout(self.geometry), depth=self.geometry.layer_depth, init=[]
        )
        write, read = table.write_port(), table.read_port()
        words = data.View(data.ArrayLayout(32, LAYER_WORDS), writer.value)
        m.d.comb += [
            writer.valid.eq(self.host.write[Region.LAYERS]),
            writer.offset.eq(self.host.offset),
            writer.data.eq(self.host.data),
            write.addr.eq(writer.entry),
            *(write.data[item.name].eq(words[item]) for item in LayerField),
            write.en.eq(writer.commit),
            read.addr.eq(layer),
        ]
        return {item: read.data[item.name] for item in LayerField}

    def _image_queue(self, m, sample):
        """Images that wait for their next pass. Returns the queue's state.

        An entry is (slot, lowest bit of the sample that the image waits for). ``fresh`` is the slot of the
        next image that had no pass yet, ``past_slot`` one past the run's last; ``retired`` counts the images
        that had their last pass. ``again``: the image whose pass began in the cycle before goes to the end.
        """
        settings, decision = self.control.settings, self.decisions.payload
        waiting = data.StructLayout({"slot": SLOT_BITS, "parity": 1})
        m.submodules.queue = queue = fifo.SyncFIFO(width=waiting.size, depth=self.geometry.image_slots)
        head = Signal(waiting)
        back = Signal(waiting)
        fresh = Signal(SLOT_BITS + 1)
        retired = Signal(SLOT_BITS + 1)
        past_slot = Signal(SLOT_BITS + 1, reset_less=True)  # the settings stay as they are for longer
        again = Signal()
        m.d.comb += [head.eq(queue.r_data), queue.w_data.eq(back)]
        m.d.sync += [past_slot.eq(settings["FIRST_SLOT"] + settings["IMAGES"]), again.eq(0)]
        with m.If(self.decisions.valid & decision.leaves):
            m.d.sync += retired.eq(retired + 1)
        m.d.comb += queue.w_en.eq(again | (self.decisions.valid & self._early & ~decision.leaves))
        with m.If(self._early):
            m.d.comb += [back.slot.eq(decision.current.slot), back.parity.eq(~decision.current.sample[0])]
        with m.Else():
            m.d.comb += [back.slot.eq(self.lists.slot), back.parity.eq(~sample[0])]
        return SimpleNamespace(
            head=head,
            there=queue.r_rdy,
            take=queue.r_en,
            fresh=fresh,
            past_slot=past_slot,
            retired=retired,
            again=again,
        )

    def _last_event(self, m):
        """Whether the event at ``index`` is the last of the open lists, known from registers.

        Lists of at most one event end with their first, in the cycle after they were opened (``short``).
        Later it was computed in the cycle before: of 5 events, index 3 is read, and 3 + 2 >= 5, so index 4 is
        the last.
        """
        lists = self.lists
        opened = Signal()  # a list was opened in the cycle before
        ending = Signal()  # the event at ``index`` is its list's last, from the second cycle on
        last_event = Signal()
        m.d.comb += last_event.eq(Mux(opened, lists.short, ending))
        m.d.sync += [opened.eq(lists.open), ending.eq(last_event)]
        with m.If(lists.read):
            m.d.sync += [lists.index.eq(lists.index + 1), ending.eq(lists.index + 2 >= lists.longest)]
        return SimpleNamespace(last=last_event, ending=ending)

    def _spacing(self, m):
        """Counters that keep tiles and layers apart, in cycles; each counts down to 0 and stays there.

        hold: until the requantizer takes a tile. drained: hold is 0.
        turn: until all outputs of the layer are in their lists.
        head_turn: until those of all its tiles but the last are.
        window: as long as it is not 0, the last tile's outputs are not in their lists yet.
        """
        lanes, arrival = self.geometry.lanes, self._arrival
        hold = Signal(range(lanes + VOTE_WRITTEN))
        turn = Signal(range(arrival + self._tile_steps + 1))
        head_turn = Signal(range(arrival + self._tile_steps + 1))
        window = Signal(range(arrival + 1))
        for counter in (hold, turn, head_turn, window):
            with m.If(counter != 0):
                m.d.sync += counter.eq(counter - 1)
        drained = Signal(init=1)
        m.d.sync += drained.eq(hold <= 1)
        return SimpleNamespace(hold=hold, drained=drained, turn=turn, head_turn=head_turn, window=window)

    @property
    def _tile_steps(self) -> int:
        """Steps in which a whole tile of a hidden layer is drained, Q outputs each."""
        return self.geometry.lanes // self.geometry.banks

    @property
    def _arrival(self) -> int:
        """Cycles from a tile's last event to its first outputs in their lists."""
        return pipeline_depth(self.geometry.banks) + DRAIN_LATENCY

    def _states(self, m, layer, sample, field, queue, event, wait):
        """The states of a run. A pass goes through load, ready, stream once a layer; head and rest come in
        between where the layer before is still being drained."""
        settings, lists = self.control.settings, self.lists
        place = Signal(address_layout(self.geometry))
        tile = Signal(tile_layout(self.geometry))
        tiles = Signal(range(MAX_OUTPUTS // 16))  # of the layer, after the one that is issued
        final = layer == settings["LAYERS"]
        opening = Signal(reset_less=True)  # it is the run's first sample
        left = Signal(CLASS_BITS, reset_less=True)  # classes from the final tile on that is issued, less 1
        from_rest = Signal()  # the tile reads the rest of the lists, after the head
        m.d.comb += self.issue.place.eq(place)

        def begin(slot, pass_sample):
            m.d.sync += [lists.slot.eq(slot), sample.eq(pass_sample), layer.eq(0), wait.turn.eq(0)]

        with m.FSM():
            # No run. Waits for a start.
            with m.State("idle"), m.If(self.control.start):
                m.d.sync += [
                    queue.fresh.eq(settings["FIRST_SLOT"]),
                    queue.retired.eq(0),
                    sample.eq(0),
                    wait.hold.eq(0),
                    wait.drained.eq(1),
                    self.status.cycles.eq(0),
                ]
                m.next = "pick"

            # Chooses the next pass: an image that had none yet, else the queue's first. Waits for a decision
            # where neither is there, and ends the run when all images have retired.
            with m.State("pick"):
                m.d.comb += self.status.busy.eq(1)
                following = Signal(self.geometry.sample_bits)
                m.d.comb += following.eq(sample + (queue.head.parity != sample[0]))
                with m.If(queue.fresh != queue.past_slot):
                    begin(queue.fresh[:SLOT_BITS], sample)
                    m.d.sync += queue.fresh.eq(queue.fresh + 1)
                    m.next = "load"
                with m.Elif(queue.there):
                    begin(queue.head.slot, following)
                    m.d.comb += [queue.take.eq(1), self.keys.release.eq(queue.head.parity != sample[0])]
                    m.next = "load"
                with m.Elif(queue.retired == settings["IMAGES"]):
                    m.next = "idle"

            # Waits a cycle for the layer's entry of the table, and for the tally of the image's lists.
            with m.State("load"):
                m.d.comb += self.status.busy.eq(1)
                m.d.sync += queue.again.eq((layer == 0) & ~self._early & (sample + 1 != self._samples))
                m.next = "ready"

            # Waits for the layer's keys, and for its lists: all of them, or at least their head. In every
            # cycle of waiting the lists are opened, and what the pass needs is set: none of it depends on the
            # answer of the keys, which comes late in its cycle. The last cycle's values are used.
            with m.State("ready"):
                m.d.comb += [self.status.busy.eq(1), lists.open.eq(1)]
                m.d.sync += [
                    tiles.eq(field[LayerField.TILES]),
                    place.half.eq(sample[0]),
                    place.key.eq(field[LayerField.KEY_BASE]),
                    place.weight.eq(field[LayerField.WEIGHT_BASE]),
                    place.turn.eq(0),
                    opening.eq(sample == 0),
                    left.eq(settings["CLASSES"]),
                    tile.bias.eq(field[LayerField.BIAS_BASE]),
                    tile.block.eq(0),
                    tile.shift.eq(field[LayerField.SHIFT]),
                    tile.hidden_set.eq(layer[0]),
                    tile.begin.eq(1),
                    tile.final.eq(final),
                    tile.current.slot.eq(lists.slot),
                    tile.current.sample.eq(sample),
                ]
                whole = wait.turn == 0
                head_is_there = (wait.window != 0) & (wait.head_turn == 0)
                with m.If((whole | head_is_there) & self.keys.ready):
                    with m.If(whole):
                        m.next = "stream"
                    with m.Else():
                        m.next = "head"

            # Issues the head's events for the layer's first tile, one a cycle, until the last one.
            with m.State("head"):
                m.d.comb += [self.status.busy.eq(1), lists.read.eq(1)]
                with m.If(event.last):
                    m.d.sync += lists.index.eq(0)
                    m.next = "rest"

            # Waits until the last tile of the layer before is in the lists, and opens what it added.
            with m.State("rest"):
                m.d.comb += [self.status.busy.eq(1), lists.open.eq(1), lists.rest.eq(1)]
                m.d.sync += from_rest.eq(1)
                with m.If(wait.turn == 0):
                    m.next = "stream"

            # Issues a tile's events, one a cycle. The last one waits until the requantizer will be free; then
            # the layer's next tile begins, or its next layer, or the next pass.
            with m.State("stream"):
                m.d.comb += self.status.busy.eq(1)
                logits = SimpleNamespace(left=left, opening=opening)
                self._stream(m, layer, field, event, wait, place, tile, tiles, final, logits, from_rest)

    def _stream(self, m, layer, field, event, wait, place, tile, tiles, final, logits, from_rest):
        """A tile's events, and what follows its last one."""
        lists, issue = self.lists, self.issue
        lanes, tile_steps, arrival = self.geometry.lanes, self._tile_steps, self._arrival
        last_tile = Signal()
        steps = Signal(range(max(tile_steps, 2)))
        vote_hold = Signal(range(lanes + VOTE_WRITTEN))
        gap = Mux(logits.opening, VOTE_WRITTEN, 0)
        m.d.comb += [
            last_tile.eq(tiles == 0),
            lists.read.eq(~event.last | wait.drained),
            issue.last.eq(event.last & wait.drained),
            self.tiles.valid.eq(issue.last),
            steps.eq(Mux(last_tile, field[LayerField.LAST_STEPS], tile_steps - 1)),
            # A final tile leaves one logit a cycle, the pass's last tile one for each class that is left.
            vote_hold.eq(Mux(last_tile, logits.left[: log2_ceil(lanes)] + gap, lanes - 1)),
            self.tiles.payload.eq(tile),
            self.tiles.payload.steps.eq(steps),
        ]
        with m.If(issue.last):
            m.d.comb += lists.open.eq(from_rest & ~last_tile)  # the tiles to come read head and rest
            m.d.sync += [
                from_rest.eq(0),
                lists.index.eq(0),
                event.ending.eq(lists.short),
                tiles.eq(tiles - 1),
                place.weight.eq(place.weight + field[LayerField.ROW_BLOCKS]),
                place.turn.eq(place.turn + lanes // 16),
                tile.bias.eq(tile.bias + tile_steps),
                tile.block.eq(tile.block + tile_steps),
                tile.begin.eq(0),
                logits.left.eq(logits.left - lanes),
                wait.hold.eq(Mux(final, vote_hold, steps)),
                wait.drained.eq(Mux(final, vote_hold, steps) == 0),
            ]
            with m.If(last_tile):
                several = field[LayerField.TILES] != 0
                m.d.sync += [
                    wait.turn.eq(arrival + field[LayerField.LAST_STEPS][: len(steps)]),
                    wait.window.eq(Mux(several & ~final, arrival, 0)),
                ]
                with m.If(final):
                    m.next = "pick"
                with m.Else():
                    m.d.sync += layer.eq(layer + 1)
                    m.next = "load"
            with m.Else():
                m.d.sync += wait.head_turn.eq(arrival + tile_steps - 1)
