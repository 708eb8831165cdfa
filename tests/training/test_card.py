"""The card of a network: what the file of its model says of where it comes from, from Python as from the
command line; and the input quantizer, which goes with it."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import synflip
import torch
from synflip.cli import app
from synflip.compiler.compile import compile_network
from synflip.data import Dataset
from synflip.training import convnets
from synflip.training.card import MAX_NUMBERS, data_digest, normalisation
from synflip.training.train import train
from torch import nn

from tests.training.digits_networks import DATA, SHARES

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::synflip.ConversionWarning"),
]
RNG = np.random.default_rng(5)
TABLE = RNG.normal(-3, 1, (80, 4)), np.arange(80) % 2


def compiled(network) -> synflip.CompiledModel:
    return compile_network(network, ["0", "1"], 255)


def test_a_network_of_python_says_what_a_command_writes(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    words = ["--hidden", "8", "--epochs", "1", "--seed", "7", "--mean-of", "2", "--teachers", "1"]
    assert app.main(["train", *words, "--samples", "2", "--out", str(path)]) == 0
    written = synflip.load(path).source
    teacher = nn.Linear(64, 10)
    network = train(DATA, (8,), epochs=1, seed=7, mean_of=2, teachers=[teacher])
    found = compile_network(network, DATA.classes, DATA.input_max).source
    votes = {"votes", "accuracy_of_one_sample", "accuracy_of_the_vote"}
    assert set(written) - set(found) == votes | {"energy_threshold", "false_alarms", "energy_samples"}
    assert {name for name in found if found[name] != written[name]} == {"logit_scale"}  # of another teacher
    assert found["data_sha256"] == data_digest(DATA)
    own = compile_network(network, DATA.classes, DATA.input_max, {"mine": 1}).source
    assert set(own) == {"mine", "logit_scale"}
    assert train(DATA, (8,), epochs=1, signed=False).source["signed"] is False
    behind = convnets.train(DATA, (8,), (2,), epochs=1, augment=True)
    assert compile_network(behind, DATA.classes, DATA.input_max).source["augment"] is True


def test_the_input_quantizer_is_that_of_the_data() -> None:
    """Whole numbers in 0..255 would be taken for pixels by a model without it."""
    data = Dataset.of(np.arange(80.0).reshape(40, 2) * 3, np.arange(40) % 2, seed=3)
    for network in (
        train(data, (8,), epochs=1),
        synflip.convert(nn.Sequential(nn.Linear(2, 2)), data=data, epochs=0),
    ):
        assert compiled(network).input_quantizer is data.input_quantizer
        assert compiled(network).source["data"] == "data (a quarter of each class held out by seed 3)"
    other = Dataset.of(*TABLE).input_quantizer
    wide = train(Dataset.of(*TABLE), (8,), epochs=1)
    assert compiled(wide).input_quantizer is not other
    assert compile_network(wide, ["a", "b"], 255, input_quantizer=other).input_quantizer is other
    assert compile_network(train(DATA, (8,), epochs=1), DATA.classes, 16).input_quantizer is None


def test_what_a_conversion_says(tmp_path: Path) -> None:
    front, head = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), nn.Sequential(nn.Flatten(), nn.Linear(72, 10))
    both, file = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval(), tmp_path / "net.pt2"
    torch.export.save(torch.export.export(both, (SHARES[:2],)), file)
    coins = synflip.convert(file, data=DATA, epochs=0, seed=2, mean=0.25, std=np.full(64, 0.5, np.float32))
    said = compile_network(coins, DATA.classes, DATA.input_max).source
    assert said["network"] == "net.pt2" and said["seed"] == 2 and said["epochs"] == 0
    assert said["network_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert said["mean"] == [0.25] and said["std"] == [0.5] * 64 and "features" not in said
    assert coins.ladder is not None and said["accuracy_of_the_vote"] == coins.ladder.vote
    assert said["accuracy_of_the_network"] == coins.ladder.original and said["votes"] == 16
    parts = {
        ("Sequential", None): (both, None, {}),
        ("Sequential", "Sequential"): (front, head, {}),
        (None, "Sequential"): (front, [8], {}),
        ("Sequential", "0.0"): (nn.Sequential(front, head), None, {"features": "0.0"}),
    }
    for (network, features), (module, behind, more) in parts.items():
        said = synflip.convert(module, behind, data=DATA, epochs=0, **more).source
        assert (said.get("network"), said.get("features")) == (network, features)
    assert normalisation(np.zeros(MAX_NUMBERS + 1), torch.ones(1)) == {"std": [1.0]}
