"""Votes: argmax with ties, counts, leader and runner-up, sums, and what the host reads."""

from amaranth.hdl import Assert, Assume, Cat, Cover, Elaboratable, Module, Mux, Signal, signed
from synflip.spec.cycles import LOGIT_TO_DECISION, PASS_SPACING, VOTE_WRITTEN
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import OPTION_EARLY
from synflip_hdl.engine.votes import Votes
from synflip_hdl.interfaces import CLASS_BITS, pass_layout

from tests.formal.helpers import Followed, Opened, Spread, delayed, fixed, free, free_inputs
from tests.formal.runner import Proof

CLASS_SHIFT = 2
SLOTS = 2
SETTLED = LOGIT_TO_DECISION + 1  # cycles after a pass's last logit in which nothing of it is under way


class Passes:
    """Logits as the requantizer leaves them: class by class, with any pauses."""

    def __init__(self, m, dut, inside, most_classes: int) -> None:
        logit = dut.logits.payload
        self.classes = fixed(m, CLASS_BITS, "classes")  # classes - 1
        self.next_class = Signal(CLASS_BITS)
        self.slot, self.sample = Signal(8, name="pass_slot"), Signal(24, name="pass_sample")
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
                Assume(logit.class_ == self.next_class),
                Assume(logit.last == (logit.class_ == self.classes)),
            ]
            with m.If(logit.class_ != 0):
                m.d.comb += [
                    Assume(logit.current.slot == self.slot),
                    Assume(logit.current.sample == self.sample),
                ]
        m.d.comb += [
            Assert(self.next_class <= self.classes),
            Assert(inside["opens"] == (self.next_class == 0)),
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
        past_ends = delayed(m, passes.ends, 1, "ends")
        claim = Signal()
        m.d.comb += [
            claim.eq(
                (best >= z) & ((best != z) | (winner <= followed)) & ((winner != followed) | (best == z))
            ),
            Assert((seen == 0) | (winner < seen)),
            Assert((followed >= seen) | claim),
            Assert((passes.next_class == 0) | (seen == passes.next_class)),
            Assert((seen == 0) | (passes.next_class != 0) | (seen == passes.classes + 1)),
            # When the vote's count is asked for; the next pass's first logit may come now.
            Assert(~past_ends | (seen == passes.classes + 1)),
            Assert(~past_ends | (winner <= passes.classes)),
            Assert(~past_ends | (followed > passes.classes) | claim),
            Cover(past_ends & dut.logits.valid & (winner == 2) & (followed == 3) & (best == z)),
        ]
        # The winner goes along until it is ranked, two cycles later.
        summed = inside["summed_valid"] & inside["summed"][32 + CLASS_BITS]
        counting, past_winner = inside["counting"], delayed(m, winner, 1, "winner")
        m.d.comb += [
            Assert(summed == past_ends),
            Assert(counting == delayed(m, past_ends, 1, "ended")),
            Assert(inside["ranking"] == delayed(m, counting, 1, "counting")),
            Assert(inside["counted_winner"] == past_winner),
            Assert(inside["ranked_winner"] == delayed(m, past_winner, 1, "past_winner")),
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
        # Cycles since a pass's last logit: its sum is read, its count is read, it is ranked and written,
        # it is decided on, the decision is told; then the next pass may be as far as its last logit's sum.
        since = Signal(range(SETTLED + 1), init=SETTLED)
        with m.If(passes.ends):
            m.d.sync += since.eq(1)
        with m.Elif(since != SETTLED):
            m.d.sync += since.eq(since + 1)
        summing, counting, ranking, deciding = (since == n for n in range(1, LOGIT_TO_DECISION))
        telling = delayed(m, deciding, 1, "deciding")
        in_pass = passes.next_class != 0
        under_way = in_pass | (since != SETTLED)
        m.d.comb += [
            # A pass of so few classes is one tile, whose logits leave one right after the other.
            Assume(~in_pass | dut.logits.valid),
            Assume(~passes.opens | (since + classes >= PASS_SPACING)),
            Assume(~passes.opens | (logit.current.sample != 0) | (since > VOTE_WRITTEN)),
            # A run's passes come after its start; margins are not written in between.
            Assume(~start | ~(dut.logits.valid | under_way)),
        ]

        # The model. Its samples come in order, each once: ``come`` passes so far, ``used`` of them counted.
        counts = [Signal(24, name=f"count_{c}") for c in range(most)]
        come, used, chosen, followed, total = (
            Signal(24),
            Signal(24),
            Signal(),
            fixed(m, CLASS_SHIFT, "followed"),
            Signal(signed(64)),
        )
        best, winner = Signal(signed(32), name="largest"), Signal(CLASS_SHIFT, name="first_largest")
        mine = logit.current.slot == slot
        m.d.comb += Assume(~passes.opens | ~mine | ((logit.current.sample == come) & (come < samples)))
        with m.If(dut.logits.valid):
            m.d.sync += chosen.eq(mine)
            with m.If(passes.opens | (logit.z > best)):
                m.d.sync += [best.eq(logit.z), winner.eq(logit.class_)]
        with m.If(passes.ends & mine):
            m.d.sync += come.eq(come + 1)
        # The pass that is counted, while logits of the next one come.
        ended = Signal(pass_layout(geometry))
        ended_winner, ended_chosen = Signal(CLASS_SHIFT), Signal()
        with m.If(summing):
            m.d.sync += [ended.slot.eq(passes.slot), ended.sample.eq(passes.sample)]
            m.d.sync += [ended_winner.eq(winner), ended_chosen.eq(chosen)]
        with m.If(ranking & ended_chosen):
            m.d.sync += [count.eq(count + (ended_winner == c)) for c, count in enumerate(counts)]
            m.d.sync += used.eq(used + 1)
        adding = delayed(m, dut.logits.valid & mine & (logit.class_ == followed), 1, "adding")
        added = delayed(m, adding, 1, "added")
        z = delayed(m, logit.z, 1, "z")
        past_z = delayed(m, z, 1, "past_z")
        first_sum = delayed(m, passes.sample == 0, 1, "first_sum")  # what is added now starts the sum
        summed_up = Signal()  # the sum has begun
        with m.If(added):
            m.d.sync += [total.eq(Mux(first_sum, 0, total) + past_z), summed_up.eq(1)]
        with m.If(start):
            m.d.sync += [signal.eq(0) for signal in (*counts, come, used, summed_up)]

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
            Assert(~dut.decisions.valid | (decided.as_value() == ended.as_value())),
            Assert(~(deciding & ended_chosen) | ranks(lead_class, new_lead, new_second)),
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
        counted_now = (counting | ranking | deciding) & ended_chosen
        idle = delayed(m, dut.results.free & ~((in_pass | summing) & chosen) & ~counted_now, 1, "idle")
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
        settled = ~(ended_chosen & deciding) & (used != 0)
        leader, row_lead, row_second = (
            standing[:CLASS_BITS], standing[CLASS_BITS:][:24], standing[CLASS_BITS + 24 :]
        )  # fmt: skip
        valid = delayed(m, dut.logits.valid, 1, "valid")
        past_valid = delayed(m, valid, 1, "past_valid")
        past_class = delayed(m, logit.class_, 1, "class")
        added_class = delayed(m, past_class, 1, "added_class")
        past_chosen, past_slot = delayed(m, chosen, 1, "chosen"), delayed(m, passes.slot, 1, "slot")
        live, ended_live = in_pass | summing, counting | ranking | deciding | telling
        newest = Mux(passes.next_class == 0, classes, passes.next_class - 1)
        m.d.comb += [
            Assert(summed_up | (come == 0) | (followed > classes) | adding | added),
            Assert(summed_up | ~(chosen & (passes.next_class > followed)) | adding | added),
            Assert(inside["summed_valid"] == valid),
            Assert(inside["total_valid"] == past_valid),
            Assert((since != 0) & (since <= SETTLED)),
            Assert(valid | ~in_pass),
            Assert(summing == (valid & ~in_pass)),
            Assert(counting == (past_valid & (added_class == classes))),
            Assert(~in_pass | (since + classes - passes.next_class >= PASS_SPACING)),
            Assert(~in_pass | (passes.sample != 0) | (since > VOTE_WRITTEN + 1)),
            Assert(adding == (valid & chosen & (past_class == followed))),
            Assert(added == (past_valid & past_chosen & (added_class == followed))),
            # Classes come one after the other: none is added to while it is still read.
            Assert(~valid | (past_class == newest)),
            Assert(
                ~past_valid
                | Mux(valid & (past_class != 0), added_class + 1 == past_class, added_class == classes)
            ),
            Assert(inside["counting"] == counting),
            Assert(inside["ranking"] == ranking),
            Assert(inside["deciding"] == deciding),
            Assert(~live | (inside["winner"] == winner)),
            Assert(~live | (winner <= classes)),
            Assert(~live | (inside["best"] == best)),
            Assert(~live | (passes.slot < SLOTS)),
            Assert(~live | (chosen == (passes.slot == slot))),
            Assert(~live | ~chosen | (passes.sample + summing == come)),
            Assert(~in_pass | ~chosen | (come < samples)),
            Assert(~ended_live | (ended.slot < SLOTS)),
            Assert(~ended_live | (ended_chosen == (ended.slot == slot))),
            Assert(~ended_live | (ended_winner <= classes)),
            Assert(~ended_live | ~ended_chosen | (ended.sample + (deciding | telling) == used)),
            Assert(come == used + (summing & chosen) + ((counting | ranking) & ended_chosen)),
            Assert(come <= samples),
            Assert(used <= samples),
            Assert(~settled | ((leader <= classes) & ranks(leader, row_lead, row_second))),
        ]
        now = ended.as_value()
        place = ((ended.slot << CLASS_SHIFT) + ended_winner)[:CLASS_BITS]
        vote_read, sum_read = dut.debug.votes_read.data, dut.debug.sums_read.data
        margin_here = ended.sample[: len(margin_at)] == margin_at
        of_winner = counts[0]
        for c in range(1, most):
            of_winner = Mux(ended_winner == c, counts[c], of_winner)
        with m.If(inside["summed_valid"]):
            m.d.comb += [
                Assert(summed[43:] == Cat(passes.slot, passes.sample)),
                Assert(summed[:32] == z.as_unsigned()),
            ]
            m.d.comb += Assert(summed[32:42] == past_class)
            m.d.comb += Assert(
                inside["summed_place"]
                == ((passes.slot << CLASS_SHIFT) + summed[32:42])[: len(inside["summed_place"])]
            )
        with m.If(adding & (passes.sample != 0)):
            m.d.comb += Assert(sum_read == total)
        total_place = inside["total_place"]
        with m.If(past_valid):
            m.d.comb += [
                Assert(inside["addend"] == past_z),
                Assert(total_place == ((past_slot << CLASS_SHIFT) + added_class)[: len(total_place)]),
            ]
        with m.If(added):
            m.d.comb += Assert(inside["total"] == Mux(first_sum, 0, total))
        with m.If(counting):
            m.d.comb += [
                Assert(inside["current"] == now),
                Assert(inside["winner_place"] == place[: len(inside["winner_place"])]),
                Assert(inside["counted_winner"] == ended_winner),
                Assert(inside["margins.hit_0"] == margin_here),
                Assert(~margin_here | (inside["margins.kept_0"] == margin)),
            ]
            with m.If(ended_chosen):
                m.d.comb += [
                    Assert(inside["standings.hit_0"]),
                    Assert(inside["standings.kept_0"] == standing),
                    Assert((used == 0) | (vote_read == of_winner)),
                ]
        with m.If(ranking):
            m.d.comb += [
                Assert(inside["ranked_pass"] == now),
                Assert(inside["counted_place"] == place[: len(inside["counted_place"])]),
                Assert(inside["ranked_winner"] == ended_winner),
                Assert(~margin_here | (inside["margin"] == margin)),
            ]
            with m.If(ended_chosen):
                m.d.comb += [
                    Assert(inside["counted"] == of_winner + 1),
                    Assert(inside["before"] == Mux(used == 0, ended_winner, standing)),
                ]
        with m.If(deciding):
            m.d.comb += [
                Assert(inside["decided_pass"] == now),
                Assert(inside["sample_count"] == (ended.sample + 1)[:24]),
                Assert(~margin_here | (inside["least"] == margin)),
                Assert(~ended_chosen | (lead_class <= classes)),
            ]
        for c in range(most):
            row = rows("votes")[c]
            m.d.comb += [
                Assert((c <= classes) | (counts[c] == 0)),
                Assert((used == 0) | (c > classes) | (row == counts[c])),
                Assert(counts[c] <= used),
            ]
            # In an image's first pass the classes that came are 0 in the memory.
            came = (chosen & ((passes.next_class > c) | summing)) | (ended_chosen & (counting | ranking))
            late = inside["summed_valid"] & (summed[32 : 32 + CLASS_BITS] == c)
            m.d.comb += Assert((used != 0) | ~came | (c > classes) | late | (row == 0))
            m.d.comb += Assert(
                (c != followed) | (c > classes) | ~summed_up | (rows("sums")[c] == total.as_unsigned())
            )
        with m.If((used != 0) & (inside["used_samples.address"] == slot) & settled):
            m.d.comb += Assert(inside["used_samples.row"] == used)
        return m


PROOFS = [
    Proof(
        "votes.argmax",
        "the class that gets the vote has the largest logit, and the lowest number of those that have it",
        "1 to 1024 classes; logits in order (requantizer.sums), with any pauses or none, also between passes",
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
        "runs (registers), logits in order and of a tile one right after the other (requantizer.sums), a "
        f"pass's last at least {PASS_SPACING} cycles after that of the pass before and, in a run's first "
        f"sample, its first more than {VOTE_WRITTEN} (sequencer); nothing is claimed of an image's results "
        "while a pass of it is under way",
        Counts,
        depth=2,
        induction=True,
        cover=14,
    ),
]
