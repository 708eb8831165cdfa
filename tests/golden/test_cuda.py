"""The golden model on one torch device, against the golden model and the slow reading.

On a GPU where there is one; on the processor, with the same operations, always.
"""

import warnings

import numpy as np
import pytest
import torch
from synflip.cli import app
from synflip.devices.pool import Pool
from synflip.devices.registry import open_device
from synflip.errors import DeviceError, SynflipError
from synflip.golden import cuda
from synflip.golden.cpu import Golden
from synflip.golden.cuda import MOST_ROWS, CudaGolden
from synflip.inference.compare import compare
from synflip.inference.plan import fits
from synflip.spec import lfsr
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel
from synflip.verification.cases import convolutional_model
from torch.utils._python_dispatch import TorchDispatchMode

from tests.golden.test_cpu import GEOMETRY, SEEDS, equal, expected, network
from tests.networks import small_convolutional_network

CUDA = [pytest.param("cuda", marks=pytest.mark.gpu)] if torch.cuda.is_available() else []
DEVICES = ["cpu", *CUDA]


@pytest.fixture(params=DEVICES)
def place(request):
    return request.param


def pixels(model: CompiledModel, count: int = 9) -> np.ndarray:
    numbers = np.random.default_rng(count)
    values = numbers.integers(0, model.input_max + 1, (count, model.inputs))
    return (values * (numbers.random(values.shape) < 0.6)).astype(np.uint8)


def same(place: str, model: CompiledModel, geometry: Geometry, images: np.ndarray, *request, **more) -> None:
    # The cycles of networks in parts are predicted on the processor only.
    golden, other = Golden(geometry, predict=fits(model, geometry)), CudaGolden(geometry, place)
    for device in (golden, other):
        device.load(model)
    want, have = (device.infer(images, *request, logits=True, **more) for device in (golden, other))
    comparison = compare(want, have, place)
    assert comparison.equal, comparison.first
    assert want.cycles == have.cycles
    if more.get("keep_keys"):
        np.testing.assert_array_equal(want.keys, have.keys)


@pytest.mark.parametrize("seed", SEEDS)
def test_keys(place, seed):
    other = CudaGolden(device=place)
    for first, count in ((0, 1), (5, 300), (2**40, 7), (3, 0)):
        made = other.make_keys(seed, first, count).cpu().numpy().view(np.uint64)
        np.testing.assert_array_equal(made, lfsr.keys(seed, first, count))


def test_the_slow_reading(place):
    model = network([30, 20, 10], bits=4)
    images, margins = pixels(model, 4), [1, 2, 3, 2, 1]
    other = CudaGolden(GEOMETRY, place)
    other.load(model)
    have = other.infer(images, 5, 3, np.array(margins), logits=True)
    equal(have, expected(model, images, 5, 3, margins))


@pytest.mark.parametrize(
    ("sizes", "bits", "activation_bits", "size"),
    [
        ([784, 70, 33, 10], 4, 8, "64x8"),
        ([1, 1024, 5], 16, 8, "16x1"),
        ([63, 17, 2], 1, 1, "48x4"),
        ([65, 129, 64, 3], 7, 5, "128x2"),
    ],
)
def test_networks(place, sizes, bits, activation_bits, size):
    model = network(sizes, bits, activation_bits)
    geometry = Geometry.parse(size, bits=bits, activation_bits=activation_bits)
    same(place, model, geometry, pixels(model), 6, 2**64 - 1)


@pytest.mark.parametrize("draw", range(12))
def test_convolutions(place, draw):
    """Random sizes, strides, pads and windows; several network samples at once, and one by one."""
    model = convolutional_model(16, 8, np.random.default_rng(draw))
    same(place, model, GEOMETRY, pixels(model, 4), 5, draw)
    same(place, model, GEOMETRY, pixels(model, 4), 6, draw, np.full(6, 1))


def test_convolutions_by_the_slow_reading(place):
    model = small_convolutional_network()
    images = pixels(model, 3)
    other = CudaGolden(GEOMETRY, place)
    other.load(model)
    equal(other.infer(images, 3, 8, logits=True), expected(model, images, 3, 8))


@pytest.mark.parametrize("model", [network([200, 24, 10]), small_convolutional_network()])
def test_blocks_of_images_and_of_rows_change_nothing(place, monkeypatch, model):
    """As many images, samples and rows of windows at once as there are, down to one of each."""
    for memory, tap_bytes in ((1, 1), (5000, 500), (1 << 30, 1 << 30)):
        monkeypatch.setattr(cuda, "MEMORY", memory)
        monkeypatch.setattr(CudaGolden, "tap_bytes", tap_bytes)
        same(place, model, Geometry(16, 1), pixels(model, 7), 6, 3)
        same(place, model, Geometry(16, 1), pixels(model, 7), 6, 3, np.full(6, 2))


def test_margins_shards_and_keys(place):
    model = network([40, 24, 10], bits=3)
    geometry, images = Geometry(16, 2, 3), pixels(model, 40)
    same(place, model, geometry, images, 16, 4, np.full(16, 2))
    same(place, model, geometry, images, 8, 4, first=1000)
    same(place, model, geometry, images, 8, 4, keep_keys=True)
    rows = Golden(geometry)
    rows.load(model)
    given = np.random.default_rng(1).integers(0, 2**64, (5, rows.key_rows), dtype=np.uint64)
    same(place, model, geometry, images, 5, 4, keys=given, keep_keys=True)


@pytest.mark.parametrize("margins", [None, [2] * 8])
def test_without_cycles(place, margins):
    model = network([40, 24, 10], bits=3)
    images = pixels(model, 40)
    limits = margins and np.array(margins)
    for device in (Golden, lambda *rest, **more: CudaGolden(*rest, place, **more)):
        with_cycles, without = device(GEOMETRY), device(GEOMETRY, predict=False)
        with_cycles.load(model)
        without.load(model)
        want, have = (one.infer(images, 8, 4, limits, logits=True) for one in (with_cycles, without))
        found = compare(want, have, place)
        assert {name for name, count in found.different.items() if count} == {"cycles"}
        assert want.cycles > 0 and have.cycles == -1


def test_sums_at_the_edge_of_32_bits(place):
    model = network([8, 4, 3], bias=2**31 - 1 - 8 * 255)
    same(place, model, GEOMETRY, pixels(model), 4, 1)


class MatrixUnits(TorchDispatchMode):
    """Products as a GPU's matrix units make them: of the eleven bits of each factor that TF32 keeps."""

    def __init__(self):
        super().__init__()
        self.precisions = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in (torch.ops.aten.mm.default, torch.ops.aten.bmm.default):
            self.precisions.add(torch.backends.cuda.matmul.fp32_precision)
            args = [(factor.view(torch.int32) & -(1 << 13)).view(torch.float32) for factor in args]
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("model", [network([200, 24, 10]), small_convolutional_network()])
def test_the_matrix_units_are_exact(model):
    """All products ask for TF32, its eleven bits change nothing, and the setting is put back."""
    before = torch.backends.cuda.matmul.fp32_precision
    with MatrixUnits() as seen:
        same("cpu", model, Geometry(16, 1), pixels(model, 5), 4, 3)
    assert seen.precisions == {"tf32"}
    assert torch.backends.cuda.matmul.fp32_precision == before != "tf32"


def test_what_would_not_be_exact_is_refused(place):
    other = CudaGolden(device=place)
    with pytest.raises(SynflipError, match=f"{MOST_ROWS + 1} rows: sums in float32 are exact up to"):
        other.load(network([MOST_ROWS + 1, 1]))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu(capsys):
    with pytest.raises(SynflipError, match="no CUDA GPU here; --device golden runs on the processor"):
        open_device("cuda:64x8")
    assert app.main(["run", "--help"]) == 0
    assert "cuda: the same on a GPU" in " ".join(capsys.readouterr().out.replace("│", " ").split())


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmuch"),
            "the GPU has not enough memory",
        ),
        (
            torch.AcceleratorError("unspecified launch failure\nin vain"),
            "GPU failed: unspecified launch failure$",
        ),
        (
            RuntimeError("CUDA error: the launch timed out\nagain"),
            "GPU failed: CUDA error: the launch timed out$",
        ),
        (
            RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling"),
            "the GPU failed: CUBLAS_STATUS_ALLOC_FAILED",
        ),
    ],
)
@pytest.mark.parametrize("when", ["load", "run"])
def test_a_gpu_that_fails_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error: RuntimeError, line: str, when: str
) -> None:
    """And what shares the work with it goes on."""

    def fail(*_: object) -> None:
        raise error

    model, device = network([12, 16, 5]), CudaGolden(GEOMETRY, "cpu")
    if when == "run":
        device.load(model)
    monkeypatch.setattr(device, {"load": "_put", "run": "_forward"}[when], fail)
    with pytest.raises(DeviceError, match=f"^cpu: .*{line}") as caught:
        device.load(model) if when == "load" else device.infer(pixels(model), 4, 1)
    assert "\n" not in str(caught.value)
    with Pool([("golden", Golden(GEOMETRY)), ("cuda", device)]) as pool, warnings.catch_warnings(record=True):
        pool.load(model)
        assert when == "run" or list(pool.lost) == ["cuda"]
        found = pool.infer(pixels(model), 4, 1)
    with Golden(GEOMETRY) as golden:
        golden.load(model)
        assert np.array_equal(found.votes, golden.infer(pixels(model), 4, 1).votes)


def test_a_defect_is_no_failure_of_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    device = CudaGolden(GEOMETRY, "cpu")
    monkeypatch.setattr(device, "_put", fail)
    with pytest.raises(RuntimeError, match="mat1"):
        device.load(network([12, 5]))
