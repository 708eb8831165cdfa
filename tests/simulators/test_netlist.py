"""The synthesized netlist against the golden model, on handwritten digits; a broken netlist is seen."""

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from synflip import modelfile
from synflip.cli import app
from synflip.compiler.compile import compile_network
from synflip.data.registry import load
from synflip.devices import registry
from synflip.devices.accelerator import Accelerator
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.inference.compare import QUANTITIES, compare
from synflip.inference.device import Device
from synflip.inference.parts import cut
from synflip.inference.plan import check_fit, fits
from synflip.inference.result import Result
from synflip.spec.convolution import Convolution
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel, Layer
from synflip.training.train import train
from synflip.util.libraries import LIBRARY
from synflip_hdl.boards.catalogue import find_board
from synflip_hdl.flow import toolchain
from synflip_sim.simulators import netlist
from synflip_sim.simulators.netlist import NETLIST, Family, compile_netlist, small, synthesize
from synflip_sim.simulators.verilator import VerilatorTransport

from tests.networks import convolution_layer, random_layers, random_network

pytestmark = [pytest.mark.simulator, pytest.mark.tools]

SAMPLES = 5
SEED = 7
#: All quantities but those of soft votes, which these netlists leave out.
COMPARED = {quantity.replace("_", " ") for quantity in QUANTITIES} - {"soft votes", "energy sums"}


def geometry(name: str) -> Geometry:
    """Just large enough for the digits network, and so that 12 images take three batches."""
    banks = Geometry.parse(name).banks
    return Geometry.parse(
        name,
        bits=2,
        activation_bits=4,
        weight_depth=256 // banks,
        event_depth=256 // banks,
        key_depth=128 // banks,
        bias_depth=64 // banks,
        image_slots=4,
        result_depth=64,
        log_depth=256,
        margin_depth=8,
        layer_depth=2,
    )


@pytest.fixture(scope="module")
def digits() -> tuple[CompiledModel, NDArray[np.uint8]]:
    """A trained 64-32-10 network, and 12 test images."""
    data = load("digits")
    network = train(data, (32,), bits=2, activation_bits=4, epochs=6, seed=1)
    return compile_network(network, data.classes, data.input_max, {}), data.test_images[:12]


def golden(machine: Geometry, model: CompiledModel, pixels: NDArray[np.uint8], margins=None) -> Result:
    with Golden(machine) as reference:
        reference.load(model)
        return reference.infer(pixels, SAMPLES, SEED, margins, logits=True)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("ecp5", "16x1"),
        ("ice40", "16x1"),
        ("ecp5", "16x4"),
    ],
)
def test_digits(digits, family: str, name: str) -> None:
    model, pixels = digits
    machine = geometry(name)
    with registry.open_device(f"netlist:{family}", machine) as accelerator:
        accelerator.load(model)
        for margins in (None, np.full(SAMPLES, 3)):
            want = golden(machine, model, pixels, margins)
            have = accelerator.infer(pixels, SAMPLES, SEED, margins, logits=True)
            comparison = compare(want, have, accelerator.name)
            assert comparison.equal, comparison.first
            assert set(comparison.compared) == COMPARED
            assert (want.votes.max(1) < want.used).any()  # the coins do decide something
        assert len(set(want.used.tolist())) > 1
        in_parts(accelerator)


def in_parts(accelerator: Device) -> None:
    """300 rows, of which the accelerator holds 128 at most; 40 outputs behind each other in three layers."""
    rng = np.random.default_rng(1)
    large = replace(random_network(rng, (300, 40, 20, 5), bits=2), activation_bits=4)
    pixels = rng.integers(0, 256, (5, 300)).astype(np.uint8)
    assert len(cut(large, accelerator.geometry).parts) > 4
    accelerator.load(large)
    want = golden(accelerator.geometry, large, pixels, np.full(SAMPLES, 2))
    have = accelerator.infer(pixels, SAMPLES, SEED, np.full(SAMPLES, 2), logits=True)
    comparison = compare(want, have, accelerator.name)
    assert comparison.equal, comparison.first


@pytest.mark.nightly
def test_flip_flops_that_abc_moved(digits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the iCEBreaker's options of Yosys."""
    options = " ".join(find_board("icebreaker").yosys)
    assert options == "-spram -dff"
    monkeypatch.setitem(toolchain.SYNTH, "ice40", f"{toolchain.SYNTH['ice40']} {options}")
    monkeypatch.setenv("SYNFLIP_CACHE", str(tmp_path))  # the key of a netlist does not know of it
    test_digits(digits, "ice40", "16x1")


@pytest.mark.nightly
def test_convolutions_on_the_array() -> None:
    """Pads, a pool window, two tiles, a second map and a dense layer; whole, and leaving early."""
    machine = Geometry(
        16,
        1,
        bits=2,
        activation_bits=4,
        weight_depth=256,
        event_depth=128,
        key_depth=128,
        bias_depth=64,
        image_slots=2,
        result_depth=16,
        log_depth=64,
        margin_depth=8,
        layer_depth=3,
        flight=1,
        map_depth=64,
    )
    rng = np.random.default_rng(3)
    places = [
        (Convolution((3, 2, 1), (3, 3), pad=(1, 1), pool=(3, 1)), 18),
        (Convolution((1, 2, 18), (1, 2), pad=(0, 1), pool=(1, 2)), 4),
    ]
    layers = [convolution_layer(rng, outputs, place, bits=2, reach=9) for place, outputs in places]
    layers += random_layers(rng, (layers[-1].width, 3), 2, reach=9)
    model = CompiledModel(tuple(layers), 2, 4, (1, 2), ("a", "b", "c"), 255)
    pixels = rng.integers(0, 256, (3, model.inputs)).astype(np.uint8)
    assert fits(model, machine)
    with registry.open_device("netlist:ecp5", machine) as accelerator:
        accelerator.load(model)
        for margins in (None, np.full(SAMPLES, 2)):
            want = golden(machine, model, pixels, margins)
            have = accelerator.infer(pixels, SAMPLES, SEED, margins, logits=True)
            comparison = compare(want, have, accelerator.name)
            assert comparison.equal, comparison.first
            assert want.cycles > 0


BROKEN_LUT = """
module LUT4_BROKEN #(parameter [15:0] INIT = 0, parameter [7:0] NUMBER = 0, parameter [3:0] ROW = 0) (
    input A, B, C, D, output Z
);
    reg [7:0] chosen [0:0];
    initial $readmemh("{chosen}", chosen);
    assign Z = INIT[{{D, C, B, A}}] ^ (chosen[0] == NUMBER && {{D, C, B, A}} == ROW);
endmodule
"""


@pytest.mark.nightly
def test_a_broken_lut_is_seen(digits, tmp_path: Path) -> None:
    """One bit of one LUT's table is flipped, which one is read from a file when a simulation begins.

    Each is asked for all that the engine can do: logits, keys that are kept, early stopping.
    """
    model, pixels = digits
    machine = geometry("16x1")
    count = 60
    counts = synthesize(machine, Family.ecp5, tmp_path)
    assert counts == json.loads((tmp_path / "cells.json").read_text())
    assert counts["DP16KD"] >= 8  # the memories are in block RAM
    text = (tmp_path / NETLIST).read_text()
    luts = list(re.finditer(r"LUT4 (#\(\s*\.INIT\(16'h[0-9a-f]{4}\))[^;]*;", text))
    assert len(luts) == counts["LUT4"]
    rng = np.random.default_rng(0)
    for number, lut in sorted(
        enumerate(rng.choice(luts, count, replace=False), 1), key=lambda n: -n[1].start()
    ):
        # A row that is not ruled out by inputs tied to 0 or 1.
        row = int(rng.integers(16))
        for tied, value in re.findall(r"\.([ABCD])\(1'h([01])\)", lut[0]):
            bit = 1 << "ABCD".index(tied)
            row = row & ~bit | bit * int(value)
        changed = f"LUT4_BROKEN {lut[1]}, .NUMBER({number}), .ROW({row})"
        text = text[: lut.start()] + changed + text[lut.end(1) :]
    chosen = tmp_path / "chosen.hex"
    (tmp_path / NETLIST).write_text(text + BROKEN_LUT.format(chosen=chosen))
    compile_netlist(Family.ecp5, tmp_path)

    def inferences(device: Device) -> Iterator[Result]:
        device.load(model)
        yield device.infer(pixels, SAMPLES, SEED, np.full(SAMPLES, 3), logits=True)
        yield device.infer(pixels[:4], SAMPLES, 0, logits=True, keep_keys=True)

    with Golden(machine) as reference:
        wanted = list(inferences(reference))

    def equal(number: int) -> bool:
        chosen.write_text(f"{number:02x}\n")
        try:
            with Accelerator(VerilatorTransport(tmp_path / LIBRARY), timeout=2.0) as accelerator:
                for want, have in zip(wanted, inferences(accelerator), strict=True):
                    if not compare(want, have, "broken").equal or not np.array_equal(want.keys, have.keys):
                        return False
        except SynflipError:
            return False  # it does not answer, or does not end
        return True

    assert equal(0)
    seen = sum(not equal(number) for number in range(1, count + 1))
    # The others are of places that these images never reach, or of what they do not use.
    assert seen >= count // 4, f"{seen} of {count} broken LUTs were seen"


def test_small_is_enough_for_the_demo() -> None:
    layers = tuple(
        Layer(np.zeros((j, i), np.uint16), np.zeros((j, i), np.uint8), np.zeros(j, np.int32))
        for i, j in itertools.pairwise((64, 64, 128, 10))
    )
    model = CompiledModel(layers, 4, 8, (0, 0), tuple("0123456789"), 16)
    for lanes in range(16, 129, 16):
        for banks in (1, 2, 4, 8):
            check_fit(model, small(Geometry(lanes, banks)))


@pytest.mark.parametrize("name", ["netlist", "netlist:", "netlist:xilinx"])
def test_unknown_family(name: str) -> None:
    with pytest.raises(SynflipError, match="there are ecp5 and ice40"):
        registry.open_device(name)


def test_too_large_a_model_is_refused_before_anything_is_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "open_device", lambda name, geometry: pytest.fail("opened"))
    layer = Layer(np.zeros((10, 2000), np.uint16), np.zeros((10, 2000), np.uint8), np.zeros(10, np.int32))
    modelfile.save(CompiledModel((layer,), 4, 8, (), tuple("0123456789"), 255), tmp_path / "m.safetensors")
    np.save(tmp_path / "x.npy", np.zeros((1, 2000), np.uint8))
    files = [str(tmp_path / "m.safetensors"), "--images", str(tmp_path / "x.npy")]
    arguments = ["run", *files, "--out", str(tmp_path / "r.npz"), "--device"]
    assert app.main([*arguments, "netlist:ecp5:16x1,result_depth=4,log_depth=4"]) == 1
    line = capsys.readouterr().err
    assert line.startswith("error: the model (2000-10) does not fit the 16x1 accelerator, not even in parts")
    assert line.count("\n") == 1


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(netlist, "synthesize", lambda *arguments: asked.append(arguments) or {"LUT4": 7654})
    out = tmp_path / "a" / "b"
    arguments = ["netlist", "--family", "ice40", "--geometry", "32x2", "--bits", "3", "--out", str(out)]
    assert app.main(arguments) == 0
    assert asked == [(small(Geometry(32, 2, bits=3)), Family.ice40, out)]
    assert out.is_dir()
    assert "LUT4" in (text := capsys.readouterr().out) and "7,654" in text
