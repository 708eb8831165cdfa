"""The site: Markdown pages (MyST), furo, the command line and the library from their own docstrings."""

import inspect
import re
from typing import Any

from synflip import __version__
from synflip.cli.reference import markdown

project = "synflip"
release = version = __version__
copyright = "the synflip authors, BSD-2-Clause"

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}

html_theme = "furo"
html_title = f"synflip {version}"
html_show_sphinx = False

#: Links such as boards.md#timing, three levels of headings deep.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True

#: Where a page wants the commands of ``synflip``.
COMMANDS = "<!-- commands -->"


def insert_commands(app: Any, page: str, source: list[str]) -> None:
    """The sections of all commands in place of the marker."""
    if page == "reference/cli":
        source[0] = source[0].replace(COMMANDS, markdown())


def plain_docstring(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """The project's docstrings are plain text with ``code``: make reStructuredText of them.

    Paragraphs are joined, a paragraph whose lines are all indented is code, an item (``name: text``, with
    continuations indented) is a line of a list, and what would be markup is escaped.
    """
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc("\n".join(lines)))
    out: list[str] = []
    for paragraph in filter(None, paragraphs):
        rows = paragraph.split("\n")
        if all(row.startswith("    ") for row in rows):
            out += ["::", "", *rows, ""]
            continue
        items: list[str] = []
        for row in rows:
            if items and (row.startswith("    ") or not re.match(r"[a-z_, ]+: ", row)):
                items[-1] += " " + row.strip()
            else:
                items.append(row.strip())
        listed = len(items) > 1
        out += [("- " if listed else "") + _escaped(item) for item in items]
        out.append("")
    lines[:] = out


def _escaped(text: str) -> str:
    parts = re.split(r"(``.*?``)", text)
    return "".join(
        part if place % 2 else re.sub(r"([*|\\`_])", r"\\\1", part) for place, part in enumerate(parts)
    )


def setup(app: Any) -> None:
    """Sphinx calls this."""
    app.connect("source-read", insert_commands)
    app.connect("autodoc-process-docstring", plain_docstring)
