"""The site: Markdown pages (MyST), furo, the command line and the library from their own docstrings."""

import inspect
import re
from pathlib import Path
from typing import Any

from synflip import __version__
from synflip.cli.reference import markdown
from synflip.report.notebook import notebook

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


#: Pages that are notebooks too.
NOTEBOOKS = "tutorials"
OFFER = """
```{raw} html
<p><a href="NAME.ipynb" download>This page as a notebook</a></p>
```
"""


def offer_notebook(app: Any, page: str, source: list[str]) -> None:
    """Below the title of a tutorial, a link to its notebook."""
    if page.startswith(f"{NOTEBOOKS}/"):
        title, end, rest = source[0].partition("\n")
        source[0] = title + end + OFFER.replace("NAME", page.rpartition("/")[2]) + rest


def write_notebooks(app: Any, error: Exception | None) -> None:
    """The tutorials as notebooks, beside their pages."""
    if error is None and app.builder.format == "html":
        for page in sorted(Path(app.srcdir, NOTEBOOKS).glob("*.md")):
            target = Path(app.outdir, NOTEBOOKS, f"{page.stem}.ipynb")
            target.write_text(notebook(page.read_text(encoding="utf-8")), encoding="utf-8")


#: Where an item of a list begins: ``name: `` or ``name, name: `` after a full stop, or at the start.
ITEM = re.compile(r"(?:^|(?<=[.;]) )(?=[a-z_]+(?:, [a-z_]+)*: )")
#: What ends such a list: a sentence that begins a line.
SENTENCE = re.compile(r"(?<=\.)\n(?=[A-Z])")


def plain_docstring(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """The project's docstrings are plain text with ``code``: make reStructuredText of them.

    The first paragraph is a summary. A later one whose lines are all indented is code; one that begins with
    ``name: text`` is a list of such items. What would be markup is escaped.
    """
    out: list[str] = []
    for place, paragraph in enumerate(re.split(r"\n\s*\n", inspect.cleandoc("\n".join(lines)))):
        rows = paragraph.split("\n")
        if all(row.startswith("    ") for row in rows):
            out += ["::", "", *rows, ""]
        elif place and ITEM.match(paragraph):
            items, *rest = SENTENCE.split(paragraph)
            out += [f"- {_escaped(item)}" for item in ITEM.split(_one_line(items)) if item]
            out += ["", _escaped(_one_line(" ".join(rest))), ""]
        else:
            out += [_escaped(_one_line(paragraph)), ""]
    lines[:] = out


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _escaped(text: str) -> str:
    parts = re.split(r"(``.*?``)", text)
    return "".join(
        part if place % 2 else re.sub(r"([*|\\`_])", r"\\\1", part) for place, part in enumerate(parts)
    )


def setup(app: Any) -> None:
    """Sphinx calls this."""
    app.connect("source-read", insert_commands)
    app.connect("source-read", offer_notebook)
    app.connect("build-finished", write_notebooks)
    app.connect("autodoc-process-docstring", plain_docstring)
