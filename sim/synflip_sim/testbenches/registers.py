"""Bench of the registers: requests good and bad, with a host that hesitates, against the memory map."""

import random
from dataclasses import dataclass, field
from typing import Any

import cocotb
from amaranth.lib import data
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import (
    CONTROL_ABORT,
    CONTROL_RETEST,
    CONTROL_START,
    IMAGE_WORD_BITS,
    MAGIC,
    OFFSET_BITS,
    OPTION_HOST_KEYS,
    REGISTERS,
    VERSION,
    Region,
    extent,
    present,
    register,
)
from synflip_hdl.bus.registers import REQUEST, RESPONSE, readable, writable

from synflip_sim.testbenches.clocked import Bench, Player, noise
from synflip_sim.testbenches.ports import pack, read, unpack
from synflip_sim.testbenches.script import Kind, Script
from synflip_sim.testbenches.streams import StreamSink, StreamSource

RANDOM_REQUESTS = 1500
NAMES = {item.offset: name for name, item in REGISTERS.items()}


@dataclass
class Map:
    """The memory map as a host sees it."""

    geometry: Geometry
    settings: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        here = {name: item for name, item in REGISTERS.items() if present(name, self.geometry)}
        self.layout = data.StructLayout(
            {name: item.bits for name, item in here.items() if item.access == "RW"}
        )
        self.settings = {name: 0 for name, _ in self.layout}

    @property
    def runnable(self) -> bool:
        """Whether a run with these settings can be started."""
        first, images, samples = (self.settings[name] for name in ("FIRST_SLOT", "IMAGES", "SAMPLES"))
        fit = images > 0 and first + images <= self.geometry.image_slots
        return fit and 0 < samples < 1 << self.geometry.sample_bits

    def refuses(self, write: int, address: int, word: int, busy: int) -> bool:
        """Whether an access is answered with an error."""
        region, offset = divmod(address, 1 << OFFSET_BITS)
        if region >= len(Region) or offset >= extent(Region(region), self.geometry, bool(write)):
            return True
        if region != Region.REGISTERS:
            if region not in (writable if write else readable)(self.geometry):
                return True
            first, images = self.settings["FIRST_SLOT"], self.settings["IMAGES"]
            if region == Region.KEYS:
                taking = busy and self.settings["OPTIONS"] & OPTION_HOST_KEYS
                return bool(not taking if write else busy)
            running = first <= offset >> IMAGE_WORD_BITS < first + images
            return bool(write and busy and (region != Region.IMAGES or running))
        if offset not in NAMES or not present(NAMES[offset], self.geometry):
            return True
        name = NAMES[offset]
        if name == "CONTROL" and write and word & CONTROL_START:
            return bool(busy or not self.runnable or word & (CONTROL_ABORT | CONTROL_RETEST))
        if name == "CONTROL" and write and word & CONTROL_RETEST:
            return bool(busy)
        if name == "CONTROL":
            return not write
        return ("W" if write else "R") not in REGISTERS[name].access or bool(write and busy)

    def value(self, name: str, busy: int, cycles: int, logged: int) -> int:
        """What a register reads."""
        if name in self.settings:
            return self.settings[name]
        run = {
            "MAGIC": MAGIC,
            "VERSION": VERSION,
            "STATUS": busy,  # bit 1, the alarm, is the junctions', which are not here
            "CYCLES_LOW": cycles & 0xFFFFFFFF,
            "CYCLES_HIGH": cycles >> 32,
            "LOGGED": logged,
        }
        return run[name] if name in run else int(getattr(self.geometry, name.lower()))


def requests(script: Script, geometry: Geometry, chance: random.Random) -> list[int]:
    """The driver's accesses, then random ones around every border of the map."""
    accesses = [(int(kind == Kind.WRITE), address, word) for kind, address, word in script.accesses.tolist()]
    accesses = [(write, address, max(word, 0)) for write, address, word in accesses[:: len(accesses) // 300]]
    for _ in range(RANDOM_REQUESTS):
        region = chance.choice((Region.REGISTERS, chance.randrange(16)))
        write = chance.getrandbits(1)
        last = (extent(Region(region), geometry, bool(write)) if region < len(Region) else 0) or 9
        offset = chance.choice((chance.randrange(last), last - 1, last, chance.getrandbits(OFFSET_BITS)))
        word = chance.choice((0, 1, 2, 3, chance.getrandbits(32)))
        accesses.append((write, region << OFFSET_BITS | offset, word))
        if chance.random() < 0.3:  # what a start needs
            slots = chance.randrange(geometry.image_slots + 2)
            accesses.append((1, REGISTERS["FIRST_SLOT"].offset, chance.choice((0, 0, 1, slots))))
            accesses += [(1, REGISTERS["IMAGES"].offset, slots), (1, REGISTERS["SAMPLES"].offset, slots & 1)]
            accesses.append((1, REGISTERS["CONTROL"].offset, chance.randrange(4)))
    return [
        pack(REQUEST, {"write": write, "address": address, "data": word}) for write, address, word in accesses
    ]


class RegisterMonitor:
    """Each cycle: which request is taken, its strobes, its answer: a cycle later, or of a read three to five.

    Driver, too, of the results that the memories would give, a cycle after their offset, keys three; and of
    busy, which may fall at any time, and rise if a run could be started.
    """

    def __init__(self, bench: Bench) -> None:
        self._dut, self._board = bench.dut, bench.scoreboard
        self._chance = bench.chance
        self._soft = bench.geometry.soft_classes > 0
        self._readable = readable(bench.geometry)
        # The other bits of ``write`` are nobody's.
        self._strobes = sum(1 << region for region in writable(bench.geometry))
        self._busy = False
        self._map = Map(bench.geometry)
        self._reading: tuple[int, bool] | None = None  # address and whether it was refused, a cycle ago
        self._changed = -2  # the cycle of the last write of a register
        self._aborted = -2  # the cycle of the last abort
        self._free_at = 0  # the first cycle in which the last read does not keep others waiting
        self._standing = False  # an answer was not taken a cycle ago
        self._offsets = [0, 0, 0]  # of the last three cycles, the last first

    def _results(self, offset: int) -> list[int]:
        return [(offset * 2654435761 + index) & 0xFFFFFFFF for index in range(len(self._readable))]

    def drive(self, cycle: int) -> None:
        """See ``Driver``."""
        results = self._results(self._offsets[0])
        keys = self._readable.index(Region.KEYS)  # which come two cycles later than the others
        results[keys] = self._results(self._offsets[2])[keys]
        rises = not self._busy
        possible = self._map.runnable and self._changed != cycle - 1
        if self._chance.random() < 0.05 and (possible or not rises):
            self._busy = rises
        self._dut.status__busy.value = int(self._busy)
        self._dut.results.value = pack(data.ArrayLayout(32, len(self._readable)), results)

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        dut, board = self._dut, self._board
        names = ["logged", "load_ready", "key_ready", "results_free"]
        names += ["soft_quiet", "soft_free"] if self._soft else []
        now = {name: read(getattr(dut, name)) for name in names}
        now |= {name: read(getattr(dut, f"status__{name}")) for name in ("busy", "cycles")}
        valid, ready = read(dut.response__valid), read(dut.response__ready)
        board.expect("settings", cycle, dict(self._map.settings))
        board.check("settings", cycle, unpack(self._map.layout, read(dut.control__settings)))
        answer = unpack(RESPONSE, read(dut.response__payload)) if valid and not self._standing else None
        board.check("answer", cycle, answer)

        offered = read(dut.request__valid)
        request = unpack(REQUEST, read(dut.request__payload))
        write, address, word = request["write"], request["address"], request["data"]
        loading = write and address >> OFFSET_BITS == Region.IMAGES
        looking = not write and address >> OFFSET_BITS != Region.REGISTERS
        free = self._reading is None and cycle >= self._free_at and (not valid or ready)
        waits = (loading and not now["load_ready"]) or (looking and not now["results_free"])
        taking = now["busy"] and self._map.settings["OPTIONS"] & OPTION_HOST_KEYS
        feeding = write and address >> OFFSET_BITS == Region.KEYS and taking
        waits = waits or (feeding and not now["key_ready"])
        waits = waits or self._board.expects("start", cycle) or cycle == self._aborted + 1
        controlling = write and address == register("CONTROL")
        waits = waits or (controlling and cycle == self._changed + 1)
        if self._soft:
            waits = waits or (controlling and not (now["busy"] or now["soft_quiet"]))
            soft = address >> OFFSET_BITS == Region.SOFT
            waits = waits or (soft and not now["soft_free" if now["busy"] else "soft_quiet"])
        if offered and free and not waits:
            board.expect("request taken", cycle, address)
            self._take(cycle, write, address, word, now["busy"])
        elif self._reading is not None:
            self._answer(cycle, now)
        board.check("request taken", cycle, address if offered and read(dut.request__ready) else None)
        regions = read(dut.host__write) & self._strobes
        written = {"regions": regions, "offset": read(dut.host__offset), "data": read(dut.host__data)}
        board.check("write", cycle, written if regions else None)
        strobes = {"start": dut.control__start, "abort": dut.abort, "retest": dut.junctions__restart}
        for name, strobe in strobes.items():
            board.check(name, cycle, read(strobe) or None)
        self._standing = bool(valid and not ready)
        self._offsets = [read(dut.host__offset), *self._offsets[:2]]

    def _take(self, cycle: int, write: int, address: int, word: int, busy: int) -> None:
        region, offset = divmod(address, 1 << OFFSET_BITS)
        refused = self._map.refuses(write, address, word, busy)
        if not write:
            self._reading = address, refused
            return
        self._board.expect("answer", cycle + 1, {"data": 0, "error": int(refused)})
        if region == Region.REGISTERS:
            self._changed = cycle
        if refused:
            return
        if region != Region.REGISTERS:
            self._board.expect("write", cycle, {"regions": 1 << region, "offset": offset, "data": word})
        elif NAMES[offset] == "CONTROL":
            strobes = {"start": CONTROL_START, "abort": CONTROL_ABORT, "retest": CONTROL_RETEST}
            for name, bit in strobes.items():
                if word & bit:
                    self._board.expect(name, cycle + (name == "start"), 1)
            if word & CONTROL_ABORT:
                self._aborted = cycle
        else:
            name = NAMES[offset]
            self._map.settings[name] = word & ((1 << REGISTERS[name].bits) - 1)

    def _answer(self, cycle: int, now: dict[str, int]) -> None:
        assert self._reading is not None
        address, refused = self._reading
        region, offset = divmod(address, 1 << OFFSET_BITS)
        value = 0
        if not refused and region == Region.REGISTERS:
            value = self._map.value(NAMES[offset], now["busy"], now["cycles"], now["logged"])
        elif not refused:
            value = self._results(self._offsets[0])[self._readable.index(Region(region))]
        there = cycle + 2 + (region != Region.REGISTERS) + (region == Region.KEYS)
        self._board.expect("answer", there, {"data": value, "error": int(refused)})
        self._reading, self._free_at = None, there


@cocotb.test()
async def registers(dut: Any) -> None:
    """The drivers play the host, which hesitates and pushes back, and all blocks that registers reach."""
    bench = Bench(dut)
    chance = bench.chance
    items = requests(bench.script, bench.geometry, chance)
    soft = bench.geometry.soft_classes > 0
    cycles = (8 if soft else 5) * len(items)
    player = Player(
        dut,
        status__cycles=noise(chance, 64),
        logged=noise(chance, 24),
        load_ready=noise(chance, 1),
        key_ready=noise(chance, 1),
        results_free=noise(chance, 1),
        junctions__alarm=0,
        **({name: noise(chance, 1) for name in ("soft_quiet", "soft_free")} if soft else {}),
    )
    source = StreamSource(dut, "request", chance, items)
    sink = StreamSink(dut, "response", chance, bench.scoreboard, lambda cycle, payload: None)
    monitor = RegisterMonitor(bench)
    await bench.run(0, [player, source, sink, monitor], [monitor, source, sink], last=cycles)
    assert not source.items
