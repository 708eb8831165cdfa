"""The bus's end: every request answered once and in order, and refused ones without effect."""

from amaranth.hdl import Assert, Assume, Cat, Const, Cover, Elaboratable, Module, Mux, Signal
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import (
    IMAGE_WORD_BITS,
    MAGIC,
    OPTION_HOST_KEYS,
    REGISTERS,
    VERSION,
    Region,
    extent,
)
from synflip_hdl.bus.registers import Registers, readable, writable

from tests.formal.helpers import Opened, delayed, free_inputs
from tests.formal.runner import Proof


class Bus(Elaboratable):
    """Any requests, any pauses of either side, any answers of the blocks behind."""

    def __init__(self, geometry: Geometry, compact: bool) -> None:
        self.geometry = geometry
        self.compact = compact

    def elaborate(self, platform):
        m = Module()
        dut = Registers(self.geometry, self.compact)
        inside = Opened(m, dut)
        free_inputs(m, dut)
        request, response = dut.request, dut.response
        write, data = request.payload.write, request.payload.data
        region, offset = request.payload.address[24:], request.payload.address[:24]
        accepted, answered = Signal(), Signal()
        m.d.comb += [
            accepted.eq(request.valid & request.ready),
            answered.eq(response.valid & response.ready),
        ]

        # What the memory map allows.
        places = readable(self.geometry)
        settings = dut.control.settings
        past_slot = settings["FIRST_SLOT"] + settings["IMAGES"]
        fits = past_slot <= self.geometry.image_slots
        runnable = (settings["IMAGES"] != 0) & fits
        slot = offset[IMAGE_WORD_BITS:]
        others = (slot < settings["FIRST_SLOT"]) | (slot >= past_slot)  # slots that a run does not use
        runnable &= (
            (settings["SAMPLES"] != 0)
            & (settings["SAMPLES"] < 1 << self.geometry.sample_bits)
            & ~dut.status.busy
        )
        start, abort, retest = data[0], data[1], data[2]
        host_keys = dut.status.busy & ((settings["OPTIONS"] & OPTION_HOST_KEYS) != 0)
        allowed, control = Signal(), Signal()
        with m.Switch(region):
            for item in Region:
                inside_region = offset < extent(item, self.geometry)
                inside_writes = offset < extent(item, self.geometry, write=True)
                with m.Case(item):
                    if item in writable(self.geometry):
                        free_for_host = others if item is Region.IMAGES else 0
                        in_time = host_keys if item is Region.KEYS else ~dut.status.busy | free_for_host
                        with m.If(write):
                            m.d.comb += allowed.eq(inside_writes & in_time)
                    if item in places:
                        in_time = ~dut.status.busy if item is Region.KEYS else 1
                        with m.If(~write):
                            m.d.comb += allowed.eq(inside_region & in_time)
                    if item is Region.REGISTERS:
                        with m.Switch(offset):
                            for register in dut.registers.values():
                                with m.Case(register.offset):
                                    if register.access == "R":
                                        m.d.comb += allowed.eq(~write)
                                    if register.access == "RW":
                                        m.d.comb += allowed.eq(~write | ~dut.status.busy)
                                    if register.access == "W":
                                        m.d.comb += [
                                            allowed.eq(
                                                write
                                                & (~start | (runnable & ~abort & ~retest))
                                                & ~(retest & dut.status.busy)
                                            ),
                                            control.eq(1),
                                        ]

        # Effects: those of an allowed write, and no others.
        works = accepted & allowed & write
        new_setting = delayed(m, works & (region == Region.REGISTERS) & ~control, 1, "new_setting")
        resetting = delayed(m, works & control & abort, 1, "aborted")
        for number in range(16):
            here = works & (region == number) if number in list(writable(self.geometry)) else 0
            m.d.comb += Assert(dut.host.write[number] == here)
        m.d.comb += [
            Assert(dut.host.offset == offset),
            Assert(~works | (dut.host.data == data)),
            Assert(dut.control.start == delayed(m, works & control & start, 1, "start")),
            Assert(dut.abort == (works & control & abort)),
            # Nothing is accepted in a start's cycle or the one after an abort: blocks are started or reset.
            Assert(~(dut.control.start | resetting) | ~accepted),
            Assert(dut.junctions.restart == (works & control & retest)),
            Assert(~dut.host.write[Region.KEYS] | dut.key_ready),
            Assert(~dut.host.write[Region.IMAGES] | dut.load_ready),
            Assert(~accepted | write | (region == Region.REGISTERS) | dut.results_free),
        ]
        for name in settings.shape().members:
            setting, kept = settings[name], Signal(REGISTERS[name].bits, name=f"kept_{name}")
            with m.If(works & (region == 0) & (offset == REGISTERS[name].offset)):
                m.d.sync += kept.eq(data)
            m.d.comb += Assert(setting == kept)

        m.d.comb += [
            Assume(
                ~dut.status.busy | delayed(m, dut.status.busy | dut.control.start, 1, "runs")
            ),  # a run begins with a start
            Assert(~dut.status.busy | ~new_setting),
            Assert(~(dut.status.busy | dut.control.start) | (fits & (settings["IMAGES"] != 0))),
            Assert(new_setting | (inside["past_slot"] == past_slot)),
            Assert(new_setting | dut.status.busy | (inside["runnable"] == runnable)),
        ]

        # Answers: one request is out at most, so they are in order; each is answered once.
        out, age = Signal(2), Signal(3)
        read, keys, error, answer = Signal(), Signal(), Signal(), Signal(32)
        results = Signal()  # of a memory, but not keys
        m.d.sync += out.eq(out + accepted - answered)
        with m.If(accepted):
            m.d.sync += [
                age.eq(1),
                read.eq(~write),
                keys.eq(~write & (region == Region.KEYS)),
                results.eq(~write & (region != Region.KEYS) & (region != Region.REGISTERS)),
                error.eq(~allowed),
                answer.eq(0),
            ]
        with m.Elif(age != 5):
            m.d.sync += age.eq(age + 1)
        ready_at = Mux(read, Mux(keys, 5, Mux(results, 4, 3)), 1)
        waits_for = ((write & (region == Region.IMAGES)) & ~dut.load_ready) | (
            (write & (region == Region.KEYS) & host_keys) & ~dut.key_ready
        )
        changed = delayed(m, accepted & write & (region == Region.REGISTERS), 1, "changed")
        controlling = write & (region == Region.REGISTERS) & (offset == REGISTERS["CONTROL"].offset)
        waits_for |= controlling & changed
        waits_for |= ~write & (region != Region.REGISTERS) & ~dut.results_free
        if self.geometry.soft_classes:
            waits_for |= controlling & ~dut.status.busy & ~dut.soft_quiet
            waits_for |= (region == Region.SOFT) & ~Mux(dut.status.busy, dut.soft_free, dut.soft_quiet)
        m.d.comb += [
            Assert(out <= 1),
            Assert(~keys | read),
            Assert(~results | (read & ~keys)),
            Assert(response.valid == ((out == 1) & (age >= ready_at))),
            Assert(~response.valid | (response.payload.error == error)),
            Assert(~response.valid | (response.payload.data == answer)),
            Assert(~accepted | (out == 0) | answered),
            # No other pauses than these.
            Assert(request.ready == (((out == 0) | answered) & ~dut.control.start & ~resetting & ~waits_for)),
        ]
        # A read's answer is looked up in the cycle after it was accepted: the memories were given its offset.
        asked, asked_region = delayed(m, offset, 1, "offset"), delayed(m, region, 1, "region")
        past_region = delayed(m, asked_region, 1, "asked_region")
        with m.If((out == 1) & keys & (age == 3) & ~error):
            # The key memory answers two cycles later than the others.
            m.d.sync += answer.eq(dut.results[places.index(Region.KEYS)])
        with m.If((out == 1) & read & (age == 1) & ~error), m.Switch(asked_region):
            for index, item in enumerate(places):
                if item is not Region.KEYS:
                    with m.Case(item):
                        m.d.sync += answer.eq(dut.results[index])
            with m.Case(Region.REGISTERS), m.Switch(asked):
                for name, register in dut.registers.items():
                    with m.Case(register.offset):
                        m.d.sync += answer.eq(self._value(dut, name))
        # The same of the inside.
        found = inside["result"]
        if not self.compact:
            found = Signal(32)
            with m.Switch(inside["read_region"]):
                for index, item in enumerate(places):
                    with m.Case(item):
                        m.d.comb += found.eq(inside["found"].word_select(index, 32))
        looked_up = inside["value"], inside["result"]
        m.d.comb += [
            Assert(inside["reading"] == ((out == 1) & read & (age == 1))),
            Assert(inside["settling"][0] == ((out == 1) & (keys | results) & (age == 2))),
            Assert(inside["settling"][1] == ((out == 1) & keys & (age == 3))),
            Assert(inside["answering"] == ((out == 1) & read & (age == ready_at - 1))),
            Assert((out == 0) | ~read | (age != 1) | (keys == (asked_region == Region.KEYS))),
            Assert(
                (out == 0) | ~read | (age != 1) | ((keys | results) == (asked_region != Region.REGISTERS))
            ),
            Assert(
                ~inside["reading"]
                | error
                | (inside["read_region"] == asked_region)
                & ((asked_region != Region.REGISTERS) | (inside["read_offset"] == asked))
            ),
            *(
                Assert(
                    ~inside[stage].any()
                    | (inside["read_error"] == error)
                    & ((inside["read_region"] == Region.KEYS) == keys)
                    & ((inside["read_region"] == Region.REGISTERS) == ~(keys | results))
                )
                for stage in ("reading", "settling", "answering")
            ),
            Assert(~inside["answering"] | keys | results | error | (inside["read_region"] == past_region)),
            Assert(~(inside["settling"][0] & results) | error | (found == answer)),
            Assert(
                ~inside["answering"]
                | error
                | (answer == Mux(inside["read_region"] == Region.REGISTERS, *looked_up))
            ),
            Assert((out == 0) | (age != 0)),
        ]

        # A stream's rule: valid stays, and the payload with it, until ready.
        waits = delayed(m, response.valid & ~response.ready, 1, "waits")
        payload = delayed(m, response.payload.as_value(), 1, "payload")
        m.d.comb += Assert(~waits | (response.valid & (response.payload.as_value() == payload)))
        m.d.comb += [
            Cover(dut.control.start),
            Cover(dut.abort),
            Cover(answered & read & ~error & (answer == 0x53594E46)),
            Cover(answered & error),
        ]
        return m

    def _value(self, dut, name):
        if name in dut.control.settings.shape().members:
            return dut.control.settings[name]
        status = {
            "STATUS": Cat(dut.status.busy, dut.junctions.alarm),
            "CAPTURED": dut.junctions.captured,
            "WORKING": dut.junctions.working,
            "CYCLES_LOW": dut.status.cycles[:32],
            "CYCLES_HIGH": dut.status.cycles[32:],
            "LOGGED": dut.logged,
        }
        if name in status:
            return status[name]
        fixed = {"MAGIC": MAGIC, "VERSION": VERSION, "CONTROL": 0}
        return Const(fixed[name] if name in fixed else getattr(self.geometry, name.lower()), 32)


PROOFS = [
    Proof(
        f"registers {geometry.name}{', compact' if compact else ''}",
        "every request is answered once, in order, a write in the next cycle, a read of a register in "
        "three, of results in four, of keys in five, with the value that the map says; none waits but for "
        "the answer before it, a start, an abort, or the blocks behind, or, if it is one of CONTROL, a cycle "
        "for the register before it; "
        "valid and payload stay until ready; a refused request moves no register and no strobe, an allowed "
        "one exactly its own; a start comes a cycle later, and nothing is accepted with it, nor right after "
        "an abort; a word for the event lists or the key memory is taken only when they take it, and "
        "results are read only when their memories are free; where there are soft votes, a write of CONTROL "
        "and accesses to SOFT wait for them as said, and for nothing else",
        f"{geometry.name}, k = {geometry.bits}; assumes that a run begins with a start (sequencer)",
        lambda geometry=geometry, compact=compact: Bus(geometry, compact),
        depth=5,
        induction=True,
        cover=8,
        fast=geometry.banks == 1,
    )
    for geometry, compact in (
        (Geometry(lanes=16, banks=1, bits=1, image_slots=3), True),
        (Geometry(lanes=48, banks=8, devices=9), False),
        (Geometry(lanes=32, banks=1, soft_classes=10), False),
    )
]
