"""Conversion of networks with convolutions: what is read computes what the network computes, and is coins."""

import io
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from synflip.compiler.compile import compile_network
from synflip.data.dataset import Dataset
from synflip.errors import ConversionWarning, SynflipError
from synflip.golden.cpu import Golden
from synflip.modelfile.network import load_network
from synflip.modelfile.onnx import Onnx
from synflip.training.convert import convert
from synflip.training.convnets import float_network
from synflip.training.ordinary import Ordinary, logits
from torch import nn
from torch.nn.utils import prune

from tests.training.digits_networks import DATA, SHARES, fitted

SHAPE = (3, 9, 8)  # of the pictures of these networks
PICTURES = torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(0))


def settled(*modules: nn.Module) -> nn.Sequential:
    """A network of random weights, whose normalisations have statistics and factors of their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = nn.Sequential(*modules)
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.reset_parameters()
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                for value, low in ((module.weight, 0.5), (module.bias, -1), (module.running_mean, -1)):
                    nn.init.uniform_(value, low, 1)
                nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()


class Pictures(nn.Module):
    """Rows as pictures."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(-1, *SHAPE)


NETWORKS: dict[str, Callable[[], nn.Sequential]] = {
    "plain": lambda: settled(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 5)
    ),
    "strides, pads, an edge that is dropped": lambda: settled(
        nn.Conv2d(3, 4, (3, 2), (2, 1), (1, 0)), nn.ReLU6(), nn.MaxPool2d((1, 2)),
        nn.Conv2d(4, 3, 2, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(24, 6), nn.ReLU(),
        nn.Linear(6, 4), nn.Softmax(1),
    ),
    "a maximum in front of the ReLU, and one of maxima": lambda: settled(
        nn.Conv2d(3, 4, 1), nn.MaxPool2d(2), nn.ReLU(), nn.MaxPool2d((2, 1)), nn.Flatten(), nn.Linear(32, 3)
    ),
    "normalised before and behind": lambda: settled(
        nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4),
        nn.MaxPool2d(2), nn.Conv2d(4, 5, 2), nn.ReLU(), nn.BatchNorm2d(5), nn.Flatten(), nn.Dropout(0.3),
        nn.Linear(20, 3),
    ),
    "normalised behind a maximum": lambda: settled(
        nn.Conv2d(3, 4, 3, padding="same"), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
        nn.BatchNorm1d(64), nn.Linear(64, 3),
    ),
    "rows made pictures": lambda: settled(
        Pictures(), nn.Conv2d(3, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(112, 2)
    ),
}  # fmt: skip


def in_a_pt2_file(network: nn.Module, x: torch.Tensor, folder: Path, parts: bool = False) -> nn.Module:
    program = torch.export.export(network, (x,))
    torch.export.save(program.run_decompositions() if parts else program, folder / "m.pt2")
    return load_network(folder / "m.pt2")


def in_onnx(network: nn.Module, x: torch.Tensor, folder: Path) -> nn.Module:
    content = io.BytesIO()
    torch.onnx.export(network, (x,), content, dynamo=False)
    return Onnx(content.getvalue())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", list(NETWORKS))
@pytest.mark.parametrize("form", ["module", "pt2", "decomposed", "onnx"])
def test_what_is_read_computes_the_same(name: str, form: str, tmp_path: Path) -> None:
    """Logits of the layers, of rows in the order y, x, c, against the network itself, of pictures c, y, x."""
    network = NETWORKS[name]()
    x = PICTURES.flatten(1) if name == "rows made pictures" else PICTURES
    given: nn.Module = network
    if form == "onnx":
        given = in_onnx(network, x, tmp_path)
    elif form != "module":
        given = in_a_pt2_file(network, x, tmp_path, form == "decomposed")
    read = Ordinary(given, x.shape[1:])
    read.check(PICTURES.flatten(1).double())
    found = logits(read.layers, read.ordered(PICTURES.flatten(1).double()))
    with torch.no_grad():
        wanted = network.double()(x.double())
    if isinstance(network[-1], nn.Softmax):
        found = found.softmax(1)
    assert torch.allclose(found, wanted, atol=1e-5) and float(wanted.std()) > 1e-3


CONV = nn.Conv2d(3, 4, 3, padding=1)
END = (nn.ReLU(), nn.Flatten(), nn.Linear(288, 3))


class Doubled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(216, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last((self.conv(x) + x).relu().flatten(1))


def with_factor(factor: float, *modules: nn.Module) -> nn.Sequential:
    """With a normalisation whose second channel has this factor."""
    network = settled(*modules)
    with torch.no_grad():
        next(module for module in network if isinstance(module, nn.BatchNorm2d)).weight[1] = factor
    return network


def test_a_channel_whose_factor_is_0() -> None:
    """A normalisation that switches a channel off, in front of a maximum and behind one: the maximum of what
    is the same everywhere is the same."""
    end = (nn.Flatten(), nn.Linear(64, 3))
    for modules in (
        (CONV, nn.ReLU(), nn.BatchNorm2d(4), nn.MaxPool2d(2)),
        (CONV, nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.ReLU()),
    ):
        network = with_factor(0, *modules, *end)
        read = Ordinary(network, SHAPE)
        read.check(PICTURES.flatten(1).double())
        assert read.layers[0].place is not None and read.layers[0].place.pool == (2, 2)


def pruned(network: nn.Sequential) -> None:
    for module in (network[0], network[1]):
        prune.l1_unstructured(module, "weight", 0.3)


def weight_norm(network: nn.Sequential) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(network[0])


def spectral_norm(network: nn.Sequential) -> None:
    nn.utils.spectral_norm(network[0])


@pytest.mark.parametrize("change", [pruned, weight_norm, spectral_norm])
def test_weights_that_are_made_before_each_pass(change: Callable[[nn.Sequential], None]) -> None:
    """As a pass would make them, also where those of now are stale: a state dict was loaded."""
    networks = []
    for _ in range(2):
        networks.append(settled(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), *END[:2], nn.Linear(168, 3)))
        change(networks[-1])
    given, wanted = networks
    with torch.no_grad():
        wanted.train()(PICTURES)
        for value in wanted.parameters():
            value += 0.1
    given.load_state_dict(wanted.state_dict())
    read = Ordinary(given, SHAPE)
    with torch.no_grad():
        found = wanted.eval()(PICTURES)
    assert torch.allclose(
        logits(read.layers, read.ordered(PICTURES.flatten(1).double())).float(), found, atol=1e-4
    )


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (settled(nn.Conv2d(3, 6, 3, padding=1, groups=3), nn.ReLU(), nn.Flatten(), nn.Linear(432, 3)),
         "module 0 (Conv2d) has 3 groups of channels (depthwise)"),
        (settled(nn.Conv2d(3, 4, 3, padding=2, dilation=2), *END), "module 0 (Conv2d) is dilated by [2, 2]"),
        (settled(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), *END),
         "module 0 (Conv2d) pads by an operation of its own"),
        (settled(nn.Conv2d(3, 4, 2, padding="same"), *END), "module 0 (Conv2d) pads by [0, 0, 1, 1] (above"),
        (settled(CONV, nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 3)),
         "module 2 (AvgPool2d) cannot be made of coins; allowed are Linear and Conv2d layers"),
        (settled(CONV, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
         "module 2 (AdaptiveAvgPool2d) cannot be made of coins"),
        (settled(CONV, nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten(), nn.Linear(48, 3)),
         "module 2 (MaxPool2d) has windows of [3, 3] at a stride of [2, 2]"),
        (settled(CONV, nn.ReLU(), nn.MaxPool2d(2, padding=1), nn.Flatten(), nn.Linear(100, 3)),
         "pads or dilates"),
        (settled(CONV, nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True), nn.Flatten(), nn.Linear(80, 3)),
         "ceil_mode"),
        (settled(CONV, nn.ReLU(), nn.MaxPool2d(5), nn.Flatten(), nn.Linear(4, 3)),
         "module 2 (MaxPool2d): `pool` of a convolution is [5, 5]"),
        (settled(nn.Conv2d(3, 4, 8, padding=4), nn.ReLU(), nn.Flatten(), nn.Linear(360, 3)),
         "module 0 (Conv2d): `kernel` of a convolution is [8, 8]"),
        (settled(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(48, 3)),
         "module 0 (MaxPool2d) does not come after a Conv2d"),
        (settled(CONV, nn.Conv2d(4, 4, 1), *END),
         "module 1 (Conv2d) comes after a Conv2d without a ReLU"),
        (settled(nn.BatchNorm2d(3), CONV, *END),
         "module 0 (BatchNorm2d) moves what module 1 (Conv2d) takes, which pads with zeros"),
        (with_factor(-1, CONV, nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)),
         "module 2 (BatchNorm2d) has a factor below 0 behind a maximum"),
        (with_factor(-1, CONV, nn.ReLU(), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)),
         "module 2 (BatchNorm2d) has a factor below 0 in front of module 3 (MaxPool2d)"),
        (settled(CONV, nn.ReLU(), nn.Flatten(), nn.Unflatten(1, (4, 8, 9)), nn.Conv2d(4, 2, 1), nn.ReLU(),
                 nn.Flatten(), nn.Linear(144, 3)), "module 4 (Conv2d) takes [4, 8, 9] of what is no picture"),
        (settled(nn.Flatten(), nn.Linear(216, 8), nn.ReLU(), nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 2, 1),
                 nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)),
         "module 4 (Conv2d) takes [2, 2, 2] of what is no picture"),
        (Doubled(), "combines results of the network"),
    ],
)  # fmt: skip
def test_refusals(network: nn.Module, expected: str) -> None:
    with pytest.raises(SynflipError) as caught:
        Ordinary(network, SHAPE)
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_everything_becomes_coins() -> None:
    """A network with convolutions on digits: the mean of its coins answers as it does, and the file is one
    of version 2."""
    network = settled(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(128, 10),
    )  # fmt: skip
    fitted(network.train(), SHARES.view(-1, 1, 8, 8), steps=60)
    coins = convert(network, data=DATA, bits=8, epochs=2)
    assert coins.ladder is not None and coins.ladder.original is not None
    assert coins.ladder.original > 0.93 and coins.ladder.converted is not None
    assert coins.ladder.converted > 0.8 and coins.ladder.vote > coins.ladder.original - 0.02
    model = compile_network(coins, DATA.classes, DATA.input_max)
    assert model.shape == "8x8x1-8(3x3, pad 1x1, pool 2x2)-10" and model.version == 2
    with Golden() as golden:
        golden.load(model)
        vote = golden.infer(DATA.test_images, 16, 1).winner
    assert (vote == DATA.test_labels).mean() > coins.ladder.original - 0.02


def in_colour() -> Dataset:
    """The digits in the green of three channels, and noise in the others."""
    rng = np.random.default_rng(0)

    def coloured(images: np.ndarray) -> np.ndarray:
        return np.stack([rng.integers(0, 9, images.shape), images, rng.integers(0, 9, images.shape)], 1)

    train, test = (coloured(images).reshape(-1, 192) for images in (DATA.train_images, DATA.test_images))
    return replace(DATA, train_images=train, test_images=test, shape=(3, 8, 8))


def test_the_order_of_images_in_colour() -> None:
    """Before fine-tuning, with k = 16 and mean and std of each channel: the right order of pixels everywhere,
    or the answers would be those of chance."""
    data, mean, std = in_colour(), [0.2, 0.3, 0.1], [0.5, 0.4, 0.6]
    x = (torch.from_numpy(data.train_images).float() / 16).view(-1, 3, 8, 8)
    x = (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    network = settled(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 10))
    fitted(network, x, steps=60)
    coins = convert(network, data=data, bits=16, epochs=0, mean=mean, std=std)
    assert coins.channels_first and coins.ladder is not None and coins.ladder.agreement is not None
    assert coins.ladder.original is not None and coins.ladder.original > 0.9
    assert coins.ladder.agreement > 0.75


def test_normalised_images_with_zeros_around_them() -> None:
    network = settled(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
    fitted(network, (SHARES.view(-1, 1, 8, 8) - 0.3) / 0.4, steps=30)
    with pytest.warns(
        ConversionWarning, match=r"module 0 \(Conv2d\) pads normalised images with 0, their mean"
    ):
        coins = convert(network, data=DATA, epochs=2, mean=0.3, std=0.4)
    assert coins.ladder is not None and coins.ladder.vote > 0.85
    with pytest.raises(SynflipError, match="mean differs between pixels of a channel"):
        convert(network, data=DATA, epochs=0, mean=np.linspace(0, 1, 64).tolist())


def test_ordinary_networks_of_our_own() -> None:
    """What ``convnets`` trains normalises inside and pads: it says so; without a mean it is taken."""
    with pytest.raises(SynflipError, match=r"moves what .* takes, which pads with zeros"):
        convert(float_network(DATA, (8,), (4,)), data=DATA, epochs=0)


@pytest.mark.parametrize("rows", [False, True])
def test_heads_with_convolutions(rows: bool) -> None:
    """Features in the order y, x, c, whether the front gives maps or rows: with k = 16 the coins answer as
    the network, and so does the golden model."""
    front = settled(nn.Conv2d(1, 4, 3), nn.ReLU(), *([nn.Flatten()] if rows else []))
    head = settled(
        *([nn.Unflatten(1, (4, 6, 6))] if rows else []), nn.Conv2d(4, 8, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip
    fitted(nn.Sequential(front, head), SHARES.view(-1, 1, 8, 8), steps=60)
    coins = convert(front, head, data=DATA, bits=16, epochs=0)
    assert not coins.head.channels_first and coins.ladder is not None and coins.ladder.agreement is not None
    assert coins.ladder.original is not None and coins.ladder.original > 0.9
    assert coins.ladder.agreement > 0.75
    model = compile_network(coins, DATA.classes, DATA.input_max)
    assert model.shape == "6x6x4-8(3x3, pool 2x2)-10"
    with Golden() as golden:
        golden.load(model)
        vote = golden.infer(DATA.test_images, 64, 1).winner
    assert (vote == DATA.test_labels).mean() > coins.ladder.vote - 0.05


def test_boards() -> None:
    data = in_colour()
    with pytest.raises(
        SynflipError, match="has convolutions, and what fits a board is known of dense layers"
    ):
        convert(
            settled(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)), data=data,
            check_sizes=lambda sizes: None,
        )  # fmt: skip
