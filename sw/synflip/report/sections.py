"""Sections of a Markdown page that commands fill.

A section stands between the lines ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.
"""

from pathlib import Path

from synflip.errors import SynflipError
from synflip.util.outputs import write_text


def read_page(path: str | Path) -> str:
    """The text of a page in UTF-8. Raises SynflipError for one that cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SynflipError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def find_section(path: str | Path, name: str) -> tuple[str, str, str]:
    """A page in three parts: its text up to and with the begin line, the section, the end line and the rest.

    Raises SynflipError for a page that cannot be read, or does not have both lines once, in this order.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    before, found, rest = read_page(path).partition(begin)
    inside, closed, after = rest.partition(end)
    if not (found and closed) or begin in rest or end in before + after:
        raise SynflipError(f"{path} has no section between the lines {begin} and {end}")
    return before + begin, inside, end + after


def replace_section(path: str | Path, name: str, text: str) -> None:
    """Replace the section ``name`` of the page at ``path`` by ``text``. Raises SynflipError."""
    before, _, after = find_section(path, name)
    write_text(path, f"{before}\n{text.strip()}\n{after}")
