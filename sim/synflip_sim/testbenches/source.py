"""Bench of the key source: every transfer gives the next Q keys, whatever the pauses."""

from typing import Any

import cocotb
from amaranth.lib import data
from synflip.spec.memory_map import Region

from synflip_sim.testbenches.clocked import Bench, Player, host_idle
from synflip_sim.testbenches.ports import unpack
from synflip_sim.testbenches.streams import StreamSink


@cocotb.test()
async def source(dut: Any) -> None:
    """The driver loads the states that the host wrote, and takes keys with random pauses."""
    bench = Bench(dut)
    chance = bench.chance
    layout = data.ArrayLayout(64, bench.geometry.banks)
    for number, keys in enumerate(bench.trace.fills["keys"].tolist()):
        bench.scoreboard.expect("transfer", number, keys)
    transfers = len(bench.trace.fills)
    count = 0

    def taken(cycle: int, payload: int) -> None:
        nonlocal count
        if count < transfers:
            bench.scoreboard.check("transfer", count, unpack(layout, payload))
        count += 1

    player = Player(dut, **host_idle(chance))
    writes = bench.script.of(Region.SEEDS)
    for cycle, (offset, word) in enumerate(writes, start=-len(writes)):
        player.at(cycle, host__write=1 << Region.SEEDS, host__offset=offset, host__data=word)
    sink = StreamSink(dut, "keys", chance, bench.scoreboard, taken, first=0)
    await bench.run(-len(writes), [player, sink], [sink], last=3 * transfers)
