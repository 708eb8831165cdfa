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
from synflip.verification.cases import convolutional_model
from synflip_sim.simulators.verilator import open_verilator

from tests.devices.test_verilator import check, images
from tests.networks import convolution_layer, random_layers, random_network

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
