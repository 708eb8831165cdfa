"""Coverage of a fixed set of random cases: functional bins, and Verilator's lines and toggles, as a page.

python -m synflip_sim.campaigns.coverage docs/results/coverage.md
"""

import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from synflip.devices.accelerator import Accelerator
from synflip.errors import SynflipError
from synflip.spec.geometry import Geometry
from synflip.util.outputs import check_outputs, write_text
from synflip.util.terminal import fails_in_one_line
from synflip.verification.cases import draw_case
from synflip.verification.coverage import BINS, observe
from synflip.verification.fuzz import run

from synflip_sim.simulators.verilate import Kind, build
from synflip_sim.simulators.verilator import VerilatorTransport

GEOMETRY = Geometry(
    16,
    2,
    bits=2,
    activation_bits=3,
    weight_depth=900,
    event_depth=256,
    key_depth=256,
    bias_depth=256,
    image_slots=4,
    result_depth=256,
    log_depth=1000,
    margin_depth=32,
    map_depth=64,
)
SEED, CASES = 1, 90
POINT = re.compile(r"^C '(.*)' (\d+)$", re.M)

Points = dict[tuple[str, str], list[int]]  # (module, line or toggle) -> counts


def points(text: str) -> Points:
    """Verilator's data file: the counts of every point, by module of the gateware and kind.

    A point is a line ``C 'key' count``; a key is fields ``\\1name\\2value``, of which ``page`` is the kind
    and the module. Points of a module's copies (lanes, banks) are counted together.
    """
    found: Points = {}
    for key, count in POINT.findall(text):
        fields = dict(part.split("\2", 1) for part in key.split("\1") if "\2" in part)
        kind, _, module = fields.get("page", "").removeprefix("v_").partition("/")
        kind = "line" if kind == "branch" else kind
        if kind not in ("line", "toggle"):
            continue
        found.setdefault((block(module), kind), []).append(int(count))
    return found


def block(module: str) -> str:
    """The gateware's name of a Verilog module: ``synflip.array.lane_3`` is ``array.lane``."""
    name = re.sub(r"__DOT__|__02[eE]", ".", module)
    name = re.sub(r"(\$|__024)\d+|_\d+(?=\.|$)|__.*$", "", name)
    return name.removeprefix("synflip.")


def collect() -> tuple[Counter[str], Points]:
    """Run the cases. Raises SynflipError if one of them differs from the golden model."""
    seen: Counter[str] = Counter()
    transport = VerilatorTransport(build(GEOMETRY, kind=Kind.coverage))
    with tempfile.TemporaryDirectory() as folder, Accelerator(transport, name="verilator") as device:
        for number in range(CASES):
            case = draw_case(GEOMETRY, np.random.default_rng((SEED, number)))
            golden, difference = run(case, device)
            if difference is not None:
                raise SynflipError(f"case {number}: {difference}")
            seen += observe(case, golden)
        path = Path(folder, "coverage.dat")
        transport.write_coverage(path)
        return seen, points(path.read_text(errors="replace"))


def page(seen: Counter[str], counters: Points) -> str:
    """The page, in Markdown."""
    lines = [
        "# Coverage",
        "",
        f"{CASES} random cases (seed {SEED}) on `{GEOMETRY.text}`,",
        "all equal to the golden model. Written by `make coverage`.",
        "",
        "## Functional bins",
        "",
        "What the bins mean: `sw/synflip/verification/coverage.py`. One accelerator cannot reach them",
        "all: those of other lanes, banks, word sizes and memories stay empty here; `synflip fuzz` draws",
        "them and says which it has not reached.",
        "",
        "| bin | times |",
        "|---|---|",
        *(f"| {name} | {seen[name] or '**never**'} |" for name in BINS),
        "",
        "## Gateware",
        "",
        "Share of Verilator's points that were hit at least once: lines and branches, and bits that changed.",
        "",
        "| module | lines | toggles |",
        "|---|---|---|",
    ]
    for module in sorted({module for module, _ in counters}):
        shares = (share(counters.get((module, kind), [])) for kind in ("line", "toggle"))
        lines.append(f"| {module} | {' | '.join(shares)} |")
    lines += [
        "",
        "Known holes: high bits of addresses, counters and settings that small networks do not need (24-bit",
        "sample and key counts, 64-bit cycles), constants (the reset, what the registers say of the",
        "hardware), and abort and refused accesses, which these cases do not ask for and",
        "`tests/simulators/test_verilator.py` and `tests/hdl/bus/test_registers.py` do.",
        "",
    ]
    return "\n".join(lines)


def share(counts: list[int]) -> str:
    """``95.0% of 40``."""
    if not counts:
        return "-"
    return f"{sum(count > 0 for count in counts) / len(counts):.1%} of {len(counts)}"


if __name__ == "__main__":
    with fails_in_one_line():
        check_outputs([sys.argv[1]])
        write_text(sys.argv[1], page(*collect()))
