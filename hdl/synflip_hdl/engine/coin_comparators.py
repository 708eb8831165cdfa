"""Coins of one bank: key to words, word against threshold."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from synflip.spec.coins import TAP_LANES, word_taps
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import weight_bits
from synflip.spec.sizes import KEY_BITS, log2_ceil

from synflip_hdl.interfaces import most_tiles


def below(word, q):
    """1 where ``word`` < T(q) = q + (q >> (k-1)).

    q >> (k-1) is q's top bit, and ~word is 2^k - 1 - word. So q + ~word + top bit carries out, which means
    that it is at least 2^k, exactly if word < q + top bit. k = 4, q = 9, word = 9: 9 + 6 + 1 = 16 carries, as
    9 < 10; word = 10: 9 + 5 + 1 = 15 does not.

    ``word`` and ``q``: bits, least significant first; a bit may be a plane, one bit a lane.
    """
    carry = q[-1]
    for u, t in zip(word, q, strict=True):
        carry = (t & ~u) | ((t | ~u) & carry)
    return carry


def rotate_right(m, value, amount, stages):
    """``value`` rotated by those bits of ``amount`` that ``stages`` names: a stage of multiplexers for each.

    ``amount`` = 0b101100 and ``stages`` = 2, 3: rotated by 0b1100 = 12.
    """
    for stage in stages:
        turned = Signal(len(value), name=f"rotated_{1 << stage}")
        with m.If(amount[stage]):
            m.d.comb += turned.eq(value.rotate_right(1 << stage))
        with m.Else():
            m.d.comb += turned.eq(value)
        value = turned
    return value


class CoinComparators(wiring.Component):
    """A coin a lane, from a row's key and its weight entry.

    Three registers, one after the other: the key, rotated by most of its turn; the lanes' words; the coins.
    Latency 3 cycles from the key, throughput one row a cycle.

    Members
    -------
    key: In(64), the row's key.
    turn: In(6), with the key: the tile's rotation, tile * P / 16 mod 64.
    entry: In(weight_bits), two cycles after the key: see ``memory_map.weight_bits``.
    coins: Out(P), lane p at ``memory_map.lane_position``.
    signs: Out(P), the same of the signs.
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
        # Turns are multiples of turn_step: the bits below its lowest 1 are 0 and have no stage.
        lowest = log2_ceil(turn_step & -turn_step)
        stages = range(lowest, ((most_tiles(self.geometry) - 1) * turn_step).bit_length())
        # Block RAM gives the key late in its cycle, and a word is one XOR: a third of the stages follows the
        # register.
        late = stages[: len(stages) // 3]
        nearly = Signal(KEY_BITS, reset_less=True)
        late_turn = Signal(lowest + len(late), reset_less=True)
        m.d.sync += [
            nearly.eq(rotate_right(m, self.key, self.turn, stages[len(late) :])),
            late_turn.eq(self.turn),
        ]
        rotated = Signal(KEY_BITS)
        m.d.comb += rotated.eq(rotate_right(m, nearly, late_turn, late))
        # Lanes p, p + 16, p + 32, ... have the same taps on a key that is turned by 0, 1, 2, ...: a tap gives
        # them neighbouring bits of the key. Tap 7, P = 64: bits 7, 8, 9, 10 for lanes 0, 16, 32, 48.
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
