"""Programs of the exported C files against the AXI front end in Verilator: the golden model's numbers."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from synflip import modelfile
from synflip.cli import app
from synflip.golden.cpu import Golden
from synflip.inference.request import InferenceRequest
from synflip.spec.geometry import Geometry
from synflip.util.libraries import LIBRARY, cached
from synflip_hdl.axi.top import AxiTop
from synflip_hdl.export.verilog import to_verilog
from synflip_sim.simulators.verilate import compile_library, content_key

from tests.hdl.host.c_library import compile_c
from tests.hdl.host.test_c_library import GEOMETRY, model_of

pytestmark = pytest.mark.simulator

HERE = Path(__file__).parent
CPP = ("-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic")
EXPORTED = ("model.c", "synflip_host.c")


def build(folder: Path, geometry: Geometry) -> None:
    (folder / "synflip.v").write_text(to_verilog(AxiTop(geometry), "synflip"))
    compile_library(folder, ["synflip.v"], lambda text: None, "-O0", HERE / "axi_lite.cpp")


@pytest.fixture(scope="module")
def accelerator() -> Path:
    """The library of axi_lite.cpp."""
    key = content_key(GEOMETRY, [HERE / "axi_lite.cpp"])
    return cached("verilator", "axi-host", key, lambda folder: build(folder, GEOMETRY))


def export(folder: Path, model, accelerator: Path) -> None:
    """What ``synflip export-c`` writes, its C compiled as C11, and the accelerator."""
    modelfile.save(model, folder / "m.safetensors")
    assert app.main(["export-c", str(folder / "m.safetensors"), "--out", str(folder)]) == 0
    (folder / LIBRARY).symlink_to(accelerator)
    compile_c(folder, "-c", *EXPORTED, f"-I{folder}", str(HERE / "bus.c"))


def link(folder: Path, *objects: str) -> Path:
    compile_c(folder, *objects, LIBRARY, "-Wl,-rpath,$ORIGIN", "-o", "program", compiler="g++", flags=())
    return folder / "program"


MODELS = {
    "one layer": model_of((20, 5)),
    "three layers": model_of((20, 24, 18, 19)),
    "k = 2, A = 2, pixels to 16": model_of(
        (20, 24, 7), bits=2, activation_bits=2, pixel_max=16, shift=2, reach=20
    ),
}
MARGINS = [3, 3, 2, 1, 1, 1]


@pytest.mark.parametrize("name", MODELS)
def test_votes_are_those_of_the_golden_model(name, accelerator, tmp_path):
    model = MODELS[name]
    export(tmp_path, model, accelerator)
    compile_c(tmp_path, "-c", f"-I{tmp_path}", HERE / "votes.cpp", compiler="g++", flags=CPP)
    program = link(tmp_path, "votes.o", "bus.o", *(file.replace(".c", ".o") for file in EXPORTED))
    golden = Golden(GEOMETRY)
    golden.load(model)
    pixels = np.random.default_rng(1).integers(0, model.input_max + 1, (3, model.inputs))
    seed, samples = 2**63 + 11, len(MARGINS)
    for margins, first in (([], 1000), (MARGINS, 0)):
        limits = np.array(margins, dtype=np.int64) if margins else None
        wanted = golden.run(InferenceRequest(model, pixels, samples, seed, limits, first=first))
        asked = [1, len(pixels), samples, seed, first, *(margins or [0]), *pixels.reshape(-1).tolist()]
        for arguments in ([], ["aborted"]):
            said = subprocess.run(
                [program, *arguments],
                input=" ".join(map(str, asked)),
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            ).stdout
            cycles, *rows = [[int(word) for word in line.split()] for line in said.splitlines()]
            assert rows == np.hstack([wanted.used[:, None], wanted.votes, wanted.logit_sums]).tolist()
            assert cycles == [wanted.cycles]
        if margins:
            assert wanted.used.min() < samples  # an image left early
    assert len(np.unique(wanted.logit_sums, axis=0)) > 1  # images differ


def test_the_example_says_the_winner_of_a_black_image(accelerator, tmp_path):
    model = MODELS["one layer"]
    export(tmp_path, model, accelerator)
    compile_c(tmp_path, "-c", "main.c", "-o", "memory.o")  # as it is, at an address
    compile_c(tmp_path, "-c", "main.c", "-Dsynflip_memory=axi_memory")
    program = link(tmp_path, "main.o", "bus.o", *(file.replace(".c", ".o") for file in EXPORTED))
    golden = Golden(GEOMETRY)
    golden.load(model)
    wanted = golden.infer(np.zeros((1, model.inputs), dtype=np.uint8), 16, 1)
    said = subprocess.run([program], capture_output=True, text=True, check=True, timeout=60).stdout
    winner = wanted.votes[0].argmax()
    assert f"class {winner}: {wanted.votes[0][winner]} of 16 votes\n" in said
    assert said.endswith(f"class {winner}, after {wanted.cycles} cycles\n")
