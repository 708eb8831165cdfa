"""Requantizer: a tile's sums get bias, rounding and clamping, and become activations or logits."""

from types import SimpleNamespace

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.cycles import PASS_SPACING, pipeline_depth
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import Region
from synflip.spec.sizes import LOGIT_BITS, log2_ceil

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
    hidden layer, PASS_SPACING or more after a pass's last tile. The last tile of a hidden layer may be
    shorter: another pass's layer is opened and issued after it, or nothing before it was captured."""
    after_layer = 2 if geometry.flight > 1 else PASS_SPACING
    # Positions of a convolution are SEGMENT_SPACING cycles apart at least, which is not less.
    return min(geometry.lanes // geometry.banks, after_layer, PASS_SPACING)


def tiles_under_way(geometry: Geometry) -> int:
    """A power of two of at least as many tiles as can be issued and not yet captured."""
    most = pipeline_depth(geometry.banks) // tile_spacing(geometry) + 1
    return max(1 << log2_ceil(most), 2)


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
        self._tile_layout = tile_layout(self.geometry)
        kind = fifo.SyncFIFOBuffered if self.compact else fifo.SyncFIFO
        m.submodules.tiles = tiles = kind(width=self._tile_layout.size, depth=tiles_under_way(self.geometry))
        read = self._biases(m)
        queue = self._queue(m, tiles)
        step = self._step(m, queue, read)
        z = self._add(m, step)
        out = self._shift(m, z)
        self._leave(m, out)
        return m

    def _biases(self, m):
        """The memory of biases, which the host writes, a cycle late. Returns its read port."""
        bits = LOGIT_BITS * self.geometry.banks
        m.submodules.writer = writer = EntryWriter(bits)
        m.submodules.biases = biases = Memory(
            shape=data.ArrayLayout(signed(LOGIT_BITS), self.geometry.banks),
            depth=self.geometry.bias_depth,
            init=[],
        )
        write, read = biases.write_port(), biases.read_port()
        address = writer.entry[: len(write.addr)]
        m.d.comb += [
            writer.valid.eq(self.host.write[Region.BIASES]),
            writer.offset.eq(self.host.offset),
            writer.data.eq(self.host.data),
            write.en.eq(across(m, writer.commit, self.compact, "write_enable", reset_less=False)),
            write.addr.eq(across(m, address, self.compact, "write_address")),
            write.data.eq(across(m, writer.value, self.compact, "written")),
        ]
        return read

    def _queue(self, m, tiles):
        """Tiles wait in ``tiles`` for their sums. Returns the group of biases of the tile whose sums come in
        the next cycle (``next_bias``), the tile whose sums are captured now (``arriving``), and the group of
        biases that it needs two cycles after (``after``)."""
        # Captures are two cycles apart at least: a tile may stay in its queue until it is captured, and is
        # the queue's first already in the cycle before its sums are said to come.
        next_ = data.View(self._tile_layout, tiles.r_data)
        next_bias = across(m, next_.bias, self.compact, "next_bias")
        arriving = data.View(self._tile_layout, across(m, tiles.r_data, self.compact, "arriving"))
        # A captured tile advances in the next cycle, unless it leaves one of several logits.
        after = next_.bias + (~next_.final | (self.geometry.banks == 1))
        after = across(m, after[: len(next_.bias)], self.compact, "after_arriving")
        m.d.comb += [
            tiles.w_data.eq(self.tiles.payload),
            tiles.w_en.eq(self.tiles.valid),
            tiles.r_en.eq(self.sums.capture if self.compact else self.sums.coming),
        ]
        return SimpleNamespace(next_bias=next_bias, arriving=arriving, after=after)

    def _step(self, m, queue, read):
        """A step of a tile: the first Q sums of the shift register, and their biases.

        A hidden layer's register advances in every cycle, a last layer's when its Q logits have left:
        ``lane`` is the one that leaves now. Biases are asked for two cycles before, as block RAM answers
        late in its cycle: ``group`` is for the step in two cycles. ``upcoming`` is the group of the next
        cycle's step; the step after it needs the same, or ``beyond``, the one above it, if the register
        advances in the next cycle. Both are registers, so that no addition stands before the memory.
        """
        lanes, banks, arriving = self.geometry.lanes, self.geometry.banks, queue.arriving
        waiting = Signal(sums_layout(self.geometry), reset_less=True)
        tile = Signal(self._tile_layout, reset_less=True)
        active = Signal()
        first = Signal()
        lane = Signal(range(max(banks, 2)))
        advance = Signal()  # active & (~tile.final | (lane == banks - 1)), from a register: it has far to go
        again = Signal()  # it advances in the next cycle, too, if there is a step then
        group = Signal(read.addr.shape())
        upcoming, beyond = (Signal.like(group, name=name, reset_less=True) for name in ("upcoming", "beyond"))
        bias = read_late(m, read, group, self.compact)
        self.debug = SimpleNamespace(bias=bias)
        # The last but one of Q logits leaves now; the only one, where Q = 1.
        m.d.comb += again.eq(~tile.final | (lane == (banks - 2) % banks))
        m.d.sync += advance.eq(active & again & ~(advance & (tile.steps == 0)))
        with m.If(self.sums.coming):
            m.d.comb += group.eq(queue.next_bias)
        with m.Elif(self.sums.capture):
            m.d.comb += group.eq(queue.after)
        with m.Else():
            m.d.comb += group.eq(Mux(again, beyond, upcoming))
        with m.If(again):
            m.d.sync += [upcoming.eq(beyond), beyond.eq(beyond + 1)]
        with m.If(active & tile.final):
            m.d.sync += lane.eq(Mux(advance, 0, lane + 1))
        with m.If(advance):
            m.d.sync += [
                # The other sums move down by Q places.
                *(waiting[place].eq(waiting[place + banks]) for place in range(lanes - banks)),
                tile.block.eq(tile.block + 1),
                tile.steps.eq(tile.steps - 1),
                active.eq(tile.steps != 0),
                first.eq(0),
            ]
        with m.If(self.sums.capture):
            m.d.sync += [waiting.eq(self.sums.sums), tile.eq(arriving), active.eq(1), first.eq(1), lane.eq(0)]
            m.d.sync += advance.eq(~arriving.final | (banks == 1))
            m.d.sync += [upcoming.eq(queue.after), beyond.eq(queue.after + 1)]
        return SimpleNamespace(waiting=waiting, bias=bias, tile=tile, valid=active, first=first, lane=lane)

    def _later(self, m, stage, name: str):
        """What goes with a step, a cycle later."""
        later = SimpleNamespace(
            tile=Signal(self._tile_layout, name=f"{name}_tile", reset_less=True),
            valid=Signal(name=f"{name}_valid"),
            first=Signal(name=f"{name}_first"),
            lane=Signal.like(stage.lane, name=f"{name}_lane"),
        )
        m.d.sync += [
            later.tile.eq(stage.tile),
            later.valid.eq(stage.valid),
            later.first.eq(stage.first),
            later.lane.eq(stage.lane),
        ]
        return later

    def _add(self, m, step):
        """z: sum plus bias."""
        banks = self.geometry.banks
        sums = Signal(data.ArrayLayout(signed(LOGIT_BITS), banks), name="z", reset_less=True)
        z = self._later(m, step, "z")
        for bank in range(banks):
            m.d.sync += sums[bank].eq(step.waiting[bank] + step.bias[bank])
        z.sums = sums
        return z

    def _shift(self, m, z):
        """Q activations, shifted here and clamped in the next cycle; or the logit whose turn it is."""
        bits, append = self.geometry.activation_bits, self.appends.payload
        largest = self.control.settings["ACTIVATION_MAX"][:bits]
        out = self._later(m, z, "out")
        out.chosen = Signal(signed(LOGIT_BITS), name="chosen", reset_less=True)
        # Logit z.lane of Q, by the place of its lowest bit: 32 times the lane.
        m.d.sync += out.chosen.eq(z.sums.as_value().bit_select(Cat(Const(0, 5), z.lane), LOGIT_BITS))
        for bank in range(self.geometry.banks):
            low = Signal(bits, name=f"low_{bank}", reset_less=True)
            above = Signal(name=f"above_{bank}", reset_less=True)
            negative = Signal(name=f"negative_{bank}", reset_less=True)
            m.d.sync += [
                Cat(low, above).eq(Cat(*shift_right(z.sums[bank], z.tile.shift, bits))),
                negative.eq(z.sums[bank][-1]),
                append["values"][bank].eq(clamp(low, above, negative, largest)),
                append["some"][bank].eq(~negative & (above | low.any())),  # the largest is not 0
            ]
        return out

    def _leave(self, m, out):
        """What leaves: Q activations, or one logit."""
        append, logit = self.appends.payload, self.logits.payload
        settings, tile = self.control.settings, out.tile
        class_ = Cat(out.lane[: log2_ceil(self.geometry.banks)], tile.block)
        m.d.sync += [
            self.appends.valid.eq(out.valid & ~tile.final),
            append.hidden_set.eq(tile.hidden_set),
            append.begin.eq(tile.begin & out.first),
            append.first.eq(out.first),
            append.block.eq(tile.block),
            *([append.pooled.eq(tile.pooled)] if self.geometry.map_depth else []),
            self.logits.valid.eq(out.valid & tile.final & (class_ <= settings["CLASSES"])),
            logit.z.eq(out.chosen),
            logit.class_.eq(class_),
            logit.last.eq(class_ == settings["CLASSES"]),
            logit.current.eq(tile.current),
        ]
