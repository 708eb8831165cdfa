"""Votes: argmax, vote counters, logit sums, early stopping."""

from types import SimpleNamespace

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import OPTION_EARLY, OPTION_LOG, Region
from synflip.spec.sizes import LOGIT_BITS, address_bits

from synflip_hdl.interfaces import (
    CLASS_BITS,
    HostAccess,
    RunControl,
    VoteResults,
    decision_layout,
    logit_layout,
    pass_layout,
)

SUM_BITS = 64


def above(z, other):
    """Whether a logit is larger than another: the carry out of z + ~other, with their signs flipped. For
    example 5 > 3: 5 + ~3 = 5 + 12 = 16 + 1, of four bits."""
    flip = 1 << (LOGIT_BITS - 1)
    return ((z.as_unsigned() ^ flip) + ~(other.as_unsigned() ^ flip))[LOGIT_BITS]


class Votes(wiring.Component):
    """Takes a pass's logits one a cycle, class 0 first; decides LOGIT_TO_DECISION cycles after the last.

    The next pass's logits may come meanwhile, its last PASS_SPACING cycles after this one's or later. In a
    run's first sample, whose logits clear the counts, its first comes after VOTE_WRITTEN cycles.

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
        memories = self._memories(m)
        self.debug = SimpleNamespace(votes_read=memories.votes_read, sums_read=memories.sums_read)
        place, winner = self._argmax(m, memories)
        summed, opening = self._sums(m, memories, place)
        count_next, counted = self._count(m, memories, summed, opening, winner)
        ranked = self._rank(m, counted)
        self._decide(m, memories, ranked)
        self._host_reads(m, memories, count_next)
        return m

    def _memories(self, m):
        """Write port and read port of each memory."""
        geometry, sample_bits = self.geometry, self.geometry.sample_bits
        ports = {}
        for name, submodule, shape, depth in (
            ("votes", "votes", unsigned(sample_bits), geometry.result_depth),
            ("sums", "sums", signed(self.sum_bits), geometry.result_depth),
            ("used", "used_samples", unsigned(sample_bits), geometry.image_slots),
            ("standing", "standings", self._standing, geometry.image_slots),
            ("margins", "margins", unsigned(sample_bits), geometry.margin_depth),
            ("log", "logits", signed(LOGIT_BITS), geometry.log_depth),
        ):
            m.submodules[submodule] = memory = Memory(shape=shape, depth=depth, init=[])
            ports[f"{name}_write"], ports[f"{name}_read"] = memory.write_port(), memory.read_port()
        return SimpleNamespace(**ports)

    @property
    def _standing(self) -> data.StructLayout:
        """What is kept with an image: its leader, and the votes of the leader and of the runner-up."""
        sample_bits = self.geometry.sample_bits
        return data.StructLayout({"leader": CLASS_BITS, "lead": sample_bits, "second": sample_bits})

    def _result(self, slot, class_):
        """Where a class of an image is in the memories of votes and sums: slot 3, class 2, four results an
        image: 3 * 4 + 2 = 14."""
        return (slot << self.control.settings["CLASS_SHIFT"]) | class_

    def _argmax(self, m, memories):
        """The first of the largest logits so far, and the log. Returns the place of the logit's sum, and the
        winner, which is known in the cycle after the pass's last logit."""
        logit, results, write = self.logits.payload, self.results, memories.log_write
        log = (self.control.settings["OPTIONS"] & OPTION_LOG) != 0
        place = Signal(address_bits(self.geometry.result_depth))
        best = Signal(signed(LOGIT_BITS))
        winner = Signal(min(CLASS_BITS, len(place)))  # an image has no more classes than there are results
        opens = Signal(init=1)  # the next logit is class 0: from a register, as the comparison takes long
        m.d.comb += [
            place.eq(self._result(logit.current.slot, logit.class_)),
            write.addr.eq(results.logged_count),
            write.data.eq(logit.z),
            write.en.eq(self.logits.valid & log & (results.logged_count < self.geometry.log_depth)),
        ]
        with m.If(write.en):
            m.d.sync += results.logged_count.eq(results.logged_count + 1)
        with m.If(self.control.start):
            m.d.sync += results.logged_count.eq(0)
        with m.If(self.logits.valid):
            m.d.sync += opens.eq(logit.last)
        with m.If(self.logits.valid & (opens | above(logit.z, best))):
            m.d.sync += [best.eq(logit.z), winner.eq(logit.class_)]
        return place, winner

    def _sums(self, m, memories, place):
        """The sums of logits: read with the logit, there in the next cycle, written in the one after.

        Returns the logit of the cycle before, and whether it is of a run's first sample, whose logits start
        the sums.
        """
        sums_read, sums_write = memories.sums_read, memories.sums_write
        summed = SimpleNamespace(
            logit=Signal(logit_layout(self.geometry), name="summed", reset_less=True),
            valid=Signal(name="summed_valid"),
            place=Signal(place.shape(), name="summed_place", reset_less=True),
        )
        m.d.sync += [
            summed.logit.eq(self.logits.payload),
            summed.valid.eq(self.logits.valid),
            summed.place.eq(place),
        ]
        opening = summed.logit.current.sample == 0
        total = Signal(signed(self.sum_bits), reset_less=True)
        addend = Signal(signed(LOGIT_BITS), reset_less=True)
        total_valid = Signal()
        total_place = Signal(place.shape(), reset_less=True)
        m.d.sync += [
            total.eq(Mux(opening, 0, sums_read.data)),
            addend.eq(summed.logit.z),
            total_valid.eq(summed.valid),
            total_place.eq(summed.place),
        ]
        m.d.comb += [
            sums_read.addr.eq(Mux(self.logits.valid, place, self.host.offset[1:])),
            sums_write.addr.eq(total_place),
            sums_write.data.eq(total + addend),
            sums_write.en.eq(total_valid),
        ]
        return summed, opening

    def _count(self, m, memories, summed, opening, winner):
        """After a pass's last logit: the winner gets a vote more. Returns whether its votes are read in this
        cycle, and, two cycles later (``ranking``), what the next step needs."""
        sample_bits, logit = self.geometry.sample_bits, summed.logit
        votes_read, votes_write = memories.votes_read, memories.votes_write
        count_next = Signal()
        counting = Signal()
        ranking = Signal()
        deciding = Signal()
        current = Signal(pass_layout(self.geometry), reset_less=True)
        first = current.sample == 0
        # Logits of the next pass may come meanwhile: the winner goes along.
        counted_winner = Signal.like(winner, reset_less=True)
        ranked_winner = Signal.like(winner, reset_less=True)
        winner_place = Signal(summed.place.shape(), reset_less=True)
        m.d.comb += [
            count_next.eq(summed.valid & logit.last),
            votes_read.addr.eq(Mux(count_next, self._result(logit.current.slot, winner), self.host.offset)),
            memories.standing_read.addr.eq(logit.current.slot),
            memories.margins_read.addr.eq(logit.current.sample),
        ]
        m.d.sync += [
            counting.eq(count_next),
            current.eq(logit.current),
            counted_winner.eq(winner),
            winner_place.eq(self._result(logit.current.slot, winner)),
        ]
        before = Signal(self._standing, reset_less=True)
        had = Signal(sample_bits, reset_less=True)  # votes of the winner before this one
        counted = Signal(sample_bits)
        margin = Signal(sample_bits, reset_less=True)
        counted_place = Signal(summed.place.shape(), reset_less=True)
        ranked_pass = Signal(pass_layout(self.geometry), reset_less=True)
        m.d.sync += [
            ranking.eq(counting),
            had.eq(Mux(first, 0, votes_read.data)),
            counted_place.eq(winner_place),
            before.eq(memories.standing_read.data),
            margin.eq(memories.margins_read.data),
            ranked_pass.eq(current),
            ranked_winner.eq(counted_winner),
        ]
        with m.If(first):
            m.d.sync += [before.leader.eq(counted_winner), before.lead.eq(0), before.second.eq(0)]
        m.d.comb += [
            counted.eq(had + 1),
            votes_write.addr.eq(Mux(ranking, counted_place, summed.place)),
            votes_write.data.eq(Mux(ranking, counted, 0)),
            votes_write.en.eq(ranking | (summed.valid & opening)),
        ]
        return count_next, SimpleNamespace(
            ranking=ranking,
            deciding=deciding,
            before=before,
            had=had,
            counted=counted,
            margin=margin,
            current=ranked_pass,
            winner=ranked_winner,
        )

    def _rank(self, m, count):
        """The winner's new count moves leader and runner-up. A class that had as many votes as the leader
        takes the lead: if both have 5, and the second one gets a vote, it leads with 6, and the other is the
        runner-up with 5."""
        sample_bits, before = self.geometry.sample_bits, count.before
        after = Signal(self._standing)
        kept = Signal(self._standing, reset_less=True)
        decided_pass = Signal(pass_layout(self.geometry), reset_less=True)
        m.d.comb += after.eq(before)
        with m.If(before.leader == count.winner):
            m.d.comb += after.lead.eq(count.counted)
        with m.Elif(count.had >= before.lead):
            m.d.comb += [
                after.leader.eq(count.winner),
                after.lead.eq(count.counted),
                after.second.eq(before.lead),
            ]
        with m.Elif(count.had >= before.second):
            m.d.comb += after.second.eq(count.counted)
        sample_count = Signal(sample_bits, reset_less=True)
        least = Signal(sample_bits, reset_less=True)
        m.d.sync += [
            count.deciding.eq(count.ranking),
            kept.eq(after),
            least.eq(count.margin),
            decided_pass.eq(count.current),
            sample_count.eq(count.current.sample + 1),
        ]
        return SimpleNamespace(
            deciding=count.deciding, kept=kept, least=least, current=decided_pass, sample_count=sample_count
        )

    def _decide(self, m, memories, ranked):
        """The image leaves if its leader is ahead by the sample's margin, or after the run's last sample."""
        settings, decision = self.control.settings, self.decisions
        early = (settings["OPTIONS"] & OPTION_EARLY) != 0
        kept, least, sample_count = ranked.kept, ranked.least, ranked.sample_count
        m.d.sync += [
            decision.valid.eq(ranked.deciding),
            decision.payload.current.eq(ranked.current),
            decision.payload.leaves.eq(
                (early & (kept.lead - kept.second >= least))
                | (sample_count == settings["SAMPLES"][: self.geometry.sample_bits])
            ),
        ]
        m.d.comb += [
            memories.standing_write.addr.eq(ranked.current.slot),
            memories.standing_write.data.eq(kept),
            memories.standing_write.en.eq(ranked.deciding),
            memories.used_write.addr.eq(ranked.current.slot),
            memories.used_write.data.eq(sample_count),
            memories.used_write.en.eq(ranked.deciding),
        ]

    def _host_reads(self, m, memories, count_next):
        """The margin table, which the host writes, and the results, which it reads."""
        host, results, sums_read = self.host, self.results, memories.sums_read
        half = Signal()
        m.d.comb += results.free.eq(~self.logits.valid & ~count_next)
        m.d.sync += half.eq(host.offset[0])
        m.d.comb += [
            memories.margins_write.addr.eq(host.offset),
            memories.margins_write.data.eq(host.data),
            memories.margins_write.en.eq(host.write[Region.MARGINS]),
            memories.used_read.addr.eq(host.offset),
            memories.log_read.addr.eq(host.offset),
            results.vote.eq(memories.votes_read.data),
            results.logit_sum.eq(Mux(half, sums_read.data[32:].as_signed(), sums_read.data[:32])),
            results.used.eq(memories.used_read.data),
            results.logged.eq(memories.log_read.data),
        ]
