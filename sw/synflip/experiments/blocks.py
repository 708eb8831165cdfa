"""The blocks of a report's page: sections, which hold tables and pictures."""

from dataclasses import dataclass, field

from synflip.report.tables import Table

NOT_RUN = "not run"  # stands in a row whose number has not been computed


@dataclass(frozen=True)
class Picture:
    """A PNG. name: end of its HTML id. alt: what it shows, said below it and to readers who cannot see it.
    png: its bytes."""

    name: str
    title: str
    alt: str
    png: bytes


@dataclass(frozen=True)
class Section:
    """What one experiment found on one data set.

    experiment: its name, as --only takes it. title, text: what it is about. data: name of the data set. note:
    what must be said beside figures of these data, see ``Dataset.note``. sources: the commands that made its
    numbers, each with its commit.
    """

    experiment: str
    title: str
    text: str
    data: str
    note: str
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    sources: list[tuple[str, str]] = field(default_factory=list)
