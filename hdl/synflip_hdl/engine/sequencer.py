"""Sequencer: for sample, for image still in the batch, for layer, for tile: stream events."""

from types import SimpleNamespace

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.cycles import PASS_SPACING, VOTE_WRITTEN, append_latency, pipeline_depth
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import (
    CONVOLUTION_BIT,
    FIRST_SEGMENT_BIT,
    LAYER_WORDS,
    OPTION_EARLY,
    LayerField,
    Region,
    segments_offset,
)
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
    SegmentDemand,
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
      lists. Meanwhile the same layer of other images is issued: up to ``flight`` passes of one sample are in
      flight, layer by layer. A pass that is alone reads the head of the lists meanwhile, which is all that
      the tiles before the last one left there; the rest, which the last tile adds, is opened later.

    While a layer is issued, the next one is chosen and its entry of the table is read.

    Images take turns in a queue. An image goes to the queue's end for its next sample: when its pass begins,
    or, if it may leave early, when its vote was counted and it stays; then passes are alone. The order of
    images in a sample never changes.

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
    segments: Out(SegmentDemand), where there are maps, to the segments.
    """

    def __init__(self, geometry: Geometry, index_bits: int) -> None:
        self.geometry = geometry
        super().__init__(
            {
                "control": In(RunControl(geometry)),
                "status": Out(RunStatus()),
                "host": In(HostAccess()),
                "lists": Out(ListReads(geometry, index_bits)),
                "keys": Out(KeyDemand()),
                "issue": Out(EventIssue(geometry)),
                "tiles": Out(stream.Signature(tile_layout(geometry), always_ready=True)),
                "decisions": In(stream.Signature(decision_layout(geometry), always_ready=True)),
                **({"segments": Out(SegmentDemand(geometry))} if geometry.map_depth else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self._early = (self.control.settings["OPTIONS"] & OPTION_EARLY) != 0
        self._alone = self._early
        if self.geometry.map_depth:
            self._alone = self._early | self.control.settings["MAPS"]
            self._mapping = Signal(name="mapping")  # a convolution is issued
        self._samples = self.control.settings["SAMPLES"][: self.geometry.sample_bits]
        next_ = self._next(m)
        field = self._layer_table(m, next_.layer)
        queue = self._image_queue(m, next_)
        event = self._last_event(m)
        wait = self._spacing(m, next_)
        m.d.comb += [
            self.lists.hidden.eq(next_.layer != 0),
            self.lists.hidden_set.eq(Cat(~next_.layer[0], next_.member)),
            self.keys.run.eq(self.status.busy),
            self.keys.sample.eq(next_.sample),
            self.keys.end.eq(field[LayerField.KEY_END]),
        ]
        with m.If(self.status.busy):
            m.d.sync += self.status.cycles.eq(self.status.cycles + 1)
        self._states(m, next_, field, queue, event, wait)
        return m

    def _next(self, m):
        """The layer that is issued next, from the first cycle of the one before on, if ``there``.

        Its image is in ``lists.slot``. member: which of the passes in flight it is of; last_member: the last
        one, so far; slots: of their images. begun: the pass was chosen in the cycle before. releases: it is
        the first of its sample.
        """
        flight = self.geometry.flight
        bits = log2_ceil(flight)
        slots = [Signal(SLOT_BITS, name=f"slot_{number}", reset_less=True) for number in range(flight)]
        return SimpleNamespace(
            layer=Signal(range(max(self.geometry.layer_depth, 2)), name="layer"),
            sample=Signal(self.geometry.sample_bits, name="sample"),
            there=Signal(name="there"),
            member=Signal(bits, name="member"),
            last_member=Signal(bits, name="last_member"),
            slots=Array(slots if flight > 1 else [self.lists.slot]),
            begun=Signal(name="begun"),
            releases=Signal(name="releases"),
        )

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
        if self.geometry.map_depth:
            shift = words[LayerField.SHIFT]
            segments = log2_ceil(segments_offset(self.geometry))  # the table is in front of them
            table_word = self.host.write[Region.LAYERS] & ~self.host.offset[segments:].any()
            m.d.comb += [
                writer.valid.eq(table_word),
                write.data.CONVOLUTION.eq(shift[CONVOLUTION_BIT]),
                write.data.FIRST_SEGMENT.eq(shift[FIRST_SEGMENT_BIT:]),
            ]
            self._convolution = read.data.CONVOLUTION
            m.d.comb += self.segments.entry.eq(read.data.FIRST_SEGMENT)
        return {item: read.data[item.name] for item in LayerField}

    def _image_queue(self, m, next_):
        """Images that wait for their next pass. Returns the queue's state.

        An entry is (slot, lowest bit of the sample that the image waits for). ``fresh`` is the slot of the
        next image that had no pass yet, ``past_slot`` one past the run's last; ``retired`` counts the images
        that had their last pass. ``again``: the image whose pass began two cycles before goes to the end.
        ``available``: there is an image, in ``slot``, for its pass of the next one's sample or, if it
        ``turns``, of the sample after it.
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
            m.d.comb += [back.slot.eq(self.lists.slot), back.parity.eq(~next_.sample[0])]
            m.d.sync += again.eq(next_.begun & (next_.sample + 1 != self._samples))
        is_fresh, turns = Signal(), Signal()
        first_slot = Signal(SLOT_BITS)
        m.d.comb += [
            is_fresh.eq(fresh != past_slot),
            first_slot.eq(Mux(is_fresh, fresh, head.slot)),
            turns.eq(~is_fresh & (head.parity != next_.sample[0])),
        ]
        return SimpleNamespace(
            available=is_fresh | queue.r_rdy,
            slot=first_slot,
            turns=turns,
            is_fresh=is_fresh,
            take=queue.r_en,
            fresh=fresh,
            retired=retired,
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
        reread = Signal()  # by a tile of the same layer, which had opened the rest only
        m.d.sync += [opened.eq(lists.open), ending.eq(last_event), reread.eq(lists.read)]
        ends = lists.index + 2 >= lists.longest
        if self.geometry.map_depth:
            ends = Mux(self._mapping, lists.ended, ends)
        with m.If(lists.read):
            m.d.sync += [lists.index.eq(lists.index + 1), ending.eq(ends)]
        return SimpleNamespace(last=last_event, ending=ending, opened=opened, reread=reread)

    def _spacing(self, m, next_):
        """Counters that keep tiles and layers apart, in cycles; each counts down to 0 and stays there.

        hold: until the requantizer takes a tile. drained: hold is 0.
        turns: of each pass in flight, until all outputs of its layer are in their lists; arrived: it is 0.
        turned: that of the next one is.
        head_turn: until those of all its tiles but the last are, of a pass that is alone.
        window: as long as it is not 0, the last tile's outputs are not in their lists yet.
        """
        lanes, arrival = self.geometry.lanes, self._arrival
        most = range(arrival + self._tile_steps + 1)
        hold = Signal(range(lanes + VOTE_WRITTEN))
        turns = [Signal(most, name=f"turn_{n}") for n in range(self.geometry.flight)]
        head_turn = Signal(most)
        window = Signal(range(arrival + 1))
        for counter in (hold, *turns, head_turn, window):
            with m.If(counter != 0):
                m.d.sync += counter.eq(counter - 1)
        drained = Signal(init=1)
        arrived = Signal(len(turns), init=-1)
        turned = Signal()
        m.d.sync += [drained.eq(hold <= 1), arrived.eq(Cat(turn <= 1 for turn in turns))]
        m.d.comb += turned.eq(arrived.bit_select(next_.member, 1))
        return SimpleNamespace(
            hold=hold,
            drained=drained,
            turns=turns,
            arrived=arrived,
            turned=turned,
            head_turn=head_turn,
            window=window,
        )

    @property
    def _tile_steps(self) -> int:
        """Steps in which a whole tile of a hidden layer is drained, Q outputs each."""
        return self.geometry.lanes // self.geometry.banks

    @property
    def _arrival(self) -> int:
        """Cycles from a tile's last event to its first outputs in their lists."""
        return pipeline_depth(self.geometry.banks) + append_latency(self.geometry)

    def _states(self, m, next_, field, queue, event, wait):
        """The states of a run. Layers are issued one after the other: ready, stream; head and rest come in
        between where the layer before is still being drained."""
        settings, lists = self.control.settings, self.lists
        final = next_.layer == settings["LAYERS"]
        now = SimpleNamespace(  # the layer that is issued
            place=Signal(address_layout(self.geometry), name="place"),
            tile=Signal(tile_layout(self.geometry), name="tile"),
            tiles=Signal(range(MAX_OUTPUTS // 16), name="tiles"),  # after the one that is issued
            several=Signal(name="several", reset_less=True),  # tiles in all
            row_blocks=Signal.like(field[LayerField.ROW_BLOCKS], name="row_blocks", reset_less=True),
            last_steps=Signal.like(field[LayerField.LAST_STEPS], name="last_steps", reset_less=True),
            opening=Signal(name="opening", reset_less=True),  # it is the run's first sample
            # Classes from the final tile on that is issued, less 1.
            left=Signal(CLASS_BITS, name="left", reset_less=True),
            from_rest=Signal(name="from_rest"),  # the tile reads the rest of the lists, after the head
        )
        if self.geometry.map_depth:
            # First weight entry of the tile, and of the next segment's tile.
            now.tile_weight = Signal.like(now.place.weight, name="tile_weight", reset_less=True)
            now.following = Signal.like(now.place.weight, name="following_weight", reset_less=True)
        place, tile = now.place, now.tile
        m.d.comb += self.issue.place.eq(place)
        m.d.sync += next_.begun.eq(0)

        with m.FSM():
            # No run. Waits for a start.
            with m.State("idle"), m.If(self.control.start):
                m.d.sync += [
                    queue.fresh.eq(settings["FIRST_SLOT"]),
                    queue.retired.eq(0),
                    next_.sample.eq(0),
                    wait.hold.eq(0),
                    wait.drained.eq(1),
                    self.status.cycles.eq(0),
                ]
                m.next = "pick"

            # Chooses the next pass: an image that had none yet, else the queue's first. Waits for a decision
            # where neither is there, and ends the run when all images have retired.
            with m.State("pick"):
                m.d.comb += self.status.busy.eq(1)
                with m.If(queue.available):
                    self._begin(m, next_, queue)
                    m.d.comb += self.keys.release.eq(queue.turns)  # nothing is issued: at once
                    m.d.sync += next_.releases.eq(0)
                    m.next = "load"
                with m.Elif(queue.retired == settings["IMAGES"]):
                    m.next = "idle"

            # Waits a cycle for the layer's entry of the table, and for the tally of the image's lists.
            with m.State("load"):
                m.d.comb += self.status.busy.eq(1)
                with m.If(next_.there):
                    m.next = "ready"
                with m.Else():
                    m.next = "pick"

            # Waits for the layer's keys, and for its lists: all of them, or at least their head. In every
            # cycle of waiting the lists are opened, and what the pass needs is set: none of it depends on the
            # answer of the keys, which comes late in its cycle. The last cycle's values are used.
            with m.State("ready"):
                m.d.comb += [self.status.busy.eq(1), lists.open.eq(1), self.keys.release.eq(next_.releases)]
                m.d.sync += [
                    next_.releases.eq(0),
                    now.tiles.eq(field[LayerField.TILES]),
                    now.several.eq(field[LayerField.TILES] != 0),
                    now.row_blocks.eq(field[LayerField.ROW_BLOCKS]),
                    now.last_steps.eq(field[LayerField.LAST_STEPS]),
                    now.opening.eq(next_.sample == 0),
                    now.left.eq(settings["CLASSES"]),
                    place.half.eq(next_.sample[0]),
                    place.key.eq(field[LayerField.KEY_BASE]),
                    place.weight.eq(field[LayerField.WEIGHT_BASE]),
                    place.turn.eq(0),
                    tile.bias.eq(field[LayerField.BIAS_BASE]),
                    tile.block.eq(0),
                    tile.shift.eq(field[LayerField.SHIFT]),
                    tile.hidden_set.eq(Cat(next_.layer[0], next_.member)),
                    tile.begin.eq(1),
                    tile.final.eq(final),
                    tile.current.slot.eq(lists.slot),
                    tile.current.sample.eq(next_.sample),
                ]
                head_is_there = (wait.window != 0) & (wait.head_turn == 0)
                if self.geometry.map_depth:
                    self._restart(m, now, field)
                with m.If((wait.turned | head_is_there) & self.keys.ready):
                    with m.If(wait.turned):
                        m.next = "stream"
                    with m.Else():
                        m.next = "head"
                    if self.geometry.map_depth:
                        with m.If(self._convolution):  # never by its head
                            m.next = "seek"

            # Issues the head's events for the layer's first tile, one a cycle, until the last one.
            with m.State("head"):
                m.d.comb += [self.status.busy.eq(1), lists.read.eq(1)]
                with m.If(event.last):
                    m.d.sync += lists.index.eq(0)
                    m.next = "rest"

            # Waits until the last tile of the layer before is in the lists, and opens what it added.
            with m.State("rest"):
                m.d.comb += [self.status.busy.eq(1), lists.open.eq(1), lists.rest.eq(1)]
                m.d.sync += now.from_rest.eq(1)
                with m.If(wait.turned):
                    m.next = "stream"

            # Issues a tile's events, one a cycle. The last one waits until the requantizer will be free; then
            # the layer's next tile begins, or the next layer. It is chosen in the first cycle.
            with m.State("stream"):
                m.d.comb += [
                    self.status.busy.eq(1),
                    lists.hidden.eq(1),
                    lists.hidden_set.eq(Cat(~tile.hidden_set[0], tile.hidden_set[1:])),
                ]
                chooses = event.opened & ~event.reread
                with m.If(chooses):
                    self._choose(m, next_, queue, final)
                self._stream(m, now, event, wait, next_)
                with m.If(self.issue.last & (now.tiles == 0)):
                    with m.If(chooses):
                        m.next = "load"
                    with m.Elif(next_.there):
                        m.next = "ready"
                    with m.Else():
                        m.next = "pick"
            if self.geometry.map_depth:
                self._map_states(m, next_, field, queue, event, wait, now)

    def _restart(self, m, now, field):
        """The layer that waits may be a convolution: its first segment is looked up in every cycle, of which
        the last one counts."""
        m.d.comb += self.segments.restart.eq(1)
        m.d.sync += [
            now.following.eq(field[LayerField.WEIGHT_BASE]),
            now.tile.pooled.eq(Mux(self._convolution, 0b101, 0b011)),
        ]

    def _map_states(self, m, next_, field, queue, event, wait, now):
        """The states of a convolution. Its entry of the table stays, as what follows is chosen at its end."""
        lists, segments = self.lists, self.segments
        current = Signal(data.StructLayout({"position_end": 1, "window_end": 1, "layer_end": 1}))
        m.d.comb += [
            lists.rows.eq(field[LayerField.ROW_BLOCKS]),
            segments.again.eq(now.tiles != 0),
            segments.index.eq(lists.index),
        ]

        def take():
            coming = segments.segment
            m.d.comb += [segments.take.eq(1), lists.open.eq(1), lists.segment.eq(1)]
            m.d.sync += [
                now.place.key.eq(field[LayerField.KEY_BASE] + coming.offset),
                now.place.weight.eq(now.following + coming.offset),
                now.tile_weight.eq(now.following),
                current.position_end.eq(coming.position_end),
                current.window_end.eq(coming.window_end),
                current.layer_end.eq(coming.layer_end),
            ]

        # Waits for the first segment.
        with m.State("seek"):
            m.d.comb += self.status.busy.eq(1)
            with m.If(segments.ready):
                take()
                m.next = "map"

        # Issues a segment's events, one a cycle. The last one waits until the next segment was looked up,
        # and, of a position, until the requantizer will be free.
        with m.State("map"):
            last_tile, ends = now.tiles == 0, Signal()
            steps = Mux(last_tile, now.last_steps, self._tile_steps - 1)
            layer_ends = current.layer_end & last_tile
            m.d.comb += [
                self._mapping.eq(1),
                self.status.busy.eq(1),
                ends.eq(event.last & (~current.position_end | wait.drained) & (layer_ends | segments.ready)),
                lists.read.eq(~event.last | ends),
                segments.step.eq(~event.last),
                self.issue.last.eq(ends & current.position_end),
                self.tiles.valid.eq(self.issue.last),
                self.tiles.payload.eq(now.tile),
                self.tiles.payload.steps.eq(steps),
                self.tiles.payload.pooled.last.eq(current.window_end),
            ]
            # Of the next segment: known long before it is opened.
            m.d.sync += now.following.eq(now.tile_weight)
            with m.If(current.window_end):
                m.d.sync += now.following.eq(
                    Mux(last_tile, field[LayerField.WEIGHT_BASE], now.tile_weight + now.row_blocks)
                )
            with m.If(ends):
                m.d.sync += lists.index.eq(0)
                with m.If(layer_ends):
                    self._choose(m, next_, queue, 0)
                    m.d.sync += [
                        wait.window.eq(0),
                        wait.turns[0].eq(self._arrival + now.last_steps),
                        wait.arrived[0].eq(0),
                    ]
                    m.next = "load"
                with m.Else():
                    take()
            with m.If(self.issue.last):
                self._next_position(m, now, field, current, last_tile, steps, wait)

    def _next_position(self, m, now, field, current, last_tile, steps, wait):
        """What follows a position's last event: another one of its window, the window's next tile, or the
        next window's first."""
        tile, place = now.tile, now.place
        m.d.sync += [
            tile.pooled.first.eq(current.window_end),
            wait.hold.eq(steps),
            wait.drained.eq(steps == 0),
        ]
        with m.If(current.window_end):
            m.d.sync += [
                tile.begin.eq(0),
                tile.block.eq(tile.block + steps + 1),
                tile.pooled.top.eq(last_tile),
                tile.bias.eq(Mux(last_tile, field[LayerField.BIAS_BASE], tile.bias + self._tile_steps)),
                place.turn.eq(Mux(last_tile, 0, place.turn + self.geometry.lanes // 16)),
                now.tiles.eq(Mux(last_tile, field[LayerField.TILES], now.tiles - 1)),
            ]

    def _begin(self, m, next_, queue):
        """The next one is the first layer of the image that the queue gives, if there is one."""
        m.d.comb += queue.take.eq(queue.available & ~queue.is_fresh)
        m.d.sync += [
            next_.there.eq(queue.available),
            next_.begun.eq(queue.available),
            next_.releases.eq(queue.available & queue.turns),
            queue.fresh.eq(queue.fresh + queue.is_fresh),
            next_.layer.eq(0),
            next_.member.eq(0),
            next_.last_member.eq(0),
            next_.slots[0].eq(queue.slot),
            self.lists.slot.eq(queue.slot),
        ]
        with m.If(queue.available & queue.turns):  # no carry behind them: they come late in their cycle
            m.d.sync += next_.sample.eq(next_.sample + 1)

    def _choose(self, m, next_, queue, final):
        """What follows the layer whose first event is issued now: the first layer of one more image, the
        same layer of the next pass in flight, the first pass's next layer, or the next passes."""
        slots, following = next_.slots, (next_.member + 1)[: len(next_.member)]
        room = (next_.layer == 0) & ~self._alone & (next_.member != self.geometry.flight - 1)
        with m.If(room & queue.available & ~queue.turns):
            m.d.comb += queue.take.eq(~queue.is_fresh)
            m.d.sync += [
                next_.begun.eq(1),
                queue.fresh.eq(queue.fresh + queue.is_fresh),
                next_.member.eq(following),
                next_.last_member.eq(following),
                slots[following].eq(queue.slot),
                self.lists.slot.eq(queue.slot),
            ]
        with m.Elif(next_.member != next_.last_member):
            m.d.sync += [next_.member.eq(following), self.lists.slot.eq(slots[following])]
        with m.Elif(final):
            self._begin(m, next_, queue)
        with m.Else():
            m.d.sync += [
                next_.layer.eq(next_.layer + 1),
                next_.member.eq(0),
                self.lists.slot.eq(slots[0]),
            ]

    def _stream(self, m, now, event, wait, next_):
        """A tile's events, and what follows its last one."""
        lists, issue, tile, place = self.lists, self.issue, now.tile, now.place
        lanes, tile_steps, arrival = self.geometry.lanes, self._tile_steps, self._arrival
        last_tile = Signal()
        steps = Signal(range(max(tile_steps, 2)))
        vote_hold = Signal(range(lanes + VOTE_WRITTEN))
        left = now.left[: log2_ceil(lanes)]
        m.d.comb += [
            last_tile.eq(now.tiles == 0),
            lists.read.eq(~event.last | wait.drained),
            issue.last.eq(event.last & wait.drained),
            self.tiles.valid.eq(issue.last),
            steps.eq(Mux(last_tile, now.last_steps, tile_steps - 1)),
            self.tiles.payload.eq(tile),
            self.tiles.payload.steps.eq(steps),
        ]
        # A final tile leaves one logit a cycle, the pass's last tile one for each class that is left. Votes
        # are PASS_SPACING cycles apart at least.
        with m.If(~last_tile):
            m.d.comb += vote_hold.eq(lanes - 1)
        with m.Elif(now.opening):
            m.d.comb += vote_hold.eq(left + VOTE_WRITTEN)
        with m.Else():
            m.d.comb += vote_hold.eq(Mux(left < PASS_SPACING - 1, PASS_SPACING - 1, left))
        with m.If(issue.last):
            m.d.comb += lists.open.eq(now.from_rest & ~last_tile)  # the tiles to come read head and rest
            m.d.sync += [
                now.from_rest.eq(0),
                lists.index.eq(0),
                event.ending.eq(lists.short),
                now.tiles.eq(now.tiles - 1),
                place.weight.eq(place.weight + now.row_blocks),
                place.turn.eq(place.turn + lanes // 16),
                tile.bias.eq(tile.bias + tile_steps),
                tile.block.eq(tile.block + tile_steps),
                tile.begin.eq(0),
                now.left.eq(now.left - lanes),
                wait.hold.eq(Mux(tile.final, vote_hold, steps)),
                wait.drained.eq(~tile.final & (steps == 0)),
            ]
            with m.If(last_tile):
                m.d.sync += wait.window.eq(
                    Mux(now.several & ~tile.final & (next_.last_member == 0), arrival, 0)
                )
                for member, turn in enumerate(wait.turns):
                    with m.If(~tile.final & (tile.hidden_set[1:] == member)):
                        m.d.sync += [
                            turn.eq(arrival + now.last_steps[: len(steps)]),
                            wait.arrived[member].eq(0),
                        ]
            with m.Else():
                m.d.sync += wait.head_turn.eq(arrival + tile_steps - 1)
