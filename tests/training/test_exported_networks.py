"""Modules of any class: what torch.export makes of their forwards is read as layers, or refused by name."""

from dataclasses import replace

import numpy as np
import pytest
import synflip
import torch
from synflip.errors import SynflipError
from synflip.modelfile.network import load_network
from synflip.training.ordinary import Ordinary, logits
from torch import nn
from torch.nn import functional

from tests.training.digits_networks import DATA, SHARES, fitted

pytestmark = pytest.mark.usefixtures("one_thread")

ROWS = SHARES[:64].double()


def found(network: nn.Module) -> torch.Tensor:
    """Logits of the layers that are read, after they were compared with the network's own outputs."""
    ordinary = Ordinary(network, (64,), (1, 8, 8))
    ordinary.check(ROWS)
    return logits(ordinary.layers, ROWS).float()


class Written(nn.Module):
    """A network whose weights belong to no Linear."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Parameter(torch.randn(64, 20)), nn.Parameter(torch.randn(10, 20))
        self.bias = nn.Parameter(torch.randn(20))
        self.register_buffer("mean", torch.linspace(0, 1, 64), persistent=False)

    def forward(self, x):
        x = (x.reshape(len(x), -1) - self.mean) / 0.5
        x = functional.relu(x @ self.first + self.bias)
        return functional.linear(x * 2 + 1, self.last)


class Addmm(Written):
    def forward(self, x):
        x = torch.addmm(self.bias, x, self.first).clamp(min=0, max=4)
        return torch.mm(x, self.last.t())


class Inverted(Written):
    """Signs change in front, of sums, and between the layers."""

    def forward(self, x):
        x = 1 - x.float().reshape(len(x), -1)
        x = self.mean - (x * -1 + 0.75)
        x = functional.relu(-(x @ self.first + self.bias))
        return functional.linear(2.5 - torch.rsub(x.neg().sub(1), self.bias), self.last)


class Residual(Written):
    def forward(self, x):
        h = (x @ self.first).relu()
        return (h + (h @ self.last.T @ self.last).relu()) @ self.last.T


class Two(Written):
    def forward(self, x):
        h = (x @ self.first).relu()
        return h @ self.last.T, h


class Summed(Written):
    def forward(self, x):
        return functional.linear((x @ self.first).relu(), self.last).sum()


class Negative(Written):
    def forward(self, x):
        return functional.linear((x @ self.first).clamp(-1, 1), self.last)


class Maximum(Written):
    def forward(self, x):
        return functional.linear(functional.max_pool1d(x @ self.first, 1), self.last)


class Transposed(Written):
    def forward(self, x):
        return functional.linear(
            (x.view(-1, 8, 8).transpose(1, 2).reshape(-1, 64) @ self.first).relu(), self.last
        )


class InPlace(Written):
    def forward(self, x):
        return functional.linear((x @ self.first.detach().mul_(2)).relu(), self.last)


class Casts(Written):
    def forward(self, x):
        return functional.linear((x @ self.first).half().float().relu(), self.last)


@pytest.mark.parametrize("kind", [Written, Addmm, Inverted])
def test_forwards_of_ones_own(kind, tmp_path):
    network = kind().eval()
    path = tmp_path / "n.pt2"
    torch.export.save(torch.export.export(network, (ROWS[:2].float(),)), path)
    with torch.no_grad():
        for read in (network, load_network(path)):
            assert torch.allclose(found(read), network(ROWS.float()), atol=1e-3)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Residual, "operation add combines results of the network, so it is no layer of a chain"),
        (Two, "the network gives a tuple, not one tensor, the logits"),
        (Summed, "the network gives one number for all images, not logits"),
        (Negative, "operation clamp cuts off at -1 and 1, and activations of coins are counts from 0"),
        (Transposed, "operation transpose cannot be made of coins"),
        (InPlace, "operation mul_ changes a constant of the network in place"),
        (Casts, "computes something else than its layers"),
    ],
)
def test_what_is_no_chain_is_refused(kind, message):
    network = kind().eval()
    with pytest.raises(SynflipError, match=message) as said:
        found(network)
    assert "\n" not in str(said.value)


def normalised(*layers: nn.Module) -> nn.Sequential:
    torch.manual_seed(1)
    network = nn.Sequential(*layers)
    for module in network:
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.track_running_stats:
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.1, 2)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine:
            nn.init.uniform_(module.weight, -1, 2)
            nn.init.uniform_(module.bias, -1, 1)
    return network.eval()


@pytest.mark.parametrize(
    "network",
    [
        normalised(nn.BatchNorm1d(64, eps=0.3), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10)),
        normalised(nn.Linear(64, 20), nn.ReLU(), nn.BatchNorm1d(20, affine=False), nn.Linear(20, 10)),
        normalised(
            nn.Linear(64, 20), nn.BatchNorm1d(20), nn.Hardtanh(0, 2), nn.BatchNorm1d(20), nn.Linear(20, 10)
        ),
        normalised(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10)),
    ],
)
def test_batch_normalisation_wherever_it_is(network):
    """The last takes images, whose channel has one mean."""
    x = ROWS.float().view(-1, 1, 8, 8) if isinstance(network[0], nn.BatchNorm2d) else ROWS.float()
    with torch.no_grad():
        assert torch.allclose(found(network), network(x), atol=1e-3)


def test_batch_normalisation_of_the_batch_is_refused():
    network = normalised(nn.Linear(64, 10), nn.BatchNorm1d(10, track_running_stats=False))
    with pytest.raises(
        SynflipError, match=r"module 1 \(BatchNorm1d\) has no running statistics .*depends on"
    ):
        found(network)


@pytest.mark.parametrize("ends", [(), (nn.Sigmoid(),)])
def test_one_output_of_two_classes_becomes_two_logits(ends):
    torch.manual_seed(2)
    network = nn.Sequential(nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 1), *ends).eval()
    with torch.no_grad():
        z = network[:3](ROWS.float())
    assert torch.allclose(found(network), torch.cat([-z / 2, z / 2], 1), atol=1e-5)
    with pytest.raises(SynflipError, match="the last Linear gives 1 logits; digits has 10 classes"):
        synflip.convert(network, data=DATA, epochs=0)


def test_a_network_of_two_classes_is_right():
    labels = [np.asarray(part) % 2 for part in (DATA.train_labels, DATA.test_labels)]
    data = replace(DATA, train_labels=labels[0], test_labels=labels[1], classes=("even", "odd"))
    torch.manual_seed(2)
    network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    optimiser, wanted = torch.optim.Adam(network.parameters(), lr=0.01), torch.from_numpy(labels[0]).float()
    for _ in range(100):
        optimiser.zero_grad()
        functional.binary_cross_entropy_with_logits(network(SHARES)[:, 0], wanted).backward()
        optimiser.step()
    ladder = synflip.convert(network.eval(), data=data, epochs=6, bits=8).ladder
    with torch.no_grad():
        answers = network(torch.from_numpy(DATA.test_images).float() / DATA.input_max)[:, 0] > 0
    assert ladder.original == pytest.approx((answers.numpy() == labels[1]).mean(), abs=0.003)
    assert ladder.original > 0.9 and ladder.vote > ladder.original - 0.05


def test_a_linear_alone_and_an_argmax():
    torch.manual_seed(3)
    linear = nn.Linear(64, 10)

    class Answers(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = linear

        def forward(self, x):
            return self.inner(x.flatten(1)).argmax(-1)

    with torch.no_grad():
        assert torch.allclose(found(linear), linear(ROWS.float()), atol=1e-4)
    assert torch.equal(found(Answers()), found(linear))


def test_a_file_is_converted_as_the_module_is(tmp_path):
    torch.manual_seed(4)
    network = fitted(nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)), steps=40)
    path = tmp_path / "m.pt2"
    for count, names in ((2, str), (3, lambda path: path)):  # of images that it was exported for
        torch.export.save(torch.export.export(network, (SHARES[:count],)), path)
        ours = synflip.convert(names(path), data=DATA, epochs=0)
        theirs = synflip.convert(network, data=DATA, epochs=0)
        assert ours.ladder == theirs.ladder
        assert all(
            torch.equal(a, b)
            for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
        )
