"""``python -m tests.examples.page``: run the worked examples as they are, and write a table of the docs.

One row is one run of an example: networks of coins beside an ordinary torch network, see beside_torch.py. It
takes some minutes.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from synflip.report.sections import replace_section
from synflip.report.tables import markdown_table

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PAGE = ROOT / "docs" / "guide" / "your_data.md"
SECTION = "examples"
#: What a run is on, and its words.
RUNS = (
    ("breast cancer, a column an input", "table.py"),
    ("the same, four inputs a column", "table.py thermometer"),
    ("wine, a column an input", "table.py wine"),
    ("the same, four inputs a column", "table.py wine thermometer"),
    ("series: GunPoint", "series.py"),
    ("text: docstrings", "text.py"),
    ("a graph: karate club", "graph.py"),
)
HEADS = (
    "data", "run", "inputs", "test rows", "right, %: torch", "right: one sample", "right: 64 votes",
    "ECE: torch", "ECE: 64 votes", "NLL: torch", "NLL: 64 votes", "AUROC: torch", "AUROC: 64 votes",
    "AUROC: ranges",
)  # fmt: skip


def run(name: str, *arguments: str, cwd: Path) -> str:
    """What an example prints."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments], capture_output=True, text=True, cwd=cwd
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compared(said: str) -> tuple[dict[str, list[float]], list[float]]:
    """Percent right, ECE and NLL of each network, and the AUROCs, as examples/beside_torch.py prints them."""
    rows = re.findall(
        r"^(an ordinary network|coins, samples: \d+) +([\d.]+)% +([\d.]+) +([\d.]+)$", said, re.M
    )
    aurocs = re.findall(r"^    \D+ ([\d.]+)$", said, re.M)
    assert len(rows) == len(aurocs) == 3
    return {name: [float(number) for number in numbers] for name, *numbers in rows}, [*map(float, aurocs)]


def row(data: str, words: str, said: str) -> tuple[str, ...]:
    """A row of the table. said: what the example printed."""
    networks, aurocs = compared(said)
    torch, one, votes = networks.values()
    size = re.search(r"and ([\d,]+) test images, ([\dx]+) features", said)
    assert size is not None
    figures = [f"{share:.1f}" for share in (torch[0], one[0], votes[0])]
    figures += [f"{number:.3f}" for number in (torch[1], votes[1], torch[2], votes[2], *aurocs)]
    return data, f"`{words}`", size[2].removeprefix("1x"), size[1], *figures


def main() -> None:
    """Write the table."""
    with tempfile.TemporaryDirectory() as folder:
        said = [run(*words.split(), cwd=Path(folder)) for _, words in RUNS]
    rows = [row(*named, text) for named, text in zip(RUNS, said, strict=True)]
    replace_section(PAGE, SECTION, markdown_table(HEADS, rows))


if __name__ == "__main__":
    main()
