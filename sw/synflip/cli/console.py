"""Tables on stdout, and their numbers as JSON.

Text from files cannot move the cursor or change colours: see ``util.text``.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synflip.util.terminal import console
from synflip.util.text import printable

if TYPE_CHECKING:
    from synflip.report.tables import Table


def table(title: str, *rows: tuple[str, str]) -> None:
    """Names and values under a title. Text from files is printed without markup or control characters."""
    from rich.table import Table
    from rich.text import Text

    out = console()
    out.print(Text(printable(title), style="bold"))
    grid = Table(show_header=False, box=None)
    for _ in rows[0]:
        grid.add_column(overflow="fold")
    for row in rows:
        grid.add_row(*(Text(printable(value)) for value in row))
    out.print(grid)


def columns(title: str, heads: tuple[str, ...], *rows: tuple[str, ...]) -> None:
    """Rows under a title and the columns' heads; what is too wide goes on in the next line, between words."""
    from synflip.report.tables import Table

    show(Table(printable(title), heads, [[printable(value) for value in row] for row in rows]))


def show(*tables: "Table") -> None:
    """Tables as wide as the terminal at most."""
    for item in tables:
        print(item.text(console().width))


def say(line: str) -> None:
    """A sentence on stdout, which goes on in the next line between words where the terminal ends."""
    from synflip.report.tables import for_terminal

    print(for_terminal(printable(line), console().width))


def warn(line: str) -> None:
    """A warning on stderr."""
    print(f"warning: {printable(line)}", file=sys.stderr)


def write_json(file: Path | None, numbers: Mapping[str, Any]) -> None:
    """Write the numbers that a command prints to the file of ``--json``, if it was given."""
    import json

    from synflip.util.outputs import write_text

    if file is not None:
        write_text(file, json.dumps(numbers, indent=2) + "\n")
