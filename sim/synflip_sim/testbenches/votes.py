"""Bench of the votes: logits in; votes, sums, samples used, and images that leave."""

from collections.abc import Callable, Mapping
from typing import Any

import cocotb
from synflip.golden.trace import Trace
from synflip.spec.cycles import LOGIT_TO_DECISION
from synflip.spec.memory_map import Region
from synflip_hdl.interfaces import decision_layout, logit_layout

from synflip_sim.testbenches.clocked import Bench, Monitor, Player, host_idle, host_writes, noise, run_control
from synflip_sim.testbenches.ports import pack, read, signal, unpack
from synflip_sim.testbenches.scoreboard import Scoreboard
from synflip_sim.testbenches.script import ANY, Kind


class VoteMonitor:
    """Votes as they are counted, and, two cycles later, decided."""

    def __init__(self, scope: Any, trace: Trace, scoreboard: Scoreboard) -> None:
        self._scoreboard = scoreboard
        self._layout = decision_layout(trace.geometry)
        names = ("decisions__valid", "decisions__payload", "ranked_winner", "counted")
        self._decided, self._decision, self._winner, self._counted = (signal(scope, name) for name in names)
        for row in trace.votes:
            cycle = int(row["cycle"])
            decision = {"slot": int(row["slot"]), "sample": int(row["sample"]), "leaves": int(row["leaves"])}
            scoreboard.expect("decision", cycle, decision)
            count = {"winner": int(row["winner"]), "votes": int(row["count"])}
            scoreboard.expect("count", cycle - 2, count)

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        if self._scoreboard.expects("count", cycle):
            count = {"winner": read(self._winner), "votes": read(self._counted)}
            self._scoreboard.check("count", cycle, count)
        decision = None
        if read(self._decided):
            payload = unpack(self._layout, read(self._decision))
            decision = payload["current"] | {"leaves": payload["leaves"]}
        self._scoreboard.check("decision", cycle, decision)


PORTS = {
    Region.VOTES: "results__vote",
    Region.SUMS: "results__logit_sum",
    Region.USED: "results__used",
    Region.LOG: "results__logged",
}


class ResultMonitor:
    """Driver and monitor of the host's reads after the run: an answer is there a cycle after its offset."""

    def __init__(self, bench: Bench, player: Player, first: int, ports: Mapping[Region, str] = PORTS) -> None:
        self._dut, self._scoreboard = bench.dut, bench.scoreboard
        self._reads: dict[int, tuple[str, str]] = {}
        self.last = first
        for region, port in ports.items():
            for offset, answer in bench.script.of(region, Kind.READ):
                player.at(self.last, host__offset=offset)
                self.last += 1
                if answer != ANY:
                    what = f"{region.name} at {offset}"
                    self._reads[self.last] = what, port
                    self._scoreboard.expect(what, self.last, answer)

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        if cycle in self._reads:
            what, port = self._reads[cycle]
            self._scoreboard.check(what, cycle, read(getattr(self._dut, port)))


def logits_idle(bench: Bench) -> dict[str, int | Callable[[], int]]:
    """Idle values of a block's ``logits``."""
    return {"logits__valid": 0, "logits__payload": noise(bench.chance, logit_layout(bench.geometry).size)}


def play_logits(bench: Bench, player: Player) -> None:
    """Schedules the trace's logits."""
    trace = bench.trace
    decided = {int(cycle) - LOGIT_TO_DECISION for cycle in trace.votes["cycle"]}
    for row in trace.logits:
        logit = {
            "z": int(row["z"]),
            "class_": int(row["class_"]),
            "last": int(row["cycle"]) in decided,
            "current": {"slot": int(row["slot"]), "sample": int(row["sample"])},
        }
        payload = pack(logit_layout(bench.geometry), logit)
        player.at(int(row["cycle"]), logits__valid=1, logits__payload=payload)


@cocotb.test()
async def votes(dut: Any) -> None:
    """The drivers play host and requantizer."""
    bench = Bench(dut)
    trace, chance = bench.trace, bench.chance
    player = Player(
        dut,
        **run_control(bench),
        **logits_idle(bench),
        **host_idle(chance),
    )
    first = host_writes(player, chance, Region.MARGINS, bench.script.of(Region.MARGINS))
    player.at(-1, control__start=1)
    play_logits(bench, player)
    results = ResultMonitor(bench, player, trace.cycles)
    monitors: list[Monitor] = [VoteMonitor(dut, trace, bench.scoreboard), results]
    await bench.run(first, [player], monitors, last=results.last)
