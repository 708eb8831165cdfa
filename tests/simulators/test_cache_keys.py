"""Keys of cached simulators: an edit of a file that decides a library gives another key, any other edit none.

A key that stays runs the old simulator, without a word, against the new gateware.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import synflip_hdl
from synflip.spec.geometry import Geometry
from synflip_sim.serial import board
from synflip_sim.simulators import netlist, verilate

GEOMETRY = Geometry(16, 1)
KEYS: dict[str, Callable[[Geometry], str]] = {
    "accelerator": verilate.content_key,
    "netlist": netlist.library_key,
    "board": board.library_key,
}
#: File of synflip_hdl -> the libraries that it decides.
DECIDES = {
    "engine/lane.py": {"accelerator", "netlist", "board"},
    "bus/registers.py": {"accelerator", "netlist", "board"},
    "serial/top.py": {"accelerator", "netlist", "board"},
    "interfaces.py": {"accelerator", "netlist", "board"},
    "export/verilog.py": {"accelerator", "netlist", "board"},
    "boards/top.py": {"board"},
    "boards/pll.py": {"board"},
    "flow/job.py": {"board"},
    "flow/toolchain.py": {"netlist"},
    "flow/ecp5.py": {"netlist"},
    "flow/ecp5_carry_chains.py": {"netlist"},
    "flow/report.py": set(),
}


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of synflip_hdl's files, which the keys are made of."""
    root = tmp_path / "synflip_hdl"
    shutil.copytree(Path(str(synflip_hdl.__file__)).parent, root)
    monkeypatch.setattr(synflip_hdl, "__file__", str(root / "__init__.py"))
    return root


def test_an_edit_changes_the_keys_of_what_it_decides(copy: Path) -> None:
    before = {name: key(GEOMETRY) for name, key in KEYS.items()}
    assert len(set(before.values())) == len(KEYS)
    for file, decided in DECIDES.items():
        path = copy / file
        content = path.read_bytes()
        path.write_bytes(content + b"# edited\n")
        changed = {name for name, key in KEYS.items() if key(GEOMETRY) != before[name]}
        path.write_bytes(content)
        assert changed == decided, f"{file} changes the keys of {sorted(changed)}"
    assert {name: key(GEOMETRY) for name, key in KEYS.items()} == before


def test_two_files_of_one_name_are_two(copy: Path) -> None:
    before = verilate.content_key(GEOMETRY)
    one, other = copy / "axi" / "top.py", copy / "serial" / "top.py"
    texts = one.read_bytes(), other.read_bytes()
    one.write_bytes(texts[1])
    other.write_bytes(texts[0])
    assert verilate.content_key(GEOMETRY) != before


@pytest.mark.parametrize("room", [*verilate.GATEWARE, *netlist.FLOW, *board.BUILD])
def test_no_room_is_empty(room: str) -> None:
    assert verilate.sources(synflip_hdl, (room,))


def test_the_geometry_is_in_the_key() -> None:
    assert verilate.content_key(GEOMETRY) != verilate.content_key(Geometry(16, 2))
