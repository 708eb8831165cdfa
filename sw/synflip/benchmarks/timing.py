"""Timing of runs that are compared: they take turns, and each counts with its fastest turn."""

import time
from collections.abc import Callable, Mapping


def race(
    runs: Mapping[str, Callable[[], object]], turns: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Least seconds of each run by name, over ``turns`` turns; one turn before them does not count.

    clock: ``time.process_time`` counts the seconds of all cores, whatever else the machine does.
    """
    best = dict.fromkeys(runs, float("inf"))
    for turn in range(turns + 1):
        for name, run in runs.items():
            began = clock()
            run()
            if turn:
                best[name] = min(best[name], clock() - began)
    return best
