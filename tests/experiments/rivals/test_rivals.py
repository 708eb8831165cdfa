"""Rivals of coins: their formulas, computed here in another way."""

import math

import numpy as np
import pytest
import torch
from synflip.data.dataset import Dataset
from synflip.data.registry import load
from synflip.experiments.coin_variants import unsampled_logits
from synflip.experiments.rivals.clipped import Clipped, flipped
from synflip.experiments.rivals.laplace import PRECISIONS, LastLayerLaplace
from synflip.experiments.rivals.masksembles import MASKS, Masks, Masksembles
from synflip.experiments.rivals.sngp import BOUND, FEATURES, RandomFeatures, Sngp
from synflip.spec.coins import threshold
from synflip.training.baseline import float_network
from synflip.training.loop import TrainStep
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


@pytest.fixture(scope="module")
def x(digits: Dataset) -> Tensor:
    return torch.from_numpy(digits.train_images).float() / 16


def test_each_mask_leaves_another_network(digits: Dataset, x: Tensor) -> None:
    network = Masksembles(digits, (64, 32), 1)
    masks = [module.masks.bool() for module in network if isinstance(module, Masks)]
    assert [mask.shape for mask in masks] == [(MASKS, 64), (MASKS, 32)]
    for mask in masks:
        assert mask.any(0).all() and len({tuple(row) for row in mask.tolist()}) == MASKS
        assert set(mask.sum(1).tolist()) <= set(range(mask.shape[1] // 2 - 1, mask.shape[1] * 3 // 4))
    layers = [module for module in network if isinstance(module, nn.Linear)]

    def masked(images: Tensor, number: int) -> Tensor:
        for layer, mask in zip(layers, masks, strict=False):
            images = layer(images).relu().where(mask[number], 0)
        return layers[-1](images)

    with torch.no_grad():
        found = network.eval()(x[:6]).view(MASKS, 6, 10)
        assert torch.allclose(found, torch.stack([masked(x[:6], n) for n in range(MASKS)]), atol=1e-5)
        trained = network.train()(x[:8])
        assert torch.allclose(
            trained, torch.cat([masked(x[2 * n : 2 * n + 2], n) for n in range(MASKS)]), atol=1e-5
        )
    assert torch.equal(
        masks[0], next(m for m in Masksembles(digits, (64, 32), 1) if isinstance(m, Masks)).masks.bool()
    )


def test_a_gaussian_process_is_less_sure_far_from_the_training_images(digits: Dataset, x: Tensor) -> None:
    network = Sngp(digits, (48,), 1)
    small = network.layers[0].weight.detach().clone() / 100
    with torch.no_grad():
        network.layers[0].weight.copy_(small)
        network.constrain()
        assert torch.equal(network.layers[0].weight, small)
        network.layers[0].weight.mul_(10_000)
        for _ in range(60):
            network.constrain()
        assert torch.linalg.matrix_norm(network.layers[0].weight, 2) == pytest.approx(BOUND, rel=0.01)
        network.eval().settle(x)
        process = network[2]
        assert isinstance(process, RandomFeatures)
        features = math.sqrt(2 / FEATURES) * torch.cos(
            nn.functional.layer_norm(network[0](x).relu(), (48,)) @ process.weight.T + process.phase
        )
        precision = torch.eye(FEATURES).double() + features.T.double() @ features.double()
        variance = (features.double() * torch.linalg.solve(precision, features.T.double()).T).sum(1)
        wanted = network[3](features) / (1 + math.pi / 8 * variance[:, None]).sqrt()
        assert torch.allclose(network(x), wanted.float(), atol=1e-3)
        noise = torch.rand(200, 64, generator=torch.Generator().manual_seed(0)) * 5
        apart = network.train()(noise) / network.eval()(noise)
        near = network.train()(x) / network.eval()(x)
        assert apart.median() > near.median() > 1


def test_laplace_is_the_inverse_of_the_curvature(digits: Dataset, x: Tensor) -> None:
    network = float_network(digits, (5,), 1).eval()
    labels = digits.train_labels[:200]
    laplace = LastLayerLaplace(network, x, x[:200], labels)
    with torch.no_grad():
        h = torch.cat([network[:-1](x), torch.ones(len(x), 1)], 1).double()
        shares = network(x).double().softmax(1)
        outputs = torch.diag_embed(shares).sub(shares[:, :, None] * shares[:, None]).mean(0)
        curvature = torch.kron(outputs, h.T @ h) + laplace.precision * torch.eye(60, dtype=torch.float64)
        covariance = torch.linalg.inv(curvature).view(10, 6, 10, 6)
        variance = torch.stack([torch.einsum("ni,ij,nj->n", h, covariance[c, :, c], h) for c in range(10)], 1)
        wanted = network(x).double() / (1 + math.pi / 8 * variance).sqrt()
    assert torch.allclose(laplace.logits(x), wanted, rtol=1e-4)
    chosen, costs = laplace.precision, []
    for precision in PRECISIONS:
        laplace.precision = float(precision)
        costs.append(cross_entropy(laplace.logits(x[:200]), torch.from_numpy(labels)).item())
    assert chosen == PRECISIONS[int(np.argmin(costs))] and costs[0] != costs[-1]


def test_clipped_weights_start_and_stay_in_their_range(digits: Dataset) -> None:
    for signed, lowest, initial in ((True, -1, (-0.99, 0.99)), (False, 0, (0.25, 0.75))):
        network = Clipped(digits, (24,), 1, signed)
        for layer in network.linear:
            assert initial[0] <= layer.weight.min() < initial[0] + 0.1
            assert initial[1] - 0.1 < layer.weight.max() <= initial[1]
            with torch.no_grad():
                layer.weight[0, :3] = torch.tensor([-2.0, 0.5, 1.5])
        network.constrain()
        assert all(layer.weight[0, :3].tolist() == [lowest, 0.5, 1] for layer in network.linear)


def test_clipped_weights_are_trained_as_the_authors_do(digits: Dataset) -> None:
    network, moved, losses = Clipped(digits, (24,), 1, signed=False), [], []
    weight = network.linear[0].weight.detach()
    last = weight.clone()

    def watch(step: TrainStep) -> None:
        if step.step == 1:  # Adam's first step is as long as its rate
            moved.append((weight - last).abs().max().item())
        assert weight.min() >= 0 and weight.max() <= 1
        losses.append(step.loss)

    network.fit(digits, 20, 0, False, watch)
    assert moved == [pytest.approx(0.001, rel=1e-3)]
    assert not network.training and len(losses) == 20 * math.ceil(len(digits.train_labels) / 128)
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) / 2


def test_clipped_weights_are_probabilities_as_they_are(digits: Dataset, x: Tensor) -> None:
    network = Clipped(digits, (24,), 1)
    with torch.no_grad():
        network.linear[0].weight[0, :3] = torch.tensor([-2.0, 0.5, 1.5])
        network.linear[0].bias.fill_(0.25)
    network.constrain()
    assert network.linear[0].weight[0, :3].tolist() == [-1, 0.5, 1]
    model = flipped(network.eval(), digits, 8, 1)
    share = threshold(model.layers[0].q, 8) / 256 * (1 - 2.0 * model.layers[0].sign)
    lit = (digits.train_images[:1000] != digits.train_images[0]).any(0)
    off = np.abs(share - network.linear[0].weight.detach().numpy())[:, lit]
    assert off.max() <= 1.01 / 256
    with torch.no_grad():
        wanted = network(x).numpy()
    found = unsampled_logits(model, digits.train_images)[0] / model.source["logit_scale"]
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.98
    assert found.std() == pytest.approx(wanted.std(), rel=0.1)
