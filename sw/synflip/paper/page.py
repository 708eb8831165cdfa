"""What a report is written as: one page that needs nothing else, and every number as CSV and JSON."""

import base64
import csv
import io
import json
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from synflip import __version__
from synflip.files import find_section, replace_section, replacing
from synflip.paper.parts import Section

LEAD = (
    "Networks whose weights are coin flips, as a synflip accelerator computes them: compiled integers, "
    "keys of the contract, run on the golden model, whose votes and logits every device gives bit for bit. "
    "Shares are of the test images."
)
FIELDS = ("experiment", "settings", "number", "value", "command", "commit")


def commit() -> str:
    """The commit that this code is at, with ``-dirty`` if it is not quite that; or the version."""
    try:
        found = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40",
             "--exclude=*"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        found = ""
    return found or f"synflip {__version__}"


def html(sections: list[Section], command: str, at: str) -> str:
    """The page: no scripts, nothing that is fetched."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode()
    template = environment.from_string(files("synflip.paper").joinpath("page.html.jinja").read_text("utf-8"))
    groups = [
        (f"{name} ({note})" if note else name, list(items))
        for (name, note), items in groupby(sections, lambda section: (section.data, section.note))
    ]
    return template.render(
        title="Synaptic sampling on synflip", lead=LEAD, command=command, commit=at, groups=groups
    )


def write(folder: Path, sections: list[Section], rows: list[dict[str, Any]], command: str, at: str) -> None:
    """``index.html``, ``numbers.json``, ``numbers.csv`` in the folder. Raises SynflipError."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(FIELDS)
    for row in rows:
        settings = " ".join(f"{name}={json.dumps(value)}" for name, value in row["settings"].items())
        for name, value in flat(row["numbers"]):
            writer.writerow([row["experiment"], settings, name, value, row["command"], row["commit"]])
    for name, text in (
        ("index.html", html(sections, command, at)),
        ("numbers.json", json.dumps(rows, indent=1) + "\n"),
        ("numbers.csv", table.getvalue()),
    ):
        with replacing(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")


def flat(numbers: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of nested numbers, ``vote / 16 / nll``."""
    for name, value in numbers.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{name} / ")
        else:
            yield before + name, value


def markdown(sections: list[Section], experiment: str) -> str:
    """Tables of one experiment on every data set."""
    lines = []
    for section in sections:
        if section.experiment == experiment:
            for table in section.tables:
                note = f" ({section.note})" if section.note else ""
                lines += [f"*{section.data}{note}. {table.title}.*", "", table.markdown(), ""]
    return "\n".join(lines)


def into(page: Path, sections: list[Section]) -> list[str]:
    """Replace the page's sections ``paper NAME``, of those experiments that it has one for; their names.

    Raises SynflipError.
    """
    text = page.read_text(encoding="utf-8")
    done = []
    for name in dict.fromkeys(section.experiment for section in sections):
        if f"<!-- begin paper {name} -->" in text:
            find_section(page, f"paper {name}")
            replace_section(page, f"paper {name}", markdown(sections, name))
            done.append(name)
    return done
