"""Progress bars: on stderr, and silent when that is not a terminal."""

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

#: Called with (done, total) and, if there is more to say, a word.
Advance = Callable[..., None]


@contextmanager
def bar(what: str) -> Iterator[Advance]:
    """A bar that lasts as long as the block; it moves when the function that it gives is called."""
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
        task = progress.add_task(what, total=None, word="")

        def advance(done: int, total: int, word: str = "") -> None:
            progress.update(task, completed=done, total=total, word=word)

        yield advance


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A spinner, for work that cannot say how far it is."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield
