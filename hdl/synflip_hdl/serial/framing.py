"""Frames on a line of bytes: flags, escapes, CRC. See docs/reference/uart.md."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ETHERNET
from amaranth.lib.wiring import In, Out
from synflip.spec.frames import ESCAPE, ESCAPE_XOR, FLAG, MAX_WORDS, REQUEST_WORDS

LONGEST = REQUEST_WORDS + MAX_WORDS  # words of a frame
WORD = data.StructLayout({"data": 32, "last": 1})


class Deframer(wiring.Component):
    """Bytes to the words of frames. The CRC is delivered too, as a frame's last word.

    A flag ends a frame, and so does a silence of ``silence`` cycles; two flags in a row enclose no frame. If
    a byte of a frame comes while ``listen`` is low, the rest of that frame is dropped: it has no words and no
    end. Latency: a word and a frame's end are there in the cycle of the byte that completes them, the end by
    a silence one cycle after the silence. Reset: outside a frame.

    Members
    -------
    bytes : In(stream of 8 bits, always ready)
        The bytes of the line.
    listen : In(1)
        High while the words are taken.
    word : Out(32)
        The next word of the frame, the low byte first on the line.
    word_valid : Out(1)
        Strobe: ``word`` is there in this cycle.
    length : Out(0..LONGEST + 1)
        Words of the frame before ``word``; LONGEST + 1 stands for any larger number.
    end : Out(1)
        Strobe: the frame has ended.
    good : Out(1)
        With ``end``: the CRC is right and the last word is whole.
    """

    def __init__(self, silence: int) -> None:
        """silence: cycles without a byte that end a frame."""
        self.silence = silence
        super().__init__(
            {
                "bytes": In(stream.Signature(8, always_ready=True)),
                "listen": In(1),
                "word": Out(32),
                "word_valid": Out(1),
                "length": Out(range(LONGEST + 2)),
                "end": Out(1),
                "good": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC32_ETHERNET(data_width=8).create()
        flag, inside = Signal(), Signal()  # the frame ends now; a byte of the frame is there now
        silence = Signal(range(self.silence))
        silent = Signal()  # a register: Yosys would count the counter's reset as a path
        begun, escaped, missed = Signal(), Signal(), Signal()
        lower, position = Signal(24), Signal(2)  # the word's bytes so far, and how many

        m.d.comb += [
            flag.eq((self.bytes.valid & (self.bytes.payload == FLAG)) | silent),
            inside.eq(self.bytes.valid & (self.bytes.payload != FLAG)),
            crc.data.eq(Mux(escaped, self.bytes.payload ^ ESCAPE_XOR, self.bytes.payload)),
            crc.valid.eq(inside & (escaped | (self.bytes.payload != ESCAPE))),
            crc.start.eq(flag),
            self.word.eq(Cat(lower, crc.data)),
            self.word_valid.eq(crc.valid & (position == 3) & self.listen & ~missed),
            self.end.eq(flag & begun & self.listen & ~missed),
            self.good.eq(crc.match_detected & (position == 0) & ~escaped),
        ]
        still = begun & ~self.bytes.valid
        m.d.sync += silent.eq(still & (silence == self.silence - 1))
        with m.If(still):
            m.d.sync += silence.eq(silence + 1)
        with m.Else():
            m.d.sync += silence.eq(0)
        with m.If(flag):
            m.d.sync += [begun.eq(0), escaped.eq(0), missed.eq(0), position.eq(0), self.length.eq(0)]
        with m.Elif(inside):
            m.d.sync += [begun.eq(1), escaped.eq(~crc.valid)]
            with m.If(~self.listen):
                m.d.sync += missed.eq(1)
        with m.If(crc.valid):
            m.d.sync += [lower.eq(Cat(lower[8:], crc.data)), position.eq(position + 1)]
            with m.If((position == 3) & (self.length != LONGEST + 1)):
                m.d.sync += self.length.eq(self.length + 1)
        return m


class Framer(wiring.Component):
    """Words to the bytes of a frame: flag, words, CRC, flag.

    Throughput: a byte a cycle while ``bytes`` is taken, and one more cycle a word to load it. Latency: the
    opening flag is there in the cycle of the first word. Reset: outside a frame.

    Members
    -------
    words : In(stream of WORD)
        ``data``: a word, sent from its low byte on. ``last``: the frame ends behind this word.
    bytes : Out(stream of 8 bits)
        The bytes of the line.
    """

    def __init__(self) -> None:
        super().__init__({"words": In(stream.Signature(WORD)), "bytes": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC32_ETHERNET(data_width=8).create()
        word, left, last, closing = Signal(32), Signal(2), Signal(), Signal()
        escaped = Signal()
        byte = word[:8]
        special = (byte == FLAG) | (byte == ESCAPE)
        m.d.comb += crc.data.eq(byte)

        with m.FSM():
            with m.State("OPEN"):  # the opening flag; it waits for the frame's first word
                m.d.comb += [
                    self.bytes.valid.eq(self.words.valid),
                    self.bytes.payload.eq(FLAG),
                    crc.start.eq(1),
                ]
                with m.If(self.words.valid & self.bytes.ready):
                    m.next = "WORD"
            with m.State("WORD"):  # load the next word
                m.d.comb += self.words.ready.eq(1)
                m.d.sync += [
                    word.eq(self.words.payload.data),
                    last.eq(self.words.payload.last),
                    left.eq(3),
                    closing.eq(0),
                ]
                with m.If(self.words.valid):
                    m.next = "BYTE"
            with m.State("BYTE"):  # send four bytes; FLAG and ESCAPE go as two, ESCAPE and the byte changed
                m.d.comb += self.bytes.valid.eq(1)
                with m.If(special & ~escaped):
                    m.d.comb += self.bytes.payload.eq(ESCAPE)
                    with m.If(self.bytes.ready):
                        m.d.sync += escaped.eq(1)
                with m.Else():
                    m.d.comb += self.bytes.payload.eq(Mux(escaped, byte ^ ESCAPE_XOR, byte))
                    with m.If(self.bytes.ready):
                        m.d.comb += crc.valid.eq(1)
                        m.d.sync += [escaped.eq(0), word.eq(word[8:]), left.eq(left - 1)]
                        with m.If(left == 0):
                            with m.If(closing):
                                m.next = "CLOSE"
                            with m.Elif(last):
                                m.next = "CRC"
                            with m.Else():
                                m.next = "WORD"
            with m.State("CRC"):  # load the CRC as one more word
                m.d.sync += [word.eq(crc.crc), left.eq(3), closing.eq(1)]
                m.next = "BYTE"
            with m.State("CLOSE"):  # the closing flag
                m.d.comb += [self.bytes.valid.eq(1), self.bytes.payload.eq(FLAG)]
                with m.If(self.bytes.ready):
                    m.next = "OPEN"
        return m
