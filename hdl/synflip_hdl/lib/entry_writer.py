"""Wide memory entries, written by the host as 32-bit words."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from synflip.spec.memory_map import OFFSET_BITS, entry_words


class EntryWriter(wiring.Component):
    """Gathers the words of an entry of ``bits`` bits; the entry is written when its last word arrives.

    An entry's words come in ascending order, and begin at a multiple of a power of two: 80 bits are 3 words
    and have room for 4, so entry 5 is the words 20, 21, 22. Latency none: ``commit`` is in the cycle of the
    last word. Throughput one word a cycle.

    Members
    -------
    valid: In(1), there is a word.
    offset: In(OFFSET_BITS), its place.
    data: In(32), the word.
    commit: Out(1), strobe: an entry is whole.
    entry: Out, the entry's number.
    value: Out(bits), the entry.
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.words, self.room = entry_words(bits)
        super().__init__(
            {
                "valid": In(1),
                "offset": In(OFFSET_BITS),
                "data": In(32),
                "commit": Out(1),
                "entry": Out(OFFSET_BITS - self.room),
                "value": Out(bits),
            }
        )

    def elaborate(self, platform):
        m = Module()
        word = self.offset[: self.room]
        staged = []
        for index in range(self.words - 1):
            staged.append(part := Signal(32, name=f"word_{index}", reset_less=True))
            with m.If(self.valid & (word == index)):
                m.d.sync += part.eq(self.data)
        m.d.comb += [
            self.commit.eq(self.valid & (word == self.words - 1)),
            self.entry.eq(self.offset[self.room :]),
            self.value.eq(Cat(*staged, self.data)),
        ]
        return m
