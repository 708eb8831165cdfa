"""Waveforms of a run: which cycles are recorded, and the save files with which viewers show them in order."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from synflip.errors import SynflipError
from synflip.spec.geometry import Geometry
from synflip.util.outputs import beside, replacing, write_text
from synflip.util.text import one_line
from synflip_hdl.diagrams.structure import structure
from synflip_hdl.export.verilog import TOP

ROOT = f"TOP.{TOP}"  # Verilator's name for what is above the top module, and the top module
CYCLE = 10  # nanoseconds of a clock cycle in the file
MAX_BYTES = 1 << 16  # of a save file that is compared
MOST = 1 << 40  # cycles: beyond any run that can be recorded
#: What viewers show, of the top and of the blocks, in the order in which a run uses them.
SHOWN = {
    "": ("clk", "busy", "starting", "logit_valid", "logit"),
    "registers": (
        "request__valid", "request__payload", "response__valid", "response__payload", "control__start",
    ),
    "sequencer": (
        "status__cycles", "lists__open", "lists__rest", "lists__hidden", "lists__slot", "lists__longest",
        "lists__read", "lists__index", "issue__place", "issue__last", "tiles__valid", "tiles__payload",
    ),
    "source": ("keys__ready", "keys__payload"),
    "keys": (
        "source__valid", "demand__sample", "demand__end", "demand__ready", "demand__release",
        "reads__address", "reads__data",
    ),
    "events": ("load__valid", "load__payload", "events__payload", "appends__valid", "appends__payload"),
    "array": ("keys__address", "sums__coming", "sums__capture", "sums__sums"),
    "requantizer": (
        "tiles__valid", "appends__valid", "appends__payload", "logits__valid", "logits__payload",
    ),
    "votes": ("logits__valid", "decisions__valid", "decisions__payload"),
}  # fmt: skip


@dataclass(frozen=True)
class Waves:
    """Clock cycles first..past-1 of what a simulator does, as FST. Cycle 0 is the first busy one.

    path: of the file.
    """

    path: Path
    first: int = 0
    past: int = MOST

    @classmethod
    def of(cls, path: str | Path, window: str | None = None) -> "Waves":
        """window: ``FIRST:PAST``, ``FIRST:`` or ``:PAST``; None is all. Raises SynflipError."""
        return cls(Path(path), *(window_of(window) if window is not None else ()))

    @property
    def gtkwave(self) -> Path:
        """The save file for GTKWave, beside the file."""
        return beside(self.path, ".fst", ".gtkw")

    @property
    def surfer(self) -> Path:
        """The command file for Surfer, beside the file."""
        return beside(self.path, ".fst", ".sucl")

    @property
    def files(self) -> tuple[Path, ...]:
        """All that is written."""
        return (self.path, self.gtkwave, self.surfer)

    def saves(self, geometry: Geometry) -> dict[Path, str]:
        """The save files and their texts."""
        return {self.gtkwave: gtkwave(geometry, self.path.name), self.surfer: surfer(geometry)}

    def kept(self, geometry: Geometry) -> set[Path]:
        """The save files that stay as they are: those that were there and that ``recording`` did not write,
        or that somebody has changed, as viewers do that save under the same name."""
        return {path for path, text in self.saves(geometry).items() if not _replaceable(path, text)}


def window_of(text: str) -> tuple[int, int]:
    """First cycle and one past the last of ``FIRST:PAST``, ``FIRST:`` or ``:PAST``. Raises SynflipError."""
    found = re.fullmatch(r"(\d{0,12}):(\d{0,12})", text, re.ASCII)
    if found is None:
        raise SynflipError(f"--window {one_line(text)!r} is not FIRST:PAST, such as 0:500")
    first, past = int(found[1] or 0), int(found[2] or MOST)
    if past <= first:
        raise SynflipError(f"--window {text} has no cycle: PAST is one past the last, such as 0:500")
    return first, past


@contextmanager
def recording(waves: Waves, geometry: Geometry) -> Iterator[Waves]:
    """What a device in the block is to record: its files are written whole, when the block ends, or not at
    all; save files of somebody else's are kept. Raises SynflipError."""
    with replacing(waves.path) as partial:
        yield replace(waves, path=partial)
    kept = waves.kept(geometry)
    for path, text in waves.saves(geometry).items():
        if path not in kept:
            write_text(path, text)


def signals(geometry: Geometry) -> list[tuple[str, list[tuple[str, int]]]]:
    """Groups of signals as SHOWN has them: a scope of the file, and names in it with their bits."""
    found = structure(geometry)
    top = {"clk": 1, **dict(found.top)}
    return [
        (
            f"{ROOT}.{block}".rstrip("."),
            [(name, found.port(f"{block}.{name}").bits if block else top[name]) for name in names],
        )
        for block, names in SHOWN.items()
    ]


def gtkwave(geometry: Geometry, file: str) -> str:
    """The save file for GTKWave: ``gtkwave F.gtkw`` shows all groups, in order."""
    lines = [f'[dumpfile] "{file}"', "[timestart] 0"]
    for scope, members in signals(geometry):
        lines += ["@200", f"-{_title(scope)}"]
        for name, bits in members:
            lines += ["@28", f"{scope}.{name}"] if bits == 1 else ["@22", f"{scope}.{name}[{bits - 1}:0]"]
    return "\n".join([*lines, ""])


def surfer(geometry: Geometry) -> str:
    """The command file for Surfer: ``surfer F.fst --command-file F.sucl`` shows all groups, in order."""
    lines = []
    for scope, members in signals(geometry):
        lines.append(f"divider_add {_title(scope)}")
        lines += [f"variable_add {scope}.{name}" for name, _ in members]
    return "\n".join([*lines, "zoom_fit", ""])


def _replaceable(path: Path, text: str) -> bool:
    """Whether ``text`` may take the place of what is at ``path``: nothing, no file, or such a text of any
    geometry, in which signals have other widths."""
    if not path.is_file():
        return True
    with path.open("rb") as file:
        found = file.read(MAX_BYTES).decode(errors="replace")
    return _without_widths(found) == _without_widths(text)


def _without_widths(text: str) -> str:
    return re.sub(r"^@(22|28)$|\[\d+:0\]$", "", text, flags=re.MULTILINE)


def _title(scope: str) -> str:
    return scope.rpartition(".")[2]
