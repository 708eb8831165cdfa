"""Text from files and tools that are not trusted, made safe to print; names that come twice."""

from collections.abc import Iterable

MAX_MESSAGE = 300  # characters


def one_line(text: str) -> str:
    """``text`` as one line of at most MAX_MESSAGE characters, control characters as escapes (``\\n``).

    A name in a file that is not trusted may break lines, move the cursor or be a megabyte long.
    """
    text = text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 3] + "..."
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def first_line(error: Exception) -> str:
    """The first line of what an exception says, without the traceback that may follow; its type, if it says
    nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def printable(text: str) -> str:
    """``text`` as one line of any length: white space becomes one blank, a control character too."""
    return "".join(letter if letter.isprintable() else " " for letter in " ".join(text.split()))


def second(names: Iterable[str]) -> str | None:
    """The first of some names that was there before; None if each is there once."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
