"""A bench's clock, and the cycles that drivers and monitors share."""

import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge
from synflip.golden.trace import Trace
from synflip.spec.memory_map import OFFSET_BITS, Region
from synflip_hdl.interfaces import settings_layout

from synflip_sim.testbenches.ports import pack
from synflip_sim.testbenches.runs import SCRIPT, TRACE
from synflip_sim.testbenches.scoreboard import Difference, Scoreboard
from synflip_sim.testbenches.script import Script

RUN_VARIABLE = "SYNFLIP_BENCH_RUN"  # folder with trace and script
DIFFERENCE = "difference.json"  # in the folder in which the simulator runs


class Driver(Protocol):
    """Sets inputs."""

    def drive(self, cycle: int) -> None:
        """Set what ``cycle`` shall see, at its beginning."""


@runtime_checkable
class Responder(Driver, Protocol):
    """Sets inputs that depend on outputs of the same cycle."""

    def settle(self, cycle: int) -> None:
        """Set them, in the middle of ``cycle``: registers have their values, the next edge is half a cycle
        away."""


class Monitor(Protocol):
    """Looks at outputs and signals inside."""

    def sample(self, cycle: int) -> None:
        """Look at the settled values of ``cycle``, at its end."""


class Bench:
    """The run, a scoreboard, random numbers, and the clock.

    In each cycle all drivers drive, responders respond, then, before the next rising edge, all monitors
    sample. Cycle 0 is the trace's; what comes before is preparation.
    """

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        folder = Path(os.environ[RUN_VARIABLE])
        self.trace = Trace.load(folder / TRACE)
        self.script = Script.load(folder / SCRIPT)
        self.geometry = self.trace.geometry
        self.scoreboard = Scoreboard()
        self.chance = random.Random(int(os.environ.get("COCOTB_RANDOM_SEED", "1")))

    async def reset(self) -> None:
        """Start the clock, and reset for two cycles."""
        Clock(self.dut.clk, 10, unit="ns").start()
        self.dut.rst.value = 1
        for _ in range(2):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0

    async def run(
        self,
        first: int,
        drivers: Sequence[Driver],
        monitors: Sequence[Monitor],
        last: int | None = None,
        done: Callable[[], bool] = lambda: False,
    ) -> None:
        """Cycles ``first`` .. ``last``, a few beyond the trace unless told, or until ``done``, then the
        scoreboard's verdict."""
        await self.reset()
        responders = [driver for driver in drivers if isinstance(driver, Responder)]
        last = self.trace.cycles + 8 if last is None else last
        with reporting():
            for cycle in range(first, last + 1):
                for driver in drivers:
                    driver.drive(cycle)
                if responders:
                    await FallingEdge(self.dut.clk)
                for responder in responders:
                    responder.settle(cycle)
                await RisingEdge(self.dut.clk)
                for monitor in monitors:
                    monitor.sample(cycle)
                if done():
                    break
            self.scoreboard.finish()


@contextmanager
def reporting() -> Iterator[None]:
    """Leaves a difference where the process that launched the bench finds it."""
    try:
        yield
    except Difference as difference:
        difference.save(Path(DIFFERENCE))
        raise


class Player:
    """Driver that plays a schedule.

    ports: name -> value in cycles for which nothing was scheduled: a number, or a function that gives one.
    """

    def __init__(self, dut: Any, **ports: int | Callable[[], int]) -> None:
        self._handles = {name: getattr(dut, name) for name in ports}
        self._idle = ports
        self._schedule: dict[int, dict[str, int]] = {}
        self._now: dict[str, int] = {}

    def at(self, cycle: int, **values: int) -> None:
        """Schedule values of ports for one cycle."""
        self._schedule.setdefault(cycle, {}).update(values)

    def drive(self, cycle: int) -> None:
        """See ``Driver``."""
        scheduled = self._schedule.get(cycle, {})
        for name, idle in self._idle.items():
            value = scheduled[name] if name in scheduled else idle() if callable(idle) else idle
            if self._now.get(name) != value:
                self._now[name] = value
                self._handles[name].value = value


def noise(chance: random.Random, bits: int) -> Callable[[], int]:
    """Random idle values: an input that nobody may look at."""
    return lambda: chance.getrandbits(bits)


def run_control(bench: Bench) -> dict[str, int]:
    """Idle values of a block's ``control``: the run's settings, and no start."""
    layout = settings_layout(bench.geometry)
    settings = {name: bench.script.settings.get(name, 0) for name, _ in layout}
    return {"control__start": 0, "control__settings": pack(layout, settings)}


def host_idle(chance: random.Random) -> dict[str, int | Callable[[], int]]:
    """Idle values of a block's ``host``: no strobe, and noise on what nobody may look at."""
    return {"host__write": 0, "host__offset": noise(chance, OFFSET_BITS), "host__data": noise(chance, 32)}


def host_writes(
    player: Player, chance: random.Random, region: Region, writes: Iterable[tuple[int, int]], last: int = -3
) -> int:
    """Schedules the host's words of one region, with idle cycles between them, up to cycle ``last``.

    Returns the first cycle.
    """
    cycle = last
    for offset, data in reversed(list(writes)):
        player.at(cycle, host__write=1 << region, host__offset=offset, host__data=data)
        cycle -= 1 + (chance.random() < 0.2) * chance.randrange(3)
    return cycle
