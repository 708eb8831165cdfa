"""ImageWords: each activation of an image goes out once, in its word; empty words do not, but the first."""

from amaranth.hdl import Assert, Assume, Cat, Cover, Elaboratable, Module, Mux, Signal
from synflip.spec.frames import PACKED, PAIRS
from synflip_hdl.serial.image_words import ImageWords, State

from tests.formal.helpers import Opened, fixed, free_inputs
from tests.formal.runner import Proof

ROW_BITS = 18


class Expansion(Elaboratable):
    """Any words from the line, any pauses. One activation, that of a row that may be any, is followed: what
    the words that came say of it, and what went out.

    Inside, an activation is in what is left of the line's word, in the pair that was cut off, in the word
    that is gathered, or it went out. Rows stay within an image's places, and an image is not given up.
    """

    def __init__(self, code: int) -> None:
        self.code = code

    def elaborate(self, platform):
        m = Module()
        dut = ImageWords()
        inside = Opened(m, dut)
        free_inputs(m, dut, "code")
        row = fixed(m, ROW_BITS, "followed")
        lane, at = row[:2], row[2:]
        wanted, seen = Signal(8), Signal(8)  # what the words that came say; what went out
        sent, first, any_, last_word = Signal(), Signal(), Signal(), Signal(16)
        begun, complete = Signal(), Signal()  # an image; its last word came
        comes, goes = dut.coded.valid & dut.coded.ready, dut.words.valid & dut.words.ready
        m.d.comb += [dut.code.eq(self.code), Assume(~dut.begin | ~dut.busy)]
        with m.If(goes):
            m.d.sync += [any_.eq(1), last_word.eq(dut.words.payload.word)]
            with m.If(dut.words.payload.word == at):
                m.d.sync += [sent.eq(1), seen.eq(dut.words.payload.data.word_select(lane, 8))]
            with m.If(dut.words.payload.word == 0):
                m.d.sync += first.eq(1)
        with m.If(comes):
            m.d.sync += complete.eq(dut.coded.payload.last)
        with m.If(dut.begin):
            m.d.sync += [begun.eq(1), complete.eq(0), wanted.eq(0), sent.eq(0), first.eq(0), any_.eq(0)]

        state = inside["state"]
        word, gathered = inside["word"], inside["gathered"]
        here = gathered.word_select(lane, 8)
        part = self._pairs if self.code == PAIRS else self._packed
        waiting, value = part(m, dut, inside, row, wanted, comes)
        idle = state == State.IDLE
        out = Mux(sent, seen == wanted, wanted == 0)
        m.d.comb += [
            Assert(idle | ((state <= State.ON.value) & (inside["code"] == self.code) & begun)),
            Assert(~dut.busy == idle),
            # The claim: an image has ended, and the activation went out as it came.
            Assert(~(idle & begun) | (complete & out & first)),
            Assert(~goes | ~any_ | (last_word < dut.words.payload.word)),
            Assert(~goes | any_ | (dut.words.payload.word == 0)),
            Assert(~goes | (dut.words.payload.word == 0) | (dut.words.payload.data != 0)),
            # Where it is until then.
            Assert(idle | ~waiting | ((wanted == value) & ~sent & (word <= at))),
            Assert(idle | ~waiting | (word != at) | (here == 0)),
            Assert(idle | waiting | (word != at) | (here == wanted)),
            Assert(idle | waiting | (word >= at) | (wanted == 0)),
            Assert(idle | (word > at) | ~sent),
            Assert(idle | (word <= at) | out),
            Assert(idle | (word == 0) | first),
            Assert(idle | ~any_ | (last_word < word)),
            Assert(idle | any_ | ~first),
            Assert(idle | (word != 0) | ~any_),
            Assert(~begun | idle | (complete == Mux(state == State.TAKE, 0, inside["last"]))),
            Cover(idle & begun & sent & (seen == 1) & (at == 1)),
        ]
        return m

    def _pairs(self, m, dut, inside, row, wanted, comes):
        """Pairs: (whether the row is in what is left, its value there)."""
        state, coded, left = inside["state"], inside["coded"], inside["left"]
        place, word, ending = inside["place"], inside["word"], inside["ending"]
        base = Signal(ROW_BITS + 1)  # the row behind all pairs that came
        with m.If(dut.begin):
            m.d.sync += base.eq(0)

        def rows(content, start):
            one = start + content[:8]
            return one, one + 1 + content[16:24]

        one, two = rows(dut.coded.payload.data, base)
        with m.If(comes):
            m.d.sync += base.eq(two + 1)
            m.d.comb += Assume(two + 1 < 1 << ROW_BITS)
            with m.If(one == row):
                m.d.sync += wanted.eq(dut.coded.payload.data[8:16])
            with m.If(two == row):
                m.d.sync += wanted.eq(dut.coded.payload.data[24:32])

        cut = ((state == State.PUT) | (state == State.SEND)) & ~ending  # a pair was cut off, and is not put
        uncut = Mux(state == State.CUT, left + 1, Mux(cut | (state == State.ON), left, 0))
        start = place + cut
        one, two = rows(coded, start)
        in_cut = cut & (place == row)
        in_one, in_two = (uncut > 0) & (one == row), (uncut == 2) & (two == row)
        behind = Mux(uncut == 2, two + 1, Mux(uncut == 1, one + 1, start))
        idle = state == State.IDLE
        gathered = inside["gathered"]
        free = [gathered.word_select(lane, 8) == 0 for lane in range(4)]
        m.d.comb += [
            Assert(idle | (behind == base)),
            Assert(idle | (base < 1 << ROW_BITS)),
            Assert(uncut <= 2),
            Assert(idle | ending | (state == State.TAKE) | (left <= 1)),
            Assert(idle | ~ending | ((state == State.SEND) & inside["last"])),
            Assert((state != State.SEND) | ending | (place[2:] != word)),
            # Rows grow: the word that is gathered has nothing from the place on.
            Assert(idle | (word <= place[2:])),
            *(Assert(idle | (place[2:] != word) | (place[:2] > lane) | free[lane]) for lane in range(4)),
        ]
        value = Mux(in_cut, inside["value"], Mux(in_one, coded[8:16], coded[24:32]))
        return in_cut | in_one | in_two, value

    def _packed(self, m, dut, inside, row, wanted, comes):
        """Packed activations: the same."""
        bits = self.code
        groups = 8 // bits
        state, coded, left, word = inside["state"], inside["coded"], inside["left"], inside["word"]
        at = row[2:]
        base = Signal(17)  # groups that came
        with m.If(dut.begin):
            m.d.sync += base.eq(0)

        def value_of(content, group):
            return content.bit_select(Cat(row[:2], group[:3]) * bits, bits)

        with m.If(comes):
            m.d.sync += base.eq(base + groups)
            m.d.comb += Assume(base + groups < 1 << 16)
            with m.If((at >= base) & (at < base + groups)):
                m.d.sync += wanted.eq(value_of(dut.coded.payload.data, at - base[:16]))
        uncut = Mux(state == State.CUT, left + 1, Mux((state == State.SEND) | (state == State.ON), left, 0))
        start = word + (state == State.SEND)
        idle = state == State.IDLE
        m.d.comb += [
            Assert(idle | (start + uncut == base)),
            Assert(idle | (base < 1 << 16)),
            Assert(idle | (state == State.TAKE) | (left < groups)),
            Assert(state != State.PUT),
            Assert(~inside["ending"] | idle),
            Assert(idle | (state == State.SEND) | (inside["gathered"] == 0)),
        ]
        return (at >= start) & (at < start + uncut), value_of(coded, at - start[:16])


PROOFS = [
    Proof(
        f"image_words {name}",
        "each activation of an image goes out once, in its word of four, as the line's words have it; words "
        "go out in ascending order, word 0 always, others only if they are not empty",
        f"{name}; assumes that the rows lie within an image's places (driver) and that an image begins when "
        "the one before has ended (the bridge gives one up only to begin another)",
        lambda code=code: Expansion(code),
        depth=2,
        induction=True,
        cover=cover,
        fast=code in (PAIRS, 4),
        slow=code == 1,
    )
    # Packed: three cycles for each of a word's groups, and four to begin and to end.
    for code, name, cover in (
        (PAIRS, "pairs", 12),
        *((bits, f"packed, {bits} bits", 3 * (8 // bits) + 4) for bits in PACKED),
    )
]
