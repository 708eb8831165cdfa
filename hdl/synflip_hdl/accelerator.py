"""The accelerator: source, keys, events, array, requantizer, votes, sequencer, behind one memory map."""

from typing import Any

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import (
    CONTROL_START,
    IMAGE_WORD_BITS,
    OPTION_HOST_KEYS,
    Region,
    register,
)
from synflip.spec.sizes import KEY_BITS

from synflip_hdl.bus.registers import REQUEST, RESPONSE, Registers, readable
from synflip_hdl.engine.event_lists import EventLists
from synflip_hdl.engine.key_memory import KeyMemory
from synflip_hdl.engine.pool import Pool
from synflip_hdl.engine.requantizer import Requantizer
from synflip_hdl.engine.segments import Segments
from synflip_hdl.engine.sequencer import Sequencer
from synflip_hdl.engine.soft_votes import SoftVotes
from synflip_hdl.engine.synapse_array import SynapseArray
from synflip_hdl.engine.votes import Votes
from synflip_hdl.interfaces import RUN_SLOTS, WATCHED_LOGIT, HostAccess
from synflip_hdl.lib.distance import across
from synflip_hdl.lib.entry_writer import EntryWriter
from synflip_hdl.lib.register_slice import RegisterSlice, SkidBuffer
from synflip_hdl.sources.lfsr import LfsrSource
from synflip_hdl.sources.mtj import MtjSource


class Accelerator(wiring.Component):
    """One clock domain, no vendor primitives. The pipeline and its cycles: docs/explanation/architecture.md.

    Parameters
    ----------
    geometry: lanes, banks, word sizes, memories.
    compact: without the registers that only bridge distance on the die (``lib.distance``), for a small device
        and a slow clock. A run takes the same cycles; the bus is decoded in the cycle of its request.

    Members
    -------
    request: In(stream of REQUEST), see ``bus.registers.Registers``.
    response: Out(stream of RESPONSE), its answers in order.
    busy: Out(1), a run is under way.
    starting: Out(1), a start was taken and the run is not busy yet: from the cycle after the request until
        ``busy`` rises, or until the registers refuse the start.
    run_slots: Out(RUN_SLOTS), slots of the run's images: the first, and one past the last.
    logit_valid: Out(1), there is a logit in this cycle. Whoever watches the logits cannot hold them up.
    logit: Out(WATCHED_LOGIT), the logit.
    raw: In(devices), bits of the tunnel junctions, where the geometry has some, see ``sources.mtj``.
    strobe: In(1), their strobe.
    """

    def __init__(self, geometry: Geometry, compact: bool = False) -> None:
        self.geometry = geometry
        self.compact = compact
        members = {
            "request": In(stream.Signature(REQUEST)),
            "response": Out(stream.Signature(RESPONSE)),
            "busy": Out(1),
            "starting": Out(1),
            "run_slots": Out(RUN_SLOTS),
            "logit_valid": Out(1),
            "logit": Out(WATCHED_LOGIT),
        }
        if geometry.devices:
            members |= {"raw": In(geometry.devices), "strobe": In(1)}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        geometry, compact = self.geometry, self.compact
        m.submodules.registers = registers = Registers(geometry, compact)
        keys = KeyMemory(geometry, compact)
        events = EventLists(geometry, compact)
        array = SynapseArray(geometry, compact)
        requantizer = Requantizer(geometry, compact)
        votes = Votes(geometry, compact)
        sequencer = Sequencer(geometry, events.index_bits)
        blocks = {
            "keys": keys,
            "events": events,
            "array": array,
            "requantizer": requantizer,
            "votes": votes,
            "sequencer": sequencer,
        }
        if geometry.soft_classes:
            blocks["soft_votes"] = SoftVotes(geometry, compact)
        if geometry.map_depth:
            pool, segments = Pool(geometry), Segments(geometry)
            blocks |= {"segments": segments, "pool": pool}
        for name, block in blocks.items():
            abort = Signal(name=f"abort_{name}")  # a register for each: the blocks are far apart
            abort.attrs["keep"] = 1
            m.d.sync += abort.eq(registers.abort)
            m.submodules[name] = ResetInserter(abort)(block)

        self._connect_bus(m, registers)
        late = self._late_host(m, registers.host)
        served: list[Any] = [keys, votes]
        controlled: list[Any] = [keys, events, requantizer, votes, sequencer]
        if geometry.soft_classes:
            served.append(blocks["soft_votes"])
            controlled.append(blocks["soft_votes"])
        connect(m, registers.host, *(block.host for block in served))
        written_late: list[Any] = [sequencer, array, requantizer]
        if geometry.map_depth:
            written_late.append(segments)
        connect(m, late, *(block.host for block in written_late))
        connect(m, registers.control, *(block.control for block in controlled))
        source = self._connect_source(m, registers, late)
        self._connect_keys(m, registers, source, keys, late)
        self._connect_images(m, registers, events)

        connect(m, sequencer.lists, events.reads)
        connect(m, sequencer.keys, keys.demand)
        connect(m, sequencer.issue, array.issue)
        connect(m, sequencer.tiles, requantizer.tiles)
        connect(m, events.events, array.events)
        connect(m, array.keys, keys.reads)
        connect(m, array.sums, requantizer.sums)
        if geometry.map_depth:
            connect(m, requantizer.appends, pool.appends)
            connect(m, pool.pooled, events.appends)
            connect(m, sequencer.segments, segments.demand)
            connect(m, segments.places, events.places)
        else:
            connect(m, requantizer.appends, events.appends)
        connect(m, requantizer.logits, votes.logits)
        if geometry.soft_classes:
            self._connect_soft_votes(m, registers, requantizer, blocks["soft_votes"])
        connect(m, votes.decisions, sequencer.decisions)

        connect(m, sequencer.status, registers.status)
        self._connect_results(m, registers, votes, keys, source)
        self._watch(m, registers, sequencer, requantizer)
        return m

    def _connect_bus(self, m, registers):
        """The bus's streams, from and to the registers. Unless compact no path leads through: a register
        cuts both ways of the requests, and the answers' way back."""
        request, response = flipped(self.request), flipped(self.response)
        if self.compact:
            connect(m, request, registers.request)
            connect(m, registers.response, response)
        else:
            m.submodules.buffer = buffer = SkidBuffer(REQUEST)
            m.submodules.stage = stage = RegisterSlice(REQUEST)
            connect(m, request, buffer.input)
            connect(m, buffer.output, stage.input)
            connect(m, stage.output, registers.request)
            m.submodules.skid = skid = SkidBuffer(RESPONSE)
            connect(m, registers.response, skid.input)
            connect(m, skid.output, response)

    def _late_host(self, m, host):
        """The host's writes for the blocks that are far from the registers: a cycle later, which is long
        before a run can need them."""
        late = HostAccess().create(path=("late",))
        for region in (Region.LAYERS, Region.SEEDS, Region.WEIGHTS, Region.BIASES, Region.KEYS):
            strobe = across(m, host.write[region], self.compact, f"late_{region.name.lower()}", False)
            m.d.comb += late.write[region].eq(strobe)
        m.d.comb += [
            late.offset.eq(across(m, host.offset, self.compact, "late_offset")),
            late.data.eq(across(m, host.data, self.compact, "late_data")),
        ]
        return late

    def _connect_images(self, m, registers, events):
        """Words of images go into the event lists. The strobe of a write already says that they take it."""
        word = events.load.payload
        m.d.comb += [
            registers.load_ready.eq(events.load.ready),
            events.load.valid.eq(registers.host.write[Region.IMAGES]),
            word.slot.eq(registers.host.offset[IMAGE_WORD_BITS:]),
            word.word.eq(registers.host.offset),
            word.data.eq(registers.host.data),
        ]

    def _connect_results(self, m, registers, votes, keys, source):
        """What the host reads."""
        results = {
            Region.VOTES: votes.results.vote,
            Region.SUMS: votes.results.logit_sum,
            Region.USED: votes.results.used,
            Region.LOG: votes.results.logged,
            Region.KEYS: keys.word,
        }
        if self.geometry.devices:
            results |= {Region.DEVICES: source.results.flags, Region.RAW: source.results.raw_word}
        places = readable(self.geometry)
        for region, value in results.items():
            m.d.comb += registers.results[places.index(region)].eq(value)
        m.d.comb += [
            registers.results_free.eq(votes.results.free),
            registers.logged.eq(votes.results.logged_count),
        ]

    def _connect_soft_votes(self, m, registers, requantizer, soft_votes):
        """The soft votes see the logits that the votes take, and are read beside them."""
        place = readable(self.geometry).index(Region.SOFT)
        m.d.comb += [
            soft_votes.logits.valid.eq(requantizer.logits.valid),
            soft_votes.logits.payload.eq(requantizer.logits.payload),
            registers.results[place].eq(soft_votes.results.word),
            registers.soft_quiet.eq(soft_votes.results.quiet),
            registers.soft_free.eq(soft_votes.results.free),
        ]

    def _watch(self, m, registers, sequencer, requantizer):
        """What those outside see of a run."""
        settings, logits = registers.control.settings, requantizer.logits
        # A start is seen in front of the register slice, as the registers' own decoder is behind it.
        request = self.request.payload
        is_start = request.write & (request.address == register("CONTROL"))
        is_start &= (request.data & CONTROL_START) != 0
        staged = Signal()
        with m.If(self.request.ready):
            m.d.sync += staged.eq(self.request.valid & is_start)
        m.d.comb += [
            self.busy.eq(sequencer.status.busy),
            self.starting.eq(staged | registers.control.start),
            self.run_slots.first.eq(settings["FIRST_SLOT"]),
            self.run_slots.past.eq(settings["FIRST_SLOT"] + settings["IMAGES"]),
            self.logit_valid.eq(logits.valid),
            self.logit.z.eq(logits.payload.z),
            self.logit.first.eq(logits.payload.class_ == 0),
            self.logit.last.eq(logits.payload.last),
        ]

    def _connect_source(self, m, registers, late):
        """The built-in source of keys."""
        if not self.geometry.devices:
            m.submodules.source = source = LfsrSource(self.geometry.banks)
            connect(m, late, source.host)
            return source
        m.submodules.source = source = MtjSource(self.geometry)
        connect(m, registers.host, source.host)
        connect(m, registers.control, source.control)
        connect(m, registers.junctions, source.junctions)
        m.d.comb += [source.raw.eq(self.raw), source.strobe.eq(self.strobe)]
        return source

    def _connect_keys(self, m, registers, source, keys, late):
        """The built-in source or the host fills the key memory."""
        m.submodules.host_keys = host = EntryWriter(KEY_BITS * self.geometry.banks)
        from_host = (registers.control.settings["OPTIONS"] & OPTION_HOST_KEYS) != 0
        m.d.comb += [
            # The registers let a word pass only while the key memory is ready. It still is when the word
            # arrives, a cycle later: a transfer takes two words or more, so no other one is under way.
            host.valid.eq(late.write[Region.KEYS]),
            host.offset.eq(late.offset),
            host.data.eq(late.data),
            registers.key_ready.eq(keys.source.ready),
            keys.source.valid.eq(Mux(from_host, host.commit, source.keys.valid)),
            keys.source.payload.eq(Mux(from_host, host.value, source.keys.payload.as_value())),
            source.keys.ready.eq(keys.source.ready & ~from_host),
        ]
