"""Progress bars and spinners on stderr; nothing is shown where stderr is not a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

#: Called with the number of steps done, their total and, optionally, a word that is shown beside the bar.
Advance = Callable[..., None]


class Bar:
    """A bar on stderr. Calling it moves it, as ``Advance`` says."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress = progress
        self._task = progress.add_task(what, total=None, word="")

    def __call__(self, done: int, total: int, word: str = "") -> None:
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
    """Show a bar titled ``what`` while the block lasts; the block is given the bar."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[word]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bar(progress, what)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show a spinner with the title ``what`` while the block lasts: for work whose length is not known."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield
