"""What a page is made of: sections of tables and pictures."""

from dataclasses import dataclass, field
from typing import Any

NOT_RUN = "not run"  # in a row for which something is missing


@dataclass(frozen=True)
class Table:
    """rows: values by the column's name; a name that ends in ``%`` has shares, 0..1. name: of its file."""

    name: str
    title: str
    rows: list[dict[str, Any]]

    @property
    def columns(self) -> list[str]:
        """In the order in which they first come."""
        return list(dict.fromkeys(column for row in self.rows for column in row))

    def cells(self) -> list[list[str]]:
        """Rows of text."""
        return [[shown(column, row.get(column)) for column in self.columns] for row in self.rows]

    def markdown(self) -> str:
        """For a page of the documentation."""
        lines = [self.columns, ["---"] * len(self.columns), *self.cells()]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


@dataclass(frozen=True)
class Picture:
    """A PNG. alt: what it shows, for those who do not see it."""

    name: str
    title: str
    alt: str
    png: bytes


@dataclass(frozen=True)
class Section:
    """What one experiment found on one data set. short: the tables that the documentation shows."""

    experiment: str
    title: str
    text: str
    data: str
    note: str
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


def shown(column: str, value: Any) -> str:
    """A cell. Shares are shown in percent, other numbers with four digits behind the point."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if column.endswith("%"):
        return f"{100 * value:.2f}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
