"""Soft votes: each network sample's softmax, looked up in tables, added up for each class; and its energy."""

from types import SimpleNamespace

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import Region, energy_offset, soft_depth
from synflip.spec.sizes import (
    LOGIT_BITS,
    SOFT_DISTANCE_BITS,
    SOFT_ENTRIES,
    SOFT_FRACTION,
    SOFT_POINT,
    log2_ceil,
)

from synflip_hdl.engine.requantizer import shift_right
from synflip_hdl.engine.synapse_array import delayed
from synflip_hdl.engine.votes import SUM_BITS, above
from synflip_hdl.interfaces import CLASS_BITS, SLOT_BITS, HostAccess, RunControl, SoftResults, logit_layout

VOTE_BITS = SOFT_FRACTION + 1
LEVEL_BITS = LOGIT_BITS + 1  # of the largest logit plus an entry of L
BEHIND_BITS = LOGIT_BITS + 1  # of m - z + half + l, never negative and less than 2^32 + 2^30 + 2^31
#: Cycles from a logit's read to the cycle in which its exponential is in Z.
READ_TO_SUM = 5
#: Cycles from a distance's read to the write of what is added to its class.
READ_TO_WRITE = 5


class SoftVotes(wiring.Component):
    """Takes a pass's logits one a cycle, class 0 first. When the last of C is there, they are read: each
    class's distance from the largest gives an exponential (table E), and these a sum, which gives how much
    farther behind all are put (table L). Then they are read again, and E gives what is added to each class.

    A pass whose last logit comes in cycle T is in the sums in cycle T + 2 C + 11. The next one's last may
    come max(C, PASS_SPACING) cycles after T or later: each step takes a class a cycle, so no pass waits.

    Members
    -------
    control: In(RunControl); CLASSES, CLASS_SHIFT, and SOFT_SHIFT, t of the tables.
    host: In(HostAccess), words of the tables; its offset also reads the results.
    logits: In(stream of logit_layout, always ready), from the requantizer.
    results: Out(SoftResults), for the host.

    Attributes
    ----------
    debug: after ``elaborate``, for proofs: the memories' read ports.
    """

    def __init__(self, geometry: Geometry, compact: bool = False) -> None:
        """compact: sums of energies have only as many bits as they can have in a run, not SUM_BITS."""
        self.geometry = geometry
        self.energy_bits = LEVEL_BITS + geometry.sample_bits if compact else SUM_BITS
        super().__init__(
            {
                "control": In(RunControl(geometry)),
                "host": In(HostAccess()),
                "logits": In(stream.Signature(logit_layout(geometry), always_ready=True)),
                "results": Out(SoftResults()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        memories = self._memories(m)
        collected = self._collect(m, memories)
        summed = self._sum(m, memories, collected)
        farther = self._put_farther(m, memories, summed)
        added = self._add(m, memories, farther)
        self._host(m, memories)
        m.d.comb += [
            self.results.free.eq(~summed.there & ~added.reads),
            self.results.quiet.eq(
                ~(collected.reading.valid | summed.busy | farther.busy | farther.adding.valid | added.busy)
            ),
        ]
        return m

    def _memories(self, m):
        """Write port and read port of each memory. Logits and distances have room for two passes. Two lookups
        a cycle need E twice."""
        geometry = self.geometry
        places = 2 << log2_ceil(geometry.soft_classes)
        ports = {}
        for name, shape, depth in (
            ("logits", signed(LOGIT_BITS), places),
            ("behind", unsigned(BEHIND_BITS), places),
            ("summed", unsigned(VOTE_BITS), SOFT_ENTRIES),
            ("added", unsigned(VOTE_BITS), SOFT_ENTRIES),
            ("farther", unsigned(SOFT_DISTANCE_BITS), soft_depth(geometry)),
            ("sums", unsigned(SOFT_FRACTION + geometry.sample_bits), geometry.result_depth),
            ("energies", signed(self.energy_bits), geometry.image_slots),
        ):
            m.submodules[f"{name}_rows"] = memory = Memory(shape=shape, depth=depth, init=[])
            ports[f"{name}_write"], ports[f"{name}_read"] = memory.write_port(), memory.read_port()
        self.debug = SimpleNamespace(**ports)
        return self.debug

    @property
    def _image(self) -> data.StructLayout:
        """What goes along with a pass. first: it is its image's first of a run, and starts the sums."""
        return data.StructLayout({"slot": SLOT_BITS, "first": 1, "largest": signed(LOGIT_BITS)})

    def _place(self, class_, turn):
        """Where a class of a pass is in the memories of logits and distances."""
        return Cat(class_[: log2_ceil(self.geometry.soft_classes)], turn)

    def _classes(self, m, name: str, begin):
        """All classes of a pass, one a cycle, from the cycle after ``begin`` on. ``turn`` changes with each
        pass."""
        now = SimpleNamespace(
            valid=Signal(name=f"{name}_valid"),
            class_=Signal(CLASS_BITS, name=f"{name}_class"),
            turn=Signal(name=f"{name}_turn"),
            last=Signal(name=f"{name}_last"),
        )
        m.d.comb += now.last.eq(now.valid & (now.class_ == self.control.settings["CLASSES"]))
        with m.If(now.valid):
            m.d.sync += now.class_.eq(now.class_ + 1)
        with m.If(now.last):
            m.d.sync += [now.valid.eq(0), now.class_.eq(0), now.turn.eq(~now.turn)]
        with m.If(begin):
            m.d.sync += now.valid.eq(1)
        return now

    def _collect(self, m, memories):
        """Logits are kept until they are read, from the cycle after a pass's last on. In that cycle
        (``ended``) the pass's image and its largest logit are known."""
        logit, write = self.logits.payload, memories.logits_write
        opens = Signal(init=1)
        turn = Signal()
        ended = Signal()
        best = Signal(signed(LOGIT_BITS), reset_less=True)
        slot = Signal(SLOT_BITS, reset_less=True)
        first = Signal(reset_less=True)
        ends = self.logits.valid & logit.last
        with m.If(self.logits.valid):
            m.d.sync += [opens.eq(logit.last), slot.eq(logit.current.slot)]
            m.d.sync += first.eq(logit.current.sample == 0)
        with m.If(self.logits.valid & (opens | above(logit.z, best))):
            m.d.sync += best.eq(logit.z)
        with m.If(ends):
            m.d.sync += turn.eq(~turn)
        m.d.sync += ended.eq(ends)
        image = Signal(self._image, name="collected")
        m.d.comb += [
            image.slot.eq(slot),
            image.first.eq(first),
            image.largest.eq(best),
            write.addr.eq(self._place(logit.class_, turn)),
            write.data.eq(logit.z),
            write.en.eq(self.logits.valid),
        ]
        return SimpleNamespace(image=image, ended=ended, reading=self._classes(m, "reading", ends))

    def _index(self, m, name: str, behind):
        """The place of a distance in E, a cycle later. The distance has half a step in it already."""
        bits = log2_ceil(SOFT_ENTRIES)
        # It is never negative: ``shift_right`` wants a sign.
        low, more = shift_right(Cat(behind, Const(0, 1)), self.control.settings["SOFT_SHIFT"], bits)
        index = Signal(bits, name=name, reset_less=True)
        m.d.sync += index.eq(low | more.replicate(bits))
        return index

    def _sum(self, m, memories, collected):
        """The exponentials of a pass are added up to Z. Returns whether it is there (``there``), and its
        image."""
        reading = collected.reading
        image, later = (Signal(self._image, name=name, reset_less=True) for name in ("read", "read_later"))
        top = Signal(signed(BEHIND_BITS), reset_less=True)
        behind = Signal(BEHIND_BITS, reset_less=True)
        total = Signal(VOTE_BITS + log2_ceil(self.geometry.soft_classes), reset_less=True)
        opens = Signal(init=1, name="sum_opens")
        half = (Const(1) << self.control.settings["SOFT_SHIFT"]) >> 1
        # Bit n is of n + 1 cycles ago: 0, the logit is there; 1, its distance; 2, its index; 3, its
        # exponential; 4, it is in the total.
        valid, last = Signal(READ_TO_SUM, name="summing"), Signal(READ_TO_SUM, name="summing_last")
        m.d.sync += [valid.eq(Cat(reading.valid, valid)), last.eq(Cat(reading.last, last))]
        with m.If(collected.ended):
            m.d.sync += [image.eq(collected.image), top.eq(collected.image.largest + half)]
        with m.If(last[0]):  # the next pass may take its place
            m.d.sync += later.eq(image)
        class_, turn = delayed(m, reading.class_, 2, "read_class"), delayed(m, reading.turn, 2, "read_turn")
        m.d.sync += behind.eq(top - memories.logits_read.data)
        with m.If(valid[3]):
            m.d.sync += total.eq(Mux(opens, 0, total) + memories.summed_read.data)
            m.d.sync += opens.eq(last[3])
        m.d.comb += [
            memories.logits_read.addr.eq(self._place(reading.class_, reading.turn)),
            memories.behind_write.addr.eq(self._place(class_, turn)),
            memories.behind_write.data.eq(behind),
            memories.behind_write.en.eq(valid[1]),
            memories.summed_read.addr.eq(self._index(m, "summed_index", behind)),
            memories.farther_read.addr.eq(total >> SOFT_POINT),
        ]
        return SimpleNamespace(there=last[4], image=later, busy=valid.any())

    def _put_farther(self, m, memories, summed):
        """Z is looked up in L, which gives the energy, and how much farther behind the classes are: their
        distances are read from the cycle after on."""
        read, write = memories.energies_read, memories.energies_write
        image = Signal(self._image, name="looked_up_image", reset_less=True)
        looked_up = Signal()
        written = Signal()
        farther = Signal(SOFT_DISTANCE_BITS, reset_less=True)
        level = Signal(signed(LEVEL_BITS), reset_less=True)
        energy = Signal(signed(self.energy_bits), reset_less=True)
        with m.If(summed.there):
            m.d.sync += image.eq(summed.image)
        with m.If(looked_up):
            m.d.sync += farther.eq(memories.farther_read.data)
        m.d.sync += [
            looked_up.eq(summed.there),
            written.eq(looked_up),
            level.eq(image.largest + memories.farther_read.data),
            energy.eq(Mux(image.first, 0, read.data)),
        ]
        m.d.comb += read.addr.eq(Mux(summed.there, summed.image.slot, self.host.offset[1:]))
        self._write(m, "energy", write, written, "slot", image.slot, energy - level)
        adding = self._classes(m, "adding", summed.there)
        return SimpleNamespace(adding=adding, farther=farther, image=image, busy=looked_up | written)

    def _add(self, m, memories, farther):
        """The distances, farther behind, are looked up in E, and what it gives is added to the classes.
        Returns whether the sums are read for that now (``reads``)."""
        adding, read, write = farther.adding, memories.sums_read, memories.sums_write
        behind = Signal(BEHIND_BITS, name="farther_behind", reset_less=True)
        image = Signal(data.StructLayout({"slot": SLOT_BITS, "first": 1}), name="added", reset_less=True)
        place = Signal(read.addr.shape(), name="sum_place")
        total = Signal(read.data.shape(), name="sum", reset_less=True)
        addend = Signal(VOTE_BITS, reset_less=True)
        # Bit n is of n + 1 cycles ago: 0, the distance is there; 1, it is farther; 2, its index; 3, its
        # exponential, and the sum.
        valid = Signal(READ_TO_WRITE, name="farther_valid")
        m.d.sync += valid.eq(Cat(adding.valid, valid))
        past = delayed(m, adding.class_, 2, "past_class")
        class_ = delayed(m, past, 1, "added_class")
        with m.If(valid[1] & (past == 0)):  # the next pass may take its place
            m.d.sync += [image.slot.eq(farther.image.slot), image.first.eq(farther.image.first)]
        m.d.sync += [
            behind.eq(memories.behind_read.data + farther.farther),
            total.eq(Mux(delayed(m, image.first, 1, "sum_first"), 0, read.data)),
            addend.eq(memories.added_read.data),
        ]
        m.d.comb += [
            place.eq((image.slot << self.control.settings["CLASS_SHIFT"]) | class_),
            memories.behind_read.addr.eq(self._place(adding.class_, adding.turn)),
            memories.added_read.addr.eq(self._index(m, "added_index", behind)),
            read.addr.eq(Mux(valid[2], place, self.host.offset)),
        ]
        past_place = delayed(m, place, 2, "sum_place")
        self._write(m, "vote", write, valid[4], "place", past_place, total + addend)
        return SimpleNamespace(reads=valid[2], busy=valid.any())

    def _write(self, m, name: str, port, written, where: str, place, value):
        """Writes to a memory, by signals with names of their own: who watches them need not look into it."""
        now, address, row = (
            Signal(name=f"{name}_written"),
            Signal(port.addr.shape(), name=f"{name}_{where}"),
            Signal(port.data.shape(), name=f"{name}_value"),
        )
        m.d.comb += [now.eq(written), address.eq(place), row.eq(value)]
        m.d.comb += [port.en.eq(now), port.addr.eq(address), port.data.eq(row)]

    def _host(self, m, memories):
        """The tables, which the host writes, and the results, which it reads."""
        host, geometry = self.host, self.geometry
        half = Signal()
        of_energy = Signal()
        of_exponential = host.offset[log2_ceil(soft_depth(geometry))]
        for name, here in (
            ("summed", of_exponential),
            ("added", of_exponential),
            ("farther", ~of_exponential),
        ):
            write = getattr(memories, f"{name}_write")
            m.d.comb += [
                write.addr.eq(host.offset),
                write.data.eq(host.data),
                write.en.eq(host.write[Region.SOFT] & here),
            ]
        energy = memories.energies_read.data
        m.d.sync += [
            half.eq(host.offset[0]),
            of_energy.eq(host.offset[log2_ceil(energy_offset(geometry))]),
        ]
        m.d.comb += self.results.word.eq(
            Mux(
                of_energy,
                Mux(half, energy[32:].as_signed(), energy[:32]),
                memories.sums_read.data,
            )
        )
