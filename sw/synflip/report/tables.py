"""Tables of a report: Markdown for pages, plain text for terminals."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from textwrap import wrap
from typing import Any, Self

GAP = "  "  # between columns of a table in a terminal


def markdown_table(heads: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table without a line break at its end. A ``|`` in a cell is escaped.

    ``markdown_table(("k", "vote"), [(1, "97 %")])`` is ``| k | vote |``, ``| --- | --- |``, ``| 1 | 97 % |``,
    each on a line of its own.
    """
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in (heads, *rows)]
    cells.insert(1, ["---"] * len(heads))
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


@dataclass(frozen=True)
class Table:
    """A titled table of values.

    heads: names of the columns. A name that ends in ``%`` says that the column holds shares, 0..1, which are
    shown in percent. rows: a value for each column, as ``shown`` takes it. name: of the table in a page, such
    as the end of its HTML id.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Any]]
    name: str = ""

    @classmethod
    def from_records(cls, name: str, title: str, records: Sequence[Mapping[str, Any]]) -> Self:
        """A table of records: values by the column's name. Columns stand in the order in which their names
        first come; a record that lacks one has None there."""
        heads = list(dict.fromkeys(head for record in records for head in record))
        return cls(title, heads, [[record.get(head) for head in heads] for record in records], name)

    def column(self, head: str) -> list[Any]:
        """The values of one column, from the first row to the last. Raises ValueError if there is none."""
        place = list(self.heads).index(head)
        return [row[place] for row in self.rows]

    def cells(self) -> list[list[str]]:
        """The rows as text."""
        return [
            [shown(head, value) for head, value in zip(self.heads, row, strict=True)] for row in self.rows
        ]

    def text(self, width: int | None = None) -> str:
        """The title and the table for a terminal of ``width`` columns; nothing is cut.

        Where the columns are too wide together, cells go on in the next line, between words. Where that is
        not enough either, each row becomes lines of ``head: value``. width: None has no limit.
        """
        lines = [list(self.heads), *self.cells()]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        least = [max(map(_longest_word, column)) for column in zip(*lines, strict=True)]
        if width is not None:
            room = width - len(GAP) * (len(widths) - 1)
            if sum(least) > room:
                blocks = ("\n".join(self._block(cells, width)) for cells in self.cells())
                return "\n\n".join(("\n".join(_wrapped(self.title, width)), *blocks)) + "\n"
            while sum(widths) > room:  # the widest column that can be narrower
                wide = [size if size > narrow else 0 for size, narrow in zip(widths, least, strict=True)]
                widths[wide.index(max(wide))] -= 1
        padded = []
        for line in lines:
            parts = [_wrapped(cell, size) for cell, size in zip(line, widths, strict=True)]
            for cells in zip_longest(*parts, fillvalue=""):
                padded.append(GAP.join(map(str.ljust, cells, widths)).rstrip())
        return "\n".join((*_wrapped(self.title, width), *padded, ""))

    def _block(self, cells: Sequence[str], width: int) -> Iterator[str]:
        """A row as lines of ``head: value``."""
        for head, cell in zip(self.heads, cells, strict=True):
            yield from _wrapped(f"{head}: {cell}" if head else cell, width)

    def markdown(self) -> str:
        """The table for a page, without its title."""
        return markdown_table(self.heads, self.cells())


def section(tables: Iterable[Table]) -> str:
    """Tables for a section of a page, each under its title."""
    return "\n\n".join(f"{table.title}:\n\n{table.markdown()}" for table in tables)


def read_markdown(lines: Iterable[str]) -> list[list[str]]:
    """The cells of a table that ``markdown_table`` wrote: first those of the heads, then each row's."""
    heads, _, *rows = (re.split(r"(?<!\\)\|", line)[1:-1] for line in lines)
    return [[cell.strip().replace("\\|", "|") for cell in row] for row in (heads, *rows)]


def for_terminal(markdown: str, width: int) -> str:
    """``markdown`` with its tables as ``Table.text`` writes them; other lines go on in the next, between
    words."""
    out: list[str] = []
    for is_table, group in groupby(markdown.splitlines(), lambda line: line.startswith("|")):
        lines = list(group)
        if is_table:
            heads, *rows = read_markdown(lines)
            lines = Table("", heads, rows).text(width).splitlines()[1:]
        else:
            lines = [part for line in lines for part in _wrapped(line, width)]
        out += lines
    return "\n".join(out)


def _longest_word(text: str) -> int:
    return max(map(len, text.split()), default=0)


def _wrapped(text: str, width: int | None) -> list[str]:
    """Lines of whole words of at most ``width``; a longer word is folded. None: one line."""
    if width is None or len(text) <= width:
        return [text]
    return wrap(text, width, break_on_hyphens=False)


def shown(head: str, value: Any) -> str:
    """The text of a cell in the column ``head``.

    None is ``-``; a share in a column whose name ends in ``%`` has two digits behind the point (0.9876 is
    ``98.76``), another float four, and an integer commas between thousands. Text and bools are as they are.
    """
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if head.endswith("%"):
        return f"{100 * value:.2f}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
