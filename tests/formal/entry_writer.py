"""Memory entries that the host writes word by word."""

from amaranth.hdl import Assert, Cat, Cover, Elaboratable, Module, Signal
from synflip_hdl.lib.entry_writer import EntryWriter

from tests.formal.helpers import Opened, free_inputs
from tests.formal.runner import Proof


class Entries(Elaboratable):
    """Any words at any offsets. ``run`` counts the words that came in ascending order, word 0 first, of one
    entry."""

    def __init__(self, bits: int) -> None:
        self.bits = bits

    def elaborate(self, platform):
        m = Module()
        words = -(-self.bits // 32)
        room = (words - 1).bit_length()
        dut = EntryWriter(self.bits)
        inside = Opened(m, dut)
        free_inputs(m, dut)
        word, entry = dut.offset[:room], dut.offset[room:]
        run, of = Signal(range(words + 1)), Signal.like(entry)
        came = [Signal(32, name=f"came_{index}") for index in range(words)]
        follows = (word == 0) | ((word == run) & (entry == of))
        with m.If(dut.valid):
            m.d.sync += [run.eq(0), of.eq(entry)]
            for index in range(words):
                with m.If((word == index) & follows):
                    m.d.sync += [run.eq(index + 1), came[index].eq(dut.data)]
        whole = dut.valid & follows & (word == words - 1)
        m.d.comb += [
            Assert(dut.commit == (dut.valid & (word == words - 1))),
            Assert(~dut.commit | (dut.entry == entry)),
            Assert(~whole | (dut.value == Cat(*came[:-1], dut.data)[: self.bits])),
            Cover(whole),
        ]
        # What the words that have come so far look like inside.
        for index in range(words - 1):
            m.d.comb += Assert((run <= index) | (inside[f"word_{index}"] == came[index]))
        return m


PROOFS = [
    Proof(
        f"entry_writer {bits} bits",
        "an entry is committed exactly with its last word, to its place, and holds the words of the entry "
        "that came in ascending order, whatever the pauses",
        f"{bits} bits: {-(-bits // 32)} words",
        lambda bits=bits: Entries(bits),
        depth=2,
        induction=True,
        cover=-(-bits // 32) + 1,
        fast=bits == 80,
    )
    for bits in (32, 64, 80, 256, 320)
]
