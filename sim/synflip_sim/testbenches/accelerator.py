"""Bench of the whole accelerator: the driver's accesses over the streams, all blocks watched each cycle."""

import os
import random
from collections import deque
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge
from synflip.golden.trace import COINS
from synflip_hdl.bus.registers import REQUEST, RESPONSE

from synflip_sim.testbenches.clocked import Bench, Monitor, reporting
from synflip_sim.testbenches.event_lists import EventMonitor
from synflip_sim.testbenches.key_memory import FillMonitor, KeyMonitor
from synflip_sim.testbenches.maps.pool import PoolMonitor
from synflip_sim.testbenches.maps.segments import SegmentMonitor
from synflip_sim.testbenches.ports import block, pack, read, signal, unpack
from synflip_sim.testbenches.requantizer import RequantizerMonitor
from synflip_sim.testbenches.scoreboard import Scoreboard
from synflip_sim.testbenches.script import ANY, Kind, Script
from synflip_sim.testbenches.sequencer import SequencerMonitor
from synflip_sim.testbenches.soft_votes import SoftMonitor
from synflip_sim.testbenches.streams import StreamSink, StreamSource
from synflip_sim.testbenches.synapse_array import ArrayMonitor
from synflip_sim.testbenches.votes import VoteMonitor

PATIENCE = 1000  # cycles without an answer, when one is waited for
#: Set: one coin is turned over; the seed chooses which. "unseen": and the monitor does not look at coins.
FLIP_VARIABLE = "SYNFLIP_BENCH_FLIP"


class Host:
    """Driver and monitor of both streams. Requests hesitate, answers meet backpressure; a poll goes out again
    until it is answered with 0, and what comes after it waits for that."""

    def __init__(self, dut: Any, script: Script, chance: random.Random, scoreboard: Scoreboard) -> None:
        self._scoreboard = scoreboard
        self._script = deque(script.accesses.tolist())
        self._source = StreamSource(dut, "request", chance, ())
        self._sink = StreamSink(dut, "response", chance, scoreboard, self._answered)
        self._asked: deque[tuple[int, int, int]] = deque()
        self._answers = 0
        self.quiet = 0  # cycles since the last answer

    @property
    def done(self) -> bool:
        """Everything was asked and answered."""
        return not self._script and not self._asked

    def drive(self, cycle: int) -> None:
        """See ``Driver``."""
        polling = bool(self._asked) and self._asked[-1][0] == Kind.POLL
        if self._script and not self._source.items and not polling:
            kind, address, word = self._script.popleft()
            self._ask(kind, address, word)
        self._source.drive(cycle)
        self._sink.drive(cycle)

    def _ask(self, kind: int, address: int, word: int) -> None:
        write = int(kind == Kind.WRITE)
        request = {"write": write, "address": address, "data": word if write else 0}
        self._source.items.append(pack(REQUEST, request))
        self._asked.append((kind, address, word))

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        self.quiet += 1
        self._sink.sample(cycle)
        self._source.sample(cycle)

    def _answered(self, cycle: int, payload: int) -> None:
        self.quiet = 0
        seen = unpack(RESPONSE, payload)
        if not self._asked:
            self._scoreboard.check("answer without a request", cycle, seen)
        kind, address, word = self._asked.popleft()
        if kind == Kind.POLL and seen == {"data": 1, "error": 0}:
            self._ask(kind, address, word)
            return
        data = seen["data"] if word == ANY else 0 if kind == Kind.WRITE else word
        what = f"answer {self._answers} ({Kind(kind).name.lower()} at {address:#x})"
        self._answers += 1
        self._scoreboard.expect(what, cycle, {"data": data, "error": 0})
        self._scoreboard.check(what, cycle, seen)


def monitors(bench: Bench) -> list[Monitor]:
    """One for each block, on its signals inside the accelerator."""
    geometry, trace, board = bench.geometry, bench.trace, bench.scoreboard
    names = ["sequencer", "keys", "events", "array", "requantizer", "votes"]
    names += ["soft_votes"] if geometry.soft_classes else []
    names += ["segments", "pool"] if geometry.map_depth else []
    scope = {name: block(bench.dut, name) for name in names}
    some: list[Monitor] = []
    if geometry.soft_classes:
        some.append(SoftMonitor(scope["soft_votes"], trace, bench.script, board))
    if geometry.map_depth:
        some.append(SegmentMonitor(scope["segments"], geometry, trace, bench.script, board))
        some.append(PoolMonitor(scope["pool"], geometry, trace, board))
    return [
        *some,
        SequencerMonitor(scope["sequencer"], geometry, trace, bench.script, board),
        FillMonitor(scope["keys"], geometry, trace, board),
        EventMonitor(scope["events"], geometry, trace, bench.script, board),
        KeyMonitor(signal(scope["array"], "keys__data"), geometry, trace, board),
        ArrayMonitor(scope["array"], geometry, trace, board),
        RequantizerMonitor(scope["requantizer"], geometry, trace, board),
        VoteMonitor(scope["votes"], trace, board),
    ]


class CoinFlipper:
    """Turns one coin over, for one cycle in which its activation is not zero."""

    def __init__(self, bench: Bench) -> None:
        event = bench.trace.events[bench.chance.randrange(len(bench.trace.events))]
        self._cycle = int(event["cycle"]) + COINS
        self._coins = signal(block(block(bench.dut, "array"), f"coins_{event['bank']}"), "coins")
        self._flip = 1 << bench.chance.randrange(bench.geometry.lanes)

    def settle(self, cycle: int) -> None:
        """In the middle of ``cycle``: the register has its value, the accumulators do not have it yet."""
        if cycle == self._cycle:
            self._coins.value = read(self._coins) ^ self._flip


async def replay(bench: Bench, flipper: CoinFlipper | None = None) -> None:
    """The script, with all monitors. Cycle 0 is the first busy cycle; before it, nothing happens."""
    dut, board = bench.dut, bench.scoreboard
    host = Host(dut, bench.script, bench.chance, board)
    watching = monitors(bench)
    if os.environ.get(FLIP_VARIABLE) == "unseen":
        for bank in range(bench.geometry.banks):
            board.forget(f"coins of bank {bank}")
    await bench.reset()
    cycle = -1
    while not host.done:
        host.drive(cycle)
        await FallingEdge(dut.clk)
        if cycle < 0 and read(dut.busy):
            cycle = 0
        if flipper is not None:
            flipper.settle(cycle)
        await RisingEdge(dut.clk)
        for monitor in (*watching, host):
            monitor.sample(cycle)
        cycle += cycle >= 0
        board.check("cycles without an answer", cycle, PATIENCE if host.quiet > PATIENCE else None)
    board.finish()


@cocotb.test()
async def accelerator(dut: Any) -> None:
    """One inference."""
    bench = Bench(dut)
    flipper = CoinFlipper(bench) if FLIP_VARIABLE in os.environ else None
    with reporting():
        await replay(bench, flipper)
