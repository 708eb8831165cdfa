"""Convolutions of coins: their noise, their gradients, and that what is trained is what is compiled."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from synflip import modelfile
from synflip.compiler.compile import compile_layers, compile_network
from synflip.data.dataset import Dataset
from synflip.data.registry import load
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.spec.convolution import Convolution
from synflip.training import layers
from synflip.training.checkpoint import Interrupted
from synflip.training.convnets import float_network
from synflip.training.layers import KERNEL_NOISE, SynapticConv2d, SynapticNetwork, flip
from synflip.training.loop import TrainStep
from synflip.training.train import train

PLACE = Convolution((5, 4, 2), (3, 2), stride=(2, 1), pad=(1, 0), pool=(1, 2))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def colours(count: int = 60) -> Dataset:
    """Images of 7x6 in three channels, of which each of three classes has one brighter."""
    rng = np.random.default_rng(3)
    labels = np.arange(count) % 3
    images = rng.integers(0, 120, (count, 3, 7, 6))
    images[np.arange(count), labels] += 120
    return Dataset("colours", images, labels, images[::2], labels[::2], ("r", "g", "b"), 255, (3, 7, 6))


@pytest.mark.parametrize("filters", [(4,), ((3, 4), 5)])
@pytest.mark.parametrize("grey", [False, True])
def test_evaluation_is_the_compiled_model_exactly(filters: tuple, grey: bool) -> None:
    """Logits of the network in evaluation are golden's with the same coins, of images as the data set has
    them."""
    data = load("digits") if grey else colours()
    network = train(data, (6,), 3, 7, epochs=1, filters=filters)
    model = compile_network(network, data.classes, data.input_max)
    assert model.channels_first == (not grey) and model.convolutional
    images = data.test_images[:20]
    flips = generator(9)
    coins = [flip(layer.quantised()[0], flips).to(torch.int8) for layer in network.linear]
    with Golden() as golden:
        golden.load(model)
        wanted, _ = golden.forward(torch.from_numpy(model.activations(images)), coins)
    steps = (2 * images.astype(int) * 127 + data.input_max) // (2 * data.input_max)
    with torch.no_grad():
        logits = network(torch.from_numpy(steps).float(), generator(9)).numpy()
    assert np.array_equal(logits, wanted) and np.ptp(logits) > 0


def test_noise_is_a_share_of_that_of_coins_shared_by_all_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean and correlations of the sums at all positions are those of exact flips, also between positions;
    their standard deviation is KERNEL_NOISE of theirs."""
    place = Convolution((3, 3, 2), (2, 2))
    layer = SynapticConv2d(place, 2, 4, 8, generator(1))
    with torch.no_grad():
        layer.bias.fill_(0.5)
    x = torch.randint(0, 256, (1, place.inputs), generator=generator(2)).float()
    many = 6000
    monkeypatch.setattr(layers, "KERNELS", many)
    with torch.no_grad():
        noisy = layer.train()(x.expand(many, -1), generator(3))
        layer.eval()
        flips = generator(4)
        exact = torch.cat([layer(x, flips) for _ in range(many)])
    deviation = exact.std(0)
    assert ((noisy.mean(0) - exact.mean(0)).abs() < 6 * deviation * (2 / many) ** 0.5).all()
    found, wanted = (torch.corrcoef(sums.T) for sums in (noisy, exact))
    assert ((noisy.std(0) / (KERNEL_NOISE * deviation) - 1).abs() < 0.06).all()
    assert ((found - wanted).abs() < 6 * (2 / many) ** 0.5).all()
    assert wanted[0, 2] > 0.1  # output 0 at the first two positions: two taps see the same image, one coin


def test_gradients_of_coins_are_those_of_their_mean_and_variance() -> None:
    """A coin of weight w has the mean w and, in training, the variance v = s^2 (|w| - w^2), s a share of
    the noise. The mean of (coin - c)^2 is v + (w - c)^2, so over many flips the gradient is
    s^2 (sign - 2 w) + 2 (w - c). A coin that always comes up the same has the mean's gradient alone."""
    layer = SynapticConv2d(Convolution((1, 1, 1), (1, 1)), 6, 8, 8, generator())
    p = torch.tensor([[0.25], [-0.25], [0.75], [0.0625], [1.0], [0.0]])
    with torch.no_grad():
        layer.weight.copy_(p)
    goal, many, flips = 0.3, 20_000, generator(5)
    weight, _ = layer.quantised()
    loss = sum(((layer._trained(weight, flips) - goal) ** 2).sum() for _ in range(many)) / many
    loss.backward()
    found = layer.weight.grad.flatten().tolist()
    coins = p.flatten().tolist()
    wanted = [KERNEL_NOISE**2 * (math.copysign(1, w) - 2 * w) + 2 * (w - goal) for w in coins[:4]]
    wanted += [2 * (w - goal) for w in coins[4:]]
    assert found == pytest.approx(wanted, abs=0.15)


def test_rare_coins_have_no_huge_gradients() -> None:
    layer = SynapticConv2d(Convolution((1, 1, 1), (1, 1)), 1000, 16, 8, generator())
    with torch.no_grad():
        layer.weight.fill_(2**-16)
    layer._trained(torch.full((1000, 1), 2.0**-3), generator(1)).sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.abs().max() < 10


def test_draws_have_kernels_of_their_own() -> None:
    layer = SynapticConv2d(PLACE, 3, 4, 8, generator(1))
    x = torch.randint(0, 256, (2, PLACE.inputs), generator=generator(2)).float()
    sums = layer(x, generator(3), 2).detach().view(2, 2, -1)
    assert sums.shape == (2, 2, 3 * 3 * 1) and (sums[0] != sums[1]).any(1).all()


def test_the_seed_and_the_progress(tmp_path: Path) -> None:
    data, files = colours(), []
    steps: list[TrainStep] = []
    for seed in (1, 1, 2):
        network = train(data, (4,), epochs=2, seed=seed, filters=(3,), progress=steps.append)
        modelfile.save(compile_network(network, data.classes, data.input_max), tmp_path / "m.safetensors")
        files.append((tmp_path / "m.safetensors").read_bytes())
    assert files[0] == files[1] != files[2]
    assert [step.step for step in steps[:4]] == [1, 2, 3, 4]


@pytest.mark.parametrize("augment", [False, True])
def test_stopped_and_resumed(tmp_path: Path, augment: bool) -> None:
    data, file = colours(), tmp_path / "m.checkpoint.safetensors"

    def stop(step: TrainStep) -> None:
        if step.step == 3:
            raise KeyboardInterrupt

    def trained(**other: object) -> SynapticNetwork:
        settings: dict = {"hidden": (4,), "epochs": 2, "augment": augment, "filters": (3,)}
        return train(data, **(settings | other))

    whole = trained()
    with pytest.raises(Interrupted):
        trained(checkpoint=file, progress=stop)
    with pytest.raises(SynflipError, match="is of another training: convolutions was"):
        trained(checkpoint=file, resume=True, filters=((2, 3),))
    again = trained(checkpoint=file, resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_images_in_colour_are_learned() -> None:
    """The classes differ by the channel that is brighter: in the wrong order of pixels they do not."""
    data = colours(120)
    network = train(data, (8,), epochs=25, filters=(6,))
    model = compile_network(network, data.classes, data.input_max)
    with Golden() as golden:
        golden.load(model)
        result = golden.infer(data.test_images, 16, 1)
    assert (result.winner == data.test_labels).mean() > 0.95


@pytest.mark.parametrize("filters", [(4,), ((3, 4), 5)])
def test_ordinary_networks_have_the_same_shape(filters: tuple) -> None:
    data = colours()
    shapes = [p.shape for p in float_network(data, (6,), filters).parameters()]
    coins = [layer.weight.shape for layer in train(data, (6,), epochs=1, filters=filters).linear]
    assert [(shape[0], shape[1:].numel()) for shape in shapes[::2]] == [tuple(shape) for shape in coins]


def test_refusals() -> None:
    data = colours()
    for filters, expected in (
        ((4, 4, 4), "filters (4, 4, 4) for images of 7x6: each convolution needs at least one filter, and"),
        ((0,), "at least one filter"),
        (((),), "at least one filter"),
        ((1025,), "layer 0: 1025 outputs; a layer has 1..1024 outputs"),
    ):
        with pytest.raises(SynflipError) as caught:
            train(data, (4,), epochs=1, filters=filters)
        assert expected in str(caught.value)
    arrays = {"bits": 4, "activation_bits": 8, "classes": "ab", "input_max": 255}
    with pytest.raises(SynflipError, match="1 places for 2 layers; give each one, None if dense"):
        compile_layers([[[0.5]], [[0.5], [1]]], [[0], [0, 0]], [1], places=[None], **arrays)
