"""Bench of the drain: sums in, hidden activations or logits out."""

from typing import Any

import cocotb
from synflip.golden.trace import Trace
from synflip.spec.cycles import pipeline_depth
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import Region
from synflip_hdl.interfaces import append_layout, logit_layout, sums_layout, tile_layout

from synflip_sim.testbenches.clocked import Bench, Player, host_writes, noise
from synflip_sim.testbenches.ports import pack, read, signal, unpack
from synflip_sim.testbenches.scoreboard import Scoreboard
from synflip_sim.testbenches.tiles import tiles


class RequantizerMonitor:
    """Groups of hidden values and logits as they leave the drain."""

    def __init__(self, scope: Any, geometry: Geometry, trace: Trace, scoreboard: Scoreboard) -> None:
        self._scoreboard = scoreboard
        names = ("append_valid", "append", "logit_valid", "logit")
        self._append_valid, self._append, self._logit_valid, self._logit = (
            signal(scope, name) for name in names
        )
        self._append_layout, self._logit_layout = append_layout(geometry), logit_layout(geometry)
        classes = int(trace.logits["class_"].max())
        for row in trace.drains:
            value = {
                "hidden_set": int(row["set"]),
                "begin": int(row["block"] == 0),
                "first": int(row["block"] % (geometry.lanes // geometry.banks) == 0),
                "block": int(row["block"]),
                "values": row["values"].tolist(),
                "some": sum(1 << bank for bank, value in enumerate(row["values"]) if value),
            }
            scoreboard.expect("hidden group", int(row["cycle"]), value)
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
        append = unpack(self._append_layout, read(self._append)) if read(self._append_valid) else None
        self._scoreboard.check("hidden group", cycle, append)
        logit = unpack(self._logit_layout, read(self._logit)) if read(self._logit_valid) else None
        self._scoreboard.check("logit", cycle, logit)


@cocotb.test()
async def drain(dut: Any) -> None:
    """The driver plays sequencer and array."""
    bench = Bench(dut)
    geometry, chance = bench.geometry, bench.chance
    sums, tile = sums_layout(geometry), tile_layout(geometry)
    player = Player(
        dut,
        tile_valid=0,
        tile=noise(chance, tile.size),
        coming=0,
        capture=0,
        sums=noise(chance, sums.size),
        classes=bench.script.settings["CLASSES"],
        largest=bench.script.settings["ACTIVATION_MAX"],
        bias_write=0,
        offset=noise(chance, 24),
        data=noise(chance, 32),
    )
    first = host_writes(player, chance, "bias_write", bench.script.of(Region.BIASES))
    for item in tiles(bench.trace, bench.script):
        player.at(item.capture - pipeline_depth(geometry.banks), tile_valid=1, tile=pack(tile, item.tile))
        player.at(item.capture - 1, coming=1)
        player.at(item.capture, capture=1, sums=pack(sums, item.row["sums"].tolist()))
    monitor = RequantizerMonitor(dut, geometry, bench.trace, bench.scoreboard)
    await bench.run(first, [player], [monitor])
