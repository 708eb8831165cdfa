"""The cache of a report: rows as JSON, models and answers as safetensors, in files named by their settings.

Each file is written whole or not at all, so an interrupted report goes on where it was.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from synflip import modelfile
from synflip.errors import SynflipError
from synflip.experiments.recipes import digest
from synflip.spec.model import CompiledModel
from synflip.util.json_file import read_json
from synflip.util.outputs import replacing, write_text

MAX_ROW_BYTES = 1 << 22
Numbers = dict[str, Any]
Tensors = dict[str, NDArray[Any]]


class Missing(Exception):
    """A result is not in the cache, and the cache may not make it now."""


class ResultCache:
    """A folder of results, each of which is made when it is first asked for.

    command, commit: written into each row that is made. making: whether missing results are made; if it is
    False, ``Missing`` is raised instead. read: command and commit of each row that was read.
    """

    def __init__(self, folder: Path, command: str, commit: str) -> None:
        self.folder = folder
        self.command, self.commit = command, commit
        self.making = True
        self.read: set[tuple[str, str]] = set()

    def row(self, experiment: str, settings: dict[str, Any], make: Callable[[], Numbers]) -> Numbers:
        """The numbers of one row, made by ``make`` if there is no file of it.

        Raises SynflipError for a file that is not such a row, and Missing.
        """
        path = self.folder / "rows" / f"{experiment}-{digest(settings)}.json"
        if not path.exists():
            self._check(path)
            row = {
                "experiment": experiment,
                "settings": settings,
                "numbers": _numbers(make()),
                "command": self.command,
                "commit": self.commit,
            }
            write_text(path, json.dumps(row, indent=1) + "\n")
        found = read_row(path)
        self.read.add((found["command"], found["commit"]))
        numbers: Numbers = found["numbers"]
        return numbers

    def rows(self) -> list[dict[str, Any]]:
        """All rows in the folder, sorted by experiment and settings."""
        found = [read_row(path) for path in (self.folder / "rows").glob("*.json")]
        return sorted(found, key=lambda row: (row["experiment"], json.dumps(row["settings"], sort_keys=True)))

    def model(self, settings: dict[str, Any], make: Callable[[], CompiledModel]) -> CompiledModel:
        """A compiled model, made by ``make`` if there is no file of it. Raises as ``row``."""
        path = self.folder / "models" / f"{settings['data']}-{digest(settings)}.safetensors"
        if not path.exists():
            self._check(path)
            modelfile.save(make(), path)
        return modelfile.load(path)

    def tensors(self, name: str, settings: dict[str, Any], make: Callable[[], Tensors]) -> Tensors:
        """Arrays by name, made by ``make`` if there is no file of them. Raises as ``row``."""
        path = self.folder / "tensors" / f"{name}-{digest(settings)}.safetensors"
        if not path.exists():
            self._check(path)
            content = save({key: np.ascontiguousarray(value) for key, value in make().items()})
            with replacing(path) as partial:
                partial.write_bytes(content)
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise SynflipError(f"{path} cannot be read ({error}); delete it to have it made again") from None

    def _check(self, path: Path) -> None:
        if not self.making:
            raise Missing(path.name)


def _numbers(value: Any) -> Any:
    """``value`` with None for what is no number, such as an AUROC of wrong answers where there is none."""
    if isinstance(value, dict):
        return {name: _numbers(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def read_row(path: Path) -> dict[str, Any]:
    """A row: experiment, settings, numbers, command, commit. Raises SynflipError for another file."""
    try:
        row = read_json(path, MAX_ROW_BYTES, "a row of a report")
        if not all(isinstance(row[key], dict) for key in ("settings", "numbers")):
            raise TypeError("settings and numbers are not objects")
        if not all(isinstance(row[key], str) for key in ("experiment", "command", "commit")):
            raise TypeError("experiment, command and commit are not text")
    except SynflipError as error:
        raise SynflipError(f"{error}; delete it to have it made again") from None
    except (KeyError, TypeError) as error:
        raise SynflipError(
            f"{path} is not a row of a report ({error}); delete it to have it made again"
        ) from None
    return dict(row)
