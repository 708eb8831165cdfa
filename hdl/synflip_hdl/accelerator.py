"""The accelerator: source, keys, events, array, requantizer, votes, sequencer, behind one memory map."""

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import (
    CONTROL_START,
    IMAGE_WORD_BITS,
    OFFSET_BITS,
    OPTION_EARLY,
    OPTION_HOST_KEYS,
    OPTION_LOG,
    Region,
    register,
)

from synflip_hdl.bus.registers import READABLE, REQUEST, RESPONSE, Registers
from synflip_hdl.engine.event_lists import EventLists
from synflip_hdl.engine.key_memory import KeyMemory
from synflip_hdl.engine.requantizer import Requantizer
from synflip_hdl.engine.sequencer import Sequencer
from synflip_hdl.engine.synapse_array import SynapseArray
from synflip_hdl.engine.votes import Votes
from synflip_hdl.interfaces import RUN_SLOTS, WATCHED_LOGIT
from synflip_hdl.lib.entry_writer import EntryWriter
from synflip_hdl.lib.register_slice import RegisterSlice, SkidBuffer
from synflip_hdl.sources.lfsr import LfsrSource
from synflip_hdl.sources.mtj import MtjSource


class Accelerator(wiring.Component):
    """One clock domain, no vendor primitives. The pipeline and its cycles: docs/explanation/architecture.md.

    Members
    -------
    request, response: streams of bus requests and their answers, see ``registers.Registers``.
    busy: a run is under way. run_slots: its images' slots, the first and one past the last. starting: a start
        is, from the cycle after its request was taken until it is refused or the run is busy.
    logit_valid, logit: each logit as it is made, for who wants to watch. It cannot wait.
    raw, strobe: of the tunnel junctions, where the geometry has some, see ``mtj.MtjSource``.
    """

    def __init__(self, geometry: Geometry, compact: bool = False) -> None:
        """compact: without the registers that only bridge distance, for a small device and a slow clock: the
        same cycles in a run, but the bus's paths go through."""
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
        geometry = self.geometry
        m.submodules.registers = registers = Registers(geometry)
        events = EventLists(geometry, self.compact)
        keys = KeyMemory(
            geometry.banks, geometry.key_depth, geometry.key_halves, geometry.sample_bits, self.compact
        )
        array = SynapseArray(geometry, self.compact)
        requantizer = Requantizer(geometry, self.compact)
        votes = Votes(geometry, self.compact)
        sequencer = Sequencer(geometry, events.index_bits)
        for name, block in {
            "keys": keys,
            "events": events,
            "array": array,
            "requantizer": requantizer,
            "votes": votes,
            "sequencer": sequencer,
        }.items():
            abort = Signal(name=f"abort_{name}")  # of its own: the blocks are far apart
            abort.attrs["keep"] = 1
            m.d.sync += abort.eq(registers.abort)
            m.submodules[name] = ResetInserter(abort)(block)

        settings = registers.settings
        if self.compact:
            wiring.connect(m, wiring.flipped(self.request), registers.request)
            wiring.connect(m, registers.response, wiring.flipped(self.response))
        else:
            m.submodules.stage = stage = RegisterSlice(REQUEST)
            wiring.connect(m, wiring.flipped(self.request), stage.input)
            wiring.connect(m, stage.output, registers.request)
            m.submodules.skid = skid = SkidBuffer(RESPONSE)
            wiring.connect(m, registers.response, skid.input)
            wiring.connect(m, skid.output, wiring.flipped(self.response))
        # Told apart in front of the stage: behind it comes the registers' own decoder.
        request = self.request.payload
        asked = request.write & (request.address == register("CONTROL"))
        asked &= (request.data & CONTROL_START) != 0
        staged = Signal()
        with m.If(self.request.ready):
            m.d.sync += staged.eq(self.request.valid & asked)
        m.d.comb += self.starting.eq(staged | registers.start)
        # Writes to far blocks are a cycle later: long before a run can need them.
        late_write, late_offset, late_data = (
            Signal(len(registers.write), name="late_write"),
            Signal(OFFSET_BITS, name="late_offset", reset_less=True),
            Signal(32, name="late_data", reset_less=True),
        )
        far = m.d.comb if self.compact else m.d.sync
        far += [
            late_write.eq(registers.write),
            late_offset.eq(registers.offset),
            late_data.eq(registers.data),
        ]
        self._connect_source(m, registers, keys, late_write, late_offset, late_data)

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
            events.load.valid.eq(registers.write[Region.IMAGES]),
            events.load.payload.slot.eq(registers.offset[IMAGE_WORD_BITS:]),
            events.load.payload.word.eq(registers.offset),
            events.load.payload.data.eq(registers.data),
            events.load_shift.eq(settings["INPUT_SHIFT"]),
            votes.margin_write.eq(registers.write[Region.MARGINS]),
            votes.offset.eq(registers.offset),
            votes.data.eq(registers.data),
            sequencer.layer_write.eq(late_write[Region.LAYERS]),
            array.weight_write.eq(late_write[Region.WEIGHTS]),
            requantizer.bias_write.eq(late_write[Region.BIASES]),
        ]
        for block in (sequencer, array, requantizer):
            m.d.comb += [block.offset.eq(late_offset), block.data.eq(late_data)]
        results = {
            Region.VOTES: votes.vote,
            Region.SUMS: votes.logit_sum,
            Region.USED: votes.used,
            Region.LOG: votes.logged,
            Region.KEYS: keys.word,
        }
        for region, value in results.items():
            m.d.comb += registers.results[READABLE.index(region)].eq(value)

        early = (settings["OPTIONS"] & OPTION_EARLY) != 0
        m.d.comb += [
            # Keys.
            keys.run.eq(sequencer.busy),
            keys.start.eq(registers.start),
            keys.samples.eq(settings["SAMPLES"]),
            keys.blocks.eq(settings["KEY_BLOCKS"]),
            keys.release.eq(sequencer.key_release),
            keys.sample.eq(sequencer.key_sample),
            keys.end.eq(sequencer.key_end),
            keys.address.eq(array.key_address),
            keys.offset.eq(registers.offset),
            # Sequencer.
            sequencer.start.eq(registers.start),
            sequencer.layers.eq(settings["LAYERS"]),
            sequencer.first_slot.eq(settings["FIRST_SLOT"]),
            sequencer.images.eq(settings["IMAGES"]),
            sequencer.samples.eq(settings["SAMPLES"]),
            sequencer.early.eq(early),
            sequencer.longest.eq(events.longest),
            sequencer.short.eq(events.short),
            sequencer.key_ready.eq(keys.ready),
            sequencer.decided.eq(votes.decided),
            sequencer.leaves.eq(votes.leaves),
            sequencer.decision.eq(votes.decision),
            # Events.
            events.open.eq(sequencer.open),
            events.rest.eq(sequencer.rest),
            events.hidden.eq(sequencer.hidden),
            events.hidden_set.eq(sequencer.hidden_set),
            events.slot.eq(sequencer.slot),
            events.read.eq(sequencer.read),
            events.index.eq(sequencer.index),
            events.append_valid.eq(requantizer.append_valid),
            events.append.eq(requantizer.append),
            # SynapseArray.
            array.issue.eq(sequencer.place),
            array.last.eq(sequencer.last),
            array.events.eq(events.events),
            array.keys.eq(keys.data),
            # Requantizer.
            requantizer.tile_valid.eq(sequencer.tile_valid),
            requantizer.tile.eq(sequencer.tile),
            requantizer.coming.eq(array.coming),
            requantizer.capture.eq(array.capture),
            requantizer.sums.eq(array.sums),
            requantizer.classes.eq(settings["CLASSES"]),
            requantizer.largest.eq(settings["ACTIVATION_MAX"]),
            # Votes.
            votes.start.eq(registers.start),
            votes.class_shift.eq(settings["CLASS_SHIFT"]),
            votes.samples.eq(settings["SAMPLES"]),
            votes.early.eq(early),
            votes.log.eq((settings["OPTIONS"] & OPTION_LOG) != 0),
            votes.logit_valid.eq(requantizer.logit_valid),
            votes.logit.eq(requantizer.logit),
            self.logit_valid.eq(requantizer.logit_valid),
            self.logit.z.eq(requantizer.logit.z),
            self.logit.first.eq(requantizer.logit.class_ == 0),
            self.logit.last.eq(requantizer.logit.last),
        ]
        return m

    def _connect_source(self, m, registers, keys, write, offset, word):
        """The built-in source or the host fills the key memory."""
        banks, devices = self.geometry.banks, self.geometry.devices
        settings = registers.settings
        if devices:
            m.submodules.source = source = MtjSource(banks, devices)
            m.d.comb += [
                source.raw.eq(self.raw),
                source.strobe.eq(self.strobe),
                source.fold.eq(settings["FOLD"]),
                source.von_neumann.eq(settings["VON_NEUMANN"]),
                source.least.eq(settings["LEAST_DEVICES"]),
                source.repetition_cutoff.eq(settings["REPETITION_CUTOFF"]),
                source.proportion_cutoff.eq(settings["PROPORTION_CUTOFF"]),
                source.restart.eq(registers.retest),
                source.capture.eq(registers.capture),
                source.capture_device.eq(settings["CAPTURE"]),
                source.offset.eq(registers.offset),
                registers.alarm.eq(source.alarm),
                registers.captured.eq(source.captured),
                registers.working.eq(source.working),
                registers.results[READABLE.index(Region.DEVICES)].eq(source.flags),
                registers.results[READABLE.index(Region.RAW)].eq(source.raw_word),
            ]
        else:
            m.submodules.source = source = LfsrSource(banks)
            m.d.comb += [
                source.load.eq(write[Region.SEEDS]),
                source.load_bank.eq(offset[2:]),
                source.load_component.eq(offset[:2]),
                source.load_data.eq(word),
            ]
        m.submodules.host_keys = host = EntryWriter(64 * banks)
        from_host = (settings["OPTIONS"] & OPTION_HOST_KEYS) != 0
        m.d.comb += [
            # There is room for keys then too: a transfer takes two words at least, so none is under way.
            host.valid.eq(write[Region.KEYS]),
            host.offset.eq(offset),
            host.data.eq(word),
            registers.key_ready.eq(keys.source.ready),
            keys.source.valid.eq(Mux(from_host, host.commit, source.keys.valid)),
            keys.source.payload.eq(Mux(from_host, host.value, source.keys.payload.as_value())),
            source.keys.ready.eq(keys.source.ready & ~from_host),
        ]
