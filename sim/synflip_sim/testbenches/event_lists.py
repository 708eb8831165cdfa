"""Bench of the event lists: images and hidden values in, non-zero events out."""

from typing import Any

import cocotb
from amaranth.lib import data
from synflip.golden.trace import EVENT, Trace
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import IMAGE_WORD_BITS, Region
from synflip_hdl.interfaces import append_layout, event_layout

from synflip_sim.testbenches.clocked import Bench, Player, noise, run_control
from synflip_sim.testbenches.ports import pack, read, signal, unpack
from synflip_sim.testbenches.scoreboard import Scoreboard
from synflip_sim.testbenches.streams import StreamSource
from synflip_sim.testbenches.tiles import tiles


class EventMonitor:
    """Events as they leave the lists, in every cycle: (row block, value), or None where a bank has none."""

    def __init__(self, scope: Any, geometry: Geometry, trace: Trace, scoreboard: Scoreboard) -> None:
        self._scoreboard = scoreboard
        self._events = signal(scope, "events__payload")
        self._longest, self._short = signal(scope, "reads__longest"), signal(scope, "reads__short")
        self._layout = data.ArrayLayout(event_layout(geometry), geometry.banks)
        cycles: dict[int, list[tuple[int, int] | None]] = {}
        for row in trace.events:
            events = cycles.setdefault(int(row["cycle"]) + EVENT, [None] * geometry.banks)
            events[row["bank"]] = (int(row["row"]) // geometry.banks, int(row["x"]))
        for cycle, events in cycles.items():
            scoreboard.expect("events", cycle, events)
        for row in trace.opens:
            load = int(row["load"])
            scoreboard.expect("longest list", int(row["cycle"]) + 1, {"events": load, "short": load <= 1})

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        events = unpack(self._layout, read(self._events))
        seen = [(item["block"], item["value"]) if item["value"] else None for item in events]
        self._scoreboard.check("events", cycle, seen if any(seen) else None)
        if self._scoreboard.expects("longest list", cycle):
            longest = {"events": read(self._longest), "short": bool(read(self._short))}
            self._scoreboard.check("longest list", cycle, longest)


@cocotb.test()
async def events(dut: Any) -> None:
    """The drivers play host, sequencer and requantizer. Cycle 0 waits until the images are loaded."""
    bench = Bench(dut)
    geometry, trace, chance = bench.geometry, bench.trace, bench.chance
    append = append_layout(geometry)
    player = Player(
        dut,
        **run_control(bench),
        appends__valid=0,
        appends__payload=noise(chance, append.size),
        reads__open=0,
        reads__rest=0,
        reads__hidden=noise(chance, 1),
        reads__hidden_set=noise(chance, len(dut.reads__hidden_set)),
        reads__slot=noise(chance, 8),
        reads__read=0,
        reads__index=noise(chance, len(dut.reads__index)),
    )
    for row in trace.opens:
        cycle, layer = int(row["cycle"]), int(row["layer"])
        if layer == 0:
            player.at(cycle - 1, reads__slot=int(row["slot"]))
        player.at(cycle, reads__open=1, reads__rest=int(row["rest"]), reads__slot=int(row["slot"]))
        hidden_set = 2 * int(row["member"]) + (layer - 1) % 2
        player.at(cycle, reads__hidden=int(layer > 0), reads__hidden_set=hidden_set)
    for tile in tiles(trace, bench.script):
        for cycle, index in tile.issues:
            player.at(cycle, reads__read=1, reads__index=index)
    for row in trace.drains:
        group = {
            "hidden_set": row["set"],
            "begin": row["block"] == 0,
            "first": row["block"] % (geometry.lanes // geometry.banks) == 0,
            "block": row["block"],
            "values": row["values"],
            "some": sum(1 << bank for bank, value in enumerate(row["values"]) if value),
        }
        player.at(int(row["cycle"]), appends__valid=1, appends__payload=pack(append, group))
    words = []
    for offset, word in bench.script.of(Region.IMAGES):
        slot, place = divmod(offset, 1 << IMAGE_WORD_BITS)
        words.append(slot | place << 8 | word << 8 + IMAGE_WORD_BITS)
    load = StreamSource(dut, "load", chance, words)
    monitor = EventMonitor(dut, geometry, trace, bench.scoreboard)
    await bench.run(-8 * len(words) - 20, [player, load], [monitor, load])
