"""The opening of the page on uncertainty: one table and one picture, made of the tables of the experiments.

The tables are read from the page that ``page.into`` filled, so the opening says what that page says and
nothing else, whichever reports it came from.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from synflip.errors import SynflipError
from synflip.experiments.baselines import MEAN, SOFTMAX, TAUGHT, VOTES
from synflip.experiments.datasets import OTHERS
from synflip.experiments.out_of_distribution import SCORES
from synflip.experiments.pages.page import by_data
from synflip.report.plotting import FAINT, RIGHT, WRONG, new_figure, save
from synflip.report.sections import find_section
from synflip.report.tables import Table, read_markdown

SECTION = "opening"
FLOAT, COIN = (
    "32 bits, multiplied",
    "5 bits, added",
)  # a weight: a float, or a probability of 4 bits and a sign
SCALED = "NLL, scaled"
MARKERS = "osD^v<P*X"  # of the rows, in their order
#: Cells of a row by the heads of their columns.
Row = dict[str, str]


@dataclass(frozen=True)
class Shown:
    """A row of the opening. name: a pattern of its name in the table of baselines. passes, networks: of an
    image; ``#`` is the number in the name, ``S`` the samples of coins. weight: what one is."""

    name: str
    passes: str
    networks: str
    weight: str


SHOWN = (
    Shown(SOFTMAX, "1", "1", FLOAT),
    Shown(r"MC dropout, \d+ passes", "#", "1", FLOAT),
    Shown(r"ensemble of \d+", "#", "#", FLOAT),
    Shown("Masksembles", "4", "1", FLOAT),
    Shown("Laplace, last layer", "1", "1", FLOAT),
    Shown("SNGP", "1", "1", FLOAT),
    Shown(f"coins, {VOTES}", "S", "1", COIN),
    Shown(f"coins, {MEAN}", "S", "1", COIN),
    Shown(f"{TAUGHT}, {MEAN}", "S", "1", COIN),
)
NAMES = {TAUGHT: "coins, taught by the ensemble"}  # of rows that refer to the row before them


def opening(page: Path) -> Table:
    """The table: for each data set the answers of SHOWN that the page has. Cells are text, as there.

    page: with the sections ``paper baselines`` and ``paper out-of-distribution``. Raises SynflipError.
    """
    outside = _tables(page, "out-of-distribution")
    records = [
        _record(data, shown, name, row, title, outside[data][1])
        for data, (title, rows) in _tables(page, "baselines").items()
        if data in outside and data in OTHERS
        for shown in SHOWN
        for name, row in rows.items()
        if re.fullmatch(shown.name, name)
    ]
    if not records:
        raise SynflipError(f"{page} has no tables of {' and '.join(OTHERS)} in both sections")
    return Table.from_records(SECTION, "", records)


def _record(data: str, shown: Shown, name: str, row: Row, title: str, outside: dict[str, Row]) -> Row:
    """A row of the table. row: of the table of baselines, of this title. outside: rows of the other table."""
    kind = name.removesuffix(f", {MEAN}")
    foreign = [row[f"AUROC {OTHERS[data]}"]]
    if kind in outside:
        foreign = [outside[kind][f"{OTHERS[data]}: {score}"] for score in SCORES]
    numbers = {"#": "".join(re.findall(r"\d+", name)), "S": "".join(re.findall(r"(\d+) samples", title))}
    return {
        "data": data,
        "answer of": name.replace(kind, NAMES.get(kind, kind)),
        "right %": row["accuracy %"],
        "NLL": row["NLL"],
        **({SCALED: row[SCALED]} if SCALED in row else {}),
        "ECE": row["ECE"],
        "finds wrong answers": row["AUROC wrong"],
        "finds foreign images": max(each for each in foreign if each != "-"),
        "passes": numbers.get(shown.passes, shown.passes),
        "networks": numbers.get(shown.networks, shown.networks),
        "a weight": shown.weight,
    }


def draw(table: Table, path: Path) -> None:
    """The picture, a PNG: likelihood and how well foreign images are found, a panel for each data set. Bare
    votes are left out: they would be far from all others."""
    likelihood = SCALED if SCALED in table.heads else "NLL"
    data = list(dict.fromkeys(table.column("data")))
    names = [name for name in dict.fromkeys(table.column("answer of")) if not name.endswith(f", {VOTES}")]
    figure = new_figure(4.6 * len(data), 4.4)
    panels = figure.subplots(1, len(data), squeeze=False)[0]
    heads = ("data", "answer of", likelihood, "finds foreign images", "a weight")
    columns = [table.column(head) for head in heads]
    for axes, wanted in zip(panels, data, strict=True):
        for which, name, x, y, weight in zip(*columns, strict=True):
            if which == wanted and name in names and "-" not in (x, y):
                colour, marker = RIGHT if weight == COIN else WRONG, MARKERS[names.index(name)]
                axes.plot(
                    float(x), float(y), marker, ms=9, color=colour, label=name.removesuffix(f", {MEAN}")
                )
        axes.set_title(wanted, fontsize=10)
        axes.set(xlabel=f"{likelihood}, nats: less is better", ylabel="foreign images found, AUROC")
        axes.margins(0.15)
        axes.grid(color=FAINT, alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    save(figure, path)


def _tables(page: Path, experiment: str) -> dict[str, tuple[str, dict[str, Row]]]:
    """By data set the title of the section's table, and its rows by name."""
    found = {}
    for data, text in by_data(find_section(page, f"paper {experiment}")[1]).items():
        rows = [line for line in text.splitlines() if line.startswith("|")]
        if len(rows) > 2:
            heads, *cells = read_markdown(rows)
            named = {row[0]: dict(zip(heads, row, strict=False)) for row in cells}
            found[data] = (text.splitlines()[0], named)
    return found
