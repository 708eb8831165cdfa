"""Scoreboard: what must be seen in which cycle, and the first difference."""

import json
from pathlib import Path
from typing import Any


class Difference(AssertionError):
    """The first thing that was not as the trace has it. None stands for nothing at all."""

    def __init__(self, what: str, cycle: int, expected: Any, seen: Any) -> None:
        super().__init__(what, cycle, expected, seen)
        self.what, self.cycle, self.expected, self.seen = what, cycle, expected, seen

    def __str__(self) -> str:
        return f"{self.what} in cycle {self.cycle}: expected {self.expected}, seen {self.seen}"

    def save(self, path: Path) -> None:
        """For the process that launched the bench."""
        path.write_text(json.dumps(self.args, default=str))

    @classmethod
    def load(cls, path: Path) -> "Difference":
        """What ``save`` wrote."""
        return cls(*json.loads(path.read_text()))


class Scoreboard:
    """Expectations by name and cycle. Monitors hand in what they see, in the order of the cycles."""

    def __init__(self) -> None:
        self._expected: dict[str, dict[int, Any]] = {}
        self.compared = 0

    def expect(self, what: str, cycle: int, value: Any) -> None:
        """``value`` must be seen in ``cycle``, and nothing in a cycle that has no value."""
        cycles = self._expected.setdefault(what, {})
        if cycle in cycles:
            raise ValueError(f"{what} is expected twice in cycle {cycle}")
        cycles[cycle] = value

    def forget(self, what: str) -> None:
        """Expect nothing of this name any more."""
        self._expected.pop(what, None)

    def expects(self, what: str, cycle: int) -> bool:
        """Whether there is something to see; for monitors of values that are noise in all other cycles."""
        return cycle in self._expected.get(what, ())

    def check(self, what: str, cycle: int, seen: Any) -> None:
        """``seen``: a value, or None. Raises Difference if it is not what was expected."""
        expected = self._expected.get(what, {}).pop(cycle, None)
        self.compared += expected is not None
        if expected != seen:
            raise Difference(what, cycle, expected, seen)

    def finish(self) -> None:
        """Raises Difference if something was never looked for, ValueError if nothing was compared."""
        missing = [(min(cycles), what) for what, cycles in self._expected.items() if cycles]
        if missing:
            cycle, what = min(missing)
            raise Difference(what, cycle, self._expected[what][cycle], None)
        if not self.compared:
            raise ValueError("the bench compared nothing")
