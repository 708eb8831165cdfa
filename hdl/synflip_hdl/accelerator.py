"""The accelerator: source, keys, events, array, drain, votes, sequencer, behind one memory map."""

from amaranth.hdl import Module, ResetInserter
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import IMAGE_WORD_BITS, OPTION_EARLY, OPTION_LOG, Region

from synflip_hdl.array import Array
from synflip_hdl.bundles import RUN_SLOTS, WATCHED_LOGIT
from synflip_hdl.drain import Drain
from synflip_hdl.events import EventLists
from synflip_hdl.keys import KeyMemory
from synflip_hdl.lfsr import LfsrSource
from synflip_hdl.registers import READABLE, REQUEST, RESPONSE, Registers
from synflip_hdl.sequencer import Sequencer
from synflip_hdl.votes import Votes


class Accelerator(wiring.Component):
    """One clock domain, no vendor primitives. See docs/architecture.md for the pipeline and its cycles.

    Members
    -------
    request, response: streams of bus requests and their answers, see ``registers.Registers``.
    busy: a run is under way. run_slots: its images' slots, the first and one past the last.
    logit_valid, logit: each logit as it is made, for who wants to watch. It cannot wait.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        super().__init__(
            {
                "request": In(stream.Signature(REQUEST)),
                "response": Out(stream.Signature(RESPONSE)),
                "busy": Out(1),
                "run_slots": Out(RUN_SLOTS),
                "logit_valid": Out(1),
                "logit": Out(WATCHED_LOGIT),
            }
        )

    def elaborate(self, platform):
        m = Module()
        geometry = self.geometry
        m.submodules.registers = registers = Registers(geometry)
        m.submodules.source = source = LfsrSource(geometry.banks)
        events = EventLists(geometry)
        keys = KeyMemory(geometry.banks, geometry.key_depth)
        array = Array(geometry)
        drain = Drain(geometry)
        votes = Votes(geometry)
        sequencer = Sequencer(geometry, events.index_bits)
        for name, block in {
            "keys": keys,
            "events": events,
            "array": array,
            "drain": drain,
            "votes": votes,
            "sequencer": sequencer,
        }.items():
            m.submodules[name] = ResetInserter(registers.abort)(block)

        settings = registers.settings
        wiring.connect(m, wiring.flipped(self.request), registers.request)
        wiring.connect(m, registers.response, wiring.flipped(self.response))
        wiring.connect(m, source.keys, keys.source)

        m.d.comb += [
            # The host's side.
            self.busy.eq(sequencer.busy),
            self.run_slots.first.eq(settings["FIRST_SLOT"]),
            self.run_slots.past.eq(settings["FIRST_SLOT"] + settings["IMAGES"]),
            registers.busy.eq(sequencer.busy),
            registers.cycles.eq(sequencer.cycles),
            registers.logged.eq(votes.logged_count),
            registers.load_ready.eq(events.load.ready),
            registers.results_free.eq(votes.free),
            source.load.eq(registers.write[Region.SEEDS]),
            source.load_bank.eq(registers.offset[2:]),
            source.load_component.eq(registers.offset[:2]),
            source.load_data.eq(registers.data),
            events.load.valid.eq(registers.write[Region.IMAGES]),
            events.load.payload.slot.eq(registers.offset[IMAGE_WORD_BITS:]),
            events.load.payload.word.eq(registers.offset),
            events.load.payload.data.eq(registers.data),
            events.load_shift.eq(settings["INPUT_SHIFT"]),
            votes.margin_write.eq(registers.write[Region.MARGINS]),
            sequencer.layer_write.eq(registers.write[Region.LAYERS]),
            array.weight_write.eq(registers.write[Region.WEIGHTS]),
            drain.bias_write.eq(registers.write[Region.BIASES]),
        ]
        for block in (votes, sequencer, array, drain):
            m.d.comb += [block.offset.eq(registers.offset), block.data.eq(registers.data)]
        results = {
            Region.VOTES: votes.vote,
            Region.SUMS: votes.logit_sum,
            Region.USED: votes.used,
            Region.LOG: votes.logged,
        }
        for index, region in enumerate(READABLE):
            m.d.comb += registers.results[index].eq(results[region])

        early = (settings["OPTIONS"] & OPTION_EARLY) != 0
        m.d.comb += [
            # Keys.
            keys.run.eq(sequencer.busy),
            keys.start.eq(registers.start),
            keys.blocks.eq(settings["KEY_BLOCKS"]),
            keys.release.eq(sequencer.key_release),
            keys.sample.eq(sequencer.key_sample),
            keys.end.eq(sequencer.key_end),
            keys.address.eq(array.key_address),
            # Sequencer.
            sequencer.start.eq(registers.start),
            sequencer.layers.eq(settings["LAYERS"]),
            sequencer.first_slot.eq(settings["FIRST_SLOT"]),
            sequencer.images.eq(settings["IMAGES"]),
            sequencer.samples.eq(settings["SAMPLES"]),
            sequencer.early.eq(early),
            sequencer.longest.eq(events.longest),
            sequencer.key_ready.eq(keys.ready),
            sequencer.decided.eq(votes.decided),
            sequencer.leaves.eq(votes.leaves),
            sequencer.decision.eq(votes.decision),
            # Events.
            events.open.eq(sequencer.open),
            events.hidden.eq(sequencer.hidden),
            events.hidden_set.eq(sequencer.hidden_set),
            events.slot.eq(sequencer.slot),
            events.read.eq(sequencer.read),
            events.index.eq(sequencer.index),
            events.append_valid.eq(drain.append_valid),
            events.append.eq(drain.append),
            # Array.
            array.issue.eq(sequencer.place),
            array.last.eq(sequencer.last),
            array.events.eq(events.events),
            array.keys.eq(keys.data),
            # Drain.
            drain.tile_valid.eq(sequencer.tile_valid),
            drain.tile.eq(sequencer.tile),
            drain.capture.eq(array.capture),
            drain.sums.eq(array.sums),
            drain.classes.eq(settings["CLASSES"]),
            drain.largest.eq(settings["ACTIVATION_MAX"]),
            # Votes.
            votes.start.eq(registers.start),
            votes.class_shift.eq(settings["CLASS_SHIFT"]),
            votes.samples.eq(settings["SAMPLES"]),
            votes.early.eq(early),
            votes.log.eq((settings["OPTIONS"] & OPTION_LOG) != 0),
            votes.logit_valid.eq(drain.logit_valid),
            votes.logit.eq(drain.logit),
            self.logit_valid.eq(drain.logit_valid),
            self.logit.z.eq(drain.logit.z),
            self.logit.first.eq(drain.logit.class_ == 0),
            self.logit.last.eq(drain.logit.last),
        ]
        return m
