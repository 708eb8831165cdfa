"""The same Verilog in a second simulator, which knows unknown values: equal to golden, none unknown. One
accelerator makes soft votes."""

import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
from synflip.devices.transport import BusError
from synflip.errors import SynflipError
from synflip.inference.plan import fits
from synflip.spec.convolution import Convolution
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import CONTROL_START, Region, address, register
from synflip.verification import fuzz
from synflip.verification.cases import RandomCase, network
from synflip_sim.simulators import icarus

from tests.networks import convolution_layer, random_layers

pytestmark = pytest.mark.simulator

REQUIRED = "SYNFLIP_REQUIRE_ICARUS"
MISSING = [tool for tool in icarus.TOOLS if shutil.which(tool) is None]


@pytest.fixture(autouse=True)
def tools():
    if MISSING and os.environ.get(REQUIRED):
        pytest.fail(f"{' and '.join(MISSING)} missing, and {REQUIRED} is set")
    if MISSING:
        pytest.skip(f"{' and '.join(MISSING)} missing: install Icarus Verilog (Debian: apt install iverilog)")


def a_case(geometry: Geometry, sizes: tuple[int, ...], margin: int | None, seed: int = 1) -> RandomCase:
    """Lit, dark and half dark images through a random network: full, empty and unequal event lists."""
    rng = np.random.default_rng(seed)
    layers = random_layers(rng, sizes, geometry.bits, reach=5)
    pixels = rng.integers(0, 256, (4, sizes[0]))
    pixels[1] = 0
    pixels[2, ::2] = 0
    margins = None if margin is None else np.full(6, margin)
    model = network(layers, geometry.bits, geometry.activation_bits, [2] * (len(layers) - 1), 255)
    soft = geometry.soft_classes > 0
    model = replace(model, source={"logit_scale": 30.0}) if soft else model
    return RandomCase(geometry, model, pixels.astype(np.uint8), 6, 2**64 - seed, margins, True, soft=soft)


SMALL = {"weight_depth": 90, "event_depth": 100, "key_depth": 64, "bias_depth": 96}
GEOMETRIES = [
    Geometry(16, 1, bits=3, image_slots=3, soft_classes=5, **SMALL),
    Geometry(16, 2, bits=1, activation_bits=4, **SMALL),
    Geometry(16, 1, bits=2, image_slots=1, **SMALL),  # memories of a single row
]


@pytest.mark.parametrize("noise", [1, 2])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda geometry: f"{geometry.name}-k{geometry.bits}")
def test_icarus_equals_golden(geometry, noise):
    with icarus.open_icarus(geometry, noise) as device:
        assert device.geometry == geometry
        left_after: set[int] = set()
        for sizes, margin in (((9, 20, 3), 2), ((20, 5), None), ((3, 17, 2, 4), 1), ((1, 1), 0)):
            case = a_case(geometry, sizes, margin)
            golden, difference = fuzz.run(case, device)
            assert difference is None
            assert golden.cycles > 0
            left_after |= set(golden.used.tolist())
        assert {1, 6} < left_after  # at once, never, and something between


@pytest.mark.nightly
def test_convolutions_on_the_array_equal_golden():
    """Pads, a pool window, two tiles, a second map and a dense layer; one image leaves early."""
    geometry = Geometry(16, 2, bits=3, image_slots=4, map_depth=64, flight=2, **(SMALL | {"key_depth": 128}))
    rng = np.random.default_rng(3)
    places = [
        (Convolution((2, 3, 1), (2, 3), pad=(0, 1), pool=(1, 3)), 18),
        (Convolution((1, 1, 18), (1, 1)), 4),
    ]
    layers = [convolution_layer(rng, outputs, place, bits=3, reach=20) for place, outputs in places]
    layers += random_layers(rng, (layers[-1].width, 3), 3, reach=20)
    model = network(layers, 3, 8, [0, 1], 255)
    pixels = rng.integers(0, 256, (2, model.inputs)).astype(np.uint8)
    assert fits(model, geometry)
    with icarus.open_icarus(geometry, 1) as device:
        case = RandomCase(geometry, model, pixels, 3, 5, np.array([2, 1, 1]), True)
        golden, difference = fuzz.run(case, device)
        assert difference is None
        assert golden.cycles > 0
        assert golden.used.tolist() == [3, 2]


def test_without_a_reset_and_with_one_in_the_middle_of_a_run():
    case = a_case(GEOMETRIES[0], (9, 20, 3), 2)
    with icarus.open_icarus(GEOMETRIES[0], reset=False) as device:
        assert fuzz.run(case, device)[1] is None
        device.write_register("SAMPLES", 1 << 20)
        device.write_register("CONTROL", CONTROL_START)
        assert device.read_register("STATUS") == 1
        device.transport.reset()
        assert device.read_register("STATUS") == 0
        assert device.read_register("SAMPLES") == 0
        assert fuzz.run(case, device)[1] is None


def test_what_was_never_written_is_unknown_and_said(monkeypatch):
    geometry = GEOMETRIES[0]
    case = a_case(geometry, (9, 5, 3), None)
    with icarus.open_icarus(geometry) as device:
        transport = device.transport
        with pytest.raises(BusError, match=r"a read at 0xa000000 is unknown: 0 xxxxxxxx"):
            transport.read(address(Region.LOG), 1)
        assert transport.read(address(Region.VOTES), 2).tolist() == [0xDEADBEEF] * 2

        write = transport.write

        def no_last_bias(where, words):
            if where >> 24 != Region.BIASES or where == address(Region.BIASES):
                write(where, words)

        monkeypatch.setattr(transport, "write", no_last_bias)
        assert "a read at 0xa000000 is unknown" in fuzz.run(case, device)[1]


def test_refused_accesses_and_a_simulator_that_ended():
    with icarus.open_icarus(GEOMETRIES[0]) as device:
        with pytest.raises(BusError, match="refused a write at 0x0"):
            device.transport.write(0, np.array([1], dtype=np.uint32))
        device.transport.close()
        with pytest.raises(SynflipError, match="has ended"):
            device.transport.read(0, 1)


def test_interrupted_and_stopped(monkeypatch):
    """Ctrl-C between a command and its answers, and a simulator that does not answer in time: the answers are
    not taken for those of the next command."""
    case = a_case(GEOMETRIES[0], (9, 5, 3), None)
    with icarus.open_icarus(GEOMETRIES[0]) as device:
        transport = device.transport
        process = transport._process
        assert os.getpgid(process.pid) != os.getpgid(0)  # a terminal's Ctrl-C does not reach it
        with monkeypatch.context() as patched:
            patched.setattr(icarus.os, "read", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                transport.read(register("MAGIC"), 2)
        assert transport.read(register("LANES"), 1).tolist() == [16]
        with monkeypatch.context() as patched:
            patched.setattr(icarus, "TIMEOUT", 0.01)
            process.send_signal(signal.SIGSTOP)
            for _ in range(2):
                with pytest.raises(BusError, match=r"did not answer in 0\.01 s"):
                    transport.read(register("MAGIC"), 2)
        process.send_signal(signal.SIGCONT)
        assert transport.read(register("LANES"), 1).tolist() == [16]
        monkeypatch.setattr(transport, "wait", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        device.load(case.model)
        with pytest.raises(KeyboardInterrupt):
            device.infer(case.pixels, 1000, 1)
        monkeypatch.undo()
        assert device.read_register("STATUS") == 0
        assert fuzz.run(case, device)[1] is None


def test_missing_tool_is_one_line(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SynflipError, match="iverilog is missing; install Icarus Verilog"):
        icarus.open_icarus(GEOMETRIES[0])
