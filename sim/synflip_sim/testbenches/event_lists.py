"""Bench of the event lists: images and hidden values in, non-zero events out."""

from typing import Any

import cocotb
import numpy as np
from amaranth.lib import data
from synflip.golden.trace import EVENT, Trace
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import IMAGE_WORD_BITS, LayerField, Region
from synflip.spec.sizes import address_bits
from synflip_hdl.interfaces import append_layout, end_bits, event_layout

from synflip_sim.testbenches.clocked import Bench, Player, noise, run_control
from synflip_sim.testbenches.maps.program import openings
from synflip_sim.testbenches.maps.segments import image_places
from synflip_sim.testbenches.ports import pack, read, signal, unpack
from synflip_sim.testbenches.scoreboard import Scoreboard
from synflip_sim.testbenches.script import Script
from synflip_sim.testbenches.streams import StreamSource
from synflip_sim.testbenches.tiles import append, tiles


class EventMonitor:
    """Events as they leave the lists, in every cycle: (row block, value), or None where a bank has none. How
    long the lists are, and where a segment ends."""

    def __init__(
        self, scope: Any, geometry: Geometry, trace: Trace, script: Script, scoreboard: Scoreboard
    ) -> None:
        self._scoreboard = scoreboard
        self._events = signal(scope, "events__payload")
        self._longest, self._short = signal(scope, "reads__longest"), signal(scope, "reads__short")
        self._layout = data.ArrayLayout(event_layout(geometry), geometry.banks)
        self._ended = signal(scope, "reads__ended") if geometry.map_depth else None
        for issue in (issue for tile in tiles(trace, script) for issue in tile.issues if issue.blocks):
            events: list[tuple[int, int] | None] = [None] * geometry.banks
            for bank, row_block, value in issue.blocks:
                events[bank] = (row_block, value)
            scoreboard.expect("events", issue.cycle + EVENT, events)
        for row in trace.opens:
            load, cycle = int(row["load"]), int(row["cycle"]) + 1
            if row["segment"] < 0:
                scoreboard.expect("longest list", cycle, {"events": load, "short": load <= 1})
            else:
                scoreboard.expect("short segment", cycle, {"short": load <= 1})
        issues = trace.issues[trace.issues["segment"] >= 0]
        opened = np.searchsorted(trace.opens["cycle"], issues["cycle"]) - 1
        ended = issues["index"] + 2 >= trace.opens["load"][opened]
        for cycle, ends in zip(issues["cycle"].tolist(), ended.tolist(), strict=True):
            scoreboard.expect("segment's end", cycle, {"ended": ends})

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        events = unpack(self._layout, read(self._events))
        seen = [(item["block"], item["value"]) if item["value"] else None for item in events]
        self._scoreboard.check("events", cycle, seen if any(seen) else None)
        if self._scoreboard.expects("longest list", cycle):
            longest = {"events": read(self._longest), "short": bool(read(self._short))}
            self._scoreboard.check("longest list", cycle, longest)
        if self._scoreboard.expects("short segment", cycle):
            self._scoreboard.check("short segment", cycle, {"short": bool(read(self._short))})
        if self._scoreboard.expects("segment's end", cycle):
            self._scoreboard.check("segment's end", cycle, {"ended": bool(read(self._ended))})


def _idle_maps(bench: Bench) -> dict[str, Any]:
    """Idle values of what only accelerators with maps have."""
    geometry, chance = bench.geometry, bench.chance
    return {
        "reads__segment": 0,
        "reads__rows": noise(chance, len(bench.dut.reads__rows)),
        "places__first": noise(chance, end_bits(geometry)),
        "places__past": noise(chance, end_bits(geometry)),
        "places__kept": 0,
        "places__none": noise(chance, 1),
        "places__image": noise(chance, len(bench.dut.places__image)),
    }


def _play_maps(player: Player, bench: Bench) -> None:
    """The sequencer's part and the segments' in the openings of segments."""
    geometry, trace, script = bench.geometry, bench.trace, bench.script
    opened, table = openings(trace, script), script.layer_table(geometry)
    for item in opened:
        layer, segment = int(item.row["layer"]), item.segment
        for cycle in range(item.since, item.cycle):  # the ends of its lists are looked up
            player.at(cycle, reads__hidden_set=(layer - 1) % 2)
        player.at(item.since + 2, places__first=segment["first"], places__past=segment["past"])
        player.at(item.since + 3, places__kept=1, places__none=int(segment["first"] == 0))
        player.at(item.cycle, reads__segment=1, reads__rows=int(table[layer][LayerField.ROW_BLOCKS]))
    places = data.ArrayLayout(address_bits(geometry.event_depth), geometry.banks)
    for cycle, image in image_places(trace, script, opened).items():
        player.at(cycle, places__image=pack(places, image))


@cocotb.test()
async def events(dut: Any) -> None:
    """The drivers play host, sequencer and requantizer. Cycle 0 waits until the images are loaded."""
    bench = Bench(dut)
    geometry, trace, chance = bench.geometry, bench.trace, bench.chance
    layout = append_layout(geometry)
    player = Player(
        dut,
        **run_control(bench),
        appends__valid=0,
        appends__payload=noise(chance, layout.size),
        reads__open=0,
        reads__rest=0,
        reads__hidden=noise(chance, 1),
        reads__hidden_set=noise(chance, len(dut.reads__hidden_set)),
        reads__slot=noise(chance, 8),
        reads__read=0,
        reads__index=noise(chance, len(dut.reads__index)),
        **(_idle_maps(bench) if geometry.map_depth else {}),
    )
    if geometry.map_depth:
        _play_maps(player, bench)
    for row in trace.opens:
        cycle, layer = int(row["cycle"]), int(row["layer"])
        if layer == 0:
            player.at(cycle - 1, reads__slot=int(row["slot"]))
        player.at(cycle, reads__open=1, reads__rest=int(row["rest"]), reads__slot=int(row["slot"]))
        hidden_set = 2 * int(row["member"]) + (layer - 1) % 2
        player.at(cycle, reads__hidden=int(layer > 0), reads__hidden_set=hidden_set)
    for tile in tiles(trace, bench.script):
        for issue in tile.issues:
            player.at(issue.cycle, reads__read=1, reads__index=issue.index)
    for row in trace.drains:
        group = pack(layout, append(row, geometry))
        player.at(int(row["cycle"]), appends__valid=1, appends__payload=group)
    words = []
    for offset, word in bench.script.of(Region.IMAGES):
        slot, place = divmod(offset, 1 << IMAGE_WORD_BITS)
        words.append(slot | place << 8 | word << 8 + IMAGE_WORD_BITS)
    load = StreamSource(dut, "load", chance, words)
    monitor = EventMonitor(dut, geometry, trace, bench.script, bench.scoreboard)
    await bench.run(-8 * len(words) - 20, [player, load], [monitor, load])
