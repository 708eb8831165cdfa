"""Coins of one bank: key to words, word against threshold."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from synflip.spec.coins import TAP_LANES, word_taps
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import weight_bits
from synflip.spec.sizes import KEY_BITS

from synflip_hdl.interfaces import most_tiles


def below(word, q):
    """1 where ``word`` < T(q) = q + (q >> (k-1)): the carry out of q + ~word, with q's top bit carried in.

    ``word`` and ``q``: bits, least significant first; a bit may be a plane, one bit a lane.
    """
    carry = q[-1]
    for u, t in zip(word, q, strict=True):
        carry = (t & ~u) | ((t | ~u) & carry)
    return carry


def rotate_right(m, value, amount, granule: int):
    """``value`` rotated by ``amount``, a multiple of ``granule``, a power of two: a stage of multiplexers a
    bit."""
    for stage in range((granule - 1).bit_length(), len(amount)):
        turned = Signal(len(value), name=f"rotated_{1 << stage}")
        with m.If(amount[stage]):
            m.d.comb += turned.eq(value.rotate_right(1 << stage))
        with m.Else():
            m.d.comb += turned.eq(value)
        value = turned
    return value


class CoinComparators(wiring.Component):
    """A coin a lane, from a row's key and its weight entry. Latency 3 cycles from the key, one row a cycle.

    Rotation, words, coins: ``entry`` comes two cycles after ``key`` and ``turn``.

    Members
    -------
    key: 64 bits. turn: rotation of the tile, tile * P / 16 mod 64. entry: see ``memory_map.weight_bits``.
    coins, signs: P bits each, lane p at ``memory_map.lane_position``.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        super().__init__(
            {
                "key": In(KEY_BITS),
                "turn": In(6),
                "entry": In(weight_bits(geometry)),
                "coins": Out(geometry.lanes),
                "signs": Out(geometry.lanes),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes, bits = self.geometry.lanes, self.geometry.bits
        turn_step = lanes // TAP_LANES
        turn = self.turn[: ((most_tiles(self.geometry) - 1) * turn_step).bit_length()]
        rotated = Signal(KEY_BITS, reset_less=True)
        m.d.sync += rotated.eq(rotate_right(m, self.key, turn, turn_step & -turn_step))
        # Lanes p, p + 16, ... share taps, the key turned by one each: their bits are a run of key bits.
        run = lanes // TAP_LANES
        around = Cat(rotated, rotated[:run])
        words = [Signal(lanes, name=f"word_{bit}", reset_less=True) for bit in range(bits)]
        for bit, plane in enumerate(reversed(words)):
            taps = [word_taps(lane, bit) for lane in range(TAP_LANES)]
            m.d.sync += plane.eq(
                Cat(around[a : a + run] ^ around[b : b + run] ^ around[c : c + run] for a, b, c in taps)
            )
        *q, signs = (self.entry.word_select(plane, lanes) for plane in range(bits + 1))
        flipped = Signal(lanes, reset_less=True)
        negative = Signal(lanes, reset_less=True)
        m.d.sync += [flipped.eq(below(words, q)), negative.eq(signs)]
        m.d.comb += [self.coins.eq(flipped), self.signs.eq(negative)]
        return m
