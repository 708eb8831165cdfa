"""Bench of the key source: every transfer gives the next Q keys, whatever the pauses."""

from typing import Any

import cocotb
from amaranth.lib import data
from synflip.spec.memory_map import SEED_WORDS, Region

from synflip_sim.testbenches.clocked import Bench, Player, noise
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

    player = Player(
        dut, load=0, load_bank=noise(chance, 3), load_component=noise(chance, 2), load_data=noise(chance, 32)
    )
    writes = bench.script.of(Region.SEEDS)
    for cycle, (offset, word) in enumerate(writes, start=-len(writes)):
        bank, component = divmod(offset, SEED_WORDS)
        player.at(cycle, load=1, load_bank=bank, load_component=component, load_data=word)
    sink = StreamSink(dut, "keys", chance, bench.scoreboard, taken, first=0)
    await bench.run(-len(writes), [player, sink], [sink], last=3 * transfers)
