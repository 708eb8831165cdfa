"""Features of any range: trained, converted, balanced; what a network takes is what its data hold."""

import pickle

import numpy as np
import pytest
import synflip
import torch
from synflip.compiler.compile import compile_network
from synflip.compiler.lane_balance import balance
from synflip.data import Dataset
from synflip.errors import ConversionWarning, SynflipError
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
    model = compile_network(network, DATA.classes, DATA.input_max)
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
    assert accuracy(compile_network(coins, DATA.classes, 255)) > 0.95


def far_away(*shape: int) -> tuple[np.ndarray, torch.Tensor]:
    """Rows of which the first column is 1 in class 1 and else -1, and one row in it is far away; and what a
    network of torch says of each: its class."""
    rows = RNG.normal(0, 0.1, (len(LABELS), *shape))
    rows.reshape(len(rows), -1)[:, 0] += 2 * LABELS - 1
    rows[1] *= 1e4
    return rows, torch.from_numpy(rows).float()


@pytest.mark.parametrize("bits", [8, 4])
def test_what_the_steps_of_inputs_cost_is_said(bits: int) -> None:
    rows, x = far_away(2)
    network = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
        network[0].bias.zero_()
        right = float((network(x[200:]).argmax(1).numpy() == LABELS[200:]).mean())
    parts = rows[:200], LABELS[:200], rows[200:], LABELS[200:]
    data = Dataset.of(*parts)
    mean, std = np.array([0.5, 0]), np.array([2.0, 1])
    with torch.no_grad():  # the same, for (x - mean) / std
        network[0].weight.mul_(torch.from_numpy(std).float())
        network[0].bias.copy_(torch.tensor([0.0, 0.5]))
    with pytest.warns(ConversionWarning) as said:
        ladder = convert(network, data=data, epochs=1, mean=mean, std=std, activation_bits=bits).ladder
    assert ladder is not None and ladder.original == right > 0.99
    assert ladder.vote < 0.7 and ladder.agreement is not None and ladder.agreement < 0.7
    lines = [str(line.message) for line in said]
    assert "the coins lost accuracy" in lines[0]
    assert f"on inputs of {bits} bits the ordinary network has 50.0% in place of 100.0%" in lines[1]
    assert "quantiles" in lines[1]
    # Cut off, nothing is lost, and nothing is said.
    near = Dataset.of(*parts, quantiles=(0.01, 0.99))
    ladder = convert(network, data=near, epochs=1, mean=mean, std=std, activation_bits=bits).ladder
    assert ladder is not None and ladder.original == right and ladder.vote > 0.97 and not ladder.warnings


def test_what_the_steps_of_pictures_in_front_of_a_head_cost_is_said() -> None:
    pictures, x = far_away(1, 2, 2)
    data = Dataset.of(pictures[:200], LABELS[:200], pictures[200:], LABELS[200:])
    front = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU())
    head = nn.Sequential(nn.Flatten(), nn.Linear(8, 2))
    with torch.no_grad():  # x and -x, cut off at 0; the first pixel of both is compared
        front[0].weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
        head[1].weight.zero_()
        head[1].weight[1, 0] = head[1].weight[0, 4] = 1
        head[1].bias.zero_()
        right = float((head(front(x[200:])).argmax(1).numpy() == LABELS[200:]).mean())
    with pytest.warns(ConversionWarning):
        ladder = convert(front, head, data=data, epochs=0).ladder
    assert ladder is not None and ladder.original == right > 0.99 and ladder.vote < 0.7
    assert "the steps of the inputs cost accuracy" in ladder.warnings[1]


def test_pictures_of_any_range_in_front_of_a_head() -> None:
    pictures = RNG.normal(-3, 0.1, (80, 1, 4, 4))
    pictures[1::2, :, :2] += 2
    data = Dataset.of(pictures, LABELS[:80], pictures, LABELS[:80])
    extractor = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.Flatten())
    with torch.no_grad():
        extractor[0].weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
    coins = convert(extractor, (16,), data=data, epochs=20, mean=-2.0, std=1.0)
    model = compile_network(coins, data.classes, data.input_max)
    with Golden() as device:
        device.load(model)
        found = device.infer(pictures, 16, 1)
        assert (found.winner == data.test_labels).mean() > 0.95
        device.load(pickle.loads(pickle.dumps(model)))  # as it goes to a worker of a cluster
        assert (device.infer(pictures, 16, 1).logit_sums == found.logit_sums).all()
    with pytest.raises(SynflipError, match="a table's columns have ranges of their own"):
        convert(extractor, (8,), data=DATA, epochs=0)
