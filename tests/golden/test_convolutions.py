"""Convolutions of the golden model against the contract read loop by loop, and against torch's own."""

import tracemalloc
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from synflip.benchmarks import golden_convolutions
from synflip.errors import SynflipError
from synflip.golden import cpu, kernels
from synflip.golden.cpu import Golden
from synflip.golden.products import kernels_for
from synflip.spec.convolution import Convolution
from synflip.spec.model import CompiledModel
from synflip.verification.cases import convolutional_model
from torch.nn.functional import conv2d, max_pool2d
from torch.profiler import profile

from tests.golden import reference
from tests.golden.test_cpu import check, expected, images, infer
from tests.networks import convolution_layer, random_layers, small_convolutional_network

multiply = kernels_for()[1].multiply
NETWORK = small_convolutional_network()
PIXELS = images(NETWORK, 7, draw=1)


def test_reference_convolves_as_the_contract_says() -> None:
    """2x3 images of one channel, a kernel of 2x2 that always comes up heads, stride 1 across, 1 row of zeros
    above and below; windows of 1x2, of which the two positions of a row fill one. By hand:

    x = 1 2 3    position (0, 0) sees zeros above and 1, 2 below: 2 - (0 + 0) ... with signs + - / - +
        4 5 6
    """
    always = [[15, 15, 15, 15]]
    kernel = {"kind": "conv", "input": [2, 3, 1], "kernel": [2, 2], "pad": [1, 0], "pool": [1, 2]}
    outcome = reference.run(
        [(always, [[0, 1, 1, 0]], [10]), ([[15] * 3], [[0] * 3], [0])],
        4, 8, [0], [[1, 2, 3, 4, 5, 6]], samples=1, seed=0, kinds=[kernel, {"kind": "dense"}],
    )  # fmt: skip
    # z = 10 + x00 - x01 - x10 + x11 at the three rows of two positions:
    # 10 - 1 + 2, 10 - 2 + 3; 10 + 1 - 2 - 4 + 5, 10 + 2 - 3 - 5 + 6; 10 + 4 - 5, 10 + 5 - 6
    assert outcome.activations[0][0] == [[1, 2, 3, 4, 5, 6], [11, 10, 9]]
    assert outcome.logits == [[[30]]]


@given(st.integers(0, 2**32), st.integers(0, 2**64 - 1), st.integers(1, 3), st.booleans())
@settings(max_examples=60, deadline=None)
def test_random_convolutional_networks(draw: int, seed: int, samples: int, early: bool) -> None:
    rng = np.random.default_rng(draw)
    model = convolutional_model(16, 8, rng)
    pixels = rng.integers(0, model.input_max + 1, (int(rng.integers(1, 4)), model.inputs))
    activations = model.activations(pixels)
    margins = rng.integers(0, 3, samples) if early else None
    result = infer(model, pixels, samples, seed, margin=margins, logits=True)
    outcome = expected(model, activations, samples, seed, margins)
    assert result.logits is not None
    assert result.logits.tolist() == outcome.logits
    assert result.votes.tolist() == outcome.votes
    assert result.logit_sums.tolist() == outcome.logit_sums
    assert result.used.tolist() == outcome.used
    assert result.cycles > 0  # in parts


@pytest.mark.parametrize("channels", [1, 3, 8])
@pytest.mark.parametrize("seed", [0, 1])
def test_channels(channels: int, seed: int) -> None:
    rng = np.random.default_rng(channels)
    layer = convolution_layer(rng, 5, Convolution((6, 5, channels), (3, 3), pad=(1, 1), pool=(2, 2)))
    model = CompiledModel((layer, *random_layers(rng, (30, 3))), 4, 8, (2,), ("a", "b", "c"), 255)
    check(model, images(model, 3, draw=seed), 3, seed)


def test_sixteen_layers() -> None:
    """Fifteen convolutions of 3x3 with a pad of one keep the map's size."""
    rng = np.random.default_rng(3)
    places = [Convolution((3, 2, 2 if index else 1), (3, 3), pad=(1, 1)) for index in range(15)]
    layers = [convolution_layer(rng, 2, place, reach=500) for place in places]
    model = CompiledModel(
        (*layers, *random_layers(rng, (12, 3))), 4, 8, (1,) * 15, ("a", "b", "c"), 255
    )  # fmt: skip
    check(model, images(model, 2), 2, 5)


@pytest.mark.parametrize("margins", [None, [2, 2, 1, 1, 1, 1]])
def test_blocks_of_images_and_of_rows_change_nothing(
    monkeypatch: pytest.MonkeyPatch, margins: list[int] | None
) -> None:
    """From one row of windows of one image at once to all of them."""
    for tap_bytes, map_bytes, at_once in ((1, 1, 2), (600, 10_000, 3), (1 << 30, 1 << 30, 1 << 30)):
        monkeypatch.setattr(Golden, "tap_bytes", tap_bytes)
        monkeypatch.setattr(cpu, "MAP_BYTES", map_bytes)
        monkeypatch.setattr(cpu, "images_at_once", lambda width, at_once=at_once: at_once)
        check(NETWORK, PIXELS, 6, 2, margins)


def test_one_coin_a_synapse_at_every_position_and_for_every_image() -> None:
    """Two equal pixels in two images and places: equal activations behind a kernel of 1x1."""
    rng = np.random.default_rng(4)
    layer = convolution_layer(rng, 6, Convolution((2, 2, 3), (1, 1)))
    model = CompiledModel((layer, *random_layers(rng, (24, 2))), 4, 8, (1,), ("a", "b"), 255)
    with Golden() as device:
        device.load(model)
        x = torch.from_numpy(np.tile(np.array([[90, 0, 200]], np.uint8), (3, 4)))
        for sample in range(3):
            _, (behind, _) = device.layers(x, device.coins(9, sample))
            assert (behind.view(3, 4, 6) == behind[0, :6]).all()


def test_a_kernel_is_torch_s_kernel() -> None:
    """Where every coin always comes up, a convolution is torch's conv2d with max_pool2d, in float64."""
    rng = np.random.default_rng(5)
    place = Convolution((9, 7, 3), (3, 2), stride=(2, 1), pad=(1, 2), pool=(2, 3))
    coins = rng.integers(-1, 2, (8, place.rows)).astype(np.int8)
    x = rng.integers(0, 256, (4, 9, 7, 3)).astype(np.uint8)
    found = kernels.convolved(
        torch.from_numpy(x.reshape(4, -1)), torch.from_numpy(coins), place, multiply, 1 << 20
    )
    kernel = torch.from_numpy(coins.reshape(8, 3, 2, 3)).permute(0, 3, 1, 2).double()
    sums = conv2d(torch.from_numpy(x).permute(0, 3, 1, 2).double(), kernel, stride=(2, 1), padding=(1, 2))
    assert found.tolist() == max_pool2d(sums, (2, 3)).permute(0, 2, 3, 1).flatten(1).tolist()


def test_the_largest_sums() -> None:
    """300 channels of 255, of one sign: beyond 16 bits at every position, less at the border."""
    ones = torch.ones(2, 9 * 300, dtype=torch.int8)
    x = torch.full((1, 4 * 300), 255, dtype=torch.uint8)
    sums = kernels.convolved(x, ones, Convolution((2, 2, 300), (3, 3), pad=(1, 1)), multiply, 1 << 20)
    assert sums.unique().tolist() == [4 * 300 * 255]


def test_no_images() -> None:
    assert infer(NETWORK, PIXELS[:0], 2, 0).votes.shape == (0, 3)


@pytest.mark.parametrize(
    ("shape", "words"), [((7, 18), ["[7, 18]", "[N, 40]"]), ((40,), ["[40]", "[N, 40]"])]
)
def test_images_of_another_size(shape: Any, words: list[str]) -> None:
    with pytest.raises(SynflipError) as error:
        infer(NETWORK, np.zeros(shape, np.uint8), 1, 0)
    assert all(word in str(error.value) for word in words)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "arranged",
    [
        lambda images: images,
        lambda images: images.transpose(0, 3, 1, 2),
        lambda images: torch.from_numpy(images).permute(0, 3, 1, 2),
    ],
)
def test_images_with_channels_last_and_first(arranged: Any) -> None:
    pixels = PIXELS.reshape(7, 5, 4, 2)
    found, wanted = (infer(NETWORK, given, 2, 0) for given in (arranged(pixels), PIXELS))
    assert found.logit_sums.tolist() == wanted.logit_sums.tolist()


def test_grey_images() -> None:
    rng = np.random.default_rng(8)
    layers = (convolution_layer(rng, 2, Convolution((4, 3, 1), (2, 2))), *random_layers(rng, (12, 2)))
    model = CompiledModel(layers, 4, 8, (3,), ("a", "b"), 255)
    pixels = images(model, 2)
    wanted = infer(model, pixels, 2, 0).logit_sums.tolist()
    for shape in ((4, 3), (1, 4, 3), (4, 3, 1)):
        assert infer(model, pixels.reshape(2, *shape), 2, 0).logit_sums.tolist() == wanted


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Each thread holds images of its own."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def peak(model: CompiledModel, count: int, samples: int) -> int:
    """The most bytes that torch and numpy hold at once during a run: both tell of each that they take and
    give back."""
    with Golden() as device, profile(profile_memory=True) as seen:
        device.load(model)
        x = images(model, count).astype(np.uint8)
        device.infer(x[:1], samples, 0)  # what is made once and kept
        tracemalloc.start()
        try:
            device.infer(x, samples, 0)
            of_numpy = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert seen.profiler is not None and seen.profiler.kineto_results is not None
    events = seen.profiler.kineto_results.events()
    return max(accumulate(event.nbytes() for event in events if event.name() == "[memory]")) + of_numpy


def test_memory_depends_on_neither_images_nor_samples(
    one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice as many images as go through at once, and four times as many: what is added is a row of pixels,
    copied twice, and a row of logits and votes an image. Eight network samples take hardly more than two,
    which meet when one follows the other: by less than a tenth of the coins of one."""
    model = golden_convolutions.network()
    assert cpu.images_in_cache(model) == 8 * 2**20 // (3072 + 5 * 8192)
    monkeypatch.setattr(cpu, "MAP_BYTES", 1 << 20)
    monkeypatch.setattr(cpu, "KEYS_AT_ONCE", 1)
    count = cpu.images_in_cache(model)
    few, many = (peak(model, times * count, 1) for times in (2, 4))
    assert few < 2 * (cpu.MAP_BYTES + Golden.tap_bytes) + 8 * sum(layer.q.size for layer in model.layers)
    assert many - few < 2 * count * (2 * model.inputs + 50 * len(model.classes))
    assert peak(model, 4, 8) - peak(model, 4, 2) < sum(layer.q.size for layer in model.layers) // 10


def test_images_at_once_at_the_limits() -> None:
    """One image has more than MAP_BYTES: it goes alone."""
    place = Convolution((256, 256, 1), (1, 1), pool=(4, 4))
    rng = np.random.default_rng(0)
    layers = (convolution_layer(rng, 512, place), *random_layers(rng, (64 * 64 * 512, 1)))
    model = CompiledModel(layers, 4, 1, (0,), ("a",), 1)
    assert cpu.images_in_cache(model) == 1
    dense = CompiledModel(random_layers(rng, (5, 3)), 4, 8, (), ("a", "b", "c"), 255)
    assert cpu.images_in_cache(dense) == cpu.IMAGES_IN_CACHE
