"""Bench of the requantizer: sums in, hidden activations or logits out."""

from typing import Any

import cocotb
from synflip.golden.trace import Trace
from synflip.spec.cycles import pipeline_depth
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import Region
from synflip_hdl.interfaces import append_layout, logit_layout, sums_layout, tile_layout

from synflip_sim.testbenches.clocked import Bench, Player, host_idle, host_writes, noise, run_control
from synflip_sim.testbenches.ports import pack, read, signal, unpack
from synflip_sim.testbenches.scoreboard import Scoreboard
from synflip_sim.testbenches.tiles import append, tiles


class RequantizerMonitor:
    """Groups of hidden values and logits as they leave the requantizer."""

    def __init__(self, scope: Any, geometry: Geometry, trace: Trace, scoreboard: Scoreboard) -> None:
        self._scoreboard = scoreboard
        names = ("appends__valid", "appends__payload", "logits__valid", "logits__payload")
        self._append_valid, self._append, self._logit_valid, self._logit = (
            signal(scope, name) for name in names
        )
        self._append_layout, self._logit_layout = append_layout(geometry), logit_layout(geometry)
        classes = int(trace.logits["class_"].max())
        for row in trace.outputs:
            scoreboard.expect("hidden group", int(row["cycle"]), append(row, geometry))
        for row in trace.logits:
            value = {
                "z": int(row["z"]),
                "class_": int(row["class_"]),
                "last": int(row["class_"] == classes),
                "current": {"slot": int(row["slot"]), "sample": int(row["sample"])},
            }
            scoreboard.expect("logit", int(row["cycle"]), value)

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        group = unpack(self._append_layout, read(self._append)) if read(self._append_valid) else None
        self._scoreboard.check("hidden group", cycle, group)
        logit = unpack(self._logit_layout, read(self._logit)) if read(self._logit_valid) else None
        self._scoreboard.check("logit", cycle, logit)


@cocotb.test()
async def requantizer(dut: Any) -> None:
    """The driver plays sequencer and array."""
    bench = Bench(dut)
    geometry, chance = bench.geometry, bench.chance
    sums, tile = sums_layout(geometry), tile_layout(geometry)
    player = Player(
        dut,
        **run_control(bench),
        tiles__valid=0,
        tiles__payload=noise(chance, tile.size),
        sums__coming=0,
        sums__capture=0,
        sums__sums=noise(chance, sums.size),
        **host_idle(chance),
    )
    first = host_writes(player, chance, Region.BIASES, bench.script.of(Region.BIASES))
    for item in tiles(bench.trace, bench.script):
        issue = item.capture - pipeline_depth(geometry.banks)
        player.at(issue, tiles__valid=1, tiles__payload=pack(tile, item.tile))
        player.at(item.capture - 1, sums__coming=1)
        player.at(item.capture, sums__capture=1, sums__sums=pack(sums, item.row["sums"].tolist()))
    monitor = RequantizerMonitor(dut, geometry, bench.trace, bench.scoreboard)
    await bench.run(first, [player], [monitor])
