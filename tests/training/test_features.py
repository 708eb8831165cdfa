"""Features of any range: trained, converted, balanced; what a network takes is what its data hold."""

import pickle

import numpy as np
import pytest
import synflip
import torch
from synflip.compiler.compile import compile_network
from synflip.compiler.lane_balance import balance
from synflip.data import Dataset
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.training.convert import convert
from synflip.training.train import train
from torch import nn

RNG = np.random.default_rng(4)
LABELS = np.arange(400) % 2
#: Class 1 has a larger first feature; the second says nothing, the third is constant.
ROWS = np.column_stack(
    [RNG.normal(-300, 20, 400) + 100 * LABELS, RNG.normal(0, 1e-6, 400), np.full(400, 7.0)]
)
DATA = Dataset.of(ROWS, LABELS, ROWS[:100], LABELS[:100], ["low", "high"])


def accuracy(model: synflip.CompiledModel) -> float:
    with Golden() as device:
        device.load(model)
        return float((device.infer(DATA.test_images, 16, 1).winner == DATA.test_labels).mean())


def test_train() -> None:
    network = train(DATA, (16,), epochs=20)
    model = compile_network(network, DATA.classes, DATA.input_max, input_quantizer=DATA.input_quantizer)
    assert accuracy(model) > 0.95
    assert accuracy(balance(model, DATA.train_images)) > 0.95


@pytest.mark.parametrize("standard", [False, True])
def test_a_network_of_features_is_converted_as_it_is(standard: bool) -> None:
    """Before any fine-tuning: so the ranges, the means and the standard deviations are folded in."""
    mean, std = (ROWS.mean(0), np.array([50.0, 1e-6, 2.0])) if standard else (np.zeros(3), np.ones(3))
    network = nn.Sequential(nn.Linear(3, 2))
    with torch.no_grad():  # class 1 above -250; the third feature adds the same to both
        slope = torch.tensor([[0.0, 0, 3], [std[0] / 20, 0, 3]], dtype=torch.float32)
        network[0].weight.copy_(slope)
        network[0].bias.copy_(torch.tensor([0.0, (250 + mean[0]) / 20]))
    if standard:
        coins = convert(network, data=DATA, epochs=0, mean=mean, std=std)
    else:
        coins = convert(network, data=DATA, epochs=0)
    assert coins.ladder is not None and coins.ladder.original is not None
    assert coins.ladder.original > 0.97 and coins.ladder.vote > 0.95
    assert accuracy(compile_network(coins, DATA.classes, 255, input_quantizer=DATA.input_quantizer)) > 0.95


def test_pictures_of_any_range_in_front_of_a_head() -> None:
    pictures = RNG.normal(-3, 0.1, (80, 1, 4, 4))
    pictures[1::2, :, :2] += 2
    data = Dataset.of(pictures, LABELS[:80], pictures, LABELS[:80])
    extractor = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.Flatten())
    with torch.no_grad():
        extractor[0].weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
    coins = convert(extractor, (16,), data=data, epochs=20, mean=-2.0, std=1.0)
    model = compile_network(coins, data.classes, data.input_max, input_quantizer=data.input_quantizer)
    with Golden() as device:
        device.load(model)
        found = device.infer(pictures, 16, 1)
        assert (found.winner == data.test_labels).mean() > 0.95
        device.load(pickle.loads(pickle.dumps(model)))  # as it goes to a worker of a cluster
        assert (device.infer(pictures, 16, 1).logit_sums == found.logit_sums).all()
    with pytest.raises(SynflipError, match="a table's columns have ranges of their own"):
        convert(extractor, (8,), data=DATA, epochs=0)
