"""One network split by the name of a layer: what stays in front, and what becomes coins."""

from pathlib import Path

import pytest
import synflip
import torch
from synflip import modelfile
from synflip.cli import app
from synflip.errors import SynflipError
from synflip.modelfile.network import load_network
from synflip.training.ordinary import Ordinary, Trained
from torch import nn

from tests.training.digits_networks import DATA, SHARES, fitted

PICTURES = SHARES[:40].view(-1, 1, 8, 8)

pytestmark = pytest.mark.usefixtures("one_thread")


class Branched(nn.Module):
    """A skip connection, which no coins have, a pooling that is used twice, and rows made by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.conv2 = nn.Conv2d(4, 6, 2)
        self.act = nn.ReLU()
        self.norm = nn.BatchNorm1d(6)
        self.fc1 = nn.Linear(6, 16)
        self.fc2 = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(torch.relu(self.conv1(x)))
        x = torch.relu(x + self.block(x))
        x = self.pool(self.act(self.conv2(x)))
        x = self.norm(x.view(x.size(0), -1))
        return self.fc2(torch.relu(self.fc1(x)))


@pytest.fixture(scope="module")
def branched() -> nn.Module:
    torch.manual_seed(4)
    return fitted(Branched(), SHARES.view(-1, 1, 8, 8), steps=100)


def as_pt2(network: nn.Module, folder: Path, decomposed: bool = False) -> Path:
    program = torch.export.export(network, (PICTURES,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    path = folder / "m.pt2"
    torch.export.save(program.run_decompositions() if decomposed else program, path)
    return path


CUTS = {
    "conv1": [4, 4, 4],  # behind the pooling, before the block
    "relu": [4, 4, 4],
    "pool": [4, 4, 4],
    "block": [4, 4, 4],  # behind the sum, before conv2
    "block.0": [4, 4, 4],
    "conv2": [6],  # a normalisation in front of fc1 becomes part of it
    "act": [6],
    "pool@1": [6],
    "norm": [6],
    "fc1": [16],
}


@pytest.mark.parametrize("source", ["module", "file", "decomposed"])
def test_where_the_cut_is(source: str, branched: nn.Module, tmp_path: Path) -> None:
    """Both parts together are compared with the network inside; here, what the front gives."""
    network = branched
    if source != "module":
        network = load_network(as_pt2(branched, tmp_path, source == "decomposed"))
    given = Trained(network, (64,), (1, 8, 8))
    for layer, wanted in list(CUTS.items())[:: 1 if network is not branched else 3]:  # an export takes long
        front, rest = given.split(layer, PICTURES.flatten(1))
        with torch.no_grad():
            assert list(front(PICTURES[:3]).shape[1:]) == wanted, layer
            found = rest(front(PICTURES))
            torch.testing.assert_close(found, branched(PICTURES), rtol=1e-4, atol=1e-5)
    front, rest = given.split("conv2", PICTURES.flatten(1))
    layers = Ordinary(rest, (6,)).layers
    assert [layer.weight.shape[1] for layer in layers] == [6, 16]
    assert float(front(PICTURES).min()) >= 0  # the normalisation would make counts below 0 of them


def test_names_that_are_not_there(branched: nn.Module, tmp_path: Path) -> None:
    for network, start in (
        (branched, "there is no layer"),
        (as_pt2(branched, tmp_path), f"{tmp_path / 'm.pt2'}: there is no layer"),
    ):
        with pytest.raises(SynflipError) as caught:
            synflip.convert(network, features="conv9", data=DATA, epochs=0)
        line = str(caught.value)
        assert line.startswith(f"{start} 'conv9'; there are conv1, relu, pool, block, block.0, "), line
        assert "pool@1" in line and "\n" not in line


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("fc2", "behind the layer 'fc2' there are no weights that could be coins"),
        ("conv1", r"operation add of .* combines results|combines results of the network"),
    ],
)
def test_what_cannot_be_split(layer: str, message: str, branched: nn.Module) -> None:
    with pytest.raises(SynflipError, match=message):
        synflip.convert(branched, features=layer, data=DATA, epochs=0)


def test_a_head_and_a_layer(branched: nn.Module) -> None:
    with pytest.raises(SynflipError, match="a head is given"):
        synflip.convert(branched, [10], features="conv1", data=DATA)


def test_coins_behind_a_layer(branched: nn.Module) -> None:
    """The same front, given apart, makes the same network."""
    coins = synflip.convert(branched, features="conv2", data=DATA, epochs=0, bits=8)
    front, rest = Trained(branched, (1, 8, 8)).split("conv2", PICTURES.flatten(1))
    apart = synflip.convert(front, rest, data=DATA, epochs=0, bits=8)
    assert coins.ladder == apart.ladder and coins.ladder is not None
    assert coins.ladder.original is not None and coins.ladder.original > 0.8
    with torch.no_grad():
        answers = branched(torch.from_numpy(DATA.test_images).float().view(-1, 1, 8, 8) / 16).argmax(1)
    assert coins.ladder.original == float((answers.numpy() == DATA.test_labels).mean())


def test_networks_of_rows_and_weights_that_are_made() -> None:
    torch.manual_seed(0)
    made = nn.utils.parametrizations.weight_norm
    network = fitted(nn.Sequential(made(nn.Linear(64, 20)), nn.ReLU(), made(nn.Linear(20, 10))), steps=60)
    coins = synflip.convert(network, features="0", data=DATA, epochs=0, bits=8)
    assert coins.ladder is not None and coins.ladder.agreement is not None and coins.ladder.agreement > 0.8


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By a module's name of a .pt2 file, by a node's name of an ONNX file; a name that is a file is one."""
    torch.manual_seed(5)
    layers = (nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4), nn.MaxPool2d(2))
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, 10))
    fitted(network.train(), SHARES.view(-1, 1, 8, 8), steps=60)
    with torch.no_grad():  # so that no feature is below 0
        network[3].weight.abs_()
        network[3].bias.copy_(
            network[3].running_mean * network[3].weight / (network[3].running_var + 1e-5).sqrt()
        )
    file, onnx, out = as_pt2(network, tmp_path), tmp_path / "m.onnx", tmp_path / "o.safetensors"
    with pytest.warns(DeprecationWarning):
        torch.onnx.export(network, (PICTURES,), onnx, dynamo=False)
    models = []
    for model, layer in ((file, "2"), (onnx, "/0/Conv")):
        arguments = ["convert", str(model), "--features", layer, "--epochs", "0", "--bits", "8"]
        assert app.main([*arguments, "--out", str(out)]) == 0, capsys.readouterr().err
        models.append(modelfile.load(out))
    assert [model.shape for model in models] == ["36-16-10"] * 2
    assert [model.source["features"] for model in models] == ["2", "/0/Conv"]
    same = {model.source["accuracy_of_the_network"] for model in models}
    assert len(same) == 1 and min(same) > 0.5
    capsys.readouterr()
    (tmp_path / "2").write_text("no network")
    for value in (str(tmp_path / "2"), "2.pt2"):
        assert app.main(["convert", str(file), "--features", value, "--out", str(out)]) == 1
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and value in line and "there is no layer" not in line
    assert app.main(["convert", str(onnx), "--features", "conv9", "--out", str(out)]) == 1
    line = capsys.readouterr().err
    assert "m.onnx: there is no layer 'conv9'; there are /0/Conv, " in line and line.count("\n") == 1
