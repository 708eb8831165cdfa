"""Soft votes: one pass, any of them, and one of its classes, among others as close as they may be."""

from amaranth.hdl import Assert, Assume, Cat, Cover, Elaboratable, Module, Mux, Signal, signed
from synflip.spec.cycles import PASS_SPACING
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import Region
from synflip.spec.sizes import SOFT_ENTRIES, SOFT_POINT, log2_ceil
from synflip_hdl.engine.soft_votes import SoftVotes

from tests.formal.engine.votes import Passes
from tests.formal.helpers import Followed, Opened, fixed, free, free_inputs
from tests.formal.runner import Proof

SLOTS = 4


class OnePass(Elaboratable):
    """A pass of ``classes`` logits. ``ago(n)`` is 1 if a pass had its last logit n cycles ago: all that the
    unit does follows from that. The followed pass is ``mine(n)``."""

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def elaborate(self, platform):
        m = Module()
        count, spacing = self.classes, max(self.classes, PASS_SPACING)
        end = 2 * count + 11  # the pass is in all sums
        dut = SoftVotes(
            Geometry(lanes=16, banks=1, bits=1, image_slots=SLOTS, result_depth=32, soft_classes=count)
        )
        inside = Opened(m, dut, platform=Followed())
        free_inputs(m, dut, "control", "host.write")
        passes = Passes(m, dut, inside, count)
        logit = dut.logits.payload
        shift, class_shift = fixed(m, 5, "shift"), fixed(m, 4, "class_shift")
        class_, my_turn = fixed(m, 10, "class"), fixed(m, 1, "turn")
        chosen, write = free(m, 1, "chosen"), free(m, 1, "write")

        # Passes under way, and the followed one.
        past, mine = Signal(end), Signal(end)  # bit n - 1: of n cycles ago
        my_slot = fixed(m, 8, "my_slot")
        my_end = passes.ends & chosen & ~mine.any() & (inside["turn"] == my_turn)
        my_end &= logit.current.slot == my_slot
        m.d.sync += [past.eq(Cat(passes.ends, past)), mine.eq(Cat(my_end, mine))]

        def ago(first, last=None):
            """A pass ended first..last cycles ago."""
            return past[first - 1 : last or first].any()

        def odd(last):
            """An odd number of passes ended at most so many cycles ago."""
            return past[:last].xor() if last else 0

        m.d.comb += [
            dut.control.settings["CLASSES"].eq(count - 1),
            dut.control.settings["CLASS_SHIFT"].eq(class_shift),
            dut.control.settings["SOFT_SHIFT"].eq(shift),
            dut.host.write.eq(Mux(write, 1 << Region.SOFT, 0)),
            Assume(passes.classes == count - 1),
            Assume(class_ < count),
            # A place of its own for each class of each image.
            Assume((count <= 1 << class_shift) & (class_shift <= 3)),
            Assume(my_slot < SLOTS),
            Assume(~dut.logits.valid | (logit.current.slot < SLOTS)),
            Assume(~passes.ends | ~ago(1, spacing - 1)),
            Assume(~write | ~(dut.logits.valid | past.any())),
            Assert((mine & ~past) == 0),
            Assert((mine & (mine - 1)) == 0),
            *(Assert(~past[n] | ~past[n + 1 : n + spacing].any()) for n in range(end - 1)),
        ]

        # Control: what is valid, which class it is of, whose turn it is.
        def stage(valid, number, class_of, turn, later, begin):
            """The classes of a pass, one a cycle, the first ``begin`` cycles after its last logit; here
            ``later`` cycles later."""
            first = begin + later
            m.d.comb += Assert(valid == ago(first, first + count - 1))
            for index in range(count):
                m.d.comb += Assert(~ago(first + index) | (class_of == index))
            if turn is not None:
                m.d.comb += Assert(turn == inside["turn"] ^ number)

        read, add = inside["reading_valid"], inside["adding_valid"]
        summing, ends_at, adding = inside["summing"], inside["summing_last"], inside["farther_valid"]
        stage(read, odd(count), inside["reading_class"], inside["reading_turn"], 0, 1)
        for later in (1, 2):
            turn = odd(later) ^ past[later : count + later].xor()
            names = (f"read_class_{later}", f"read_turn_{later}")
            stage(summing[later - 1], turn, *(inside[name] for name in names), later, 1)
        stage(add, odd(2 * count + 5), inside["adding_class"], inside["adding_turn"], 0, count + 6)
        names = ("past_class_1", "past_class_2", "added_class_1")
        for later, name in enumerate(names, 1):
            stage(adding[later - 1], None, inside[name], None, later, count + 6)
        m.d.comb += [
            Assert(read | (inside["reading_class"] == 0)),
            Assert(add | (inside["adding_class"] == 0)),
            Assert(inside["ended"] == ago(1)),
            *(Assert(summing[n] == ago(n + 2, n + 1 + count)) for n in range(5)),
            *(Assert(ends_at[n] == ago(n + 1 + count)) for n in range(5)),
            *(Assert(adding[n] == ago(count + 7 + n, 2 * count + 6 + n)) for n in range(5)),
            Assert(inside["sum_opens"] == ~ago(6, count + 4) if count > 1 else inside["sum_opens"]),
            Assert(inside["looked_up"] == ago(count + 6)),
            Assert(inside["written"] == ago(count + 7)),
            Assert(dut.results.quiet == ~ago(1, end - 1)),
            Assert(dut.results.free == ~(ago(count + 5) | ago(count + 9, 2 * count + 8))),
        ]

        # The followed pass: its largest logit, and the logit of its followed class.
        z, largest = Signal(signed(32)), Signal(signed(32), name="largest_so_far")
        my_z, my_largest, first = Signal(signed(32)), Signal(signed(32)), Signal()
        now_largest = Mux(passes.opens | (logit.z > largest), logit.z, largest)
        with m.If(dut.logits.valid):
            m.d.sync += largest.eq(now_largest)
            with m.If(logit.class_ == class_):
                m.d.sync += z.eq(logit.z)
        with m.If(my_end):
            m.d.sync += [
                first.eq(logit.current.sample == 0),
                my_largest.eq(now_largest),
                my_z.eq(Mux(class_ == count - 1, logit.z, z)),
            ]
        half, top = Signal(31), Signal(signed(33))
        # What it had on its way: each step is checked against the one before.
        behind, index = Signal(33), Signal(6)
        farther_behind, farther_index = Signal(33), Signal(6)
        my_total, my_l, my_e = Signal(inside["total"].shape()), Signal(31), Signal(9)
        image = Cat(my_slot, first, my_largest)
        place = Cat(class_[: log2_ceil(count)], my_turn)
        sum_place = ((my_slot << class_shift) | class_)[:5]
        rows = {name: inside[f"{name}_rows.row"] for name in ROWS}
        where = {name: inside[f"{name}_rows.address"] for name in ROWS}
        hit = {name: inside[f"{name}_rows.hit_0"] for name in ROWS}
        kept = {name: inside[f"{name}_rows.kept_0"] for name in ROWS}
        ports = dut.debug
        bits = len(ports.farther_read.addr)

        def index_of(distance):
            """The place of a distance in E: it has half a step in it."""
            stepped = distance >> shift
            return Mux(stepped >= SOFT_ENTRIES, SOFT_ENTRIES - 1, stepped)[:6]

        def at(age):
            """The followed pass's followed class, whose first class is here ``age`` cycles after its end."""
            return Cat(mine[age - 1 + f] & (class_ == f) for f in range(count)).any()

        def holds(begin, last, condition):
            """From age ``begin`` of the followed pass to ``last``, unless a later pass has come as far."""
            for age in range(begin, last + 1):
                newer = past[begin - 1 : age - 1].any() if age > begin else 0
                m.d.comb += Assert(~mine[age - 1] | newer | condition)

        def answers(now, name, asked):
            """A memory's answer: of the row that was asked for, as it is."""
            m.d.comb += [
                Assert(~now | (hit[name] == (asked == where[name]))),
                Assert(~now | ~hit[name] | (kept[name] == rows[name])),
            ]

        with m.If(mine[4 : 4 + count].any()):
            m.d.sync += my_total.eq(Mux(mine[4], 0, my_total) + ports.summed_read.data)
        with m.If(mine[count + 5]):
            m.d.sync += my_l.eq(ports.farther_read.data)
        for age, kept_now, value in (
            (3, behind, inside["behind"]),
            (4, index, inside["summed_index"]),
            (count + 8, farther_behind, inside["farther_behind"]),
            (count + 9, farther_index, inside["added_index"]),
            (count + 10, my_e, ports.added_read.data),
        ):
            with m.If(at(age)):
                m.d.sync += kept_now.eq(value)
        m.d.comb += [
            half.eq((1 << shift) >> 1),
            top.eq(my_largest + half),
            Assume(where["logits"] == place),
            Assume(where["behind"] == place),
            Assume(where["energies"] == my_slot),
            Assume(where["sums"] == sum_place),
        ]

        # It is collected.
        under_way = (passes.next_class != 0) | ago(1)
        m.d.comb += [
            Assert(~mine.any() | (my_z <= my_largest)),
            Assert((passes.next_class <= class_) | (z <= largest)),
            Assert((passes.next_class <= class_) | (inside["turn"] != my_turn) | (rows["logits"] == z[:32])),
            Assert(~under_way | (inside["best"].as_signed() == largest)),
            Assert(~under_way | (inside["slot"] == passes.slot)),
            Assert(~under_way | (inside["first"] == (passes.sample == 0))),
            Assert(~mine[0] | (image == Cat(passes.slot, passes.sample == 0, largest))),
            *(
                Assert(~mine[age - 1] | (inside["turn"] == ~(my_turn ^ odd(age - 1))))
                for age in range(1, end + 1)
            ),
        ]
        holds(1, count, rows["logits"] == my_z[:32])

        # Its exponentials are added up.
        holds(
            2,
            count + 1,
            (inside["read"] == image) & (inside["top"].as_signed() == top),
        )
        holds(count + 2, count + 5, inside["read_later"] == image)
        m.d.comb += [
            Assert(~at(2) | (hit["logits"] & (kept["logits"] == my_z[:32]))),
            Assert(~at(3) | (inside["behind"] == top - my_z)),
            Assert(behind < (1 << 32) + (1 << 30)),
            Assert(~at(4) | (inside["summed_index"] == index_of(behind))),
            Assert(~mine[count + 4] | (ports.farther_read.addr == (my_total >> SOFT_POINT)[:bits])),
        ]
        answers(at(5), "summed", index)
        for age in range(6, count + 6):
            m.d.comb += Assert(~mine[age - 1] | (inside["total"] == my_total))
        for age in range(4, count + 7):
            m.d.comb += Assert(~at(age) | (rows["behind"] == behind))

        # Its energy.
        holds(count + 6, count + 9, inside["looked_up_image"] == image)
        holds(count + 7, 2 * count + 6, inside["farther"] == my_l)
        answers(mine[count + 5], "farther", (my_total >> SOFT_POINT)[:bits])
        level = Signal(signed(33))
        before = Mux(first, 0, rows["energies"])
        m.d.comb += [
            level.eq(my_largest + my_l),
            Assert(~mine[count + 5] | (hit["energies"] & (kept["energies"] == rows["energies"]))),
            Assert(~mine[count + 6] | (inside["level"].as_signed() == level)),
            Assert(~mine[count + 6] | (inside["energy"].as_unsigned() == before)),
        ]
        with m.If(mine[count + 6]):
            m.d.comb += [
                Assert(inside["energy_written"]),
                Assert(inside["energy_slot"] == my_slot),
                Assert(inside["energy_value"].as_unsigned() == (before - level)[:64]),
            ]

        # Its soft vote for the followed class.
        holds(count + 9, 2 * count + 8, inside["added"] == Cat(my_slot, first))
        m.d.comb += [
            Assert(~at(count + 7) | (hit["behind"] & (kept["behind"] == behind))),
            Assert(~at(count + 8) | (inside["farther_behind"] == behind + my_l)),
            Assert(~at(count + 9) | (inside["added_index"] == index_of(farther_behind))),
            Assert(~at(count + 10) | (hit["sums"] & (kept["sums"] == rows["sums"]))),
            Assert(~at(count + 10) | (inside["sum_first_1"] == first)),
        ]
        answers(at(count + 10), "added", farther_index)
        lowest = (1 << class_shift) - 1
        for later in (1, 2):
            name = f"sum_place_{later}"
            m.d.comb += Assert(~at(count + 9 + later) | (inside[name] == sum_place))
            for f in range(count):
                m.d.comb += Assert(~ago(count + 9 + later + f) | ((inside[name] & lowest) == f))
        with m.If(at(count + 11)):
            m.d.comb += [
                Assert(inside["addend"] == my_e),
                Assert(inside["vote_written"]),
                Assert(inside["vote_place"] == sum_place),
                Assert(inside["vote_value"] == (Mux(first, 0, rows["sums"]) + my_e)[:32]),
                Assert(inside["sum"] == Mux(first, 0, rows["sums"])),
            ]
        m.d.comb += Cover(at(count + 11) & ~first & ago(1) & ago(1 + spacing) & (my_e == 5))
        return m


ROWS = ("logits", "behind", "summed", "added", "farther", "sums", "energies")
PROOFS = [
    Proof(
        f"soft_votes classes={classes}",
        "a pass's distances are the largest logit plus half a step less each; Z is the sum of what E answers "
        "to them, L is asked for Z, and E again for the distances plus its answer; its energy and its soft "
        "votes are added to what the memories hold, or start the sums in a run's first sample, in the cycles "
        "that the docstring says; quiet and free say so",
        f"{classes} classes, {SLOTS} image slots, any tables, shifts, logits; assumes logits in order "
        f"(requantizer.sums) and passes {max(classes, PASS_SPACING)} cycles apart or more (sequencer)",
        lambda classes=classes: OnePass(classes),
        depth=2,
        induction=True,
        cover=2 * classes + 16 + max(classes, PASS_SPACING),
        fast=classes == 1,
        slow=classes == 5,
    )
    for classes in (1, 3, 5)
]
