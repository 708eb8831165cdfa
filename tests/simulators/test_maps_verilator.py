"""Convolutions on the array in Verilator: all that the golden model says, cycles too."""

from collections.abc import Iterator

import numpy as np
import pytest
from synflip.devices.accelerator import Accelerator
from synflip.inference.parts import runs_of
from synflip.inference.plan import Plan, fits
from synflip.inference.request import InferenceRequest
from synflip.spec.convolution import Convolution
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel
from synflip.uncertainty.soft_votes import SoftTable
from synflip.verification.cases import convolutional_model
from synflip_sim.simulators.verilator import open_verilator

from tests.networks import convolution_layer, random_layers, random_network
from tests.simulators.test_verilator import check, images

pytestmark = pytest.mark.simulator

GEOMETRY = Geometry(
    16,
    2,
    weight_depth=2048,
    event_depth=1024,
    key_depth=1024,
    bias_depth=128,
    image_slots=4,
    result_depth=64,
    log_depth=200,
    margin_depth=16,
    map_depth=128,
    flight=2,
    soft_classes=5,
)


@pytest.fixture(scope="module")
def device() -> Iterator[Accelerator]:
    with open_verilator(GEOMETRY, say=lambda text: None) as accelerator:
        yield accelerator


def network(*places: tuple[Convolution, int], seed: int = 0) -> CompiledModel:
    rng = np.random.default_rng(seed)
    layers = [convolution_layer(rng, outputs, place, reach=200) for place, outputs in places]
    layers += random_layers(rng, (layers[-1].width, 5, 3), reach=200)
    shifts = (5,) * (len(layers) - 1)
    return CompiledModel(tuple(layers), 4, 8, shifts, ("a", "b", "c"), 255)


#: One and three channels; odd sizes; strides; pads; windows that drop edges; several tiles, the last partial.
NETWORKS = {
    "pooled": network(
        (Convolution((5, 4, 3), (3, 3), pad=(1, 1), pool=(2, 1)), 4),
        (Convolution((2, 4, 4), (2, 3), pad=(0, 1), pool=(1, 2)), 6),
    ),
    "tiles": network(
        (Convolution((5, 5, 1), (2, 2), stride=(1, 2)), 20),
        (Convolution((4, 2, 20), (3, 2), pad=(1, 1), pool=(3, 2)), 36),
    ),
    "edges": network(
        (Convolution((7, 9, 1), (3, 2), pad=(1, 0), pool=(2, 3)), 2),
        (Convolution((3, 2, 2), (3, 3), stride=(2, 1), pad=(2, 2)), 2),
        (Convolution((3, 4, 2), (1, 4), pad=(0, 3), pool=(1, 3)), 4),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(device: Accelerator, name: str) -> None:
    """In several runs; kept logits; early stopping."""
    model, rng = NETWORKS[name], np.random.default_rng(1)
    assert fits(model, GEOMETRY)
    for draw, margins in enumerate((None, [2, 1, 1, 2, 0, 3])):
        pixels = images(5, model, rng, 0.7)
        request = InferenceRequest(model, pixels, 6, draw)
        assert isinstance(runs_of(request, GEOMETRY), Plan)
        result = check(device, model, pixels, 6, draw, None if margins is None else np.array(margins))
        assert result.cycles > 0


def test_between_dense_networks_and_parts(device: Accelerator) -> None:
    """The same memories hold images in another way, and the lists of passes in flight."""
    rng = np.random.default_rng(2)
    dense, whole = random_network(rng, (24, 40, 5)), NETWORKS["pooled"]
    parted = network((Convolution((4, 4, 1), (3, 3)), 3))  # no multiple of two channels
    assert not fits(parted, GEOMETRY)
    for draw, model in enumerate((dense, whole, parted, whole, dense, parted, dense)):
        assert check(device, model, images(6, model, rng, 0.5), 3, draw, None).cycles > 0


@pytest.mark.parametrize("margins", [None, [2, 1, 1, 2, 0, 3]])
def test_soft_votes(device: Accelerator, margins: list[int] | None) -> None:
    """Added up beside maps, of dense networks too."""
    rng = np.random.default_rng(3)
    limits = None if margins is None else np.array(margins)
    for model in (NETWORKS["tiles"], random_network(rng, (24, 40, 5)), NETWORKS["edges"]):
        pixels, soft = images(5, model, rng, 0.7), SoftTable.of(60.0, len(model.classes))
        for logits in (False, True):
            check(device, model, pixels, 6, 4, limits, logits, soft)


def test_interrupted_in_a_convolution(device: Accelerator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after so many accesses of a run of a convolutional network leaves nothing to the next run: of
    another, of a dense one with passes in flight, and of the same."""
    rng = np.random.default_rng(5)
    dense = random_network(rng, (24, 40, 5))
    for accesses in (0, 1, 3, 7, 15, 30, 60):

        def interrupt(accesses: int = accesses) -> None:
            for _ in range(accesses):
                device.read_register("STATUS")
            raise KeyboardInterrupt

        for model, following in (
            (NETWORKS["tiles"], dense),
            (NETWORKS["edges"], NETWORKS["pooled"]),
            (NETWORKS["pooled"], NETWORKS["pooled"]),
            (dense, NETWORKS["tiles"]),
        ):
            device.load(model)
            with monkeypatch.context() as patched:
                patched.setattr(device.transport, "wait", interrupt)
                with pytest.raises(KeyboardInterrupt):
                    device.infer(images(4, model, rng, 0.7), 500, accesses)
            check(device, following, images(4, following, rng, 0.7), 2, accesses)


@pytest.mark.parametrize("name", NETWORKS)
def test_keys_of_the_host(device: Accelerator, name: str) -> None:
    """A run again, by its own keys."""
    model, rng = NETWORKS[name], np.random.default_rng(6)
    pixels = images(4, model, rng, 0.7)
    device.load(model)
    result = device.infer(pixels, 3, 9, logits=True, keep_keys=True)
    again = device.infer(pixels, 3, 9, logits=True, keys=result.keys)
    np.testing.assert_array_equal(again.logits, result.logits)  # type: ignore[arg-type]


FLIGHTS = (
    Geometry(16, 4, weight_depth=1024, event_depth=512, key_depth=256, bias_depth=64, image_slots=4, flight=1,
             map_depth=100, key_halves=1),
    Geometry(32, 1, weight_depth=2048, event_depth=1024, key_depth=1024, bias_depth=128, image_slots=5,
             flight=4, map_depth=200),
)  # fmt: skip


@pytest.mark.nightly
@pytest.mark.parametrize("geometry", FLIGHTS, ids=[geometry.name for geometry in FLIGHTS])
def test_passes_in_flight(geometry: Geometry) -> None:
    """One pass, or four where the network is dense; a map's list then has the places of all four."""
    rng, whole = np.random.default_rng(7), 0
    with open_verilator(geometry, say=lambda text: None) as device:
        for draw in range(30):
            model = random_network(rng, (20, 30, 25, 4))
            if draw % 3:
                model = convolutional_model(4, 8, rng, 1 + draw % 2, geometry.banks)
                whole += fits(model, geometry)
            margins = rng.integers(0, 4, 4) if draw % 2 else None
            check(device, model, images(int(rng.integers(0, 11)), model, rng, 0.6), 4, draw, margins)
    assert whole > 8


def test_random_networks(device: Accelerator) -> None:
    seen = 0
    for draw in range(40):
        rng = np.random.default_rng(draw)
        model = convolutional_model(4, 8, rng)
        whole = fits(model, GEOMETRY)
        seen += whole
        if whole:
            check(device, model, images(3, model, rng, 0.6), 3, draw, None)
    assert seen > 5
