"""Place and route with one seed after another, on one netlist, until the clock is met; the best is kept."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from synflip.errors import SynflipError
from synflip.util.programs import ToolError

from synflip_hdl.flow.job import BuildJob, reached_clock
from synflip_hdl.flow.toolchain import Advance

#: What a seed may be, and how many may be tried.
LARGEST, MOST = 2**31 - 1, 1000
#: The folder, in that of a build, with a folder for each seed.
SEEDS = "seeds"


def parse_seeds(text: str, own: int) -> list[int]:
    """The seeds that ``text`` names: "1,5,9" these three; "3" three seeds, the board's ``own`` first.

    With ``own`` = 2, "3" gives 2, 1, 3. Raises SynflipError.
    """
    words = text.split(",")
    numbers = [int(word) for word in words if word.strip().isascii() and word.strip().isdigit()]
    largest = MOST if len(words) == 1 else LARGEST
    if len(numbers) != len(words) or not all(1 <= number <= largest for number in numbers):
        raise SynflipError(
            f"--seeds {text} is neither a number of seeds, such as 4 (at most {MOST:,}), nor seeds, such as "
            f"1,5,9 (from 1 to {LARGEST:,})"
        )
    if len(words) > 1:
        return list(dict.fromkeys(numbers))
    return list(dict.fromkeys((own, *range(1, numbers[0] + 1))))[: numbers[0]]


def place_with_seeds(
    job: BuildJob, seeds: Sequence[int], show: Callable[[str], AbstractContextManager[Advance]]
) -> dict[str, Any]:
    """Place and route with each of ``seeds`` until one meets its clocks; returns the best's nextpnr report.

    The best seed's files are then in the job's folder, as if it had been the only one; the logs of the others
    are in SEEDS. ``job.seed`` and nextpnr's seconds are the best's, ``job.tried`` has all. show: called with
    the title of each run. Raises the last ToolError if nextpnr fails with every seed.
    """
    tool = f"nextpnr-{job.board.family}"
    found: dict[int, dict[str, Any]] = {}
    failure: ToolError | None = None
    for place, seed in enumerate(seeds, 1):
        job.seed = seed
        job.watch.seconds.pop(tool, None)
        clock, met, failed = None, False, None
        title = f"nextpnr, seed {seed}" + (f" ({place} of {len(seeds)})" if len(seeds) > 1 else "")
        with show(title) as advance:
            try:
                found[seed] = job.place_and_route(advance)
                clock, met = reached_clock(found[seed]), job.is_met(found[seed])
            except ToolError as error:
                if len(seeds) == 1:
                    raise
                failure, failed = error, error.reason
        job.tried.append(
            {
                "seed": seed,
                "clock_reached_hz": clock,
                "failed": failed,
                "seconds": job.watch.seconds.get(tool, 0.0),
            }
        )
        if len(seeds) > 1:
            _move(job, seed, to_its_own=True)
        if met:
            break
    reached = {item["seed"]: item for item in job.tried if item["clock_reached_hz"] is not None}
    if not reached:
        assert failure is not None
        raise ToolError(
            f"every seed: {failure.reason}", job.folder / SEEDS / str(job.seed) / failure.log.name
        )
    if not met:
        job.seed = max(reached, key=lambda seed: reached[seed]["clock_reached_hz"])
    job.watch.seconds[tool] = reached[job.seed]["seconds"]
    if len(seeds) > 1:
        _move(job, job.seed, to_its_own=False)
        for item in job.tried:
            for name in job.placement_files[1:]:
                (job.folder / SEEDS / str(item["seed"]) / name).unlink(missing_ok=True)
    return found[job.seed]


def _move(job: BuildJob, seed: int, to_its_own: bool) -> None:
    """Move the files of a placement from the job's folder to that of ``seed``, or back."""
    own = job.folder / SEEDS / str(seed)
    own.mkdir(parents=True, exist_ok=True)
    for name in job.placement_files:
        here, there = (job.folder / name, own / name) if to_its_own else (own / name, job.folder / name)
        if here.is_file():
            here.replace(there)
