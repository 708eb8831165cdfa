"""The array's timing: what meets in a lane belongs to one event, and a tile's sums come when they should."""

from amaranth.hdl import Assert, Cat, Elaboratable, Module, Mux, ResetInserter, Signal
from amaranth.lib import data
from synflip.spec.cycles import pipeline_depth
from synflip.spec.geometry import Geometry
from synflip_hdl.engine.synapse_array import LANES_A_CLEAR, SynapseArray
from synflip_hdl.interfaces import address_layout

from tests.formal.helpers import Followed, Opened, delayed, free, free_inputs
from tests.formal.runner import Proof


class Timing(Elaboratable):
    """Any issues, events and keys, in every cycle. Cycles are counted from the issue, as in
    docs/explanation/architecture.md."""

    def __init__(self, banks: int) -> None:
        self.geometry = Geometry(lanes=16, banks=banks, bits=1, weight_depth=64, key_depth=32)

    def elaborate(self, platform):
        m = Module()
        dut = SynapseArray(self.geometry)
        inside = Opened(m, dut, platform=Followed())
        free_inputs(m, dut)
        layout = address_layout(self.geometry)

        def issued(cycles: int):
            return data.View(layout, delayed(m, dut.issue.place.as_value(), cycles, f"issue_{cycles}"))

        last = delayed(m, dut.issue.last, pipeline_depth(self.geometry.banks), "last")
        started = delayed(m, Signal(init=1), 1, "started")
        m.d.comb += Assert(dut.sums.capture == last)
        for bank, (coins, x) in enumerate(dut.debug.banks):
            event = dut.events.payload[bank]  # in cycle 2
            key, weight = (
                issued(cycles)[name] + delayed(m, event.block, cycles - 2, f"{name}_block_{bank}")
                for cycles, name in ((3, "key"), (6, "weight"))
            )
            address = inside[f"weights_{bank}.address"]
            m.d.comb += [
                # The key's address is there in cycle 3, its turn in 5, the weights in 6, the value in 8.
                Assert(dut.keys.address[bank] == Cat(key[: len(dut.keys.address[bank]) - 1], issued(3).half)),
                Assert(coins.turn == issued(5).turn),
                Assert(inside[f"weights_{bank}.hit_0"] == (started & (weight[: len(address)] == address))),
                Assert(x == delayed(m, event.value, 6, f"value_{bank}")),
            ]
        return m


class Resets(Elaboratable):
    """Any resets and ends of tiles. From the second cycle after a reset on, what is issued counts."""

    def __init__(self, banks: int) -> None:
        self.geometry = Geometry(
            lanes=2 * LANES_A_CLEAR, banks=banks, bits=1, weight_depth=64, key_depth=32, activation_bits=1
        )

    def elaborate(self, platform):
        m = Module()
        dut = SynapseArray(self.geometry)
        reset = free(m, 1, "reset")
        inside = Opened(m, ResetInserter(reset)(dut), platform=Followed())
        free_inputs(m, dut)
        depth = pipeline_depth(self.geometry.banks)
        # Bit i: a tile's last event was issued i + 1 cycles ago, and no reset came since.
        last = Signal(depth)
        since = Signal(range(depth + 3))  # cycles since the reset, up to the one after the first that counts
        m.d.sync += last.eq(Cat(dut.issue.last, last))
        with m.If(since != depth + 2):
            m.d.sync += since.eq(since + 1)
        with m.If(reset):
            m.d.sync += [last.eq(0), since.eq(0)]
        first, counts = since == depth + 1, since > depth
        captured = delayed(m, dut.sums.capture, 1, "captured")
        m.d.comb += [
            Assert(dut.sums.capture == last[-1]),
            *(Assert(clear == (dut.sums.capture | ~counts)) for clear in dut.debug.clears),
        ]
        for index in range(self.geometry.lanes):
            m.d.comb += Assert(~(first | captured) | (inside[f"lane_{index}.accumulator"] == 0))
        # The same of the inside.
        m.d.comb += [
            Assert(since <= depth + 2),
            Assert(inside["flush"] == Mux(since < depth, depth - since, 0)),
            *(Assert(inside[f"last_{cycle + 1}"] == last[cycle]) for cycle in range(depth - 1)),
        ]
        return m


PROOFS = [
    *(
        Proof(
            f"synapse_array.timing Q={banks}",
            "an event's key address comes 3 cycles after its issue, its turn 5, its weights 6, its value 8: "
            "in step; a tile's sums are captured 8 + log2 Q cycles after its last event's issue",
            f"P = 16, Q = {banks}",
            lambda banks=banks: Timing(banks),
            depth=pipeline_depth(banks) + 1,
            induction=True,
            fast=banks == 1,
        )
        for banks in (1, 2, 4, 8)
    ),
    *(
        Proof(
            f"synapse_array.resets Q={banks}",
            "every lane's accumulator is empty when the first event after a reset is added, whatever was "
            "under way, and after every capture, and is emptied at no other time; a tile of before the reset "
            "is not captured",
            f"P = {2 * LANES_A_CLEAR}, Q = {banks}, resets in any cycles; nothing is issued in the first "
            "cycle after one (sequencer)",
            lambda banks=banks: Resets(banks),
            depth=2,
            induction=True,
            fast=True,
        )
        for banks in (1, 2, 4, 8)
    ),
]
