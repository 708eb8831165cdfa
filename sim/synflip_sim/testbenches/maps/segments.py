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
from synflip_sim.testbenches.maps.program import Opening, openings, tap_table
from synflip_sim.testbenches.ports import pack, read, signal, unpack
from synflip_sim.testbenches.scoreboard import Scoreboard
from synflip_sim.testbenches.script import Script


def image_places(trace: Trace, script: Script, opened: list[Opening]) -> dict[int, tuple[int, list[int]]]:
    """Of each cycle in which a row block of a position of an image is issued: its number, and where each bank
    has its activation, from the image's first one."""
    geometry = trace.geometry
    taps, places = tap_table(script, geometry), 1 << address_bits(geometry.event_depth)
    issues = trace.issues[(trace.issues["layer"] == 0) & (trace.issues["segment"] >= 0)]
    found, coming, first = {}, iter(opened), 0
    following = next(coming, None)
    for cycle, index in issues[["cycle", "index"]].tolist():
        while following is not None and following.cycle < cycle:
            first, following = following.segment["first"], next(coming, None)
        found[cycle] = (index, [(first + tap) % places for tap in taps[index].tolist()])
    return found


class SegmentMonitor:
    """Entries when they are ready, what is asked of the event lists before, and places in the images."""

    def __init__(
        self, scope: Any, geometry: Geometry, trace: Trace, script: Script, scoreboard: Scoreboard
    ) -> None:
        self._scoreboard = scoreboard
        self._entry = segment_layout(geometry)
        self._image = data.ArrayLayout(address_bits(geometry.event_depth), geometry.banks)
        names = ("demand__ready", "demand__segment", "places__pixels", "places__kept", "places__none")
        self._ready, self._segment, self._pixels, self._kept, self._none = (
            signal(scope, name) for name in names
        )
        self._places = signal(scope, "places__image")
        opened, most = openings(trace, script), (1 << end_bits(geometry)) - 1
        for item in opened:
            wanted = unpack(self._entry, pack(self._entry, item.segment))
            for cycle in range(item.since + 1, item.since + SEGMENT_SPACING):
                scoreboard.expect("segment", cycle, "looked up")
            for cycle in range(item.since + SEGMENT_SPACING, item.cycle + 1):
                scoreboard.expect("segment", cycle, wanted)
            pixels = [item.segment["first"] & most, item.segment["past"] & most]
            scoreboard.expect("pixels before the segment", item.since + 2, pixels[0])
            for cycle in range(item.since + 3, item.cycle + 1):
                scoreboard.expect("pixels up to its end", cycle, pixels[1])
            scoreboard.expect("kept", item.since + 3, {"none": item.segment["first"] == 0})
        for cycle, (_, places) in image_places(trace, script, opened).items():
            scoreboard.expect("places in the image", cycle, places)

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        board = self._scoreboard
        if board.expects("segment", cycle):
            ready = unpack(self._entry, read(self._segment)) if read(self._ready) else "looked up"
            board.check("segment", cycle, ready)
        for name in ("pixels before the segment", "pixels up to its end"):
            if board.expects(name, cycle):
                board.check(name, cycle, read(self._pixels))
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
    for cycle, (index, _) in image_places(trace, script, opened).items():
        player.at(cycle - 1, demand__index=index)
    monitor = SegmentMonitor(dut, geometry, trace, script, bench.scoreboard)
    await bench.run(first, [player], [monitor])
