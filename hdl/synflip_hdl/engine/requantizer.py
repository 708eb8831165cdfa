"""Requantizer: a tile's sums get bias, rounding and clamping, and become activations or logits."""

from types import SimpleNamespace

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.cycles import VOTE_GAP, pipeline_depth
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import Region
from synflip.spec.sizes import LOGIT_BITS

from synflip_hdl.interfaces import (
    HostAccess,
    RunControl,
    TileSums,
    append_layout,
    logit_layout,
    sums_layout,
    tile_layout,
)
from synflip_hdl.lib.distance import across
from synflip_hdl.lib.entry_writer import EntryWriter
from synflip_hdl.lib.memory_reads import read_late


def shift_right(z, shift, bits: int):
    """z >> shift of a ``z`` that is not negative: its lowest ``bits`` bits, and whether there is a 1 above
    them.

    The shift by 2^4 comes first, the shift by 1 last. The stages that follow a shift by 2^s move the value by
    at most 2^s - 1, so of its bits only ``bits`` + 2^s - 1 can still become part of the result. The others
    stay above it: whether one of them is 1 is all that matters of them.
    """
    value, above = z[:-1], []
    for stage in reversed(range(len(shift))):
        value = Mux(shift[stage], value[1 << stage :], value)
        reach = bits + (1 << stage) - 1
        above.append(value[reach:].any())
        value = value[:reach]
    return value, Cat(above).any()


def clamp(low, above, negative, largest):
    """min(max(value, 0), largest) of a value that ``shift_right`` took apart: ``low``, ``above``, and whether
    it is ``negative``."""
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
    """Drains tiles: the P sums of a tile get bias, rounding, shift and clamp, and leave Q a cycle.

    Captured sums wait in a shift register while the array works on the next tile. A hidden layer's tile
    leaves Q outputs a cycle, the first DRAIN_LATENCY cycles after its capture. A last layer's tile leaves a
    logit a cycle, in ascending order. The sequencer keeps captures so far apart that nothing stalls.

    Members
    -------
    control: In(RunControl); CLASSES, and ACTIVATION_MAX, the largest activation.
    host: In(HostAccess), words of the groups of Q biases; a hidden layer's biases hold the rounding, too.
    tiles: In(stream of tile_layout, always ready), from the sequencer, with a tile's last event.
    sums: In(TileSums), from the array, ``pipeline_depth`` cycles later.
    appends: Out(stream of append_layout, always ready), to the event lists.
    logits: Out(stream of logit_layout, always ready), to the votes.

    Attributes
    ----------
    debug: after ``elaborate``, for proofs: ``bias``, the group of biases that the step of now gets.
    """

    def __init__(self, geometry: Geometry, compact: bool = False) -> None:
        """compact: see ``accelerator.Accelerator``. Biases are written at once, and the tiles
        wait in a memory that may be block RAM."""
        self.geometry = geometry
        self.compact = compact
        super().__init__(
            {
                "control": In(RunControl(geometry)),
                "host": In(HostAccess()),
                "tiles": In(stream.Signature(tile_layout(geometry), always_ready=True)),
                "sums": In(TileSums(geometry)),
                "appends": Out(stream.Signature(append_layout(geometry), always_ready=True)),
                "logits": Out(stream.Signature(logit_layout(geometry), always_ready=True)),
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
        # A group is written a cycle later.
        address = writer.entry[: len(write.addr)]
        m.d.comb += [
            writer.valid.eq(self.host.write[Region.BIASES]),
            writer.offset.eq(self.host.offset),
            writer.data.eq(self.host.data),
            write.en.eq(across(m, writer.commit, self.compact, "write_enable", reset_less=False)),
            write.addr.eq(across(m, address, self.compact, "write_address")),
            write.data.eq(across(m, writer.value, self.compact, "written")),
        ]
        # Captures are two cycles apart at least: a tile may stay in its queue until it is captured.
        arriving = data.View(layout, across(m, tiles.r_data, self.compact, "arriving"))
        m.d.comb += [
            tiles.w_data.eq(self.tiles.payload),
            tiles.w_en.eq(self.tiles.valid),
            tiles.r_en.eq(self.sums.capture if self.compact else self.sums.coming),
        ]

        # A step takes the first Q sums of the shift register, and their biases. Those are asked for two
        # cycles before, as block RAM answers late in its cycle. ``group`` is for the step in two cycles: the
        # group of now, plus 1 if the register advances now, plus 1 if it advances in the next cycle.
        waiting = Signal(sums_layout(self.geometry), reset_less=True)
        tile = Signal(layout, reset_less=True)
        active = Signal()
        first = Signal()
        lane = Signal(range(max(banks, 2)))
        advance = Signal()
        again = Signal()  # it advances in the next cycle, too
        group = Signal(read.addr.shape())
        bias = read_late(m, read, group, self.compact)
        self.debug = SimpleNamespace(bias=bias)
        m.d.comb += advance.eq(active & (~tile.final | (lane == banks - 1)))
        with m.If(self.sums.coming):
            m.d.comb += group.eq(data.View(layout, tiles.r_data).bias)
        with m.Elif(self.sums.capture):
            m.d.comb += group.eq(arriving.bias + (~arriving.final | (banks == 1)))
        with m.Else():
            # Of Q logits the last but one is taken now; the only one, where Q = 1.
            next_is_last = lane == (banks - 2) % banks
            both = Cat(advance ^ again, advance & again)  # advance + again: 0, 1 or 2
            m.d.comb += [again.eq(~tile.final | next_is_last), group.eq(tile.bias + both)]
        with m.If(active & tile.final):
            m.d.sync += lane.eq(Mux(advance, 0, lane + 1))
        with m.If(advance):
            m.d.sync += [
                # The other sums move down by Q places.
                *(waiting[place].eq(waiting[place + banks]) for place in range(lanes - banks)),
                tile.bias.eq(tile.bias + 1),
                tile.block.eq(tile.block + 1),
                tile.steps.eq(tile.steps - 1),
                active.eq(tile.steps != 0),
                first.eq(0),
            ]
        with m.If(self.sums.capture):
            m.d.sync += [waiting.eq(self.sums.sums), tile.eq(arriving), active.eq(1), first.eq(1), lane.eq(0)]

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
        append, logit, settings = self.appends.payload, self.logits.payload, self.control.settings
        largest = settings["ACTIVATION_MAX"][:bits]
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
                append["values"][bank].eq(clamp(low, above, negative, largest)),
                append["some"][bank].eq(~negative & (above | low.any())),  # the largest is not 0
            ]

        # Out: Q activations, or one logit.
        class_ = Cat(out_lane[: (banks - 1).bit_length()], out_tile.block)
        m.d.sync += [
            self.appends.valid.eq(out_valid & ~out_tile.final),
            append.hidden_set.eq(out_tile.hidden_set),
            append.begin.eq(out_tile.begin & out_first),
            append.first.eq(out_first),
            append.block.eq(out_tile.block),
            self.logits.valid.eq(out_valid & out_tile.final & (class_ <= settings["CLASSES"])),
            logit.z.eq(chosen),
            logit.class_.eq(class_),
            logit.last.eq(class_ == settings["CLASSES"]),
            logit.current.eq(out_tile.current),
        ]
        return m
