"""Key source ``lfsr``: Q banks of LFSR113, each stepping over the other banks' outputs."""

from functools import reduce
from operator import xor

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from synflip.spec import lfsr

STATE = data.ArrayLayout(32, 4)


def gf2_matmul(columns, z):
    """The linear map ``columns`` of the bits of ``z``: one XOR of a few bits for each bit of the result."""
    rows = []
    for bit in range(len(z)):
        terms = [z[source] for source, column in enumerate(columns) if column >> bit & 1]
        rows.append(reduce(xor, terms, Const(0, 1)))
    return Cat(rows)


class LfsrSource(wiring.Component):
    """Q keys a cycle: bank q gives keys q, q + Q, q + 2Q, ... of the sequence.

    A key is two outputs of LFSR113, so a bank's state moves M^(2Q) a cycle. Latency none: the keys of the
    state that was loaded are there in the next cycle. Throughput one transfer (Q keys) a cycle.

    Parameters
    ----------
    banks: Q.

    Members
    -------
    keys: stream of Q 64-bit keys; always valid.
    load, load_bank, load_component, load_data: write one 32-bit component of one bank's state, which is the
        state stepped to the low half of the bank's first key: M^(2q + 1) of the seed, for bank q from key 0.
    """

    def __init__(self, banks: int) -> None:
        self.banks = banks
        super().__init__(
            {
                "keys": Out(stream.Signature(data.ArrayLayout(64, banks), always_valid=True)),
                "load": In(1),
                "load_bank": In(3),
                "load_component": In(2),
                "load_data": In(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        for bank in range(self.banks):
            state = Signal(STATE, name=f"state_{bank}")
            low, high = [], []
            for index in range(4):
                component = state[index]
                low.append(component)
                high.append(gf2_matmul(lfsr.power(index, 1), component))
                with m.If(self.keys.ready):
                    m.d.sync += component.eq(gf2_matmul(lfsr.power(index, 2 * self.banks), component))
                with m.If(self.load & (self.load_bank == bank) & (self.load_component == index)):
                    m.d.sync += component.eq(self.load_data)
            m.d.comb += self.keys.payload[bank].eq(
                Cat(low[0] ^ low[1] ^ low[2] ^ low[3], high[0] ^ high[1] ^ high[2] ^ high[3])
            )
        return m
