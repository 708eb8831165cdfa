"""Votes: argmax, vote counters, logit sums, early stopping."""

from types import SimpleNamespace

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import OPTION_EARLY, OPTION_LOG, Region
from synflip.spec.sizes import LOGIT_BITS

from synflip_hdl.interfaces import (
    CLASS_BITS,
    HostAccess,
    RunControl,
    VoteResults,
    decision_layout,
    log2,
    logit_layout,
    pass_layout,
)

SUM_BITS = 64


class Votes(wiring.Component):
    """Takes a pass's logits one a cycle, class 0 first; decides LOGIT_TO_DECISION cycles after the last.

    The first sample of a run overwrites what the memories held: nothing needs to be cleared. The votes of an
    image's leader and runner-up are kept with the image, so that a vote moves them without reading the votes
    of the other classes.

    Members
    -------
    control: In(RunControl); CLASS_SHIFT, log2 of the results that an image takes, SAMPLES, and the options
        EARLY and LOG.
    host: In(HostAccess), words of the margin table; its offset also reads the results.
    logits: In(stream of logit_layout, always ready), from the requantizer.
    decisions: Out(stream of decision_layout, always ready), to the sequencer: a pass's vote was counted.
    results: Out(VoteResults), for the host.

    Attributes
    ----------
    debug: after ``elaborate``, for proofs: ``votes_read`` and ``sums_read``, the memories' read ports.
    """

    def __init__(self, geometry: Geometry, compact: bool = False) -> None:
        """compact: sums have only as many bits as they can have in a run, not SUM_BITS."""
        self.geometry = geometry
        self.sum_bits = LOGIT_BITS + geometry.sample_bits if compact else SUM_BITS
        super().__init__(
            {
                "control": In(RunControl(geometry)),
                "host": In(HostAccess()),
                "logits": In(stream.Signature(logit_layout(geometry), always_ready=True)),
                "decisions": Out(stream.Signature(decision_layout(geometry), always_ready=True)),
                "results": Out(VoteResults(geometry)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        geometry = self.geometry
        sample_bits = geometry.sample_bits
        settings, host, results = self.control.settings, self.host, self.results
        early, log = ((settings["OPTIONS"] & option) != 0 for option in (OPTION_EARLY, OPTION_LOG))

        def memory(name, shape, depth):
            m.submodules[name] = item = Memory(shape=shape, depth=depth, init=[])
            return item.write_port(), item.read_port()

        standing = data.StructLayout({"leader": CLASS_BITS, "lead": sample_bits, "second": sample_bits})
        votes_write, votes_read = memory("votes", unsigned(sample_bits), geometry.result_depth)
        sums_write, sums_read = memory("sums", signed(self.sum_bits), geometry.result_depth)
        used_write, used_read = memory("used_samples", unsigned(sample_bits), geometry.image_slots)
        standing_write, standing_read = memory("standings", standing, geometry.image_slots)
        margins_write, margins_read = memory("margins", unsigned(sample_bits), geometry.margin_depth)
        log_write, log_read = memory("logits", signed(LOGIT_BITS), geometry.log_depth)

        self.debug = SimpleNamespace(votes_read=votes_read, sums_read=sums_read)

        def result(slot, class_):
            return (slot << settings["CLASS_SHIFT"]) | class_

        # Logit: argmax, and the address of its sum.
        logit = self.logits.payload
        place = Signal(log2(geometry.result_depth))
        best = Signal(signed(LOGIT_BITS))
        winner = Signal(CLASS_BITS)
        m.d.comb += [
            place.eq(result(logit.current.slot, logit.class_)),
            log_write.addr.eq(results.logged_count),
            log_write.data.eq(logit.z),
            log_write.en.eq(self.logits.valid & log & (results.logged_count < geometry.log_depth)),
        ]
        with m.If(log_write.en):
            m.d.sync += results.logged_count.eq(results.logged_count + 1)
        with m.If(self.control.start):
            m.d.sync += results.logged_count.eq(0)
        with m.If(self.logits.valid & ((logit.class_ == 0) | (logit.z > best))):
            m.d.sync += [best.eq(logit.z), winner.eq(logit.class_)]

        # A cycle later its sum is there, in the next one it is updated.
        summed = Signal(logit_layout(geometry), reset_less=True)
        summed_valid = Signal()
        summed_place = Signal(place.shape(), reset_less=True)
        m.d.sync += [summed.eq(logit), summed_valid.eq(self.logits.valid), summed_place.eq(place)]
        opening = summed.current.sample == 0
        total = Signal(signed(self.sum_bits), reset_less=True)
        addend = Signal(signed(LOGIT_BITS), reset_less=True)
        total_valid = Signal()
        total_place = Signal(place.shape(), reset_less=True)
        m.d.sync += [
            total.eq(Mux(opening, 0, sums_read.data)),
            addend.eq(summed.z),
            total_valid.eq(summed_valid),
            total_place.eq(summed_place),
        ]
        m.d.comb += [
            sums_read.addr.eq(Mux(self.logits.valid, place, host.offset[1:])),
            sums_write.addr.eq(total_place),
            sums_write.data.eq(total + addend),
            sums_write.en.eq(total_valid),
        ]

        # After the last logit: count the vote, ...
        count_next = Signal()
        counting = Signal()
        ranking = Signal()
        deciding = Signal()
        current = Signal(pass_layout(geometry), reset_less=True)
        first = current.sample == 0
        winner_place = Signal(place.shape(), reset_less=True)
        m.d.comb += [
            count_next.eq(summed_valid & summed.last),
            votes_read.addr.eq(Mux(count_next, result(summed.current.slot, winner), host.offset)),
            standing_read.addr.eq(summed.current.slot),
            margins_read.addr.eq(summed.current.sample),
        ]
        m.d.sync += [
            counting.eq(count_next),
            current.eq(summed.current),
            winner_place.eq(result(summed.current.slot, winner)),
        ]
        before = Signal(standing, reset_less=True)
        had = Signal(sample_bits, reset_less=True)  # votes before this one
        counted = Signal(sample_bits)
        margin = Signal(sample_bits, reset_less=True)
        counted_place = Signal(place.shape(), reset_less=True)
        ranked_pass = Signal(pass_layout(geometry), reset_less=True)
        m.d.sync += [
            ranking.eq(counting),
            had.eq(Mux(first, 0, votes_read.data)),
            counted_place.eq(winner_place),
            before.eq(standing_read.data),
            margin.eq(margins_read.data),
            ranked_pass.eq(current),
        ]
        with m.If(first):
            m.d.sync += [before.leader.eq(winner), before.lead.eq(0), before.second.eq(0)]
        m.d.comb += [
            counted.eq(had + 1),
            votes_write.addr.eq(Mux(ranking, counted_place, summed_place)),
            votes_write.data.eq(Mux(ranking, counted, 0)),
            votes_write.en.eq(ranking | (summed_valid & opening)),
        ]

        # ... put it where it belongs, ...
        after = Signal(standing)
        kept = Signal(standing, reset_less=True)
        decided_pass = Signal(pass_layout(geometry), reset_less=True)
        m.d.comb += after.eq(before)
        with m.If(before.leader == winner):
            m.d.comb += after.lead.eq(counted)
        with m.Elif(had >= before.lead):
            m.d.comb += [after.leader.eq(winner), after.lead.eq(counted), after.second.eq(before.lead)]
        with m.Elif(had >= before.second):
            m.d.comb += after.second.eq(counted)
        sample_count = Signal(sample_bits, reset_less=True)
        least = Signal(sample_bits, reset_less=True)
        m.d.sync += [
            deciding.eq(ranking),
            kept.eq(after),
            least.eq(margin),
            decided_pass.eq(ranked_pass),
            sample_count.eq(ranked_pass.sample + 1),
        ]

        # ... and decide whether the image leaves.
        m.d.sync += [
            self.decisions.valid.eq(deciding),
            self.decisions.payload.current.eq(decided_pass),
            self.decisions.payload.leaves.eq(
                (early & (kept.lead - kept.second >= least))
                | (sample_count == settings["SAMPLES"][:sample_bits])
            ),
        ]
        m.d.comb += [
            standing_write.addr.eq(decided_pass.slot),
            standing_write.data.eq(kept),
            standing_write.en.eq(deciding),
            used_write.addr.eq(decided_pass.slot),
            used_write.data.eq(sample_count),
            used_write.en.eq(deciding),
        ]

        # The host's side.
        half = Signal()
        m.d.comb += results.free.eq(~self.logits.valid & ~count_next)
        m.d.sync += half.eq(host.offset[0])
        m.d.comb += [
            margins_write.addr.eq(host.offset),
            margins_write.data.eq(host.data),
            margins_write.en.eq(host.write[Region.MARGINS]),
            used_read.addr.eq(host.offset),
            log_read.addr.eq(host.offset),
            results.vote.eq(votes_read.data),
            results.logit_sum.eq(Mux(half, sums_read.data[32:].as_signed(), sums_read.data[:32])),
            results.used.eq(used_read.data),
            results.logged.eq(log_read.data),
        ]
        return m
