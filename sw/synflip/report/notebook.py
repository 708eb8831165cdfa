"""Markdown pages as Jupyter notebooks, without outputs.

``python -m synflip.report.notebook PAGE.md .. --out DIR`` writes them.

Blocks of Python become cells of code, but for those that are marked ``<!-- not run: WHY -->``; everything
else becomes text. ``<!-- in tests: NAMES = VALUES -->`` behind a block makes its work smaller in the tests,
and is left out otherwise.
"""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synflip.report.sections import read_page
from synflip.util.outputs import check_outputs, write_text
from synflip.util.terminal import fails_in_one_line

CODE = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n?<!-- in tests: (?P<small>.*?) -->\n)?", re.M | re.S)
NOT_RUN = re.compile(r"<!-- not run: .* -->\n\Z")
#: A link to another page, which a notebook cannot follow.
LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s:]*)(#[^)\s]*)?\)")


def cells(text: str, small: bool = False) -> list[tuple[str, str]]:
    """The cells of a page: ``code`` or ``markdown``, and its text. small: as the tests run it."""
    found: list[tuple[str, str]] = []
    words, end = "", 0
    for block in CODE.finditer(text):
        words += text[end : block.start()]
        end = block.end()
        if NOT_RUN.search(words):
            words = NOT_RUN.sub("", words) + block[0]
            continue
        less = f"\n{block['small']}" if small and block["small"] else ""
        found += [("markdown", words), ("code", block["code"].strip() + less)]
        words = ""
    found.append(("markdown", words + text[end:]))
    return [(kind, _text(words) if kind == "markdown" else words) for kind, words in found if words.strip()]


def _text(words: str) -> str:
    return LINK.sub(lambda link: f"{link[1]} ({link[2]})" if link[2] else link[1], words).strip()


def notebook(text: str, small: bool = False) -> str:
    """The page as a file of the format nbformat 4.5. The same page gives the same bytes."""
    written: list[dict[str, Any]] = [
        {
            "cell_type": kind,
            "id": f"cell-{number}",
            "metadata": {},
            **({"execution_count": None, "outputs": []} if kind == "code" else {}),
            "source": words.splitlines(keepends=True),
        }
        for number, (kind, words) in enumerate(cells(text, small))
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    whole = {"cells": written, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write each page as a notebook into a folder. Raises SynflipError."""
    parser = argparse.ArgumentParser(prog="python -m synflip.report.notebook", description=__doc__)
    parser.add_argument("pages", metavar="PAGE.md", nargs="+", type=Path)
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("."))
    asked = parser.parse_args(arguments)
    made = [asked.out / f"{page.stem}.ipynb" for page in asked.pages]
    check_outputs(made, asked.pages)
    for text, file in zip(map(read_page, asked.pages), made, strict=True):
        write_text(file, notebook(text))


if __name__ == "__main__":
    with fails_in_one_line():
        main()
