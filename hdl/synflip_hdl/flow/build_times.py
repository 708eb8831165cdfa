"""How long builds take: a range, from the seconds of the builds that were tabulated last."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synflip.spec.geometry import Geometry
from synflip.util.json_file import read_json
from synflip.util.outputs import write_text

#: Seconds of the last builds, as ``synflip boards DIR ... --times`` writes them.
TIMES = Path(__file__).with_name("build_times.json")
MAX_BYTES = 1 << 16
#: A range is from the tabulated time divided by this, to the time multiplied by it: machines differ.
SPREAD = 2


def write_times(path: Path, reports: Sequence[Mapping[str, Any]]) -> None:
    """Write the seconds of each tool of ``reports`` to ``path``, as JSON. Raises SynflipError."""
    found = [
        {
            **_kind(report["board"], Geometry.parse(report["geometry"])),
            "seconds": report["seconds"],
        }
        for report in reports
    ]
    text = json.dumps(found, indent=1)
    write_text(path, text + "\n")


def time_range(seconds: Mapping[str, float]) -> str:
    """The range of a build's time around the ``seconds`` that each of its tools took once.

    141 s of Yosys and 2139 s of nextpnr are 38 min: "19 to 76 min".
    """
    low, high = sum(seconds.values()) / SPREAD, sum(seconds.values()) * SPREAD
    if high < 120:
        return f"{max(math.floor(low), 1)} to {math.ceil(high)} s"
    return f"{max(math.floor(low / 60), 1)} to {math.ceil(high / 60)} min"


def usual_time(board: str, geometry: Geometry, path: Path = TIMES) -> str | None:
    """What a build of ``geometry`` for ``board`` usually takes, as ``time_range`` says it.

    None if no build of that board with these lanes, banks and bits was tabulated, with convolutions or
    without them as ``geometry``. Raises SynflipError if ``path`` is damaged.
    """
    wanted = _kind(board, geometry)
    for item in read_json(path, MAX_BYTES, "a file of build times"):
        if wanted.items() <= item.items():
            return time_range(item["seconds"])
    return None


def _kind(board: str, geometry: Geometry) -> dict[str, str | int | bool]:
    """What a build's time depends on most."""
    return {
        **{"board": board, "lanes": geometry.lanes, "banks": geometry.banks, "bits": geometry.bits},
        "convolutions": geometry.map_depth > 0,
    }
