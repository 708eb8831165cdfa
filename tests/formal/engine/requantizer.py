"""Requantizer: rounding and clamping, its tiles in order, and every captured sum out once."""

from amaranth.hdl import Assert, Assume, Cat, Cover, Elaboratable, Module, Mux, Signal, signed
from amaranth.lib import data
from synflip.spec.cycles import DRAIN_LATENCY, pipeline_depth
from synflip.spec.geometry import Geometry
from synflip.spec.sizes import MAX_OUTPUTS, address_bits
from synflip_hdl.engine.requantizer import Requantizer, clamp, shift_right, tile_spacing
from synflip_hdl.interfaces import tile_layout

from tests.formal.helpers import Followed, Opened, delayed, fixed, free, free_inputs
from tests.formal.runner import Proof


def geometry(lanes: int, banks: int, flight: int = 4) -> Geometry:
    """Biases for as many outputs as a layer may have, so that row blocks are as wide as they can be."""
    return Geometry(lanes=lanes, banks=banks, bits=1, bias_depth=MAX_OUTPUTS // banks, flight=flight)


class Hidden(Elaboratable):
    """min(max((z + round) >> r, 0), largest), where >> is: the greatest y with y * 2^r <= z + round."""

    def __init__(self, bits: int) -> None:
        self.bits = bits

    def elaborate(self, platform):
        m = Module()
        z, shift, largest = free(m, signed(32), "z"), free(m, 5, "shift"), free(m, self.bits, "largest")
        # The driver adds the rounding to the bias; that both fit 32 bits is the contract's rule for models.
        rounding, biased = Signal(32), Signal(signed(34))
        y = Signal(self.bits + 1)
        sum_ = biased[:32].as_signed()
        m.d.comb += [
            rounding.eq(Mux(shift == 0, 0, (1 << shift) >> 1)),
            biased.eq(z + rounding),
            Assume(biased < 1 << 31),
            y.eq(clamp(*shift_right(sum_, shift, self.bits), sum_[-1], largest)),
        ]
        floor, above = (y << shift) <= biased, biased < ((y + 1) << shift)
        with m.If(biased < 0):
            m.d.comb += Assert(y == 0)
        with m.Elif(biased >= ((largest + 1) << shift)):
            m.d.comb += Assert(y == largest)
        with m.Else():
            m.d.comb += [Assert(floor), Assert(above), Assert(y <= largest)]
        return m


class TilesInOrder(Elaboratable):
    """Tiles issued at any time, each captured ``pipeline_depth`` cycles later, as the array does."""

    def __init__(self, banks: int, flight: int) -> None:
        self.geometry = geometry(16, banks, flight)

    def elaborate(self, platform):
        m = Module()
        dut = Requantizer(self.geometry)
        inside = Opened(m, dut, platform=Followed())
        free_inputs(m, dut, "sums.coming", "sums.capture")
        depth = pipeline_depth(self.geometry.banks)
        # Bit i and tile i: what was issued i + 1 cycles ago.
        issued, tiles = Signal(depth), []
        tile = dut.tiles.payload.as_value()
        for index in range(depth):
            tiles.append(kept := Signal.like(tile, name=f"tile_{index + 1}_ago"))
            m.d.sync += kept.eq(tile)
            tile = kept
        m.d.sync += issued.eq(Cat(dut.tiles.valid, issued))
        m.d.comb += [dut.sums.coming.eq(issued[-2]), dut.sums.capture.eq(issued[-1])]

        # The sequencer keeps tiles apart.
        recent = issued[: tile_spacing(self.geometry) - 1]
        m.d.comb += Assume(~dut.tiles.valid | ~recent.any())
        # How many of the cycles so far can have had an issue: a sliding window of each spacing has one.
        for first in range(depth - tile_spacing(self.geometry) + 1):
            window = issued[first : first + tile_spacing(self.geometry)]
            m.d.comb += Assert(sum(window[1:], window[0]) <= 1)

        level, produce, consume = (inside[f"tiles.{name}"] for name in ("level", "produce", "consume"))
        address, row = inside["tiles.storage.address"], inside["tiles.storage.row"]
        room = 1 << len(produce)
        arriving, taken = inside["arriving"], delayed(m, consume, 1, "taken")
        past_next_bias = delayed(m, inside["next_bias"], 1, "next_bias")
        arriving_bias = inside.view("arriving", tile_layout(self.geometry)).bias
        under_way = sum(issued[1:-1], issued[0])
        m.d.comb += [
            Assert(~dut.tiles.valid | (level < room)),  # no overflow
            Assert(~dut.sums.coming | (level != 0)),  # no underflow
            # The right one: what comes out of the queue is what is captured in the next cycle.
            Assert(~dut.sums.capture | (taken != address) | (arriving == tiles[-1])),
            Assert(~dut.sums.capture | (taken != address) | (past_next_bias == arriving_bias)),
            Assert(level == under_way),
            Assert((produce - consume)[: len(produce)] == level[: len(produce)]),
            Cover(dut.sums.coming & (level == (depth - 1) // tile_spacing(self.geometry))),
        ]
        younger = 0
        for index in range(depth - 1):
            place = (produce - 1 - younger)[: len(produce)]
            m.d.comb += Assert(~issued[index] | (place != address) | (row == tiles[index]))
            younger = younger + issued[index]
        return m


class EverySum(Elaboratable):
    """Any sums, any tiles, any biases; a capture comes no earlier than in the last step of a hidden tile. It
    may cut off a final tile, which ends with its last class.

    One lane's sum and one bias group, any of them, are followed from the capture to the output.
    """

    def __init__(self, lanes: int, banks: int) -> None:
        self.geometry = geometry(lanes, banks)

    def elaborate(self, platform):
        m = Module()
        lanes, banks = self.geometry.lanes, self.geometry.banks
        dut = Requantizer(self.geometry)
        inside = Opened(m, dut, platform=Followed())
        # Biases are not written in a run: the registers refuse it.
        free_inputs(m, dut, "sums.coming", "sums.capture", "host.write")
        layout = tile_layout(self.geometry)
        # A capture comes a cycle after it was said to.
        coming = free(m, 1, "coming")
        m.d.comb += [dut.sums.coming.eq(coming), dut.sums.capture.eq(delayed(m, coming, 1, "capture"))]
        arriving = inside.view("arriving", layout)
        lane = fixed(m, address_bits(lanes), "lane")
        group, biases = inside["biases.address"], inside["biases.row"]
        m.d.comb += Assume(lane < lanes)
        bank, step = lane[: banks.bit_length() - 1], lane[banks.bit_length() - 1 :]

        # The tile that was captured, its followed sum, and how many outputs (final) or steps have gone.
        active, tile, followed = Signal(), Signal(layout), Signal(signed(self.geometry.accumulator_bits))
        gone = Signal(range(lanes))
        steps_gone = Mux(tile.final, gone >> (banks.bit_length() - 1), gone)
        count = Mux(tile.final, (tile.steps + 1) * banks, tile.steps + 1)
        last = gone + 1 == count
        m.d.comb += [
            Assume(arriving.steps < lanes // banks),
            Assume(~dut.sums.capture | ~active | last | tile.final),
            # The queue's first tile is there two cycles before (requantizer.tiles).
            Assume(~dut.sums.capture | (arriving.bias == delayed(m, inside["next_bias"], 1, "next_bias"))),
        ]
        with m.If(dut.sums.capture):
            sums = dut.sums.sums.as_value()
            m.d.sync += [active.eq(1), tile.eq(arriving), gone.eq(0)]
            m.d.sync += followed.eq(sums.word_select(lane, self.geometry.accumulator_bits))
        with m.Elif(active):
            m.d.sync += [gone.eq(gone + 1), active.eq(~last)]

        # z, a cycle later.
        group_now = (tile.bias + steps_gone)[: len(tile.bias)]
        z, z_known = Signal(signed(32)), Signal()
        bias = biases.word_select(bank, 32).as_signed()
        here = (steps_gone == step) & (~tile.final | (gone[: banks.bit_length() - 1] == bank))
        m.d.sync += [z.eq(followed + bias), z_known.eq(active & here & (group_now == group))]

        # Three cycles later: the outputs.
        def past(value, name):
            return delayed(m, value, 3, name)

        out, final, out_gone = past(active, "active"), past(tile.final, "final"), past(gone, "gone")
        block, begin = past(tile.block, "block"), past(tile.begin, "begin")
        hidden_set, shift = past(tile.hidden_set, "hidden_set"), past(tile.shift, "shift")
        current = past(tile.current.as_value(), "current")
        settings = dut.control.settings
        largest_now = settings["ACTIVATION_MAX"][: self.geometry.activation_bits]
        largest = delayed(m, largest_now, 1, "largest")
        classes = delayed(m, settings["CLASSES"], 1, "classes")
        out_z, out_known = delayed(m, z, 2, "z"), delayed(m, z_known, 2, "z_known")
        appends, class_ = out & ~final, ((block << (banks.bit_length() - 1)) + out_gone)[:10]
        shifted = out_z >> shift
        activation = Mux(shifted < 0, 0, Mux(shifted > largest, largest, shifted))
        m.d.comb += [
            Assume(largest_now != 0),  # as the driver writes it
            Assert(dut.appends.valid == appends),
            Assert(dut.logits.valid == (out & final & (class_ <= classes))),
        ]
        with m.If(appends):
            m.d.comb += [
                Assert(dut.appends.payload.block == (block + out_gone)[: len(block)]),
                Assert(dut.appends.payload.begin == (begin & (out_gone == 0))),
                Assert(dut.appends.payload.first == (out_gone == 0)),
                Assert(dut.appends.payload.hidden_set == hidden_set),
            ]
        with m.If(dut.logits.valid):
            m.d.comb += [
                Assert(dut.logits.payload.class_ == class_),
                Assert(dut.logits.payload.last == (class_ == classes)),
                Assert(dut.logits.payload.current.as_value() == current),
            ]
        value = dut.appends.payload["values"].as_value().word_select(bank, self.geometry.activation_bits)
        with m.If(out_known):
            m.d.comb += [
                Assert(~appends | (value == activation)),
                Assert(~appends | (dut.appends.payload["some"].bit_select(bank, 1) == (activation != 0))),
                Assert(~dut.logits.valid | (dut.logits.payload.z == out_z)),
            ]
        m.d.comb += [
            Cover(dut.appends.valid & out_known),
            Cover(dut.logits.valid & out_known & dut.logits.payload.last),
            Cover(dut.sums.capture & active & ~last),
        ]

        # The same of the inside. The groups: of the next step, and the one above it.
        more = Mux(tile.final, (gone + 1) >> (banks.bit_length() - 1), gone + 1)
        inner = inside.view("tile", layout)
        waiting, inner_z = inside["waiting"], inside["z"]
        with m.If(active):
            for name in ("shift", "hidden_set", "begin", "final"):
                m.d.comb += Assert(inner[name] == tile[name])
            m.d.comb += [
                Assert(inner.current.as_value() == tile.current.as_value()),
                Assert(inside["upcoming"] == (tile.bias + more)[: len(tile.bias)]),
                Assert(inside["beyond"] == (tile.bias + more + 1)[: len(tile.bias)]),
                Assert(inner.block == (tile.block + steps_gone)[: len(tile.block)]),
                Assert(inner.steps == tile.steps - steps_gone),
                Assert(tile.steps < lanes // banks),
                Assert(gone < count),
                Assert(inside["first"] == (steps_gone == 0)),
                Assert(
                    (steps_gone > step)
                    | (
                        waiting.word_select(
                            (lane - steps_gone * banks)[: len(lane)], self.geometry.accumulator_bits
                        )
                        == followed.as_unsigned()
                    )
                ),
                Assert(inside["lane"] == Mux(tile.final, gone % banks, 0)),
                Assert((group_now != group) | (dut.debug.bias.as_value() == biases)),
            ]
        # The memory answers what the next cycle needs.
        group_next = Mux(dut.sums.capture, arriving.bias, tile.bias + more)[: len(tile.bias)]
        answered = inside["biases.hit_0"] & (inside["biases.kept_0"] == biases)
        m.d.comb += Assert(~(dut.sums.capture | (active & ~last)) | (group_next != group) | answered)
        m.d.comb += Assert(inside["active"] == active)
        advances = active & (~tile.final | (gone % banks == banks - 1))
        m.d.comb += Assert(inside["advance"] == advances)

        def carried(stage, cycles):
            """A tile's signals at ``stage``, ``cycles`` after the shift register."""
            is_there, gone_then = (
                delayed(m, value, cycles, f"{stage}_{name}")
                for value, name in ((active, "active"), (gone, "gone"))
            )
            wanted = data.View(layout, delayed(m, tile.as_value(), cycles, f"{stage}_tile_wanted"))
            found = inside.view(f"{stage}_tile", layout)
            steps = Mux(wanted.final, gone_then >> (banks.bit_length() - 1), gone_then)
            m.d.comb += Assert(inside[f"{stage}_valid"] == is_there)
            with m.If(is_there):
                for name in ("shift", "hidden_set", "begin", "final"):
                    m.d.comb += Assert(found[name] == wanted[name])
                m.d.comb += [
                    Assert(found.current.as_value() == wanted.current.as_value()),
                    Assert(found.block == (wanted.block + steps)[: len(found.block)]),
                    Assert(inside[f"{stage}_first"] == (steps == 0)),
                    Assert(inside[f"{stage}_lane"] == Mux(wanted.final, gone_then % banks, 0)),
                ]
            return is_there, wanted

        carried("z", 1)
        m.d.comb += Assert(~z_known | (inner_z.word_select(bank, 32) == z.as_unsigned()))

        # Shifted: what a clamp must know of a row, or the logit that was chosen.
        out_active, out_tile = carried("out", 2)
        shifted_z, shifted_known = delayed(m, z, 1, "z"), delayed(m, z_known, 1, "z_known")
        whole = shifted_z >> out_tile.shift
        bits = self.geometry.activation_bits
        with m.If(shifted_known & ~out_tile.final):
            for b in range(banks):
                with m.If(bank == b):
                    m.d.comb += [
                        Assert(inside[f"negative_{b}"] == (shifted_z < 0)),
                        Assert((shifted_z < 0) | (inside[f"low_{b}"] == whole[:bits])),
                        Assert((shifted_z < 0) | (inside[f"above_{b}"] == whole[bits:].any())),
                    ]
        with m.If(shifted_known & out_tile.final):
            m.d.comb += Assert(inside["chosen"] == shifted_z)
        m.d.comb += Assert(~shifted_known | out_active)
        return m


PROOFS = [
    *(
        Proof(
            f"requantizer.hidden A={bits}",
            "an activation is min(max((z + round) >> r, 0), largest), the rounding in the bias: shifted in "
            "one cycle, clamped in the next",
            f"A = {bits}, all r, all 32-bit z whose z + round fits 32 bits, all largest activations",
            lambda bits=bits: Hidden(bits),
            fast=True,
        )
        for bits in (1, 4, 8)
    ),
    *(
        Proof(
            f"requantizer.tiles Q={banks}" + (f" F={flight}" if flight > 1 else ""),
            "what is known of a tile waits for its sums: the queue neither overflows nor underflows and "
            "hands out the tile that was issued as many cycles ago as the array is deep",
            f"Q = {banks}, P = 16, passes in flight F = {flight}; any cycles of issue that are as far apart "
            "as the sequencer keeps them; capture follows the issue as in synapse_array",
            lambda banks=banks, flight=flight: TilesInOrder(banks, flight),
            depth=2,
            induction=True,
            cover=pipeline_depth(banks) + 2,
            fast=banks == 1 and flight == 1,
        )
        for banks, flight in ((1, 1), (2, 1), (4, 1), (8, 1), (1, 4), (8, 4))
    ),
    *(
        Proof(
            f"requantizer.sums P={lanes} Q={banks}",
            f"every captured sum leaves once, {DRAIN_LATENCY} cycles later for the first, with its bias, as "
            "the activation of its row or, until the next capture, the logit of its class; nothing else does",
            f"P = {lanes}, Q = {banks}; assumes that a capture comes no earlier than in the last step of a "
            "hidden layer's tile (sequencer, which also leaves a tile of the last layer a cycle a class)",
            lambda lanes=lanes, banks=banks: EverySum(lanes, banks),
            depth=3,
            induction=True,
            cover=12,
            slow=banks >= 4,
        )
        for lanes, banks in ((16, 1), (16, 2), (16, 4), (16, 8))
    ),
]
