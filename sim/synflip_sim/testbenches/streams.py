"""Streams: a source that hesitates, a sink that pushes back."""

import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from synflip_sim.testbenches.ports import read
from synflip_sim.testbenches.scoreboard import Scoreboard


class StreamSource:
    """Driver of an input stream: sends its items in order, with random idle cycles. An item stays until it is
    taken."""

    def __init__(
        self, dut: Any, name: str, chance: random.Random, items: Iterable[int], busy: float = 0.7
    ) -> None:
        self._valid, self._ready, self._payload = (
            getattr(dut, f"{name}__{part}") for part in ("valid", "ready", "payload")
        )
        self._chance, self._busy = chance, busy
        self.items = deque(items)
        self._offered = False

    def drive(self, cycle: int) -> None:
        """See ``Driver``."""
        if not self._offered and self.items and self._chance.random() < self._busy:
            self._offered = True
        self._valid.value = int(self._offered)
        self._payload.value = self.items[0] if self._offered else self._chance.getrandbits(len(self._payload))

    def sample(self, cycle: int) -> None:
        """See ``Monitor``: notes that an item was taken."""
        if self._offered and read(self._ready):
            self.items.popleft()
            self._offered = False


class StreamSink:
    """Driver and monitor of an output stream: takes items with random backpressure.

    taken: called with the cycle and the payload of each transfer. first: cycle before which nothing is taken.
    view: of the payload's bits, what counts; ``taken`` is given that. What is offered must stay until it is
    taken.
    """

    def __init__(
        self,
        dut: Any,
        name: str,
        chance: random.Random,
        scoreboard: Scoreboard,
        taken: Callable[[int, Any], None],
        eager: float = 0.6,
        first: int | None = None,
        view: Callable[[int], Any] = lambda bits: bits,
    ) -> None:
        self._valid = getattr(dut, f"{name}__valid", None)  # a stream that is always valid has none
        self._ready, self._payload = getattr(dut, f"{name}__ready"), getattr(dut, f"{name}__payload")
        self._name = name
        self._chance, self._eager, self._scoreboard, self._taken = chance, eager, scoreboard, taken
        self._first, self._view = first, view
        self._waiting: Any = None

    def drive(self, cycle: int) -> None:
        """See ``Driver``."""
        self._open = self._first is None or cycle >= self._first
        self._willing = self._open and self._chance.random() < self._eager
        self._ready.value = int(self._willing)

    def sample(self, cycle: int) -> None:
        """See ``Monitor``."""
        if not self._open:
            return
        there = self._valid is None or read(self._valid)
        offered = self._view(read(self._payload)) if there else None
        if self._waiting is not None:
            self._scoreboard.expect(f"{self._name} that waits", cycle, self._waiting)
            self._scoreboard.check(f"{self._name} that waits", cycle, offered)
        if offered is not None and self._willing:
            self._taken(cycle, offered)
        self._waiting = None if self._willing else offered
