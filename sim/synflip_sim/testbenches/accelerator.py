"""Bench of the whole accelerator: the driver's accesses over the streams, all blocks watched each cycle."""

import os
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge
from synflip.golden.trace import COINS

from synflip_sim.testbenches.clocked import Bench, Monitor, reporting
from synflip_sim.testbenches.event_lists import EventMonitor
from synflip_sim.testbenches.host import Host
from synflip_sim.testbenches.key_memory import FillMonitor, KeyMonitor
from synflip_sim.testbenches.ports import block, read, signal
from synflip_sim.testbenches.requantizer import RequantizerMonitor
from synflip_sim.testbenches.sequencer import SequencerMonitor
from synflip_sim.testbenches.synapse_array import ArrayMonitor
from synflip_sim.testbenches.votes import VoteMonitor

PATIENCE = 1000  # cycles without an answer, when one is waited for
#: Set: one coin is turned over; the seed chooses which. "unseen": and the monitor does not look at coins.
FLIP_VARIABLE = "SYNFLIP_BENCH_FLIP"


def monitors(bench: Bench) -> list[Monitor]:
    """One for each block, on its signals inside the accelerator."""
    geometry, trace, board = bench.geometry, bench.trace, bench.scoreboard
    scope = {
        name: block(bench.dut, name)
        for name in ("sequencer", "keys", "events", "array", "requantizer", "votes")
    }
    return [
        SequencerMonitor(scope["sequencer"], geometry, trace, bench.script, board),
        FillMonitor(scope["keys"], geometry, trace, board),
        EventMonitor(scope["events"], geometry, trace, board),
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
