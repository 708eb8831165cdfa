"""Registers: the bus's end of the memory map."""

from types import SimpleNamespace

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import (
    ADDRESS_BITS,
    CONTROL_ABORT,
    CONTROL_RETEST,
    CONTROL_START,
    IMAGE_WORD_BITS,
    MAGIC,
    OFFSET_BITS,
    OPTION_HOST_KEYS,
    REGIONS,
    REGISTERS,
    VERSION,
    Region,
    extent,
    present,
    register,
)
from synflip.spec.sizes import address_bits

from synflip_hdl.interfaces import SLOT_BITS, HostAccess, JunctionControl, RunControl, RunStatus
from synflip_hdl.lib.distance import across

REQUEST = data.StructLayout({"write": 1, "address": ADDRESS_BITS, "data": 32})
RESPONSE = data.StructLayout({"data": 32, "error": 1})
MEMORIES = tuple(region for region in REGIONS if region not in (Region.REGISTERS, Region.SOFT))
WRITABLE = tuple(region for region in MEMORIES if "W" in REGIONS[region].access)
READABLE = tuple(region for region in MEMORIES if "R" in REGIONS[region].access)
REGISTER_BITS = max(item.offset for item in REGISTERS.values()).bit_length()
STATUS = ("STATUS", "CYCLES_LOW", "CYCLES_HIGH", "LOGGED", "CAPTURED", "WORKING")


def writable(geometry: Geometry) -> tuple[Region, ...]:
    """Regions of an accelerator of this geometry that a host may write to."""
    return (*WRITABLE, Region.SOFT) if geometry.soft_classes else WRITABLE


def readable(geometry: Geometry) -> tuple[Region, ...]:
    """Regions of an accelerator of this geometry that a host may read."""
    return (*READABLE, Region.SOFT) if geometry.soft_classes else READABLE


class Registers(wiring.Component):
    """Decodes requests. Every request is answered once, in order: a write in the next cycle, a read of a
    register in three, one of results in four, one of keys in five.

    A request is answered with an error, and has no effect, if it is

    - to an address outside the map, a write to what can only be read, or a read of what can only be written;
    - a write while a run is busy. Allowed are CONTROL, images in slots that are not the run's, and keys if
      the run takes its keys from the host;
    - a write of keys while no run takes them, or a read of keys while a run is busy;
    - a start while busy, together with an abort or a new test, or of no images, of slots that are not there,
      of no samples, or of too many;
    - a new test of the junctions while busy.

    Throughput a write a cycle, a read every three to five. These wait: a write of an image for the event
    lists, a write of a key for the key memory, a write of CONTROL for a cycle after that of another register,
    a read of results for a cycle in which the votes do not use their memories. Where there are soft votes and
    no run is busy, a write of CONTROL and all accesses to SOFT wait for the last passes in them; a read of
    SOFT while a run is busy waits for a cycle in which its memories are free. Nothing is accepted in the
    cycle of a start, nor in the one after an abort, when the blocks are reset.

    Members
    -------
    request: In(stream of REQUEST).
    response: Out(stream of RESPONSE).
    control: Out(RunControl), the RW registers; the start comes a cycle after its request.
    host: Out(HostAccess), the access that is accepted in this cycle.
    status: In(RunStatus), from the sequencer.
    abort: Out(1), strobe, with its request: the blocks are reset in the next cycle.
    load_ready: In(1), the event lists take a word of an image.
    key_ready: In(1), the key memory takes keys.
    results_free: In(1), no run uses the memories of results in this cycle.
    results: In(words of 32 bits, by place in ``readable``), a cycle after the offset; keys three.
    soft_quiet: In(1), where the geometry has soft votes: no pass is under way in them.
    soft_free: In(1), likewise: no run uses their memories in this cycle.
    logged: In(24), logits in the log.
    junctions: Out(JunctionControl), where the geometry has junctions. ``restart`` is with its request,
        ``capture`` a cycle after its request, which is a write of CAPTURE.
    """

    def __init__(self, geometry: Geometry, compact: bool = False) -> None:
        """compact: see ``accelerator.Accelerator``. Answers of memories have one register together."""
        self.geometry = geometry
        self.compact = compact
        self.registers = {name: item for name, item in REGISTERS.items() if present(name, geometry)}
        super().__init__(
            {
                "request": In(stream.Signature(REQUEST)),
                "response": Out(stream.Signature(RESPONSE)),
                "control": Out(RunControl(geometry)),
                "host": Out(HostAccess()),
                "status": In(RunStatus()),
                "abort": Out(1),
                "load_ready": In(1),
                "key_ready": In(1),
                "results_free": In(1),
                "results": In(data.ArrayLayout(32, len(readable(geometry)))),
                "logged": In(24),
                "junctions": Out(JunctionControl()),
            }
            | ({"soft_quiet": In(1), "soft_free": In(1)} if geometry.soft_classes else {})
        )

    def elaborate(self, platform):
        m = Module()
        request = self.request.payload
        region, offset = request.address[OFFSET_BITS:], request.address[:OFFSET_BITS]

        reading = Signal()
        settling = Signal(2)
        answering = Signal()
        resetting = Signal()  # the blocks are being reset
        m.d.sync += resetting.eq(self.abort)
        free = Signal()
        taken = Signal()  # a request is accepted, unless it waits for the block that it is for
        accept = Signal()
        refused = Signal()
        access = SimpleNamespace(region=region, offset=offset, taken=taken, accept=accept, refused=refused)
        loading = request.write & (region == Region.IMAGES)
        reading_results = ~request.write & (region != Region.REGISTERS)
        settings = self.control.settings
        host_keys = self.status.busy & ((settings["OPTIONS"] & OPTION_HOST_KEYS) != 0)
        feeding = request.write & (region == Region.KEYS) & host_keys
        # What the settings mean for a run is computed in a cycle of its own; a write of CONTROL waits for it.
        past_slot = Signal(SLOT_BITS + 2)  # of the run's images
        runnable = Signal()
        changed = Signal()  # a setting is new
        controlling = request.write & (request.address == register("CONTROL"))
        ready = (
            free
            & (~loading | self.load_ready)
            & (~feeding | self.key_ready)
            & (~reading_results | self.results_free)
            & (~controlling | ~changed)
        )
        if self.geometry.soft_classes:
            soft = region == Region.SOFT
            # Nothing but an abort goes past passes under way.
            access.settled = self.status.busy | self.soft_quiet
            access.soft_ready = Mux(self.status.busy, self.soft_free, self.soft_quiet)
            ready &= (~controlling | access.settled) & (~soft | access.soft_ready)
        m.d.comb += [
            free.eq(
                ~reading
                & ~settling.any()
                & ~answering
                & ~self.control.start
                & ~resetting
                & (~self.response.valid | self.response.ready)
            ),
            self.request.ready.eq(ready),
            taken.eq(self.request.valid & free),
            accept.eq(self.request.valid & self.request.ready),
            self.host.offset.eq(offset),
            self.host.data.eq(request.data),
            refused.eq(1),
        ]
        end = settings["FIRST_SLOT"] + settings["IMAGES"]
        m.d.sync += [
            past_slot.eq(end),
            runnable.eq(
                (settings["IMAGES"] != 0)
                & (end <= self.geometry.image_slots)
                & (settings["SAMPLES"] != 0)
                & ~settings["SAMPLES"][self.geometry.sample_bits :].any()
            ),
            changed.eq(accept & request.write & (region == Region.REGISTERS)),
        ]
        self._strobes(m, access, host_keys, past_slot)
        values = self._registers(m, access, runnable, changed)
        self._answer(m, access, values, reading, settling, answering)
        return m

    def _strobes(self, m, access, host_keys, past_slot):
        """Which accesses of the blocks' memories are allowed, and the strobes of writes."""
        request, region, offset = self.request.payload, access.region, access.offset
        taken, refused, settings = access.taken, access.refused, self.control.settings
        slot_bits = address_bits(self.geometry.image_slots)
        slot = offset[IMAGE_WORD_BITS:][:slot_bits]  # of a word of an image

        def in_region(item: Region, write: bool = False):
            return (region == item) & (offset < extent(item, self.geometry, write))

        # A block's ready signal gates the strobe of its own region only: no path leads from it to the others.
        waits_for = {Region.IMAGES: self.load_ready, Region.KEYS: self.key_ready}
        if self.geometry.soft_classes:
            waits_for[Region.SOFT] = access.soft_ready
        for item in writable(self.geometry):
            allowed = ~self.status.busy
            if item == Region.IMAGES:
                # Both are within the slots there are while a run is busy.
                first, past = settings["FIRST_SLOT"][:slot_bits], past_slot[: slot_bits + 1]
                allowed |= (slot < first) | (slot >= past)
            if item == Region.KEYS:
                allowed = host_keys
            with m.If(request.write & in_region(item, write=True) & allowed):
                m.d.comb += [refused.eq(0), self.host.write[item].eq(taken & waits_for.get(item, 1))]
        for item in readable(self.geometry):
            with m.If(~request.write & in_region(item) & (~self.status.busy if item == Region.KEYS else 1)):
                m.d.comb += refused.eq(0)

    def _registers(self, m, access, runnable, changed):
        """The registers: strobes of CONTROL, and the settings. Returns what a read of each gives, by name."""
        request, region, offset = self.request.payload, access.region, access.offset
        taken, refused, settings = access.taken, access.refused, self.control.settings
        m.d.sync += [self.control.start.eq(0), self.junctions.capture.eq(0)]
        identity = {"MAGIC": MAGIC, "VERSION": VERSION}
        values = {}
        for name, entry in self.registers.items():
            here = (region == Region.REGISTERS) & (offset == entry.offset)
            if name == "CONTROL":
                startable = ~self.status.busy & runnable
                with m.If(request.write & here):
                    start, abort, retest = (
                        (request.data & bit) != 0 for bit in (CONTROL_START, CONTROL_ABORT, CONTROL_RETEST)
                    )
                    now = taken & ~changed
                    if self.geometry.soft_classes:
                        now &= access.settled
                    m.d.comb += [
                        refused.eq((start & (~startable | abort)) | (retest & (self.status.busy | start))),
                        self.abort.eq(now & abort & ~refused),
                        self.junctions.restart.eq(now & retest & ~refused),
                    ]
                    m.d.sync += self.control.start.eq(now & start & ~refused)
            elif entry.access == "RW":
                setting = Signal(entry.bits, name=name.lower())
                m.d.comb += settings[name].eq(setting)
                with m.If(request.write & here & ~self.status.busy):
                    m.d.comb += refused.eq(0)
                    if name == "CAPTURE":  # a cycle later, with the new setting
                        m.d.sync += self.junctions.capture.eq(taken)
                    with m.If(taken):
                        m.d.sync += setting.eq(request.data)
                values[name] = setting
            elif name in identity:
                values[name] = identity[name]
            elif name not in STATUS:
                values[name] = getattr(self.geometry, name.lower())
            if entry.access != "W":
                with m.If(~request.write & here):
                    m.d.comb += refused.eq(0)
        live = {
            "STATUS": Cat(self.status.busy, self.junctions.alarm),
            "CYCLES_LOW": self.status.cycles[:32],
            "CYCLES_HIGH": self.status.cycles[32:],
            "LOGGED": self.logged,
            "CAPTURED": self.junctions.captured,
            "WORKING": self.junctions.working,
        }
        return values | {name: value for name, value in live.items() if name in self.registers}

    def _answer(self, m, access, values, reading, settling, answering):
        """A write is answered at once; a read is looked up in the cycle after (``reading``), and answered in
        the next (``answering``). Results come a cycle later than registers, keys two (``settling``)."""
        request, region, offset = self.request.payload, access.region, access.offset
        accept, refused = access.accept, access.refused
        read_region = Signal(4)
        read_offset = Signal(REGISTER_BITS)
        read_error = Signal()
        # A memory answers a cycle after the address, and late in that cycle, so each answer goes through a
        # register of its own before it meets those of other places on the die.
        value = Signal(32)
        found = across(m, self.results, self.compact, "found")
        result = Signal(32)
        keys = read_region == Region.KEYS
        m.d.sync += value.eq(0)
        with m.Switch(read_offset):
            for name, item in values.items():
                with m.Case(REGISTERS[name].offset):
                    m.d.sync += value.eq(item)
        # Without registers of their own the answers are there for a cycle only.
        there = reading | settling[1] if self.compact else Const(1)
        with m.If(there):
            m.d.sync += result.eq(0)
            with m.Switch(read_region):
                for index, item in enumerate(readable(self.geometry)):
                    with m.Case(item):
                        # Keys have a register of their own already, and come later.
                        answer = self.results[index] if item == Region.KEYS else found[index]
                        m.d.sync += result.eq(answer)

        with m.If(self.response.ready):
            m.d.sync += self.response.valid.eq(0)
        with m.If(accept):
            m.d.sync += [read_region.eq(region), read_offset.eq(offset), read_error.eq(refused)]
            with m.If(request.write):
                m.d.sync += [
                    self.response.valid.eq(1),
                    self.response.payload.data.eq(0),
                    self.response.payload.error.eq(refused),
                ]
        of_register = read_region == Region.REGISTERS
        m.d.sync += [
            reading.eq(accept & ~request.write),
            settling.eq(Cat(reading & ~of_register, settling[0] & keys)),
            answering.eq((reading & of_register) | (settling[0] & ~keys) | settling[1]),
        ]
        with m.If(answering):
            answer = Mux(of_register, value, result)
            m.d.sync += [
                self.response.valid.eq(1),
                self.response.payload.data.eq(Mux(read_error, 0, answer)),
                self.response.payload.error.eq(read_error),
            ]
