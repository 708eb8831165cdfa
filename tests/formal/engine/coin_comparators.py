"""Coins: the comparator, and a bank's coins against the contract."""

import json
from pathlib import Path

from amaranth.hdl import Assert, Assume, Cat, Elaboratable, Module, Signal
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import lane_position
from synflip_hdl.engine.coin_comparators import CoinComparators, below

from tests.formal.helpers import Opened, delayed, free
from tests.formal.runner import Proof

TAPS_FILE = Path(__file__).parents[3] / "sw" / "synflip" / "spec" / "coin_taps.json"


class Comparator(Elaboratable):
    """Every word against every probability word, for all k at once."""

    def elaborate(self, platform):
        m = Module()
        for k in range(1, 17):
            u, q = free(m, k, f"u_{k}"), free(m, k, f"q_{k}")
            m.d.comb += Assert(below(u, q) == (u < q + (q >> (k - 1))))
        return m


class BankOfCoins(Elaboratable):
    """Key, turn and entry may be anything, in every cycle; the tile is below 1024 / 16.

    Stage by stage, each against the contract's words for it: one big claim about taps of a key turned by any
    amount, and thresholds, is too hard for a solver.
    """

    def __init__(self, lanes: int, bits: int) -> None:
        self.lanes, self.bits = lanes, bits

    def elaborate(self, platform):
        m = Module()
        lanes, bits = self.lanes, self.bits
        dut = CoinComparators(Geometry(lanes=lanes, banks=1, bits=bits))
        inside = Opened(m, dut)
        key, tile, entry = free(m, 64, "key"), free(m, 6, "tile"), free(m, dut.entry.shape(), "entry")
        first = Signal(16, name="first_output")
        # Key and turn of its tile come in one cycle, the entry two later.
        turn = first[4:10]
        m.d.comb += [
            first.eq(tile * lanes),
            Assume(first < 1024),
            dut.key.eq(key),
            dut.turn.eq(turn),
            dut.entry.eq(delayed(m, entry, 2, "entry")),
        ]

        # The contract: bit m of output j's word is the XOR of key bits (t + j // 16) mod 64.
        turned = Signal(64)  # bit t is key bit (t + first output // 16) mod 64
        m.d.sync += turned.eq(Cat(key, key) >> turn)
        m.d.comb += Assert(inside["rotated"] == turned)
        taps = json.loads(TAPS_FILE.read_text())
        past_entry = delayed(m, entry, 3, "entry_out")
        for p in range(lanes):
            place = lane_position(p, lanes)
            word = Signal(bits, name=f"word_of_{p}")
            for bit in range(bits):
                a, b, c = (turned[(t + p // 16) % 64] for t in taps[p % 16][bit])
                m.d.sync += word[bits - 1 - bit].eq(a ^ b ^ c)
            m.d.comb += Assert(Cat(inside[f"word_{bit}"][place] for bit in range(bits)) == word)
            past_word = delayed(m, word, 1, f"word_of_{p}")
            q = Cat(past_entry[plane * lanes + place] for plane in range(bits))
            m.d.comb += [
                Assert(dut.coins[place] == (past_word < q + (q >> (bits - 1)))),
                Assert(dut.signs[place] == past_entry[bits * lanes + place]),
            ]
        return m


PROOFS = [
    Proof(
        "coin_comparators.below",
        "the comparator is u < q + (q >> (k-1)), for all u and q",
        "k = 1 to 16",
        Comparator,
        fast=True,
    ),
    *(
        Proof(
            f"coin_comparators.bank P={lanes} k={bits}",
            "the coin and the sign of every lane are the contract's, for all keys, entries and tiles",
            f"P = {lanes}, k = {bits}",
            lambda lanes=lanes, bits=bits: BankOfCoins(lanes, bits),
            depth=2,
            induction=True,
            fast=(lanes, bits) == (48, 4),
            slow=lanes == 16,
        )
        for lanes, bits in [(16, 4), (48, 4), (16, 16), (128, 1)]
    ),
]
