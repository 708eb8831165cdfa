"""Bench of the segments: what is asked for in, entries of the program and places in the lists out."""

from typing import Any

import cocotb
from amaranth.lib import data
from synflip.golden.trace import Trace
from synflip.spec.cycles import SEGMENT_SPACING
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import Region
from synflip.spec.sizes import address_bits
from synflip_hdl.interfaces import end_bits, segment_layout

from synflip_sim.testbenches.clocked import Bench, Player, host_idle, host_writes, noise
from synflip_sim.testbenches.maps.program import Opening, image_rows, openings, tap_table
from synflip_sim.testbenches.ports import pack, read, signal, unpack
from synflip_sim.testbenches.scoreboard import Scoreboard
from synflip_sim.testbenches.script import Script


def image_places(trace: Trace, script: Script, opened: list[Opening]) -> dict[int, list[int]]:
    """Where each bank has its activation, from the image's first one, in each cycle in which a row block of a
    position of an image waits or is issued."""
    geometry = trace.geometry
    taps, places = tap_table(script, geometry), 1 << address_bits(geometry.event_depth)
    found, coming, first = {}, iter(opened), 0
    following = next(coming, None)
    for cycle, row in image_rows(trace).items():
        while following is not None and following.cycle < cycle:
            first, following = following.segment["first"], next(coming, None)
        found[cycle] = [(first + tap) % places for tap in taps[row.index].tolist()]
    return found


class SegmentMonitor:
    """Entries when they are ready, what is asked of the event lists before, and places in the images."""

    def __init__(
        self, scope: Any, geometry: Geometry, trace: Trace, script: Script, scoreboard: Scoreboard
    ) -> None:
        self._scoreboard = scoreboard
        self._entry = segment_layout(geometry)
        self._image = data.ArrayLayout(address_bits(geometry.event_depth), geometry.banks)
        names = ("first", "past", "kept", "none", "image")
        self._ready, self._segment = signal(scope, "demand__ready"), signal(scope, "demand__segment")
        self._first, self._past, self._kept, self._none, self._places = (
            signal(scope, f"places__{name}") for name in names
        )
        opened, most = openings(trace, script), (1 << end_bits(geometry)) - 1
        for item in opened:
            wanted = unpack(self._entry, pack(self._entry, item.segment))
            for cycle in range(item.since + 1, item.since + SEGMENT_SPACING):
                scoreboard.expect("segment", cycle, "looked up")
            for cycle in range(item.since + SEGMENT_SPACING, item.cycle + 1):
                scoreboard.expect("segment", cycle, wanted)
            pixels = {name: item.segment[name] & most for name in ("first", "past")}
            scoreboard.expect("the segment's pixels", item.since + 2, pixels)
            scoreboard.expect("kept", item.since + 3, {"none": item.segment["first"] == 0})
        for cycle, places in image_places(trace, script, opened).items():
            scoreboard.expect("places in the image", cycle, places)

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        board = self._scoreboard
        if board.expects("segment", cycle):
            ready = unpack(self._entry, read(self._segment)) if read(self._ready) else "looked up"
            board.check("segment", cycle, ready)
        if board.expects("the segment's pixels", cycle):
            pixels = {"first": read(self._first), "past": read(self._past)}
            board.check("the segment's pixels", cycle, pixels)
        if board.expects("kept", cycle):
            board.check("kept", cycle, {"none": bool(read(self._none))} if read(self._kept) else None)
        if board.expects("places in the image", cycle):
            board.check("places in the image", cycle, unpack(self._image, read(self._places)))


@cocotb.test()
async def segments(dut: Any) -> None:
    """The drivers play host and sequencer."""
    bench = Bench(dut)
    geometry, trace, script, chance = bench.geometry, bench.trace, bench.script, bench.chance
    player = Player(
        dut,
        demand__restart=0,
        demand__entry=noise(chance, address_bits(geometry.map_segments)),
        demand__take=0,
        demand__again=noise(chance, 1),
        demand__index=noise(chance, len(dut.demand__index)),
        demand__step=0,
        **host_idle(chance),
    )
    first = host_writes(player, chance, Region.LAYERS, script.of(Region.LAYERS))
    opened = openings(trace, script)
    for item in opened:
        if item.restarts:
            player.at(item.since, demand__restart=1, demand__entry=item.number)
        player.at(item.cycle, demand__take=1)
        if item.segment["window_end"]:  # of others it does not matter
            player.at(item.cycle + 1, demand__again=int(item.again))
    for cycle, row in image_rows(trace).items():
        player.at(cycle, demand__index=row.index, demand__step=row.step)
    monitor = SegmentMonitor(dut, geometry, trace, script, bench.scoreboard)
    await bench.run(first, [player], [monitor])
