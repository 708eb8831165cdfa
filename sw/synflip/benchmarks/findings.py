"""The findings of a bench: one JSON file, written after each part, so that an interrupted bench goes on."""

import json
from pathlib import Path
from typing import Any

from synflip.errors import SynflipError
from synflip.util.json_file import read_json
from synflip.util.outputs import write_text

MAX_BYTES = 1 << 22
VERSION = 2


class Findings:
    """The findings in the file ``path``: machine, whether the bench is quick, and the finished parts by name.

    Raises SynflipError if the file is not one of a bench, or is of another machine or kind: figures of two
    machines are not put side by side.
    """

    def __init__(self, path: str | Path, machine: dict[str, Any], quick: bool) -> None:
        self.path = Path(path)
        self.head = {"version": VERSION, "machine": machine, "quick": quick}
        self.parts: dict[str, Any] = {}
        if self.path.exists():
            found = read(self.path)
            for key, value in self.head.items():
                if found.get(key) != value:
                    raise SynflipError(
                        f"{path} is of another bench (its {key} differs): give another file with --out"
                    )
            self.parts = found["parts"]

    def keep(self, name: str, findings: dict[str, Any]) -> None:
        """Add a part, and write the file. Raises SynflipError."""
        self.parts[name] = findings
        write_text(self.path, json.dumps({**self.head, "parts": self.parts}, indent=1) + "\n")


def read(path: str | Path) -> dict[str, Any]:
    """The findings in a file. Raises SynflipError."""
    found = read_json(path, MAX_BYTES, "of synflip bench")
    if not isinstance(found, dict) or not isinstance(found.get("parts"), dict):
        raise SynflipError(f"{path} is not of synflip bench: it has no parts")
    return found
