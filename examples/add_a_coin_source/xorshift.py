"""A source of keys: xorshift64, as gateware and in numpy.

G. Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8(14), 2003: x ^= x << 13; x ^= x >> 7;
x ^= x << 17, period 2^64 - 1.
"""

import numpy as np
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from numpy.typing import NDArray
from synflip.spec.memory_map import Region
from synflip_hdl.sources.lfsr import LfsrSource

MASK = (1 << 64) - 1


def step(x):
    """The next state: of an integer, or of an Amaranth value of 64 bits."""
    x = (x ^ (x << 13)) & MASK
    x = x ^ (x >> 7)
    return (x ^ (x << 17)) & MASK


def keys(seed: int, count: int) -> NDArray[np.uint64]:
    """The first ``count`` keys of a ``seed`` other than 0: [count] uint64."""
    found, state = [], seed
    for _ in range(count):
        state = step(state)
        found.append(state)
    return np.array(found, dtype=np.uint64)


class XorshiftSource(wiring.Component):
    """Q keys a cycle, with the ports of the LFSR that it stands in for.

    Latency none: the keys of the state that was loaded are there in the next cycle. Throughput one transfer
    (Q keys) a cycle. Words 0 and 1 of the region SEEDS are the halves of the state, the low one first; other
    words are ignored.
    """

    def __init__(self, banks: int) -> None:
        self.banks = banks
        super().__init__(LfsrSource(banks).signature)

    def elaborate(self, platform):
        m = Module()
        state = Signal(64, init=1)
        halves = state.word_select(self.host.offset[0], 32)
        following = state
        for bank in range(self.banks):
            following = step(following)
            m.d.comb += self.keys.payload[bank].eq(following)
        with m.If(self.keys.ready):
            m.d.sync += state.eq(self.keys.payload[self.banks - 1])
        with m.If(self.host.write[Region.SEEDS] & (self.host.offset < 2)):
            m.d.sync += halves.eq(self.host.data)
        return m
