"""Key source ``lfsr``: Q banks of LFSR113, each stepping over the other banks' outputs."""

from functools import reduce
from operator import xor

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from synflip.spec import lfsr
from synflip.spec.memory_map import SEED_WORDS, Region
from synflip.spec.sizes import KEY_BITS

from synflip_hdl.interfaces import HostAccess

STATE = data.ArrayLayout(32, SEED_WORDS)


def gf2_matmul(columns, z):
    """The product of a GF(2) matrix and the bits of ``z``: for each bit of the result an XOR of some bits.

    columns: column j of the matrix as an integer, bit i its row i. ``[0b01, 0b11]`` maps (z0, z1) to
    (z0 ^ z1, z1).
    """
    rows = []
    for bit in range(len(z)):
        terms = [z[source] for source, column in enumerate(columns) if column >> bit & 1]
        rows.append(reduce(xor, terms, Const(0, 1)))
    return Cat(rows)


class LfsrSource(wiring.Component):
    """Q keys a cycle: bank q gives keys q, q + Q, q + 2Q, ... of the sequence.

    A key is two outputs of LFSR113, so a transfer multiplies a bank's state by M^(2Q); the matrices and their
    source are in ``synflip.spec.lfsr``. Latency: the keys of a loaded state are there in the cycle after the
    load. Throughput: one transfer, Q keys, a cycle. Reset: the states are 0, and so are all keys until the
    states are loaded.

    Parameters
    ----------
    banks: Q.

    Members
    -------
    keys : Out(stream of Q 64-bit keys, always valid)
        Key q of a transfer is bank q's.
    host : In(HostAccess)
        Writes of SEEDS load the states: word 4q + c is component c of bank q. A bank's state is to be that of
        the low half of its first key: the seed times M^(2q + 1), for bank q from key 0.
    """

    def __init__(self, banks: int) -> None:
        self.banks = banks
        super().__init__(
            {
                "keys": Out(stream.Signature(data.ArrayLayout(KEY_BITS, banks), always_valid=True)),
                "host": In(HostAccess()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        load = self.host.write[Region.SEEDS]
        # The registers refuse a word of a bank that is not there: 3 bits are enough for a bank's number.
        load_component, load_bank = self.host.offset[:2], self.host.offset[2:5]
        for bank in range(self.banks):
            state = Signal(STATE, name=f"state_{bank}")
            low, high = [], []
            for index in range(SEED_WORDS):
                component = state[index]
                low.append(component)
                high.append(gf2_matmul(lfsr.power(index, 1), component))
                with m.If(self.keys.ready):
                    m.d.sync += component.eq(gf2_matmul(lfsr.power(index, 2 * self.banks), component))
                with m.If(load & (load_bank == bank) & (load_component == index)):
                    m.d.sync += component.eq(self.host.data)
            m.d.comb += self.keys.payload[bank].eq(
                Cat(low[0] ^ low[1] ^ low[2] ^ low[3], high[0] ^ high[1] ^ high[2] ^ high[3])
            )
        return m
