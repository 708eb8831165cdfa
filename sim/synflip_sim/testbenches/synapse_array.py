"""Bench of the array: words, coins, signs and values at the leaves, and each tile's sums."""

from typing import Any

import cocotb
import numpy as np
from amaranth.lib import data
from numpy.typing import NDArray
from synflip.golden.trace import COINS, EVENT, WORDS, Trace
from synflip.spec.cycles import pipeline_depth
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import Region, lane_position
from synflip.spec.sizes import log2_ceil
from synflip_hdl.interfaces import address_layout, event_layout, sums_layout

from synflip_sim.testbenches.clocked import Bench, Monitor, Player, host_idle, host_writes, noise
from synflip_sim.testbenches.key_memory import KeyMonitor
from synflip_sim.testbenches.ports import block, pack, read, signal, unpack
from synflip_sim.testbenches.scoreboard import Scoreboard
from synflip_sim.testbenches.tiles import tiles


def planes(values: NDArray[Any], bits: int) -> list[str]:
    """Values of P lanes as ``bits`` planes of P bits, least significant first, lanes where the gateware has
    them."""
    lanes = len(values)
    order = np.argsort([lane_position(lane, lanes) for lane in range(lanes)])
    return [
        hex(sum(int(value) << place for place, value in enumerate(values[order] >> bit & 1)))
        for bit in range(bits)
    ]


class ArrayMonitor:
    """What the pipeline has of each event, in the cycle in which a stage has it, and sums at captures."""

    def __init__(self, scope: Any, geometry: Geometry, trace: Trace, scoreboard: Scoreboard) -> None:
        self._geometry, self._scoreboard = geometry, scoreboard
        self._capture, self._sums = signal(scope, "sums__capture"), signal(scope, "sums__sums")
        self._x = signal(block(scope, "lane_0"), "x")
        coins = [block(scope, f"coins_{bank}") for bank in range(geometry.banks)]
        self._words = [[signal(item, f"word_{bit}") for bit in range(geometry.bits)] for item in coins]
        self._coins = [signal(item, "coins") for item in coins]
        self._signs = [signal(item, "signs") for item in coins]
        self._flushing = pipeline_depth(geometry.banks)  # cycles in which values of before the reset pass
        values: dict[int, list[int]] = {}
        for row in trace.events:
            bank, cycle = int(row["bank"]), int(row["cycle"])
            scoreboard.expect(f"words of bank {bank}", cycle + WORDS, planes(row["words"], geometry.bits))
            scoreboard.expect(f"coins of bank {bank}", cycle + COINS, planes(row["coins"], 1))
            scoreboard.expect(f"signs of bank {bank}", cycle + COINS, planes(row["signs"], 1))
            values.setdefault(cycle + COINS, [0] * geometry.banks)[bank] = int(row["x"])
        for cycle, group in values.items():
            scoreboard.expect("values at the leaves", cycle, group)
        for row in trace.tiles:
            scoreboard.expect("sums", int(row["cycle"]), row["sums"].tolist())

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        board = self._scoreboard
        for bank in range(self._geometry.banks):
            if board.expects(f"words of bank {bank}", cycle):
                board.check(f"words of bank {bank}", cycle, [hex(read(plane)) for plane in self._words[bank]])
            if board.expects(f"coins of bank {bank}", cycle):
                board.check(f"coins of bank {bank}", cycle, [hex(read(self._coins[bank]))])
                board.check(f"signs of bank {bank}", cycle, [hex(read(self._signs[bank]))])
        x = read(self._x)
        group = (
            unpack(data.ArrayLayout(self._geometry.activation_bits, self._geometry.banks), x) if x else None
        )
        if self._flushing:
            self._flushing -= 1
        else:
            board.check("values at the leaves", cycle, group)
        sums = unpack(sums_layout(self._geometry), read(self._sums)) if read(self._capture) else None
        board.check("sums", cycle, sums)


class KeyAnswers:
    """Driver of the key memory's answers, two cycles after the address."""

    def __init__(self, bench: Bench) -> None:
        self._dut, self._chance, self._banks = bench.dut, bench.chance, bench.geometry.banks
        depth_bits = log2_ceil(bench.geometry.key_depth)
        self._addresses = data.ArrayLayout(depth_bits + 1, self._banks)
        self._fills = {
            int(row["cycle"]): (int(row["half"]) << depth_bits | int(row["block"]), row["keys"].tolist())
            for row in bench.trace.fills
        }
        self._places = bench.geometry.key_halves << depth_bits
        self._keys: dict[int, list[int]] = {}
        self._answer = self._later = 0

    def drive(self, cycle: int) -> None:
        """See ``Driver``."""
        self._dut.keys__data.value = self._later

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        self._later, self._answer = self._answer, 0
        for bank, address in enumerate(unpack(self._addresses, read(self._dut.keys__address))):
            keys = self._keys.get(address % self._places)
            self._answer |= (keys[bank] if keys else self._chance.getrandbits(64)) << 64 * bank
        if cycle in self._fills:
            address, keys = self._fills[cycle]
            self._keys[address] = keys


@cocotb.test()
async def array(dut: Any) -> None:
    """The drivers play host, sequencer, event lists and key memory."""
    bench = Bench(dut)
    geometry, trace, chance = bench.geometry, bench.trace, bench.chance
    place, event = address_layout(geometry), event_layout(geometry)
    group = data.ArrayLayout(event, geometry.banks)

    def nothing() -> int:  # rows without a value
        return pack(group, [{"block": chance.getrandbits(16), "value": 0} for _ in range(geometry.banks)])

    player = Player(
        dut,
        issue__place=noise(chance, place.size),
        issue__last=0,
        events__payload=nothing,
        **host_idle(chance),
    )
    first = host_writes(player, chance, Region.WEIGHTS, bench.script.of(Region.WEIGHTS))
    for tile in tiles(trace, bench.script):
        for issue in tile.issues:
            events = [{"block": chance.getrandbits(16), "value": 0} for _ in range(geometry.banks)]
            for bank, row_block, value in issue.blocks:
                events[bank] = {"block": row_block, "value": value}
            player.at(issue.cycle, issue__place=pack(place, issue.place))
            player.at(issue.cycle + EVENT, events__payload=pack(group, events))
        player.at(tile.end, issue__last=1)
    answers = KeyAnswers(bench)
    monitors: list[Monitor] = [
        answers,
        KeyMonitor(dut.keys__data, geometry, trace, bench.scoreboard),
        ArrayMonitor(dut, geometry, trace, bench.scoreboard),
    ]
    await bench.run(first, [player, answers], monitors)
