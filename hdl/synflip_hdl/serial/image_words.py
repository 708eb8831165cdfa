"""Images as they come over the line, to the words of the memory map."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out
from synflip.spec.frames import PACKED, PAIR_GAP_BITS, PAIR_VALUE_BITS, PAIRS
from synflip.spec.memory_map import ACTIVATIONS_PER_WORD, IMAGE_WORD_BITS

CODED = data.StructLayout({"data": 32, "last": 1})
IMAGE_WORD = data.StructLayout({"word": IMAGE_WORD_BITS, "data": 32})
LANE_BITS = (ACTIVATIONS_PER_WORD - 1).bit_length()
PAIR_BITS = PAIR_GAP_BITS + PAIR_VALUE_BITS
PAIRS_PER_WORD = 32 // PAIR_BITS


class State(enum.Enum, shape=3):  # type: ignore[call-arg]  # Amaranth's own keyword
    """What the expander does."""

    IDLE = 0  # no image is under way
    TAKE = 1  # it waits for the next word from the line
    CUT = 2  # it cuts a pair or a group off the line's word
    PUT = 3  # it puts the pair's value into its word; if another word is gathered, that goes out first
    SEND = 4  # the word goes out, unless it is empty and not the first
    ON = 5  # it goes on to the next pair or group, to the line's next word, or to the end


class ImageWords(wiring.Component):
    """Expands an image: pairs of a gap and a value, or packed activations of 1, 2 or 4 bits, to words of four
    activations, a byte each. Words without an activation are left out, but for word 0.

    Throughput: at most three cycles a pair and two a word that goes out, while words are taken. Reset: no
    image is begun.

    Members
    -------
    begin : In(1)
        Strobe: what comes next is an image, of ``code``. What was under way is given up.
    code : In(3)
        PAIRS, or the bits of a packed activation; read with ``begin``.
    coded : In(stream of CODED)
        The image's words from the line; ``last`` with its last.
    words : Out(stream of IMAGE_WORD)
        The words of the memory map, ascending, and their numbers.
    busy : Out(1)
        From the cycle after ``begin`` until the image's last word was taken.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "begin": In(1),
                "code": In(3),
                "coded": In(stream.Signature(CODED)),
                "words": Out(stream.Signature(IMAGE_WORD)),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        state = Signal(State)
        code = Signal(3)
        left = Signal(range(32 // ACTIVATIONS_PER_WORD))  # pairs or groups of the line's word behind this one
        coded = Signal(32)  # what is left of the line's word
        last = Signal()  # it is the image's last
        value = Signal(PAIR_VALUE_BITS)  # of the pair
        place = Signal(IMAGE_WORD_BITS + LANE_BITS)  # the row of the pair, or of what comes behind it
        row, lane = place[LANE_BITS:], place[:LANE_BITS]
        word = Signal(IMAGE_WORD_BITS)
        gathered = Signal(32)  # word number ``word``, as far as it is known
        pairs = code == PAIRS
        ending = Signal()  # no pair is left: the word that is gathered is the last

        m.d.comb += [
            self.busy.eq(state != State.IDLE),
            self.words.payload.word.eq(word),
            self.words.payload.data.eq(gathered),
        ]
        with m.Switch(state):
            with m.Case(State.TAKE):
                m.d.comb += self.coded.ready.eq(1)
                m.d.sync += [
                    coded.eq(self.coded.payload.data),
                    last.eq(self.coded.payload.last),
                    # Groups of four activations in 32 bits: 8 of one bit, 4 of two, 2 of four.
                    left.eq(Mux(pairs, PAIRS_PER_WORD - 1, Mux(code[0], 7, Mux(code[1], 3, 1)))),
                ]
                with m.If(self.coded.valid):
                    m.d.sync += state.eq(State.CUT)
            with m.Case(State.CUT):
                with m.If(pairs):
                    m.d.sync += [
                        place.eq(place + coded[:PAIR_GAP_BITS]),
                        value.eq(coded[PAIR_GAP_BITS:PAIR_BITS]),
                        coded.eq(coded[PAIR_BITS:]),
                        state.eq(State.PUT),
                    ]
                with m.Else():
                    m.d.sync += state.eq(State.SEND)
                    with m.Switch(code):
                        for bits in PACKED:
                            with m.Case(bits):
                                group = [coded.word_select(i, bits) for i in range(ACTIVATIONS_PER_WORD)]
                                m.d.sync += [
                                    *(gathered.word_select(i, 8).eq(one) for i, one in enumerate(group)),
                                    coded.eq(coded[bits * ACTIVATIONS_PER_WORD :]),
                                ]
            with m.Case(State.PUT):
                with m.If(row == word):
                    m.d.sync += [
                        gathered.word_select(lane, 8).eq(value),
                        place.eq(place + 1),
                        state.eq(State.ON),
                    ]
                with m.Else():
                    m.d.sync += state.eq(State.SEND)
            with m.Case(State.SEND):
                m.d.comb += self.words.valid.eq((gathered != 0) | (word == 0))
                with m.If(self.words.ready | ~self.words.valid):
                    m.d.sync += [gathered.eq(0), word.eq(Mux(pairs, row, word + 1))]
                    m.d.sync += state.eq(Mux(ending, State.IDLE, Mux(pairs, State.PUT, State.ON)))
            with m.Case(State.ON):
                m.d.sync += left.eq(left - 1)
                with m.If(left != 0):
                    m.d.sync += state.eq(State.CUT)
                with m.Elif(~last):
                    m.d.sync += state.eq(State.TAKE)
                with m.Else():
                    m.d.sync += [ending.eq(1), state.eq(Mux(pairs, State.SEND, State.IDLE))]
        with m.If(self.begin):
            m.d.sync += [code.eq(self.code), place.eq(0), word.eq(0), gathered.eq(0), ending.eq(0)]
            m.d.sync += state.eq(State.TAKE)
        return m
