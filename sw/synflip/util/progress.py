"""Progress bars and spinners on stderr; nothing is shown where stderr is not a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from synflip.util import terminal

#: Called with the number of steps done, their total and, optionally, a word that is shown beside the bar.
Advance = Callable[..., None]


@contextmanager
def bar(what: str) -> Iterator[Advance]:
    """Show a bar titled ``what`` while the block lasts; the block is given the function that moves it."""
    console = terminal.console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[word]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None, word="")

        def advance(done: int, total: int, word: str = "") -> None:
            progress.update(task, completed=done, total=total, word=word)

        yield advance


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show a spinner with the title ``what`` while the block lasts: for work whose length is not known."""
    console = terminal.console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield
