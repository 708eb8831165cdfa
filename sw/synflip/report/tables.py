"""Tables of a report: Markdown for pages, plain text for terminals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self


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

    def text(self) -> str:
        """The title and the table for a terminal, however narrow it is: nothing is cut."""
        lines = [list(self.heads), *self.cells()]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = (
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )
        return "\n".join((self.title, *padded, ""))

    def markdown(self) -> str:
        """The table for a page, without its title."""
        return markdown_table(self.heads, self.cells())


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
