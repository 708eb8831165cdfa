"""Bench of the votes: logits in; votes, sums, samples used, and images that leave."""

from typing import Any, ClassVar

import cocotb
from synflip.golden.trace import Trace
from synflip.spec.cycles import LOGIT_TO_DECISION
from synflip.spec.memory_map import OPTION_EARLY, OPTION_LOG, Region
from synflip_hdl.interfaces import logit_layout, pass_layout

from synflip_sim.testbenches.clocked import Bench, Monitor, Player, host_writes, noise
from synflip_sim.testbenches.ports import pack, read, signal, unpack
from synflip_sim.testbenches.scoreboard import Scoreboard
from synflip_sim.testbenches.script import ANY, Kind


class VoteMonitor:
    """Votes as they are counted, and, two cycles later, decided."""

    def __init__(self, scope: Any, trace: Trace, scoreboard: Scoreboard) -> None:
        self._scoreboard = scoreboard
        self._pass = pass_layout(trace.geometry)
        names = ("decided", "leaves", "decision", "winner", "counted")
        self._decided, self._leaves, self._decision, self._winner, self._counted = (
            signal(scope, name) for name in names
        )
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
            decision = unpack(self._pass, read(self._decision)) | {"leaves": read(self._leaves)}
        self._scoreboard.check("decision", cycle, decision)


class ResultMonitor:
    """Driver and monitor of the host's reads after the run: an answer is there a cycle after its offset."""

    PORTS: ClassVar = {
        Region.VOTES: "vote",
        Region.SUMS: "logit_sum",
        Region.USED: "used",
        Region.LOG: "logged",
    }

    def __init__(self, bench: Bench, player: Player, first: int) -> None:
        self._dut, self._scoreboard = bench.dut, bench.scoreboard
        self._reads: dict[int, tuple[str, str]] = {}
        self.last = first
        for region, port in self.PORTS.items():
            for offset, answer in bench.script.of(region, Kind.READ):
                player.at(self.last, offset=offset)
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


@cocotb.test()
async def votes(dut: Any) -> None:
    """The drivers play host and drain."""
    bench = Bench(dut)
    trace, chance, settings = bench.trace, bench.chance, bench.script.settings
    player = Player(
        dut,
        start=0,
        class_shift=settings["CLASS_SHIFT"],
        samples=settings["SAMPLES"],
        early=int(settings["OPTIONS"] & OPTION_EARLY != 0),
        log=int(settings["OPTIONS"] & OPTION_LOG != 0),
        logit_valid=0,
        logit=noise(chance, logit_layout(bench.geometry).size),
        margin_write=0,
        offset=noise(chance, 24),
        data=noise(chance, 32),
    )
    first = host_writes(player, chance, "margin_write", bench.script.of(Region.MARGINS))
    player.at(-1, start=1)
    decided = {int(cycle) - LOGIT_TO_DECISION for cycle in trace.votes["cycle"]}
    for row in trace.logits:
        logit = {
            "z": int(row["z"]),
            "class_": int(row["class_"]),
            "last": int(row["cycle"]) in decided,
            "current": {"slot": int(row["slot"]), "sample": int(row["sample"])},
        }
        player.at(int(row["cycle"]), logit_valid=1, logit=pack(logit_layout(bench.geometry), logit))
    results = ResultMonitor(bench, player, trace.cycles)
    monitors: list[Monitor] = [VoteMonitor(dut, trace, bench.scoreboard), results]
    await bench.run(first, [player], monitors, last=results.last)
