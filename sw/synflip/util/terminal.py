"""Where text goes: how wide it may be, what letters it may have, and whether anybody watches it.

A bar, a colour or a movement of the cursor is for a terminal. Variables that force them, such as FORCE_COLOR,
do not put control codes into a file or a pipe.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from synflip.errors import SynflipError
from synflip.util.text import printable

if TYPE_CHECKING:  # rich is imported only to print
    from rich.console import Console

NARROWEST = 40  # columns: a table of fewer holds nothing
USUAL = 80  # columns, where nothing says how many there are
#: What makes rich and typer take a pipe for a terminal.
FORCING = ("FORCE_COLOR", "PY_COLORS", "TTY_COMPATIBLE", "TTY_INTERACTIVE")


def is_terminal(stream: TextIO | None) -> bool:
    """Whether ``stream`` is a terminal that can move its cursor."""
    return stream is not None and stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


def width(stream: TextIO | None) -> int:
    """Columns of ``stream``: COLUMNS if it is a number above 0, else the terminal's, else USUAL; never fewer
    than NARROWEST."""
    text = os.environ.get("COLUMNS", "").strip()
    columns = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
    if not columns and stream is not None:
        try:
            columns = os.get_terminal_size(stream.fileno()).columns
        except (OSError, ValueError):
            columns = 0
    return max(columns or USUAL, NARROWEST)


def console(stderr: bool = False) -> "Console":
    """The console of stdout, or of stderr, without markup. In a notebook it is the notebook's."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    options: dict[str, Any] = {"stderr": stderr, "highlight": False, "markup": False}
    if Console(stderr=stderr).is_jupyter:
        return Console(**options)
    terminal = is_terminal(stream)
    return Console(**options, force_terminal=terminal, force_interactive=terminal, width=width(stream))


@contextmanager
def fails_in_one_line() -> Iterator[None]:
    """For modules that are commands by ``python -m``: a SynflipError of the block is one line on stderr, and
    the exit status 1."""
    try:
        yield
    except SynflipError as error:
        sys.exit(f"error: {printable(str(error))}")


def prepare() -> None:
    """Make this process's streams and environment such that whatever is printed, nothing is lost.

    Letters that stdout's encoding lacks are written as escapes: é as \\xe9 in ASCII. A stream that is closed
    is replaced by one that swallows all. COLUMNS gets a width that can be used; the variables of FORCING are
    deleted if stdout is no terminal.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # for the process's whole life
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if "COLUMNS" in os.environ:
        os.environ["COLUMNS"] = str(width(sys.stdout))
    if not is_terminal(sys.stdout):
        for name in FORCING:
            os.environ.pop(name, None)
        os.environ["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"  # typer takes GITHUB_ACTIONS for a terminal
