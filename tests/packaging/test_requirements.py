"""Ranges in pyproject.toml, exact versions in requirements.lock: they agree, and each is in one place."""

import tomllib
from importlib.metadata import distribution
from pathlib import Path

import synflip
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from synflip.util.extras import EXTRAS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = [
    Requirement(line)
    for line in (ROOT / "requirements.lock").read_text().splitlines()
    if not line.startswith("#")
]


#: The extra that ``dev`` does not bring: no test needs it, so no environment of the lock has it.
NOT_LOCKED = "benchmarks"


def asked(without: str | None = None) -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    lists = [PROJECT["dependencies"], *(lines for extra, lines in extras.items() if extra != without)]
    return [Requirement(line) for lines in lists for line in lines if not line.startswith("synflip[")]


def test_the_lock_pins_every_requirement_within_its_range():
    pins = {}
    for pin in LOCK:
        (exact,) = pin.specifier
        assert exact.operator == "==", pin
        assert pins.setdefault(canonicalize_name(pin.name), exact.version) == exact.version, pin
    for requirement in asked(without=NOT_LOCKED):
        name = canonicalize_name(requirement.name)
        assert name in pins and requirement.specifier.contains(pins[name]), requirement


def test_every_pin_takes_the_oldest_python():
    """Distributions have Pythons older than the last 3.11, such as Debian 12's 3.11.2."""
    oldest = PROJECT["requires-python"].removeprefix(">=") + ".0"
    for pin in LOCK:
        known = distribution(pin.name)
        assert pin.specifier.contains(known.version.split("+")[0]), f"{pin}, and {known.version} is here"
        wanted = known.metadata.get("Requires-Python", "")
        assert SpecifierSet(wanted).contains(oldest), f"{pin} wants Python {wanted}"


def test_dev_brings_every_extra_but_one():
    extras = PROJECT["optional-dependencies"]
    (brought,) = (Requirement(line).extras for line in extras["dev"] if line.startswith("synflip["))
    assert set(extras) - brought == {"dev", NOT_LOCKED}


def test_every_range_has_both_ends():
    for requirement in asked():
        assert {one.operator for one in requirement.specifier} == {">=", "<"}, requirement


def test_the_core_has_no_optional_package():
    optional = {canonicalize_name(module) for module in EXTRAS}
    core = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    assert not core & optional


def test_the_version_is_in_one_place():
    assert PROJECT["dynamic"] == ["version"] and "version" not in PROJECT
    assert f'__version__ = "{synflip.__version__}"' in (ROOT / "sw/synflip/_version.py").read_text()
