"""Bench of the sequencer: what it issues, opens and picks, in which cycle."""

from typing import Any

import cocotb
import numpy as np
from synflip.golden.trace import Trace
from synflip.spec.cycles import SEGMENT_SPACING
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import LayerField, Region
from synflip_hdl.interfaces import address_layout, decision_layout, segment_layout, tile_layout

from synflip_sim.testbenches.clocked import Bench, Player, host_idle, host_writes, noise, run_control
from synflip_sim.testbenches.maps.program import Opening, image_rows, openings
from synflip_sim.testbenches.ports import pack, read, signal, unpack
from synflip_sim.testbenches.scoreboard import Scoreboard
from synflip_sim.testbenches.script import Script
from synflip_sim.testbenches.tiles import tiles

#: Ports of the sequencer that the monitor looks at, by what they are called here.
PORTS = {
    **{name: f"status__{name}" for name in ("busy", "cycles")},
    **{name: f"lists__{name}" for name in ("open", "rest", "hidden", "hidden_set", "slot", "read", "index")},
    **{f"key_{name}": f"keys__{name}" for name in ("sample", "end", "release")},
    **{name: f"issue__{name}" for name in ("place", "last")},
    "tile_valid": "tiles__valid",
    "tile": "tiles__payload",
}
#: The same of one with maps.
MAP_PORTS = {
    "segment": "lists__segment",
    "rows": "lists__rows",
    **{name: f"segments__{name}" for name in ("restart", "entry", "take", "again")},
    **{f"row_{name}": f"segments__{name}" for name in ("index", "step")},
}


class SequencerMonitor:
    """All that the sequencer tells its neighbours, in every cycle."""

    def __init__(
        self, scope: Any, geometry: Geometry, trace: Trace, script: Script, scoreboard: Scoreboard
    ) -> None:
        self._scoreboard, self._cycles = scoreboard, trace.cycles
        self._place, self._tile = address_layout(geometry), tile_layout(geometry)
        self._maps = geometry.map_depth > 0
        ports = PORTS | MAP_PORTS if self._maps else PORTS
        self._signals = {name: signal(scope, port) for name, port in ports.items()}
        self._opened: dict[str, int] | None = None  # a cycle ago
        table = script.layer_table(geometry)
        opened_maps = {item.cycle: item for item in openings(trace, script)}
        for row in trace.opens:
            layer = int(row["layer"])
            opened: dict[str, int] = {"hidden": int(layer > 0), "rest": int(row["rest"])}
            hidden_set = 2 * int(row["member"]) + (layer - 1) % 2
            opened |= {"hidden_set": hidden_set} if layer else {"slot": int(row["slot"])}
            opened["key_sample"] = int(row["sample"]) % 4
            opened["key_end"] = int(table[layer][LayerField.KEY_END])
            item = opened_maps.get(int(row["cycle"]))
            if item is not None:
                self._expect_segment(item, opened, int(table[layer][LayerField.ROW_BLOCKS]))
            scoreboard.expect("opened lists", int(row["cycle"]), opened | {"segment": int(item is not None)})
        for tile in tiles(trace, script):
            for issue in tile.issues:
                seen = {"index": issue.index, "last": int(issue.cycle == tile.end), "place": issue.place}
                scoreboard.expect("issue", issue.cycle, seen)
            scoreboard.expect("tile", tile.end, tile.tile)
        for row in trace.releases:
            scoreboard.expect("release of keys", int(row["cycle"]), 1)
        for cycle in range(trace.cycles):
            scoreboard.expect("busy", cycle, cycle)
        scoreboard.expect("cycles at the end", trace.cycles, trace.cycles)

        for cycle, row in image_rows(trace).items():
            scoreboard.expect("row block", cycle, {"index": row.index, "step": row.step})

    def _expect_segment(self, item: Opening, opened: dict[str, int], rows: int) -> None:
        """That a segment is opened, and before its layer's first the layer's lists, as of any layer."""
        board = self._scoreboard
        if item.restarts:
            board.expect("opened lists", item.since, opened | {"segment": 0})
            board.expect("first entry", item.since, item.number)
        board.expect("taken segment", item.cycle, {"rows": rows})
        if item.segment["window_end"] and not item.last:
            board.expect("window again", item.cycle + 1, {"again": int(item.again)})

    def _now(self, name: str) -> int:
        return read(self._signals[name])

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        board, now = self._scoreboard, self._now
        board.check("busy", cycle, now("cycles") if now("busy") else None)
        if cycle == self._cycles:
            board.check("cycles at the end", cycle, now("cycles"))
        opened = None
        if now("open"):
            opened = {"hidden": now("hidden"), "rest": now("rest")}
            opened |= {"hidden_set": now("hidden_set")} if opened["hidden"] else {"slot": now("slot")}
            opened |= {"key_sample": now("key_sample") % 4, "key_end": now("key_end")}
            opened |= {"segment": now("segment") if self._maps else 0}
        # A layer that waits opens its lists in every cycle: the last opening counts, or one that is read.
        if cycle:
            again = opened is not None and not now("read")
            board.check("opened lists", cycle - 1, None if again else self._opened)
        self._opened = opened
        issue = None
        if now("read"):
            issue = {"index": now("index"), "last": now("last"), "place": unpack(self._place, now("place"))}
        board.check("issue", cycle, issue)
        tile = unpack(self._tile, now("tile")) if now("tile_valid") else None
        board.check("tile", cycle, tile)
        board.check("release of keys", cycle, now("key_release") or None)
        if self._maps:
            self._sample_maps(cycle)

    def _sample_maps(self, cycle: int) -> None:
        board, now = self._scoreboard, self._now
        board.check("taken segment", cycle, {"rows": now("rows")} if now("take") else None)
        if board.expects("first entry", cycle):
            board.check("first entry", cycle, now("entry") if now("restart") else None)
        if board.expects("window again", cycle):
            board.check("window again", cycle, {"again": now("again")})
        if board.expects("row block", cycle):
            board.check("row block", cycle, {name: now(f"row_{name}") for name in ("index", "step")})


class Neighbours:
    """Driver of what depends on the sequencer: whether the keys are there that it asks for, how long the
    lists are that it opened."""

    def __init__(self, bench: Bench) -> None:
        self._dut = bench.dut
        self._filled = bench.trace.fills["cycle"]
        self._blocks = bench.script.settings["KEY_BLOCKS"]
        self._loads = {int(row["cycle"]): int(row["load"]) for row in bench.trace.opens}
        self._maps, self._load = bench.geometry.map_depth > 0, 0

    def drive(self, cycle: int) -> None:
        """See ``Driver``."""
        if cycle - 1 in self._loads:
            self._load = self._loads[cycle - 1]
            self._dut.lists__longest.value = self._load
            self._dut.lists__short.value = int(self._load <= 1)

    def settle(self, cycle: int) -> None:
        """See ``Responder``: what is asked comes from registers."""
        asked, end = read(self._dut.keys__sample) % 4, read(self._dut.keys__end)
        filled = int(np.searchsorted(self._filled, cycle))
        sample, blocks = divmod(filled, self._blocks)
        there = blocks >= end if sample % 4 == asked else True
        self._dut.keys__ready.value = int(there)
        if self._maps:
            self._dut.lists__ended.value = int(read(self._dut.lists__index) + 2 >= self._load)


@cocotb.test()
async def sequencer(dut: Any) -> None:
    """The drivers play host, event lists, key memory, votes and segments."""
    bench = Bench(dut)
    trace, chance, geometry = bench.trace, bench.chance, bench.geometry
    decision = decision_layout(geometry)
    entry = segment_layout(geometry) if geometry.map_depth else None
    idle_segments: dict[str, Any] = {}
    if entry is not None:
        idle_segments = {"segments__ready": noise(chance, 1), "segments__segment": noise(chance, entry.size)}
    player = Player(
        dut,
        **run_control(bench),
        decisions__valid=0,
        decisions__payload=noise(chance, decision.size),
        **host_idle(chance),
        **idle_segments,
    )
    for item in openings(trace, bench.script):
        for cycle in range(item.since + 1, item.since + SEGMENT_SPACING):
            player.at(cycle, segments__ready=0)
        for cycle in range(item.since + SEGMENT_SPACING, item.cycle + 1):
            player.at(cycle, segments__ready=1, segments__segment=pack(entry, item.segment))
    first = host_writes(player, chance, Region.LAYERS, bench.script.of(Region.LAYERS))
    player.at(-1, control__start=1)
    for row in trace.votes:
        current = {"slot": int(row["slot"]), "sample": int(row["sample"])}
        payload = pack(decision, {"current": current, "leaves": int(row["leaves"])})
        player.at(int(row["cycle"]), decisions__valid=1, decisions__payload=payload)
    monitor = SequencerMonitor(dut, geometry, trace, bench.script, bench.scoreboard)
    await bench.run(first, [player, Neighbours(bench)], [monitor])
