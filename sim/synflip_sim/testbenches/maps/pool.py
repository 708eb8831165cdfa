"""Bench of the pooling: what the requantizer gives of each position in, each window's largest out."""

from typing import Any

import cocotb
from synflip.golden.trace import Trace
from synflip.spec.geometry import Geometry
from synflip_hdl.interfaces import append_layout

from synflip_sim.testbenches.clocked import Bench, Player, noise
from synflip_sim.testbenches.ports import pack, read, signal, unpack
from synflip_sim.testbenches.scoreboard import Scoreboard
from synflip_sim.testbenches.tiles import append


class PoolMonitor:
    """Groups of Q outputs as they go on to the event lists."""

    def __init__(self, scope: Any, geometry: Geometry, trace: Trace, scoreboard: Scoreboard) -> None:
        self._scoreboard, self._layout = scoreboard, append_layout(geometry)
        self._valid, self._payload = signal(scope, "pooled__valid"), signal(scope, "pooled__payload")
        for row in trace.drains:
            scoreboard.expect("pooled group", int(row["cycle"]), append(row, geometry))

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        seen = unpack(self._layout, read(self._payload)) if read(self._valid) else None
        self._scoreboard.check("pooled group", cycle, seen)


@cocotb.test()
async def pool(dut: Any) -> None:
    """The driver plays the requantizer."""
    bench = Bench(dut)
    layout = append_layout(bench.geometry)
    player = Player(dut, appends__valid=0, appends__payload=noise(bench.chance, layout.size))
    for row in bench.trace.outputs:
        payload = pack(layout, append(row, bench.geometry))
        player.at(int(row["cycle"]), appends__valid=1, appends__payload=payload)
    monitor = PoolMonitor(dut, bench.geometry, bench.trace, bench.scoreboard)
    await bench.run(-1, [player], [monitor])
