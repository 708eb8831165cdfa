"""``help()`` of every public name stands alone."""

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import synflip

#: A stand-in for what a reader wants to know.
STAND_IN = re.compile(
    r"\b[Ss]ee (``|[A-Z]\w*\.)|arguments are those of|\bAs ``|"
    r"\b[Aa]s (those )?(of|in) ``|\b[Aa]s ``[\w.]+`` takes"
)


def public(room: ModuleType = synflip, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The functions, classes, methods and properties that ``import synflip`` offers, those of its rooms too,
    and their names."""
    for name in room.__all__:
        thing = getattr(room, name)
        if inspect.ismodule(thing):
            yield from public(thing, f"{name}.")
        elif inspect.isclass(thing):
            yield prefix + name, thing
            for member, value in vars(thing).items():
                if not member.startswith("_") and (
                    inspect.isfunction(value) or isinstance(value, classmethod | property | cached_property)
                ):
                    yield f"{prefix}{name}.{member}", inspect.unwrap(getattr(thing, member))
        elif inspect.isfunction(thing):
            yield prefix + name, thing


NAMES = dict(public())


def described(word: str, text: str) -> bool:
    """As an item, ``word: ..`` or ``word, other: ..``, or in a sentence as ``word``; plainly if it is all."""
    return re.search(rf"(?m)(^|[.;,:] +|\n *){word}(, \w+)*:|``{word}``", " " + text) is not None


def arguments(thing: Any) -> list[str]:
    names = inspect.signature(thing).parameters
    return [name for name in names if name not in ("self", "cls")]


@pytest.mark.parametrize("name", NAMES)
def test_help_stands_alone(name: str) -> None:
    text = inspect.getdoc(NAMES[name]) or ""
    assert text and not STAND_IN.search(text), text
    if not callable(NAMES[name]) or inspect.isclass(NAMES[name]):
        return
    missing = [word for word in arguments(NAMES[name]) if not described(word, text)]
    assert not missing, f"{missing} of {name}: {text}"


@pytest.mark.parametrize("name", [name for name, thing in NAMES.items() if inspect.isfunction(thing)])
def test_help_says_what_is_raised(name: str) -> None:
    if arguments(NAMES[name]) and not name.startswith("uncertainty."):  # formulas, which numpy refuses
        assert "Raises" in (inspect.getdoc(NAMES[name]) or "")


@pytest.mark.parametrize("name", [name for name, thing in NAMES.items() if inspect.isfunction(thing)])
def test_progress_may_be_true_everywhere(name: str) -> None:
    found = inspect.signature(NAMES[name]).parameters.get("progress")
    if found is not None and name not in ("Device.run", "Accelerator.run", "cluster.ClusterDevice.run"):
        assert "bool" in str(found.annotation)
        assert "progress: True shows a bar" in " ".join((inspect.getdoc(NAMES[name]) or "").split())


def test_the_reference_lists_every_public_name() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/api.md").read_text()
    listed = set(re.findall(r"\.\. auto\w+:: (?:synflip\.)?(\w+)\n", page))
    rooms = {name for name in synflip.__all__ if inspect.ismodule(getattr(synflip, name))}
    assert set(synflip.__all__) - {"__version__"} - rooms <= listed
    assert all(f"synflip.{room}." in page for room in rooms)


def test_importing_is_cheap() -> None:
    code = "import sys, synflip; print({'numpy', 'torch', 'scipy', 'rich'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
