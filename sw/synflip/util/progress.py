"""Progress on stderr: bars and spinners in terminals and notebooks, lines for work of minutes anywhere."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from synflip.errors import SynflipError
from synflip.util import terminal

if TYPE_CHECKING:  # rich is imported only to show a bar
    from rich.console import Console
    from rich.progress import Progress

#: Called with the number of steps done, their total and, optionally, a word that is shown beside the bar.
Advance = Callable[..., None]


def check_progress(progress: object, arguments: str) -> None:
    """Raises SynflipError unless ``progress`` is None, True or False, or can be called. arguments: what it is
    called with."""
    if progress is not None and not isinstance(progress, bool) and not callable(progress):
        raise SynflipError(f"progress must be True, or a function of {arguments}, not {progress!r:.60}")


class Bar:
    """A bar on stderr. Calling it moves it, as ``Advance`` says."""

    def __init__(self, progress: "Progress", what: str) -> None:
        self._progress = progress
        self._task = progress.add_task(what, total=None, word="")

    def __call__(self, done: int, total: int | None, word: str = "") -> None:
        """Move the bar to ``done`` of ``total`` steps; ``word`` stands beside it."""
        self._progress.update(self._task, completed=done, total=total, word=word)

    def say(self, line: str) -> None:
        """Print a line on stdout. The bar is taken away first, and comes again below the line: otherwise rich
        would write the line on stderr, where the bar is."""
        self._progress.stop()
        print(line, flush=True)
        if not self._progress.disable:
            self._progress.start()


@contextmanager
def bar(what: str) -> Iterator[Bar]:
    """Show a bar titled ``what`` while the block lasts, in a terminal or a notebook; the block is given the
    bar."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = terminal.console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[word]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not _has_bars(console)) as progress:
        yield Bar(progress, what)


@contextmanager
def shown(
    progress: Callable[..., None] | bool | None,
    what: str,
    on_bar: Callable[[Advance], Callable[..., None]] | None = None,
) -> Iterator[Callable[..., None] | None]:
    """What a ``progress`` that ``check_progress`` took is, while the block lasts: the block is given the
    function itself; None for False; and for True one that moves a bar titled ``what``.

    on_bar: makes that function of the bar's, if it is called with something else.
    """
    if progress is True:
        with bar(what) as advance:
            yield on_bar(advance) if on_bar else advance
    else:
        yield progress or None


@contextmanager
def lines(what: str, every: float = 60.0, begins: bool = True) -> Iterator[Advance]:
    """Say on stderr, where it is no terminal, how far work of minutes is.

    A line when it begins, unless ``begins`` is false, one every ``every`` seconds with the last word and the
    time so far, and one at the end of work that took longer than that.

    what: its title. The block is given the function that takes the word. A thread prints the lines, so that
    they come while the work is silent too.
    """
    began, ended, last = time.monotonic(), threading.Event(), [""]

    def advance(done: int, total: int | None, word: str = "") -> None:
        last[0] = word

    def tick() -> None:
        while not ended.wait(every):
            word = last[0] or "working"
            print(f"{what}: {word}, {duration(time.monotonic() - began)}", file=sys.stderr, flush=True)

    if begins:
        print(f"{what} ...", file=sys.stderr, flush=True)
    clock = threading.Thread(target=tick, name=f"progress of {what}", daemon=True)
    clock.start()
    try:
        yield advance
    finally:
        ended.set()
        clock.join()
    took = time.monotonic() - began
    if took >= every:
        print(f"{what}: done, {duration(took)}", file=sys.stderr, flush=True)


@contextmanager
def long_work(what: str, begins: bool = True) -> Iterator[Advance]:
    """Show how far work of minutes or hours is: with ``bar`` in terminals and notebooks, elsewhere with
    ``lines``. begins: of these, the first too."""
    has_bars = _has_bars(terminal.console(stderr=True))
    with bar(what) if has_bars else lines(what, begins=begins) as advance:
        yield advance


def _has_bars(console: "Console") -> bool:
    """Whether a bar can be seen: in a terminal or a notebook."""
    return console.is_terminal or console.is_jupyter


def duration(seconds: float) -> str:
    """A time for people: "45 s", "12 min 3 s", "1 h 2 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show a spinner with the title ``what`` while the block lasts: for work whose length is not known."""
    console = terminal.console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield
