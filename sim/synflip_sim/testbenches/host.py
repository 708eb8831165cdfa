"""The host: replays the driver's accesses over the request stream, and judges the answers."""

import random
from collections import deque
from typing import Any

from synflip_hdl.bus.registers import REQUEST, RESPONSE

from synflip_sim.testbenches.ports import pack, unpack
from synflip_sim.testbenches.scoreboard import Scoreboard
from synflip_sim.testbenches.script import ANY, Kind, Script
from synflip_sim.testbenches.streams import StreamSink, StreamSource


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
