"""The committed memory map is what the data says, and other tools can read it."""

import subprocess
from pathlib import Path

import pytest
from synflip.spec.axi_map import AXI_REGISTERS, axi_register
from synflip.spec.memory_map import REGIONS, REGISTERS, Region, address, register
from synflip_hdl.export.register_map import FORMATS
from systemrdl import AddressableNode, RDLCompiler

DOCS = Path(__file__).parents[2] / "docs" / "reference"
COMMITTED = {"md": DOCS / "registers.md", "c": DOCS / "synflip.h", "rdl": DOCS / "synflip.rdl"}


@pytest.mark.parametrize("name", FORMATS)
def test_committed_files_are_up_to_date(name):
    path = COMMITTED[name]
    command = f"synflip map --format {name} --out docs/reference/{path.name}"
    assert path.read_text() == FORMATS[name](), f"run: {command}"


def expected():
    """Every name of the header and its word address."""
    places = {f"REG_{name}": register(name) for name in REGISTERS}
    places |= {f"REGION_{region.name}": address(region) for region in REGIONS}
    return places | {f"AXI_{name}": axi_register(name) for name in AXI_REGISTERS}


@pytest.mark.parametrize("compiler", ["gcc -std=c99", "g++ -std=c++11"])
def test_header_compiles_and_is_right(compiler, tmp_path):
    command, standard = compiler.split()
    checks = [
        f"typedef char check_{name}[SYNFLIP_{name} == {place}u ? 1 : -1];"
        for name, place in expected().items()
    ]
    language = "c" if command == "gcc" else "c++"
    source = tmp_path / f"check.{'c' if command == 'gcc' else 'cpp'}"
    source.write_text('#include "synflip.h"\n#include "synflip.h"\n' + "\n".join(checks))
    flags = [standard, "-x", language, "-c", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{DOCS}"]
    done = subprocess.run(
        [command, *flags, str(source), "-o", str(tmp_path / "o")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_systemrdl_is_right():
    """Another reader of the language finds every register and region where the map has it."""
    compiler = RDLCompiler()
    compiler.compile_file(str(COMMITTED["rdl"]))
    top = compiler.elaborate().top
    found = {node.get_path(): node for node in top.descendants() if isinstance(node, AddressableNode)}
    for region, info in REGIONS.items():
        node = found[f"synflip.{region.name}"]
        assert node.absolute_address == address(region) * 4
        if region != Region.REGISTERS:
            assert node.get_property("sw").name == info.access.lower()
    for names, folder, place in ((REGISTERS, "REGISTERS", register), (AXI_REGISTERS, "AXI", axi_register)):
        for name, item in names.items():
            node = found[f"synflip.{folder}.{name}"]
            assert node.absolute_address == place(name) * 4
            assert sum(field.width for field in node.fields()) == item.bits
            assert node.has_sw_readable == ("R" in item.access)
            assert node.has_sw_writable == ("W" in item.access or item.access == "RC")
