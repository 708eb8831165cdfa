"""Votes: argmax with ties, counts, leader and runner-up, sums, and what the host reads."""

from amaranth.hdl import Assert, Assume, Cat, Cover, Elaboratable, Module, Mux, Signal, signed
from synflip.spec.cycles import LOGIT_TO_DECISION, VOTE_GAP
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import OPTION_EARLY
from synflip_hdl.engine.votes import Votes
from synflip_hdl.interfaces import CLASS_BITS

from tests.formal.helpers import Followed, Opened, Spread, delayed, fixed, free, free_inputs
from tests.formal.runner import Proof

CLASS_SHIFT = 2
SLOTS = 2


class Passes:
    """Logits as the requantizer leaves them: class by class, any pauses, and at least ``gap`` cycles between
    passes."""

    def __init__(self, m, dut, inside, most_classes: int, gap: int = VOTE_GAP) -> None:
        logit = dut.logits.payload
        self.classes = fixed(m, CLASS_BITS, "classes")  # classes - 1
        self.next_class = Signal(CLASS_BITS)
        self.slot, self.sample = Signal(8, name="pass_slot"), Signal(24, name="pass_sample")
        self.quiet = Signal(range(gap + 1))
        self.opens = dut.logits.valid & (logit.class_ == 0)
        self.ends = dut.logits.valid & logit.last
        m.d.comb += Assume(self.classes < most_classes)
        with m.If(dut.logits.valid):
            m.d.sync += [
                self.next_class.eq(Mux(logit.last, 0, logit.class_ + 1)),
                self.slot.eq(logit.current.slot),
                self.sample.eq(logit.current.sample),
            ]
            m.d.comb += [
                Assume(self.quiet == 0),
                Assume(logit.class_ == self.next_class),
                Assume(logit.last == (logit.class_ == self.classes)),
            ]
            with m.If(logit.class_ != 0):
                m.d.comb += [
                    Assume(logit.current.slot == self.slot),
                    Assume(logit.current.sample == self.sample),
                ]
        with m.If(self.ends):
            m.d.sync += self.quiet.eq(gap)
        with m.Elif(self.quiet != 0):
            m.d.sync += self.quiet.eq(self.quiet - 1)
        m.d.comb += [
            Assert(self.next_class <= self.classes),
            Assert(inside["opens"] == (self.next_class == 0)),
            Assert(self.quiet <= gap),
            Assert((self.quiet == 0) | (self.next_class == 0)),
        ]


class Argmax(Elaboratable):
    """One class, any of them, is followed: no logit beats the winner's, and none before it is as large."""

    def elaborate(self, platform):
        m = Module()
        dut = Votes(Geometry(lanes=16, banks=1, bits=1, image_slots=SLOTS))
        inside = Opened(m, dut, platform=Followed())
        free_inputs(m, dut)
        passes = Passes(m, dut, inside, 1024)
        followed = fixed(m, CLASS_BITS, "followed")
        z, best, winner = Signal(signed(32)), inside["best"].as_signed(), inside["winner"]
        logit = dut.logits.payload
        with m.If(dut.logits.valid & (logit.class_ == followed)):
            m.d.sync += z.eq(logit.z)
        # Classes so far of the pass that is under way; all of it until the next one begins.
        seen = Signal(CLASS_BITS + 1)
        with m.If(dut.logits.valid):
            m.d.sync += seen.eq(logit.class_ + 1)
        counting = inside["counting"]
        claim = Signal()
        m.d.comb += [
            claim.eq(
                (best >= z) & ((best != z) | (winner <= followed)) & ((winner != followed) | (best == z))
            ),
            Assert((seen == 0) | (winner < seen)),
            Assert((followed >= seen) | claim),
            Assert((passes.next_class == 0) | (seen == passes.next_class)),
            Assert((seen == 0) | (passes.next_class != 0) | (seen == passes.classes + 1)),
            # When the vote is counted.
            Assert(~counting | (seen == passes.classes + 1)),
            Assert(~counting | (winner <= passes.classes)),
            Assert(~counting | (followed > passes.classes) | claim),
            Cover(counting & (winner == 2) & (followed == 3) & (best == z)),
        ]
        # The same of the inside: a vote's count is read two cycles after the last logit, and goes to the
        # winner's place in the cycle after.
        past_ends = delayed(m, passes.ends, 1, "ends")
        summed = inside["summed_valid"] & inside["summed"][32 + CLASS_BITS]
        ranking, past_winner = inside["ranking"], delayed(m, winner, 1, "winner")
        m.d.comb += [
            Assert(summed == past_ends),
            Assert(counting == delayed(m, past_ends, 1, "ended")),
            Assert(ranking == delayed(m, counting, 1, "counting")),
            Assert(~ranking | (winner == past_winner)),
            Assert(~past_ends | ((passes.quiet == VOTE_GAP) & (seen == passes.classes + 1))),
            Assert(~counting | (passes.quiet == VOTE_GAP - 1)),
            Assert(~ranking | (passes.quiet == VOTE_GAP - 2)),
        ]
        return m


class Counts(Elaboratable):
    """One image, any of them, against a model with a counter for each class; all classes up to 4."""

    def elaborate(self, platform):
        m = Module()
        most = 1 << CLASS_SHIFT
        depth = SLOTS * most
        geometry = Geometry(lanes=16, banks=1, bits=1, image_slots=SLOTS, result_depth=depth, log_depth=16)
        dut = Votes(geometry)
        inside = Opened(m, dut, platform=Spread(depth))
        free_inputs(m, dut, "control", "host.write")
        passes = Passes(m, dut, inside, most)
        logit, slot, classes = dut.logits.payload, fixed(m, 8, "slot"), passes.classes
        samples, early = fixed(m, 24, "samples"), fixed(m, 1, "early")
        start = free(m, 1, "start")
        others = free(m, 3, "options") & ~OPTION_EARLY
        m.d.comb += [
            dut.control.settings["CLASS_SHIFT"].eq(CLASS_SHIFT),
            dut.control.settings["SAMPLES"].eq(samples),
            dut.control.settings["OPTIONS"].eq(Mux(early, OPTION_EARLY, 0) | others),
            dut.control.start.eq(start),
            Assume((slot < SLOTS) & (samples != 0)),
            Assume(~dut.logits.valid | (logit.current.slot < SLOTS)),
        ]
        # A run's passes come after its start; margins are not written in between.
        under_way = (passes.next_class != 0) | (passes.quiet != 0)
        m.d.comb += Assume(~start | ~(dut.logits.valid | under_way))

        # The model. Its samples come in order, each once.
        counts = [Signal(24, name=f"count_{c}") for c in range(most)]
        used, chosen, followed, total = (
            Signal(24),
            Signal(),
            fixed(m, CLASS_SHIFT, "followed"),
            Signal(signed(64)),
        )
        best, winner = Signal(signed(32), name="largest"), Signal(CLASS_SHIFT, name="first_largest")
        mine = logit.current.slot == slot
        m.d.comb += Assume(~passes.opens | ~mine | ((logit.current.sample == used) & (used < samples)))
        with m.If(dut.logits.valid):
            m.d.sync += chosen.eq(mine)
            with m.If(passes.opens | (logit.z > best)):
                m.d.sync += [best.eq(logit.z), winner.eq(logit.class_)]
        # The cycles after a pass's last logit: its sum is read, the vote's count is read, it is ranked and
        # written, it is decided on, and the decision is told.
        ended = [delayed(m, passes.ends, 1, "ended_1")]
        for cycles in range(2, VOTE_GAP + 1):
            ended.append(delayed(m, ended[-1], 1, f"ended_{cycles}"))
        summing, counting, ranking, deciding, telling = ended
        votes = ranking & chosen
        with m.If(votes):
            m.d.sync += [count.eq(count + (winner == c)) for c, count in enumerate(counts)]
            m.d.sync += used.eq(used + 1)
        adding = delayed(m, dut.logits.valid & mine & (logit.class_ == followed), 1, "adding")
        added = delayed(m, adding, 1, "added")
        z = delayed(m, logit.z, 1, "z")
        past_z = delayed(m, z, 1, "past_z")
        with m.If(added):
            m.d.sync += total.eq(Mux(used == 0, 0, total) + past_z)
        with m.If(start):
            m.d.sync += [signal.eq(0) for signal in (*counts, used)]

        # A decision: leader and runner-up, and whether the image leaves.
        def ranks(leader, lead, second):
            """lead and second are the largest and second largest count, and leader's is the largest."""
            is_leader = [leader == c for c in range(most)]
            below = [
                (count <= lead) & (here | (count <= second))
                for here, count in zip(is_leader, counts, strict=True)
            ]
            attained = [~here & (count == second) for here, count in zip(is_leader, counts, strict=True)]
            leads = [here & (count == lead) for here, count in zip(is_leader, counts, strict=True)]
            return (
                Cat(below).all() & Cat(leads).any() & (Cat(attained).any() | (second == 0)) & (second <= lead)
            )

        decided = dut.decisions.payload.current
        told = dut.decisions.valid & (decided.slot == slot)
        lead_class = inside["kept"][:CLASS_BITS]
        new_lead, new_second = (inside["kept"][CLASS_BITS + 24 * n :][:24] for n in range(2))
        m.d.comb += [
            Assert(dut.decisions.valid == telling),
            Assert(~dut.decisions.valid | (decided.as_value() == Cat(passes.slot, passes.sample))),
            Assert(~(deciding & chosen) | ranks(lead_class, new_lead, new_second)),
        ]
        lead, second = delayed(m, new_lead, 1, "lead"), delayed(m, new_second, 1, "second")
        margin, margin_at = inside["margins.row"], inside["margins.address"]
        with m.If(told):
            m.d.comb += [
                Assert(dut.decisions.payload.current.sample + 1 == used),
                Assert(
                    ~early
                    | (dut.decisions.payload.current.sample[: len(margin_at)] != margin_at)
                    | (dut.decisions.payload.leaves == ((lead - second >= margin) | (used == samples)))
                ),
                Assert(early | (dut.decisions.payload.leaves == (used == samples))),
            ]
        m.d.comb += [
            Cover(told & (used == 2) & (second == 1) & delayed(m, lead_class == 1, 1, "leads")),
            Cover(told & early & dut.decisions.payload.leaves & (used != samples)),
        ]

        # What the host reads, a cycle after the offset: any time but while a pass of this image is under way.
        asked = delayed(m, dut.host.offset, 1, "offset")
        idle = delayed(m, dut.results.free & ~(under_way & chosen), 1, "idle")
        m.d.comb += Assert(dut.results.free | dut.logits.valid | under_way)
        with m.If(idle & (used != 0)):
            for c, count in enumerate(counts):
                m.d.comb += Assert(
                    (asked != (slot << CLASS_SHIFT) + c) | (c > classes) | (dut.results.vote == count)
                )
            for half in range(2):
                place = (((slot << CLASS_SHIFT) + followed) << 1) + half
                m.d.comb += Assert(
                    (asked != place)
                    | (followed > classes)
                    | (dut.results.logit_sum == total.word_select(half, 32))
                )
            m.d.comb += Assert(
                (asked != slot) | (inside["used_samples.address"] != slot) | (dut.results.used == used)
            )

        # The same of the inside.
        def rows(name):
            table = [inside[f"{name}.row_{index}"] for index in range(depth)]
            return [Mux(slot == 0, table[c], table[most + c]) for c in range(most)]

        summed = inside["summed"]
        m.d.comb += Assume(inside["standings.address"] == slot)  # the one row of interest
        standing = inside["standings.row"]
        settled = ~(chosen & (summing | counting | ranking | deciding)) & (used != 0)
        leader, row_lead, row_second = (
            standing[:CLASS_BITS], standing[CLASS_BITS:][:24], standing[CLASS_BITS + 24 :]
        )  # fmt: skip
        valid = delayed(m, dut.logits.valid, 1, "valid")
        past_valid = delayed(m, valid, 1, "past_valid")
        past_class = delayed(m, logit.class_, 1, "class")
        added_class = delayed(m, past_class, 1, "added_class")
        newest = Mux(passes.next_class == 0, classes, passes.next_class - 1)
        m.d.comb += [
            Assert(inside["summed_valid"] == valid),
            Assert(inside["total_valid"] == past_valid),
            Assert(~valid | (passes.next_class != 0) | summing),
            Assert(~past_valid | (passes.next_class != 0) | summing | counting),
            Assert(adding == (valid & chosen & (past_class == followed))),
            Assert(added == (past_valid & chosen & (added_class == followed))),
            # Classes come one after the other: none is added to while it is still read.
            Assert(~valid | (past_class == newest)),
            Assert(~past_valid | Mux(valid, added_class + 1 == past_class, added_class == newest)),
            Assert(inside["counting"] == counting),
            Assert(inside["ranking"] == ranking),
            Assert(inside["deciding"] == deciding),
            *(Assert(ended[n] == (passes.quiet == VOTE_GAP - n)) for n in range(VOTE_GAP)),
            Assert(~under_way | (inside["winner"][:CLASS_SHIFT] == winner)),
            Assert(~under_way | (inside["winner"] <= classes)),
            Assert(~under_way | (inside["best"] == best)),
            Assert(~under_way | (passes.slot < SLOTS)),
            Assert(~under_way | (chosen == (passes.slot == slot))),
            Assert(
                ~chosen
                | ~under_way
                | (passes.quiet == 1)
                | (passes.quiet == 2)
                | ((passes.sample == used) & (used < samples))
            ),
            Assert(used <= samples),
            Assert(~settled | ((leader <= classes) & ranks(leader, row_lead, row_second))),
        ]
        now = Cat(passes.slot, passes.sample)
        place = ((passes.slot << CLASS_SHIFT) + winner)[:CLASS_BITS]
        vote_read, sum_read = dut.debug.votes_read.data, dut.debug.sums_read.data
        margin_here = passes.sample[: len(margin_at)] == margin_at
        of_winner = counts[0]
        for c in range(1, most):
            of_winner = Mux(winner == c, counts[c], of_winner)
        with m.If(inside["summed_valid"]):
            m.d.comb += [Assert(summed[43:] == now), Assert(summed[:32] == z.as_unsigned())]
            m.d.comb += Assert(summed[32:42] == past_class)
            m.d.comb += Assert(
                inside["summed_place"]
                == ((passes.slot << CLASS_SHIFT) + summed[32:42])[: len(inside["summed_place"])]
            )
        with m.If(adding & (used != 0)):
            m.d.comb += Assert(sum_read == total)
        total_place = inside["total_place"]
        with m.If(past_valid):
            m.d.comb += [
                Assert(inside["addend"] == past_z),
                Assert(total_place == ((passes.slot << CLASS_SHIFT) + added_class)[: len(total_place)]),
            ]
        with m.If(added):
            m.d.comb += Assert(inside["total"] == Mux(used == 0, 0, total))
        with m.If(counting):
            m.d.comb += [
                Assert(inside["current"] == now),
                Assert(inside["winner_place"] == place[: len(inside["winner_place"])]),
                Assert(inside["margins.hit_0"] == margin_here),
                Assert(~margin_here | (inside["margins.kept_0"] == margin)),
            ]
            with m.If(chosen):
                m.d.comb += [
                    Assert(inside["standings.hit_0"]),
                    Assert(inside["standings.kept_0"] == standing),
                    Assert((used == 0) | (vote_read == of_winner)),
                ]
        with m.If(ranking):
            m.d.comb += [
                Assert(inside["ranked_pass"] == now),
                Assert(inside["counted_place"] == place[: len(inside["counted_place"])]),
                Assert(~margin_here | (inside["margin"] == margin)),
            ]
            with m.If(chosen):
                m.d.comb += [
                    Assert(inside["counted"] == of_winner + 1),
                    Assert(inside["before"] == Mux(used == 0, winner, standing)),
                ]
        with m.If(deciding):
            m.d.comb += [
                Assert(inside["decided_pass"] == now),
                Assert(inside["sample_count"] == (passes.sample + 1)[:24]),
                Assert(~margin_here | (inside["least"] == margin)),
                Assert(~chosen | ((used == passes.sample + 1) & (lead_class <= classes))),
            ]
        with m.If(telling):
            m.d.comb += Assert(~chosen | (used == passes.sample + 1))
        # Between passes the standing is the counts'; while a vote is counted, that of the votes before it.
        unchanged = chosen & (summing | counting | ranking) & (used != 0)
        m.d.comb += Assert(~unchanged | ((leader <= classes) & ranks(leader, row_lead, row_second)))
        for c in range(most):
            row = rows("votes")[c]
            m.d.comb += [
                Assert((c <= classes) | (counts[c] == 0)),
                Assert((used == 0) | (c > classes) | (row == counts[c])),
                Assert(counts[c] <= used),
            ]
            # In an image's first pass the classes that came are 0 in the memory.
            cleared = (passes.next_class > c) | (passes.quiet != 0)
            late = inside["summed_valid"] & (summed[32 : 32 + CLASS_BITS] == c)
            m.d.comb += Assert(
                (used != 0) | ~chosen | ~under_way | (c > classes) | ~cleared | late | (row == 0)
            )
            m.d.comb += Assert(
                (c != followed)
                | (c > classes)
                | adding
                | added
                | ((used == 0) & ~(chosen & under_way & cleared))
                | (rows("sums")[c] == total.as_unsigned())
            )
        with m.If((used != 0) & (inside["used_samples.address"] == slot) & settled):
            m.d.comb += Assert(inside["used_samples.row"] == used)
        return m


PROOFS = [
    Proof(
        "votes.argmax",
        "the class that gets the vote has the largest logit, and the lowest number of those that have it",
        f"1 to 1024 classes; logits in order, at least {VOTE_GAP} cycles between passes (sequencer, "
        "requantizer.sums)",
        Argmax,
        depth=3,
        induction=True,
        cover=10,
        fast=True,
    ),
    Proof(
        "votes.counts",
        f"every pass is decided once, {LOGIT_TO_DECISION} cycles after its last logit; leader's and "
        "runner-up's votes are the largest and second largest count, and decide who leaves; the host reads "
        "the model's votes, sums and samples used",
        f"1 to {1 << CLASS_SHIFT} classes, {SLOTS} image slots, any runs of fewer than 2^24 samples; "
        "assumes that an image's samples come in order, each once (not proved), margins written outside of "
        "runs (registers), logits as in votes.argmax; nothing is claimed of an image's results while a pass "
        "of it is under way",
        Counts,
        depth=2,
        induction=True,
        cover=14,
    ),
]
