"""Text of files and tools that are not trusted, made fit to print."""

MAX_MESSAGE = 300  # characters


def one_line(text: str) -> str:
    """Names in a file that is not trusted may break lines, move the cursor or go on for a megabyte."""
    text = text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 3] + "..."
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def printable(text: str) -> str:
    """One line, without control characters: names in files must not drive a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in " ".join(text.split()))
