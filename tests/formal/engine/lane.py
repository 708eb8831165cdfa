"""A lane against a sum of integers."""

from amaranth.hdl import Assert, Elaboratable, Module, Mux, Signal, signed
from synflip_hdl.engine.lane import Lane

from tests.formal.helpers import Opened, free_inputs
from tests.formal.runner import Proof


class Sums(Elaboratable):
    """Any coins, signs and activations, and any ends of tiles, in every cycle."""

    def __init__(self, banks: int, activation_bits: int) -> None:
        self.banks, self.activation_bits = banks, activation_bits

    def elaborate(self, platform):
        m = Module()
        dut = Lane(self.banks, self.activation_bits, 24)
        inside = Opened(m, dut)
        free_inputs(m, dut)
        terms = []
        for bank in range(self.banks):
            term = Signal(signed(self.activation_bits + 1), name=f"term_{bank}")
            x = Mux(dut.coins[bank], dut.x[bank], 0)
            m.d.comb += term.eq(Mux(dut.signs[bank], -x, x))
            terms.append(term)
        # Added in pairs, a level a cycle, each compared with the tree's node and the sign it still lacks.
        width = self.activation_bits + 1
        while len(terms) > 1:
            width += 1
            sums = []
            for index, (left, right) in enumerate(zip(terms[::2], terms[1::2], strict=True)):
                sums.append(total := Signal((left + right).shape(), name=f"terms_{width}_{index}"))
                m.d.sync += total.eq(left + right)
                node, lacks = inside[f"sum_{width}_{index}"], inside[f"sign_{width}_{index}"]
                m.d.comb += Assert(node + lacks == total)
            terms = sums
        total, tile = Signal(signed(24)), Signal(signed(24), name="sum_of_tile")
        m.d.comb += [total.eq(tile + terms[0]), Assert(dut.total == total)]
        m.d.sync += tile.eq(Mux(dut.last, 0, total))
        return m


PROOFS = [
    Proof(
        f"lane.sum Q={banks} A={bits}",
        "total is the tile's sum of (-1)^sign * coin * x so far, modulo 2^24, log2 Q cycles after the "
        "leaves; a tile's last rows empty it",
        f"Q = {banks}, A = {bits}",
        lambda banks=banks, bits=bits: Sums(banks, bits),
        depth=2,
        induction=True,
        fast=(banks, bits) == (4, 8),
    )
    for banks, bits in ((1, 8), (2, 8), (4, 8), (8, 8), (8, 1))
]
