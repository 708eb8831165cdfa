"""Bench of the key memory: when it takes keys, when it says that they are there, what it gives."""

from typing import Any

import cocotb
import numpy as np
from amaranth.lib import data
from synflip.golden.trace import ADDRESS, KEY, Trace
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import LayerField
from synflip.spec.sizes import log2_ceil

from synflip_sim.testbenches.clocked import Bench, Monitor, Player, host_idle, noise, run_control
from synflip_sim.testbenches.ports import pack, read, signal, unpack
from synflip_sim.testbenches.scoreboard import Scoreboard


class FillMonitor:
    """Transfers into the key memory."""

    def __init__(self, scope: Any, geometry: Geometry, trace: Trace, scoreboard: Scoreboard) -> None:
        self._scoreboard = scoreboard
        self._ready, self._payload = signal(scope, "source__ready"), signal(scope, "source__payload")
        self._layout = data.ArrayLayout(64, geometry.banks)
        for row in trace.fills:
            scoreboard.expect("keys filled in", int(row["cycle"]), row["keys"].tolist())

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        keys = unpack(self._layout, read(self._payload)) if read(self._ready) else None
        self._scoreboard.check("keys filled in", cycle, keys)


class KeyMonitor:
    """Keys that events read, KEY cycles after their issue. data: the key memory's answers."""

    def __init__(self, data: Any, geometry: Geometry, trace: Trace, scoreboard: Scoreboard) -> None:
        self._data, self._banks, self._scoreboard = data, geometry.banks, scoreboard
        for row in trace.events:
            scoreboard.expect(f"key of bank {row['bank']}", int(row["cycle"]) + KEY, hex(row["key"]))

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        names = [f"key of bank {bank}" for bank in range(self._banks)]
        if any(self._scoreboard.expects(name, cycle) for name in names):
            bits = read(self._data)
            for bank, name in enumerate(names):
                if self._scoreboard.expects(name, cycle):
                    self._scoreboard.check(name, cycle, hex(bits >> 64 * bank & (1 << 64) - 1))


class KeySource:
    """Driver of the keys: the next of the trace after each that was taken."""

    def __init__(self, dut: Any, trace: Trace, geometry: Geometry) -> None:
        self._dut = dut
        layout = data.ArrayLayout(64, geometry.banks)
        self._keys = iter([pack(layout, keys) for keys in trace.fills["keys"].tolist()])
        self._taken = True

    def drive(self, cycle: int) -> None:
        """See ``Driver``."""
        if self._taken:
            self._dut.source__payload.value = next(self._keys, 0)

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        self._taken = bool(read(self._dut.source__ready))


class ReadyMonitor:
    """Asks in every cycle whether a layer's keys are there: of the last sample begun, or the next."""

    def __init__(self, bench: Bench, player: Player) -> None:
        self._ready, self._scoreboard = bench.dut.demand__ready, bench.scoreboard
        table = bench.script.layer_table(bench.geometry)
        fills, picks = bench.trace.fills, bench.trace.picks
        blocks = int(table[-1][LayerField.KEY_END])
        for cycle in range(1, bench.trace.cycles):
            sample = int(picks["sample"][picks["cycle"] <= cycle][-1])
            sample += (sample + 1) * blocks <= int(
                np.searchsorted(fills["cycle"], cycle)
            ) and bench.chance.random() < 0.3
            end = int(bench.chance.choice(table)[LayerField.KEY_END])
            player.at(cycle, demand__sample=sample % 4, demand__end=end)
            there = int(np.searchsorted(fills["cycle"], cycle)) >= sample * blocks + end
            self._scoreboard.expect("keys are there", cycle, int(there))

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        if self._scoreboard.expects("keys are there", cycle):
            self._scoreboard.check("keys are there", cycle, read(self._ready))


@cocotb.test()
async def keys(dut: Any) -> None:
    """The drivers play source, sequencer and array."""
    bench = Bench(dut)
    geometry, trace, chance = bench.geometry, bench.trace, bench.chance
    address = data.ArrayLayout(log2_ceil(geometry.key_depth) + 1, geometry.banks)
    player = Player(
        dut,
        **run_control(bench),
        source__valid=1,
        demand__run=0,
        demand__release=0,
        demand__sample=noise(chance, 2),
        demand__end=noise(chance, 24),
        reads__address=noise(chance, address.size),
        **host_idle(chance),
    )
    player.at(-1, control__start=1)
    for cycle in range(trace.cycles):
        player.at(cycle, demand__run=1)
    for row in trace.releases:
        player.at(int(row["cycle"]), demand__release=1)
    table = bench.script.layer_table(bench.geometry)
    reads: dict[int, list[int]] = {}
    half_size = 1 << log2_ceil(geometry.key_depth)
    for row in trace.events:
        places = reads.setdefault(int(row["cycle"]) + ADDRESS, [0] * geometry.banks)
        block = int(table[row["layer"]][LayerField.KEY_BASE] + row["row"] // geometry.banks)
        places[row["bank"]] = int(row["sample"]) % 2 * half_size + block
    for cycle, places in reads.items():
        player.at(cycle, reads__address=pack(address, places))
    source = KeySource(dut, trace, geometry)
    monitors: list[Monitor] = [
        FillMonitor(dut, geometry, trace, bench.scoreboard),
        KeyMonitor(dut.reads__data, geometry, trace, bench.scoreboard),
        ReadyMonitor(bench, player),
        source,
    ]
    await bench.run(-2, [player, source], monitors)
