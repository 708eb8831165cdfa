"""The house: rooms of a readable size, each with a sentence on what it is, and a test folder beside each."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"sw/synflip": "", "hdl/synflip_hdl": "hdl", "sim/synflip_sim": ""}
MOST_MODULES = 20
#: Rooms whose tests are elsewhere, and where.
ELSEWHERE = {
    "hdl/synflip_hdl/flow": "flow",
    "hdl/synflip_hdl/boards": "flow",
    "hdl/synflip_hdl/export": "flow",
    "sim/synflip_sim/serial": "devices",
    "sim/synflip_sim/usb": "hdl/usb",
    "sim/synflip_sim/testbenches": "hdl",
    "sim/synflip_sim/testbenches/serial": "hdl/serial",
    "sim/synflip_sim/testbenches/maps": "hdl",
    "sim/synflip_sim/campaigns": "campaigns",
}
FOLDERS = sorted(
    {path.parent.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
)
#: Of tests, too.
ALL_FOLDERS = [*FOLDERS, *sorted({path.parent.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py")})]
MODULES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


#: Root packages; everything else at the top of a package is a room.
ROOTS = {"synflip", "synflip_hdl", "synflip_sim"}


def floors() -> list[set[str]]:
    """The rooms of each floor, from the top, as the contract has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    return [{room.strip() for room in layer.split("|")} for layer in layers]


def test_there_are_rooms() -> None:
    assert len(FOLDERS) > 25


def test_every_room_stands_on_a_floor() -> None:
    rooms = {
        f"{Path(package).name}.{path.stem}"
        for package in PACKAGES
        for path in (ROOT / package).iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert rooms - {f"{root}.__init__" for root in ROOTS} == set().union(*floors())


def test_the_page_has_the_floors_of_the_contract() -> None:
    page = (ROOT / "docs/contributing/layout.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", page, re.M)
    assert [set(re.findall(r"`([\w.]+)`", rooms)) for _, rooms in rows] == floors()
    assert [int(number) for number, _ in rows] == list(range(len(rows), 0, -1))


def test_the_readme_names_every_room() -> None:
    (tree,) = re.findall(r"^```text\n(sw/synflip/ .*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    parts = re.split(r"^(?=\w+/)", tree, flags=re.M)
    for package in ("sw/synflip", "hdl/synflip_hdl"):
        (part,) = [part for part in parts if part.startswith(f"{package}/")]
        named = set(re.findall(r"(?<=[ ,])(\w+)/(?=[ ,\n])", part))
        assert named == {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}


@pytest.mark.parametrize("folder", ALL_FOLDERS, ids=str)
def test_a_room_has_at_most_twenty_modules(folder: Path) -> None:
    modules = [path.name for path in (ROOT / folder).glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MOST_MODULES, f"{folder} has {len(modules)} modules: {', '.join(sorted(modules))}"


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_a_room_says_what_it_is_and_what_it_imports(folder: Path) -> None:
    text = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text()))
    assert text, f"{folder}/__init__.py has no docstring"
    if str(folder) not in PACKAGES:
        assert "Imports" in text, f"{folder}/__init__.py does not say what the room imports"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_says_what_it_is(module: Path) -> None:
    assert ast.get_docstring(ast.parse((ROOT / module).read_text())), f"{module} has no docstring"


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if str(folder) not in PACKAGES], ids=str)
def test_a_room_has_tests(folder: Path) -> None:
    package = next(package for package in PACKAGES if folder.is_relative_to(package))
    tests = ELSEWHERE.get(str(folder)) or str(Path(PACKAGES[package]) / folder.relative_to(package))
    assert any((ROOT / "tests" / tests).glob("test_*.py")), f"{folder} has no tests in tests/{tests}"
