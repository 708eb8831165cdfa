"""Bench of the soft votes: logits in; what is added to sums of soft votes and of energies, cycle by cycle."""

from typing import Any, ClassVar

import cocotb
from synflip.golden.trace import Trace
from synflip.spec.memory_map import Region, soft_depth
from synflip.spec.sizes import SOFT_POINT

from synflip_sim.testbenches.clocked import Bench, Monitor, Player, host_idle, host_writes, run_control
from synflip_sim.testbenches.ports import read, signal
from synflip_sim.testbenches.scoreboard import Scoreboard
from synflip_sim.testbenches.script import Script
from synflip_sim.testbenches.votes import ResultMonitor, logits_idle, play_logits


def tables(script: Script, trace: Trace) -> tuple[list[int], list[int], int]:
    """E, L and t, as the driver wrote them."""
    words = dict(script.of(Region.SOFT))
    depth = soft_depth(trace.geometry)
    exponential = [words[offset] for offset in sorted(words) if offset >= depth]
    return exponential, [words[offset] for offset in range(depth)], script.settings["SOFT_SHIFT"]


class SoftMonitor:
    """Writes of the sums: of an energy C + 7 cycles after a pass's last of C logits, of the soft votes of
    class c C + c + 11 after it."""

    NAMES: ClassVar = {
        "energy": ("energy_written", ("energy_slot", "energy_value")),
        "soft vote": ("vote_written", ("vote_place", "vote_value")),
    }

    def __init__(self, scope: Any, trace: Trace, script: Script, scoreboard: Scoreboard) -> None:
        self._scoreboard = scoreboard
        self._signals = {
            what: (signal(scope, valid), [signal(scope, name) for name in names])
            for what, (valid, names) in self.NAMES.items()
        }
        passes: dict[tuple[int, int], list[Any]] = {}
        for row in trace.logits:
            passes.setdefault((int(row["slot"]), int(row["sample"])), []).append(row)
        self.last = 0  # the last write
        votes: dict[int, int] = {}
        energies: dict[int, int] = {}
        found = tables(script, trace)
        for (slot, sample), rows in passes.items():
            end = int(rows[-1]["cycle"])
            added, energy = self._added([int(row["z"]) for row in rows], *found)
            energies[slot] = energy + (energies[slot] if sample else 0)
            count = len(rows)
            written = [slot, energies[slot] & 0xFFFFFFFFFFFFFFFF]
            scoreboard.expect("energy", end + count + 7, written)
            for class_, vote in enumerate(added):
                place = (slot << script.settings["CLASS_SHIFT"]) | class_
                votes[place] = vote + (votes[place] if sample else 0)
                self.last = end + count + class_ + 11
                scoreboard.expect("soft vote", self.last, [place, votes[place]])

    @staticmethod
    def _added(
        logits: list[int], exponential: list[int], logarithm: list[int], shift: int
    ) -> tuple[list[int], int]:
        """A pass's soft votes and energy, by tables whose ends are filled up."""

        def look_up(behind: int) -> int:
            return exponential[min((behind + (1 << shift) // 2) >> shift, len(exponential) - 1)]

        largest = max(logits)
        total = sum(look_up(largest - z) for z in logits)
        farther = logarithm[total >> SOFT_POINT]
        return [look_up(largest - z + farther) for z in logits], -(largest + farther)

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        for what, (valid, values) in self._signals.items():
            seen = [read(value) for value in values] if read(valid) else None
            self._scoreboard.check(what, cycle, seen)


@cocotb.test()
async def soft_votes(dut: Any) -> None:
    """The drivers play host and requantizer."""
    bench = Bench(dut)
    trace, chance = bench.trace, bench.chance
    player = Player(dut, **run_control(bench), **logits_idle(bench), **host_idle(chance))
    first = host_writes(player, chance, Region.SOFT, bench.script.of(Region.SOFT))
    play_logits(bench, player)
    monitor = SoftMonitor(dut, trace, bench.script, bench.scoreboard)
    results = ResultMonitor(bench, player, monitor.last + 1, {Region.SOFT: "results__word"})
    monitors: list[Monitor] = [monitor, results]
    await bench.run(first, [player], monitors, last=results.last)
