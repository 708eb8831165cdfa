"""Frames on a line of bytes: flags, escapes, CRC. See docs/reference/uart.md."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ETHERNET
from amaranth.lib.wiring import In, Out
from synflip.spec.frames import ESCAPE, ESCAPE_XOR, FLAG, MAX_WORDS, REQUEST_WORDS

LONGEST = REQUEST_WORDS + MAX_WORDS  # words of a frame
WORD = data.StructLayout({"data": 32, "last": 1})


class Deframer(wiring.Component):
    """Bytes to the words of frames, a frame's CRC included.

    A flag ends a frame, and so does a silence; a frame without a byte is none. A frame of which a byte came
    while ``listen`` was low is missed: nothing is said of it.

    Members
    -------
    bytes: stream. listen: somebody takes the words.
    word, word_valid: strobe: the next word of a frame. length: whole words of the frame before it, at most
        LONGEST + 1.
    end, good: strobe: the frame has ended; its CRC is right and its last word whole.
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
        flag, inside = Signal(), Signal()  # a byte that ends the frame; one that is in it
        silence = Signal(range(self.silence))
        silent = Signal()  # for ``self.silence`` cycles: a register, for Yosys takes a reset for a path
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

    Members
    -------
    words: stream; ``last`` ends the frame. bytes: stream.
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
            with m.State("OPEN"):
                m.d.comb += [
                    self.bytes.valid.eq(self.words.valid),
                    self.bytes.payload.eq(FLAG),
                    crc.start.eq(1),
                ]
                with m.If(self.words.valid & self.bytes.ready):
                    m.next = "WORD"
            with m.State("WORD"):
                m.d.comb += self.words.ready.eq(1)
                m.d.sync += [
                    word.eq(self.words.payload.data),
                    last.eq(self.words.payload.last),
                    left.eq(3),
                    closing.eq(0),
                ]
                with m.If(self.words.valid):
                    m.next = "BYTE"
            with m.State("BYTE"):
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
            with m.State("CRC"):
                m.d.sync += [word.eq(crc.crc), left.eq(3), closing.eq(1)]
                m.next = "BYTE"
            with m.State("CLOSE"):
                m.d.comb += [self.bytes.valid.eq(1), self.bytes.payload.eq(FLAG)]
                with m.If(self.bytes.ready):
                    m.next = "OPEN"
        return m
