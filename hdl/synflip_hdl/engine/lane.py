"""Lane: sign-and-mask leaves, adder tree, accumulator. Nothing multiplies."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out


def add_with_carry(a, b, carry, width: int):
    """a + b + carry in ``width`` bits, one carry chain: the carry enters below the least significant bit."""
    total = Cat(carry, a).as_signed() + Cat(carry, b).as_signed()
    return total[1 : width + 1].as_signed()


class Lane(wiring.Component):
    """Adds (-1)^sign * coin * x over the banks and the rows of a tile.

    Nothing is negated: ~n is -n - 1, so a leaf is the AND of x and coin, inverted where the sign is 1, and an
    adder's carry input adds the missing 1. x = 5, coin = 1, sign = 1: the leaf is ~5 = -6, and -6 + 1 = -5.
    The tree has Q - 1 adders and the accumulator is one more: Q carry inputs for Q signs.

    Latency log2(Q) cycles from the leaves to ``total``; throughput one row of every bank a cycle.

    Members
    -------
    coins: In(Q), a coin a bank.
    signs: In(Q), a sign a bank, 1 for minus.
    x: In(Q activations), 0 where a bank has no event.
    last: In(1), at the accumulator, with the tile's last rows: ``total`` is the tile's sum, and the next tile
        starts from zero.
    total: Out(signed(accumulator_bits)), accumulator plus tree.
    """

    def __init__(self, banks: int, activation_bits: int, accumulator_bits: int) -> None:
        self.banks, self.activation_bits = banks, activation_bits
        self.accumulator_bits = accumulator_bits
        super().__init__(
            {
                "coins": In(banks),
                "signs": In(banks),
                "x": In(data.ArrayLayout(activation_bits, banks)),
                "last": In(1),
                "total": Out(signed(accumulator_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        nodes = []  # of each subtree: its sum, and the sign whose 1 is not added yet
        width = self.activation_bits + 1
        for bank in range(self.banks):
            leaf = Signal(signed(width), name=f"leaf_{bank}")
            sign = self.signs[bank]
            magnitude = self.x[bank] & self.coins[bank].replicate(self.activation_bits)
            m.d.comb += leaf.eq(Cat(magnitude ^ sign.replicate(self.activation_bits), sign))
            nodes.append((leaf, sign))
        while len(nodes) > 1:
            width += 1
            level: list[tuple[Signal, Signal]] = []
            for (left, carry), (right, spare) in zip(nodes[::2], nodes[1::2], strict=True):
                total = Signal(signed(width), name=f"sum_{width}_{len(level)}", reset_less=True)
                kept = Signal(name=f"sign_{width}_{len(level)}", reset_less=True)
                m.d.sync += [total.eq(add_with_carry(left, right, carry, width)), kept.eq(spare)]
                level.append((total, kept))
            nodes = level
        ((tree, carry),) = nodes
        accumulator = Signal(signed(self.accumulator_bits), reset_less=True)
        m.d.comb += self.total.eq(add_with_carry(accumulator, tree, carry, self.accumulator_bits))
        m.d.sync += accumulator.eq(self.total)
        with m.If(self.last):
            m.d.sync += accumulator.eq(0)
        return m
