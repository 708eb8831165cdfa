"""The products of the golden model: exact in every way that this machine can go, and which one it takes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import product as pairs
from pathlib import Path

import numpy as np
import pytest
import torch
from synflip.errors import SynflipError
from synflip.golden import compiled, products
from synflip.golden.compiled import UNITS
from synflip.golden.cpu import Golden
from synflip.golden.kernels import Product
from synflip.golden.products import FAST_INT8, MOST_ROWS, WAYS, kernels_for, usable

from tests.golden.test_cpu import GEOMETRY, equal, expected, images, network
from tests.networks import small_convolutional_network


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    if request.param not in usable():
        pytest.skip(f"{request.param} does not run on this machine")
    return str(request.param)


def same(multiply: Product, x: np.ndarray, coins: np.ndarray) -> None:
    found = multiply(torch.from_numpy(x.astype(np.uint8)), torch.from_numpy(coins.astype(np.int8)))
    assert found.dtype == torch.int32
    np.testing.assert_array_equal(found.numpy(), x.astype(np.int64) @ coins.T.astype(np.int64))


@pytest.mark.parametrize("count", [0, 1, 5])
def test_shapes(way: str, count: int) -> None:
    """Around pairs of rows, runs of them, vectors of outputs and blocks of these."""
    multiply, rng = kernels_for(way)[1].multiply, np.random.default_rng(count)
    for rows, outputs in pairs((1, 2, 7, 8, 9, 33, 127, 300), (1, 2, 10, 16, 17, 33, 64, 130)):
        x = rng.integers(0, 256, (count, rows)) * (rng.random((count, rows)) < 0.6)
        same(multiply, x, rng.integers(-1, 2, (outputs, rows)))
        same(multiply, x * 0, np.ones((outputs, rows)))
        same(multiply, x * 0 + 255, -np.ones((outputs, rows)))
        same(multiply, rng.choice([0, 255], x.shape), rng.choice([-1, 1], (outputs, rows)))


@pytest.mark.parametrize("rows", [127, 128, 129, 256, 257, 4096, MOST_ROWS + 5])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_sums(way: str, rows: int, sign: int) -> None:
    """Rows of 255, all of one sign: 64 pairs fill 16 bits, MOST_ROWS rows float32."""
    same(kernels_for(way)[1].multiply, np.full((2, rows), 255), np.full((3, rows), sign))


def test_networks(way: str) -> None:
    model = network([40, 24, 10], bits=3)
    pixels = images(model, 9)
    with Golden(GEOMETRY, way=way) as device:
        device.load(model)
        result = device.infer(pixels, 4, 1, logits=True)
    equal(result, expected(model, pixels, 4, 1))
    with Golden(GEOMETRY, way="float32") as device:
        device.load(model)
        assert device.infer(pixels, 4, 1).cycles == result.cycles > 0


def test_convolutions(way: str) -> None:
    model = small_convolutional_network()
    pixels = images(model, 3)
    with Golden(GEOMETRY, way=way) as device:
        device.load(model)
        equal(device.infer(pixels, 3, 2, logits=True), expected(model, pixels, 3, 2))


@pytest.mark.parametrize("outputs", [2, 8, 16, 100])
def test_one_row_with_a_stride_of_zero(way: str, outputs: int) -> None:
    """``x[None]`` in numpy."""
    x = np.arange(200, 208).astype(np.uint8)
    assert torch.from_numpy(x[None]).stride(0) == 0
    coins = np.random.default_rng(2).integers(-1, 2, (outputs, 8)).astype(np.int8)
    for _ in range(20):
        found = kernels_for(way)[1].multiply(torch.from_numpy(x[None]), torch.from_numpy(coins))
        assert found.numpy().tolist() == [(coins.astype(int) @ x).tolist()]


MATMUL = """
import itertools, numpy as np, torch
from synflip.golden.products import int8
numbers = np.random.default_rng(0)
for n, i, j in itertools.product((1, 2, 5, 17, 64), (1, 2, 3, 8, 33, 65, 300), (1, 2, 3, 10, 33, 128)):
    for x, coins in (
        (numbers.integers(0, 256, (n, i)), numbers.integers(-1, 2, (j, i))),
        (np.zeros((n, i)), np.ones((j, i))),
        (np.full((n, i), 255), -np.ones((j, i))),
        (numbers.choice([0, 255], (n, i)), numbers.choice([-1, 1], (j, i))),
    ):
        found = int8(torch.from_numpy(x.astype(np.uint8)), torch.from_numpy(coins.astype(np.int8)))
        if (found.numpy() != x.astype(np.int64) @ coins.T.astype(np.int64)).any():
            raise SystemExit(f"wrong for {n} images, {i} rows, {j} outputs")
"""


@pytest.mark.parametrize("unit", ["SSE41", "AVX2", "AVX512_CORE", "ALL"])
def test_int8_is_exact_whatever_the_vector_unit(unit: str) -> None:
    """oneDNN below torch picks its kernels by the machine. Those without dot-product instructions add pairs
    of products in 16 bits, which can saturate (pytorch issue 136746). Tried as far as this machine can act as
    another; in a fresh process, for the choice is made once."""
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": unit, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", MATMUL], env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("flags", "compiler", "first", "rest"),
    [
        (("avx2", "avx512_vnni"), "python3", "int8", {"avx2", "plain", "float32"}),
        (("avx2", "amx_int8"), "no-such-compiler", "int8", {"float32"}),
        (("avx2",), "python3", "avx2", {"plain", "float32", "int8"}),
        (("avx2",), "no-such-compiler", "float32", {"int8"}),
        ((), "python3", "plain", {"float32", "int8"}),
        ((), "no-such-compiler", "float32", {"int8"}),
    ],
)
def test_the_way_is_chosen_by_what_there_is(
    monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], compiler: str, first: str, rest: set[str]
) -> None:
    monkeypatch.setenv("CXX", compiler)
    found = usable(flags)
    assert found[0] == first and set(found[1:]) == rest


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty cache. What ``product`` has chosen is forgotten, before and after."""
    monkeypatch.setenv("SYNFLIP_CACHE", str(tmp_path))
    kernels_for.cache_clear()
    yield tmp_path
    kernels_for.cache_clear()


def test_a_compiler_that_fails(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for, it is an error; otherwise the next way is taken."""
    monkeypatch.setattr(products, "cpu_flags", lambda: ())
    monkeypatch.setenv("CXX", "false -O0")
    with pytest.raises(SynflipError, match="compiler failed"):
        kernels_for("plain")
    assert kernels_for()[0] == "float32"


def test_a_library_is_compiled_once(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library that is in the cache needs no compiler."""
    same(kernels_for("plain")[1].multiply, np.ones((2, 3)), np.ones((4, 3)))
    (library,) = (fresh / "golden").glob("*.so")
    kernels_for.cache_clear()
    monkeypatch.setattr(compiled, "run_program", lambda *words, **more: pytest.fail("compiled again"))
    same(kernels_for("plain")[1].multiply, np.ones((2, 3)), np.ones((4, 3)))
    assert list((fresh / "golden").glob("*.so")) == [library]


@pytest.mark.parametrize("way", ["", "avx3", "AVX2"])
def test_unknown_ways(way: str) -> None:
    with pytest.raises(SynflipError, match=f"no way '{way}' to multiply on this machine; there are"):
        Golden(way=way)


def test_this_machine() -> None:
    assert kernels_for()[0] == usable()[0] or usable()[0] in UNITS
    assert set(products.cpu_flags()) <= {"avx2", *FAST_INT8}
