"""Pool: the largest activation of a window, said without a maximum.

A number, any of them, is followed: the window's largest is at least that number if one of the window's
activations is. If that holds for every number, the result is the largest.
"""

from amaranth.hdl import Assert, Assume, Cover, Elaboratable, Module, Mux, Signal
from synflip.spec.geometry import Geometry
from synflip_hdl.engine.pool import Pool

from tests.formal.helpers import Followed, Opened, delayed, fixed, free_inputs
from tests.formal.runner import Proof


class Windows(Elaboratable):
    """Steps of tiles in ascending order, with any pauses; positions of windows of any size."""

    def __init__(self, lanes: int, banks: int) -> None:
        self.geometry = Geometry(lanes=lanes, banks=banks, bits=1, map_depth=64)

    def elaborate(self, platform):
        m = Module()
        banks, steps = self.geometry.banks, self.geometry.lanes // self.geometry.banks
        dut = Pool(self.geometry)
        inside = Opened(m, dut, platform=Followed())
        free_inputs(m, dut)
        append, pooled, valid = dut.appends.payload, dut.pooled.payload, dut.appends.valid
        bank, number = fixed(m, range(banks + 1), "bank"), fixed(m, append["values"][0].shape(), "number")
        value, some, result = Signal.like(number), Signal(), Signal.like(number)
        result_some = Signal()
        for index in range(banks):
            with m.If(bank == index):
                m.d.comb += [value.eq(append["values"][index]), some.eq(append.some[index])]
                m.d.comb += [result.eq(pooled["values"][index]), result_some.eq(pooled.some[index])]
        m.d.comb += [Assume(bank < banks), Assume(some == value.any())]  # requantizer.sums

        # The step of the tile that comes now, and the one that is followed.
        past, begun = Signal(range(steps + 1)), Signal()
        step = Mux(append.first, 0, past)
        m.d.comb += Assume(~valid | append.first | (begun & (past < steps)))
        with m.If(valid):
            m.d.sync += [begun.eq(1), past.eq(step + 1)]
        followed = inside["largest.address"]  # any step
        mine = valid & (step == followed)
        reached, none, known = Signal(), Signal(), Signal()
        now_reached = (~append.pooled.first & reached) | (value >= number)
        now_none = (append.pooled.first | none) & ~value.any()
        with m.If(mine):
            m.d.sync += [reached.eq(now_reached), none.eq(now_none)]
            m.d.sync += known.eq(known | append.pooled.first)
        there = delayed(m, mine, 1, "mine") & known

        others = [name for name in append.shape().members if name not in ("values", "some")]
        m.d.comb += [
            Assert(~(there & dut.pooled.valid) | ((result >= number) == reached)),
            Assert(~(there & dut.pooled.valid) | (result_some == ~none)),
            Assert(~(there & dut.pooled.valid) | (result_some == result.any())),
            Assert(dut.pooled.valid == delayed(m, valid & append.pooled.last, 1, "leaves")),
            Cover(there & dut.pooled.valid & (result == number) & (number != 0) & (value < number)),
        ]
        for name in others:
            now, later = append[name], pooled[name]
            now, later = (item.as_value() if hasattr(item, "as_value") else item for item in (now, later))
            m.d.comb += Assert(~dut.pooled.valid | (later == delayed(m, now, 1, name)))

        # The same of the inside.
        row = inside["largest.row"]
        held = row[: banks * len(value)].word_select(bank, len(value))
        held_some = row[banks * len(value) :].bit_select(bank, 1)
        m.d.comb += [
            Assert(~begun | (past != 0)),
            Assert(past <= steps),
            Assert(~begun | (past == steps) | (inside["after"] == past)),
            Assert(~known | ((held >= number) == reached)),
            Assert(~known | (held_some == ~none)),
            Assert(~known | (held_some == held.any())),
        ]
        return m


PROOFS = [
    Proof(
        f"pool P={lanes} Q={banks}",
        "what leaves with a pool window's last position is, for each output, the largest of the window's "
        "activations, and whether one of them is not 0; a window's first position starts afresh, whatever "
        "was kept; nothing leaves with the others; the rest goes along, a cycle late",
        f"P = {lanes}, Q = {banks}, windows of any size, tiles of up to P / Q steps; assumes a bit that says "
        "whether a value is not 0 (requantizer.sums)",
        lambda lanes=lanes, banks=banks: Windows(lanes, banks),
        depth=2,
        induction=True,
        cover=6,
        fast=(lanes, banks) == (16, 2),
    )
    for lanes, banks in ((16, 2), (16, 8), (48, 4))
]
