"""Requantizer: a tile's sums get bias, rounding and clamping, and become activations or logits."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, fifo, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.cycles import VOTE_GAP, pipeline_depth
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import OFFSET_BITS
from synflip.spec.sizes import LOGIT_BITS

from synflip_hdl.interfaces import append_layout, logit_layout, sums_layout, tile_layout
from synflip_hdl.lib.entry_writer import EntryWriter
from synflip_hdl.lib.memory_reads import read_late


def shift_right(z, shift, bits: int):
    """z >> shift of a ``z`` that is not negative: its lowest ``bits`` bits, and whether there is a 1 above
    them. Coarse stages come first: what a stage leaves above the reach of those to come is only looked at."""
    value, above = z[:-1], []
    for stage in reversed(range(len(shift))):
        value = Mux(shift[stage], value[1 << stage :], value)
        reach = bits + (1 << stage) - 1
        above.append(value[reach:].any())
        value = value[:reach]
    return value, Cat(above).any()


def clamp(low, above, negative, largest):
    """min(max(value, 0), largest) of a value that ``shift_right`` took apart."""
    return Mux(negative, 0, Mux(above | (low > largest), largest, low))


def tile_spacing(geometry: Geometry) -> int:
    """Least cycles from one tile's issue to the next, as the sequencer has it: P / Q after a whole tile of a
    hidden layer, Q + VOTE_GAP or more after the last layer's. After the last tile of a hidden layer, which
    may be shorter, nothing is issued before it was captured."""
    return min(geometry.lanes // geometry.banks, geometry.banks + VOTE_GAP)


def tiles_under_way(geometry: Geometry) -> int:
    """A power of two of at least as many tiles as can be issued and not yet captured."""
    most = pipeline_depth(geometry.banks) // tile_spacing(geometry) + 1
    return max(1 << (most - 1).bit_length(), 2)


class Requantizer(wiring.Component):
    """Captured sums wait in a shift register while the array works on the next tile.

    Hidden layers: Q outputs a cycle, a step of Q is appended DRAIN_LATENCY cycles after it could first be
        shifted out. Last layer: one logit a cycle, in ascending order. The sequencer keeps captures apart;
        nothing stalls.

    Members
    -------
    tile_valid, tile: what is known of a tile when its last event is issued; kept until its sums arrive.
    coming: a capture comes in the next cycle. capture, sums: from the array.
    classes, largest: classes - 1; largest activation.
    append_valid, append: to the event lists. logit_valid, logit: to the votes.
    bias_write, offset, data: a word of a bias group from the host; biases of hidden layers hold the rounding
        too.
    """

    def __init__(self, geometry: Geometry, compact: bool = False) -> None:
        """compact: see ``accelerator.Accelerator``. Biases are written at once, and the tiles
        wait in a memory that may be block RAM."""
        self.geometry = geometry
        self.compact = compact
        super().__init__(
            {
                "tile_valid": In(1),
                "tile": In(tile_layout(geometry)),
                "coming": In(1),
                "capture": In(1),
                "sums": In(sums_layout(geometry)),
                "classes": In(10),
                "largest": In(geometry.activation_bits),
                "append_valid": Out(1),
                "append": Out(append_layout(geometry)),
                "logit_valid": Out(1),
                "logit": Out(logit_layout(geometry)),
                "bias_write": In(1),
                "offset": In(OFFSET_BITS),
                "data": In(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes, banks = self.geometry.lanes, self.geometry.banks
        layout = tile_layout(self.geometry)
        queue = fifo.SyncFIFOBuffered if self.compact else fifo.SyncFIFO
        m.submodules.tiles = tiles = queue(width=layout.size, depth=tiles_under_way(self.geometry))
        m.submodules.writer = writer = EntryWriter(LOGIT_BITS * banks)
        m.submodules.biases = biases = Memory(
            shape=data.ArrayLayout(signed(LOGIT_BITS), banks), depth=self.geometry.bias_depth, init=[]
        )
        write, read = biases.write_port(), biases.read_port()
        # A group is written a cycle later, from registers.
        write_enable = Signal()
        write_address = Signal(write.addr.shape(), reset_less=True)
        written = Signal(LOGIT_BITS * banks, reset_less=True)
        far = m.d.comb if self.compact else m.d.sync
        far += [
            write_enable.eq(writer.commit),
            write_address.eq(writer.entry),
            written.eq(writer.value),
        ]
        m.d.comb += [write.en.eq(write_enable), write.addr.eq(write_address), write.data.eq(written)]
        # Captures are two cycles apart at least: a tile may stay in its queue until it is captured.
        arriving = Signal(layout, reset_less=True)
        far += arriving.eq(tiles.r_data)
        m.d.comb += [
            writer.valid.eq(self.bias_write),
            writer.offset.eq(self.offset),
            writer.data.eq(self.data),
            tiles.w_data.eq(self.tile),
            tiles.w_en.eq(self.tile_valid),
            tiles.r_en.eq(self.capture if self.compact else self.coming),
        ]

        # Step: the first Q of the shift register and their biases, which are asked for two cycles before:
        # block RAM answers late in its cycle.
        waiting = Signal(sums_layout(self.geometry), reset_less=True)
        tile = Signal(layout, reset_less=True)
        active = Signal()
        first = Signal()
        lane = Signal(range(max(banks, 2)))
        advance = Signal()
        again = Signal()  # it will in the next cycle
        group = Signal(read.addr.shape())  # in two cycles
        bias = read_late(m, read, group, self.compact)
        m.d.comb += advance.eq(active & (~tile.final | (lane == banks - 1)))
        with m.If(self.coming):
            m.d.comb += group.eq(data.View(layout, tiles.r_data).bias)
        with m.Elif(self.capture):
            m.d.comb += group.eq(arriving.bias + (~arriving.final | (banks == 1)))
        with m.Else():
            m.d.comb += [
                again.eq(~tile.final | (lane == (banks - 2) % banks)),
                group.eq(tile.bias + Cat(advance ^ again, advance & again)),
            ]
        with m.If(active & tile.final):
            m.d.sync += lane.eq(Mux(advance, 0, lane + 1))
        with m.If(advance):
            m.d.sync += [
                waiting.as_value()[: (lanes - banks) * waiting[0].shape().width].eq(
                    waiting.as_value()[banks * waiting[0].shape().width :]
                ),
                tile.bias.eq(tile.bias + 1),
                tile.block.eq(tile.block + 1),
                tile.steps.eq(tile.steps - 1),
                active.eq(tile.steps != 0),
                first.eq(0),
            ]
        with m.If(self.capture):
            m.d.sync += [waiting.eq(self.sums), tile.eq(arriving), active.eq(1), first.eq(1), lane.eq(0)]

        # z: bias plus sum.
        z = Signal(data.ArrayLayout(signed(LOGIT_BITS), banks), reset_less=True)
        z_tile = Signal(layout, reset_less=True)
        z_valid = Signal()
        z_first = Signal()
        z_lane = Signal.like(lane)
        m.d.sync += [z_tile.eq(tile), z_valid.eq(active), z_first.eq(first), z_lane.eq(lane)]
        for bank in range(banks):
            m.d.sync += z[bank].eq(waiting[bank] + bias[bank])

        # Shifted: Q activations that are not clamped yet, or the one logit that is asked for.
        bits = self.geometry.activation_bits
        out_tile = Signal(layout, reset_less=True)
        out_valid = Signal()
        out_first = Signal()
        out_lane = Signal.like(lane)
        chosen = Signal(signed(LOGIT_BITS), reset_less=True)
        m.d.sync += [
            out_tile.eq(z_tile),
            out_valid.eq(z_valid),
            out_first.eq(z_first),
            out_lane.eq(z_lane),
            chosen.eq(z.as_value().bit_select(Cat(Const(0, 5), z_lane), LOGIT_BITS)),
        ]
        for bank in range(banks):
            low = Signal(bits, name=f"low_{bank}", reset_less=True)
            above = Signal(name=f"above_{bank}", reset_less=True)
            negative = Signal(name=f"negative_{bank}", reset_less=True)
            m.d.sync += [
                Cat(low, above).eq(Cat(*shift_right(z[bank], z_tile.shift, bits))),
                negative.eq(z[bank][-1]),
                self.append["values"][bank].eq(clamp(low, above, negative, self.largest)),
                self.append["some"][bank].eq(~negative & (above | low.any())),  # the largest is not 0
            ]

        # Out: Q activations, or one logit.
        class_ = Cat(out_lane[: (banks - 1).bit_length()], out_tile.block)
        m.d.sync += [
            self.append_valid.eq(out_valid & ~out_tile.final),
            self.append.hidden_set.eq(out_tile.hidden_set),
            self.append.begin.eq(out_tile.begin & out_first),
            self.append.first.eq(out_first),
            self.append.block.eq(out_tile.block),
            self.logit_valid.eq(out_valid & out_tile.final & (class_ <= self.classes)),
            self.logit.z.eq(chosen),
            self.logit.class_.eq(class_),
            self.logit.last.eq(class_ == self.classes),
            self.logit.current.eq(out_tile.current),
        ]
        return m
