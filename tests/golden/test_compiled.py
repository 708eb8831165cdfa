"""The loops that are compiled here, against torch and numpy: coins, activations, loads; and their files."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from synflip.golden import compiled as module
from synflip.golden import products
from synflip.golden.compiled import FLAGS, UNITS, Compiled
from synflip.golden.kernels import CoinPlanes, Kernels
from synflip.golden.products import float32, kernels_for, usable
from synflip.spec.cycles import bank_load
from synflip.spec.geometry import Geometry
from synflip.spec.model import Layer

PLAIN = Kernels(float32)


@pytest.fixture(params=UNITS)
def compiled(request: pytest.FixtureRequest) -> Compiled:
    if request.param not in usable():
        pytest.skip(f"{request.param} does not run on this machine")
    return Compiled(request.param)


@pytest.mark.parametrize("bits", [1, 2, 4, 16])
def test_coins(compiled: Compiled, bits: int) -> None:
    """Around bytes, vectors and words of rows; coins that are never and always heads among them; arrays in
    the order of columns, as those of a network whose rows were dealt anew."""
    rng = np.random.default_rng(bits)
    for rows, outputs in product((1, 7, 8, 9, 31, 32, 33, 63, 64, 65, 104, 300), (1, 16, 17, 70)):
        q = rng.choice([0, 2**bits - 1, *rng.integers(0, 2**bits, 6)], (outputs, rows)).astype(np.uint16)
        sign = rng.integers(0, 2, q.shape).astype(np.uint8)
        keys = rng.integers(0, 2**64, rows, dtype=np.uint64)
        bias = np.zeros(outputs, np.int32)
        wanted = CoinPlanes.of(Layer(q, sign, bias), bits).flip(keys).numpy()
        for ordered in (np.ascontiguousarray, np.asfortranarray):
            found = compiled.flip(CoinPlanes.of(Layer(ordered(q), ordered(sign), bias), bits), keys)
            assert found.dtype == torch.int8
            np.testing.assert_array_equal(found.numpy(), wanted)


@pytest.mark.parametrize("shift", [0, 1, 12, 31])
def test_activations(compiled: Compiled, shift: int) -> None:
    """Of dense layers and of convolutions, whose positions share biases; around each step,
    and at the ends of 32 bits."""
    rng = np.random.default_rng(shift)
    for images, positions, outputs, most in product((0, 1, 5), (1, 3), (1, 7, 33), (1, 255)):
        added = rng.integers(-(2**20), 2**20, outputs)
        shape = images, positions, outputs
        steps = (rng.integers(-3, most + 4, shape) << shift) - added + rng.integers(-1, 2, shape)
        ends = rng.choice([-(2**31) + 2**20, 2**31 - 1 - 2**20], shape)
        sums = np.where(rng.random(shape) < 0.2, ends, steps.clip(-(2**30), 2**30))
        z, biases = (
            torch.from_numpy(each.astype(np.int32))
            for each in (sums.reshape(images, positions * outputs), added)
        )
        found = compiled.requantise(z.clone(), biases, shift, most)
        assert found.dtype == torch.uint8
        assert torch.equal(found.to(torch.int32), PLAIN.requantise(z, biases, shift, most))


@pytest.mark.parametrize("banks", [1, 2, 4, 8])
def test_loads(compiled: Compiled, banks: int) -> None:
    """Around lines of rows, up to more of them than a byte counts."""
    rng = np.random.default_rng(banks)
    for rows, lanes, images in product((1, 16, 31, 64, 100, 9000), (16, 48), (0, 1, 3)):
        x = rng.integers(0, 256, (images, rows)) * (rng.random((images, rows)) < rng.random())
        x[:1] = 255
        found = compiled.loads(torch.from_numpy(x.astype(np.uint8)), Geometry(lanes, banks))
        np.testing.assert_array_equal(found.numpy(), bank_load(x != 0, banks, lanes))


def test_libraries_run_wherever_their_unit_is() -> None:
    """Machines may share a cache: nothing is compiled for the processor at hand."""
    flags = [*FLAGS, *(flag for unit in UNITS.values() for flag in unit)]
    assert {flag for flag in flags if flag.startswith("-m")} == {"-mavx2"}


def test_a_library_that_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another system, say: torch computes then."""
    (tmp_path / "x.so").write_bytes(b"no library")
    monkeypatch.setattr(module, "cached", lambda *what: tmp_path / "x.so")
    monkeypatch.setattr(products, "cpu_flags", lambda: ())
    kernels_for.cache_clear()
    try:
        assert kernels_for()[0] == "float32"
        assert type(kernels_for("int8")[1]) is Kernels
    finally:
        kernels_for.cache_clear()
