"""The house: rooms of a readable size, each with a sentence on what it is, and a test folder beside each."""

import ast
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
    "sim/synflip_sim/simulators": "devices",
    "sim/synflip_sim/serial": "devices",
    "sim/synflip_sim/testbenches": "hdl",
    "sim/synflip_sim/testbenches/serial": "hdl/serial",
    "sim/synflip_sim/campaigns": "campaigns",
}
FOLDERS = sorted(
    {path.parent.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
)
MODULES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def test_there_are_rooms() -> None:
    assert len(FOLDERS) > 25


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
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
