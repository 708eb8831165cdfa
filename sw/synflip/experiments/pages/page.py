"""The files of a report: a page that needs no other file, and all numbers as CSV and JSON."""

import base64
import csv
import hashlib
import io
import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from importlib.resources import files
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from synflip._version import __version__
from synflip.experiments.blocks import NOT_RUN, Section
from synflip.report.sections import find_section, read_page, replace_section
from synflip.util.outputs import write_text

TITLE = "Synaptic sampling on synflip"
LEAD = (
    "Networks whose weights are coin flips, as a synflip accelerator computes them: compiled integers, "
    "keys of the contract, run on the golden model, whose votes and logits every device gives bit for bit. "
    "Shares are of the test images."
)
QUICK_WARNING = (
    "Made with --quick: the networks are small and hardly trained, on few images. The page shows which "
    "experiments there are; its networks and its numbers mean nothing."
)
FIELDS = ("experiment", "settings", "number", "value", "command", "commit")


def commit() -> str:
    """The hash of the commit that is checked out, with ``-dirty`` if files differ; else the version."""
    try:
        found = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40",
             "--exclude=*"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        found = ""
    return found or f"synflip {__version__}"


def html(sections: list[Section], command: str, at: str, warning: str = "") -> str:
    """The page as HTML. Pictures are inside it, and one script, which sorts tables; nothing else may run or
    be fetched. at: the commit. warning: said at the top."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode()
    environment.tests["number"] = lambda cell: any(letter.isdigit() for letter in cell)
    folder = files("synflip.experiments.pages")
    template = environment.from_string(folder.joinpath("page.html.jinja").read_text("utf-8"))
    script = folder.joinpath("sort.js").read_text("utf-8")
    groups = [
        (f"{name} ({note})" if note else name, list(items))
        for (name, note), items in groupby(sections, lambda section: (section.data, section.note))
    ]
    return template.render(
        title=TITLE,
        lead=LEAD,
        command=command,
        commit=at,
        groups=groups,
        warning=warning,
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def write(
    folder: Path,
    sections: list[Section],
    rows: list[dict[str, Any]],
    command: str,
    at: str,
    warning: str = "",
) -> None:
    """``index.html``, which begins with ``warning``, ``numbers.json``, ``numbers.csv`` in the folder. Raises
    SynflipError."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(FIELDS)
    for row in rows:
        settings = " ".join(f"{name}={json.dumps(value)}" for name, value in row["settings"].items())
        for name, value in flat(row["numbers"]):
            writer.writerow([row["experiment"], settings, name, value, row["command"], row["commit"]])
    for name, text in (
        ("index.html", html(sections, command, at, warning)),
        ("numbers.json", json.dumps(rows, indent=1) + "\n"),
        ("numbers.csv", table.getvalue()),
    ):
        write_text(folder / name, text)


def flat(numbers: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of nested numbers: ``{"vote": {"16": 0.9}}`` gives ``vote / 16`` and 0.9."""
    for name, value in numbers.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{name} / ")
        else:
            yield before + name, value


def markdown(section: Section) -> str:
    """The tables of a section as Markdown, a title above each."""
    note = f" ({section.note})" if section.note else ""
    tables = [f"*{section.data}{note}. {table.title}.*\n\n{table.markdown()}" for table in section.tables]
    return "\n\n".join(tables)


def into(page: Path, sections: list[Section]) -> list[str]:
    """Fill the sections ``paper NAME`` of a Markdown page; the names of the experiments that have one there.

    Tables of data sets that are not in ``sections`` stay, and an old row stays where the new one is NOT_RUN.
    Raises SynflipError.
    """
    by_name = attrgetter("experiment")
    found = {name: list(items) for name, items in groupby(sorted(sections, key=by_name), key=by_name)}
    done = filled(page, found)
    for name in done:
        _, inside, _ = find_section(page, f"paper {name}")
        tables = by_data(inside)
        for section in found[name]:
            tables[section.data] = _kept(tables.get(section.data, ""), markdown(section))
        replace_section(page, f"paper {name}", "\n\n".join(tables.values()))
    return done


def filled(page: Path, experiments: Iterable[str]) -> list[str]:
    """Those of ``experiments`` that ``into`` finds a section for in a page. Raises SynflipError for a page
    that cannot be read, and for a section that is not whole."""
    text = read_page(page)
    names = [name for name in experiments if f"<!-- begin paper {name} -->" in text]
    for name in names:
        find_section(page, f"paper {name}")
    return names


def _kept(before: str, after: str) -> str:
    """Tables ``after``, with the rows of ``before`` where a row is NOT_RUN."""
    rows = {line.split("|")[1]: line for line in before.splitlines() if line.startswith("|")}
    lines = after.splitlines()
    return "\n".join(
        rows.get(line.split("|")[1], line) if f"| {NOT_RUN} |" in line else line for line in lines
    )


def by_data(text: str) -> dict[str, str]:
    """The text that ``markdown`` wrote for each data set, by data set, in the page's order."""
    found: dict[str, str] = {}
    for part in re.split(r"^(?=\*[^*|]+\*$)", text, flags=re.M):
        if title := re.match(r"\*([^. (]+)( \([^)]*\))?\. ", part):
            found[title[1]] = f"{found[title[1]]}\n\n{part.strip()}" if title[1] in found else part.strip()
    return found
