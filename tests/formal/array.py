"""The array's timing: what meets in a lane belongs to one event, and a tile's sums come when they should."""

from amaranth.hdl import Assert, Cat, Elaboratable, Module, Signal
from amaranth.lib import data
from synflip.spec.cycles import pipeline_depth
from synflip.spec.geometry import Geometry
from synflip_hdl.array import Array
from synflip_hdl.bundles import address_layout

from .helpers import Followed, Opened, delayed, free_inputs
from .runner import Proof


class Timing(Elaboratable):
    """Any issues, events and keys, in every cycle. Cycles are counted from the issue, as in
    docs/architecture.md."""

    def __init__(self, banks: int) -> None:
        self.geometry = Geometry(lanes=16, banks=banks, bits=1, weight_depth=64, key_depth=32)

    def elaborate(self, platform):
        m = Module()
        dut = Array(self.geometry)
        inside = Opened(m, dut, platform=Followed())
        free_inputs(m, dut)
        layout = address_layout(self.geometry)

        def issued(cycles: int):
            return data.View(layout, delayed(m, dut.issue.as_value(), cycles, f"issue_{cycles}"))

        last = delayed(m, dut.last, pipeline_depth(self.geometry.banks), "last")
        started = delayed(m, Signal(init=1), 1, "started")
        m.d.comb += Assert(dut.capture == last)
        for bank, (coins, x) in enumerate(inside.local("banks")):
            event = dut.events[bank]  # in cycle 1
            key, weight = (
                issued(cycles)[name] + delayed(m, event.block, cycles - 1, f"{name}_block_{bank}")
                for cycles, name in ((3, "key"), (6, "weight"))
            )
            address = inside[f"weights_{bank}.address"]
            m.d.comb += [
                # The key's address is there in cycle 3, its turn in 5, the weights in 6, the value in 8.
                Assert(dut.key_address[bank] == Cat(key[: len(dut.key_address[bank]) - 1], issued(3).half)),
                Assert(coins.turn == issued(5).turn),
                Assert(inside[f"weights_{bank}.hit_0"] == (started & (weight[: len(address)] == address))),
                Assert(x == delayed(m, event.value, 7, f"value_{bank}")),
            ]
        return m


PROOFS = [
    Proof(
        f"array Q={banks}",
        "an event's key address comes 3 cycles after its issue, its turn 5, its weights 6, its value 8: in "
        "step; a tile's sums are captured 8 + log2 Q cycles after its last event's issue",
        f"P = 16, Q = {banks}",
        lambda banks=banks: Timing(banks),
        depth=pipeline_depth(banks) + 1,
        induction=True,
        fast=banks == 1,
    )
    for banks in (1, 2, 4, 8)
]
