"""Networks that people convert: outlying weights, dead units, hooks, parametrisations, forwards of their own.

Each is right (within two points of the ordinary network after fine-tuning) or refused in one line.
"""

import copy
import warnings
from dataclasses import replace

import numpy as np
import pytest
import synflip
import torch
from synflip.errors import ConversionWarning, SynflipError
from synflip.training.ladder import Ladder
from synflip.training.ordinary import Ordinary
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune

from tests.training.digits_networks import DATA, SHARES, fitted

pytestmark = pytest.mark.usefixtures("one_thread")

TEST = torch.from_numpy(DATA.test_images).float() / DATA.input_max


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))


@pytest.fixture(scope="module")
def trained() -> nn.Sequential:
    torch.manual_seed(0)
    return fitted(mlp())


@pytest.fixture
def plain(trained) -> nn.Sequential:
    return copy.deepcopy(trained)


def right(network: nn.Module, x: torch.Tensor = TEST) -> float:
    with torch.no_grad():
        return float((network(x).argmax(1).numpy() == DATA.test_labels).mean())


def ladder(network: nn.Module, epochs: int = 0, **settings) -> Ladder:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConversionWarning)
        found = synflip.convert(network, data=DATA, epochs=epochs, **settings).ladder
    assert found is not None
    return found


def temperature(network: nn.Module) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConversionWarning)
        return float(synflip.convert(network, data=DATA, epochs=0).temperature.detach())


def on_a_dark_input(network):
    network[0].weight.data[0, 0] = 1e3  # pixel 0 is 0 in every image


def on_a_live_input(network):
    network[0].weight.data[3, 20] = 30


def behind_a_dead_unit(network):
    network[0].weight.data[5], network[0].bias.data[5] = 0, -1
    network[2].weight.data[0, 5] = 1e4


def into_a_dead_unit(network):
    network[0].weight.data[5], network[0].bias.data[5] = 500, -1e6


def of_an_unread_unit(network):
    least = network[2].weight.data.norm(dim=0).argmin()
    network[0].bias.data[least], network[2].weight.data[:, least] = 1e5, 0
    network[0].weight.data[least] = 1e4


def of_a_constant_unit(network):
    network[0].weight.data[9], network[0].bias.data[9] = 0, 1e4
    network[2].bias.data -= 1e4 * network[2].weight.data[:, 9]


def of_uneven_units(network):
    scale = torch.logspace(-3, 3, 48)
    network[0].weight.data *= scale[:, None]
    network[0].bias.data *= scale
    network[2].weight.data /= scale


@pytest.mark.parametrize(
    "change",
    [
        on_a_dark_input,
        behind_a_dead_unit,
        into_a_dead_unit,
        of_an_unread_unit,
        of_a_constant_unit,
        of_uneven_units,
    ],
)
def test_huge_numbers_that_carry_nothing_do_not_matter(change, plain):
    before = ladder(plain).converted
    change(plain)
    found = ladder(plain)
    assert found.original > 0.9 and found.converted > before - 0.03
    assert found.original == pytest.approx(right(plain), abs=0.01)


def test_an_input_that_is_always_lit_sets_no_scale(plain):
    """As the bias, in other words: pixel 0 is white in every image."""
    with torch.no_grad():
        plain[0].bias -= 1e3
        plain[0].weight[:, 0] = 1e3
    lit = [images.copy() for images in (DATA.train_images, DATA.test_images)]
    for images in lit:
        images[:, 0] = DATA.input_max
    data = replace(DATA, train_images=lit[0], test_images=lit[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConversionWarning)
        found = synflip.convert(plain, data=data, epochs=0).ladder
    assert found.original > 0.9 and found.converted > found.original - 0.08


def test_a_live_outlier_is_right_after_fine_tuning_or_named(plain):
    on_a_live_input(plain)
    found = ladder(plain, 3)
    assert found.vote > found.original - 0.02 or any("weight[3, 20] is 30" in line for line in found.warnings)
    assert found.converted > 0.5  # 0.1 by a scale that the outlier sets


def test_a_loss_is_said_with_module_weight_and_price(plain):
    """With one bit and no fine-tuning the coins cannot be right."""
    on_a_live_input(plain)
    with pytest.warns(ConversionWarning) as said:
        coins = synflip.convert(plain, data=DATA, epochs=0, bits=1, activation_bits=1)
    lines = [str(warning.message) for warning in said]
    assert tuple(lines) == coins.ladder.warnings
    assert "the coins lost accuracy" in lines[0] and "10 epochs" in lines[0]
    assert (
        "module 0 (Linear): weight[3, 20] is 30" in lines[1] and "takes the ordinary network from" in lines[1]
    )
    assert not any("\n" in line for line in lines)


def test_a_good_conversion_says_nothing_and_carries_its_ladder(plain):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = synflip.convert(plain, data=DATA, epochs=6).ladder
    assert found.original == pytest.approx(right(plain), abs=0.005)
    assert found.vote > found.original - 0.02 and 0.5 < found.one_sample <= found.vote
    assert 0.9 < found.agreement < 1
    assert 0.8 < found.converted < 1 and found.warnings == ()


@pytest.mark.parametrize(("mean", "std", "rate"), [(0.5, 0.5, 0.01), (0.3, 0.01, 1e-3)])
def test_normalised_inputs(mean, std, rate):
    torch.manual_seed(0)
    network = fitted(mlp(), (SHARES - mean) / std, rate=rate)
    found = ladder(network, 6, mean=mean, std=std)
    assert found.original == pytest.approx(right(network, (TEST - mean) / std), abs=0.01)
    assert found.vote > found.original - 0.03


def test_batch_normalisation_last_and_a_channel_without_variance():
    torch.manual_seed(0)
    layers = (nn.Linear(64, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 10), nn.BatchNorm1d(10))
    network = nn.Sequential(*layers)
    network[0].weight.data[3], network[0].bias.data[3] = 0, 0.5
    network[0].weight.register_hook(lambda gradient: gradient.index_fill(0, torch.tensor([3]), 0))
    fitted(network)
    network[1].running_var[3] = 0
    found = ladder(network, 6)
    assert found.original > 0.9 and found.vote > found.original - 0.02


def test_what_rounding_changes_in_the_mean_is_taken_back():
    """Normalised logits lie close together: a shift that is the same in all images decides between them."""
    torch.manual_seed(0)
    layers = (nn.Linear(64, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 10), nn.BatchNorm1d(10))
    assert ladder(fitted(nn.Sequential(*layers))).converted > 0.88


def test_an_input_that_is_hardly_ever_lit_does_not_silence_the_others(plain):
    """As after StandardScaler: its weights are tens of times the others, for which coins of 0 err least."""
    lit = (DATA.train_images > 0).sum(0)
    rare = int(np.where(lit > 0, lit, lit.max()).argmin())
    before = ladder(plain).converted
    plain[0].weight.data[:, rare] = 100 * torch.randn(48, generator=torch.Generator().manual_seed(0))
    assert 0 < lit[rare] < 5 and ladder(plain).converted > before - 0.05


def test_one_unit_with_a_huge_weight_does_not_choose_the_scale_of_all(plain):
    """Its absolute error is larger than that of all the others together; its relative error is not."""
    plain[0].weight.data[3, 20], plain[0].bias.data[3] = 1e3, -500
    assert ladder(plain).converted > 0.7


@pytest.mark.parametrize("factor", [1e-40, 1e-3, 0.1, 1e6])
def test_logits_of_any_scale_are_fine_tuned(factor, plain):
    """Cosines, regressions, scores of a machine: the class is right, the softmax says nothing."""
    with torch.no_grad():
        plain[2].weight *= factor
        plain[2].bias *= factor
    found = ladder(plain, 3)
    assert found.original > 0.9 and found.vote > found.original - 0.02


@pytest.mark.parametrize(("factor", "same"), [(1, True), (1e-3, False)])
def test_only_logits_that_are_no_likelihoods_get_another_temperature(factor, same, plain, monkeypatch):
    with torch.no_grad():
        plain[2].weight *= factor
        plain[2].bias *= factor
    found = temperature(plain)
    monkeypatch.setattr("synflip.training.convert.temper", lambda *_: None)
    assert (found == temperature(plain)) == same


class Double(nn.Module):
    def forward(self, x):
        return 2 * x


def pruned(network, steps):
    for layer in (network[0], network[2]):
        prune.l1_unstructured(layer, "weight", 0.3)
        prune.identity(layer, "bias")


def old_weight_norm(network, steps):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(network[0])


def old_spectral_norm(network, steps):
    nn.utils.spectral_norm(network[0])


def weight_norm(network, steps):
    parametrizations.weight_norm(network[2])


def spectral_norm(network, steps):
    parametrizations.spectral_norm(network[0])


def own_parametrisation(network, steps):
    parametrize.register_parametrization(network[0], "weight", Double())


@pytest.mark.parametrize(
    "change", [pruned, old_weight_norm, old_spectral_norm, weight_norm, spectral_norm, own_parametrisation]
)
def test_weights_are_those_of_a_forward_pass(change, plain):
    """Also where they are stale: a state dict was loaded, and there was no forward pass since."""
    change(plain, 1)
    with torch.no_grad():
        plain.train()(SHARES[:64])
    torch.manual_seed(1)
    fresh = mlp()
    change(fresh, 1)
    fresh.load_state_dict(plain.state_dict())
    fresh.train()
    layers = Ordinary(fresh, (64,)).layers
    assert fresh.training and fresh[0].training
    with torch.no_grad():
        hidden = (SHARES @ layers[0].weight.float().T + layers[0].bias.float()).relu()
        found = hidden @ layers[1].weight.float().T + layers[1].bias.float()
        wanted = plain.eval()(SHARES)
    assert (found - wanted).abs().max() < 1e-3 * wanted.abs().max()
    fresh.train()
    assert ladder(fresh).original == pytest.approx(right(plain), abs=0.01)
    assert fresh.training


def negated(module, inputs, output):
    return -output


def halved(module, inputs):
    return (inputs[0] / 2,)


class OwnLinear(nn.Linear):
    def forward(self, x):
        return super().forward(x).sin()


class OwnCall(nn.Sequential):
    def __call__(self, x):
        return -super().__call__(x)


def with_a_hook(network):
    network.register_forward_hook(negated)
    return network


def with_a_hook_inside(network):
    network[0].register_forward_hook(negated)
    return network


def with_a_pre_hook(network):
    network[2].register_forward_pre_hook(halved)
    return network


def with_a_forward(network):
    network[1].forward = lambda x: -x
    return network


def with_its_own_forward(network):
    network.forward = lambda x: x
    return network


def with_a_subclass(network):
    network[0] = OwnLinear(64, 48)
    return network


def with_infinity(network):
    network[2].weight.data[1, 4] = float("inf")
    return network


def with_nan(network):
    network[0].bias.data[7] = float("nan")
    return network


def with_complex_weights(network):
    network[0].weight = nn.Parameter(network[0].weight.data.to(torch.complex64))
    return network


def without_weights(network):
    return nn.Sequential(nn.LazyLinear(48), nn.ReLU(), nn.Linear(48, 10))


def all_zero(network):
    for parameter in network.parameters():
        parameter.data.zero_()
    return network


def all_dead(network):
    network[0].bias.data.fill_(-1e4)
    return network


def without_numbers(network):
    return network.to("meta")


def scripted(network):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(network)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_a_hook, r"the Sequential has a forward hook, negated, that changes what it computes"),
        (with_a_hook_inside, r"module 0 \(Linear\) has a forward hook, negated"),
        (with_a_pre_hook, r"module 2 \(Linear\) has a forward pre-hook, halved"),
        (with_a_forward, r"module 1 \(ReLU\) has a forward that was replaced on the instance"),
        (with_its_own_forward, "the Sequential has a forward that was replaced on the instance"),
        (with_a_subclass, r"operation sin of module 0 \(OwnLinear\) cannot be made of coins"),
        (lambda network: OwnCall(*network), "the OwnCall has a __call__ of its own"),
        (with_infinity, r"module 2 \(Linear\) has weights that are not finite: weight\[1, 4\] is inf"),
        (with_nan, r"module 0 \(Linear\) has weights that are not finite: bias\[7\] is nan"),
        (with_complex_weights, r"module 0 \(Linear\): its weight is torch.complex64, not a dense"),
        (without_weights, r"module 0 \(LazyLinear\) has no weights yet: run the network once"),
        (without_numbers, r"module 0 \(Linear\): its weight is on the device meta"),
        (all_zero, r"module 0 \(Linear\) gives the same for all \d+ training images"),
        (all_dead, r"module 0 \(Linear\) gives the same for all"),
        (scripted, "compiled by torch.jit"),
        (lambda network: nn.Sequential(*network, nn.Softmax(0)), r"module 3 \(Softmax\) is over dimension 0"),
        (lambda network: network.state_dict(), "the network is a OrderedDict, not a Sequential"),
    ],
)
def test_what_computes_something_else_is_refused_by_name(change, message, plain):
    with pytest.raises(SynflipError, match=message) as said:
        ladder(change(plain))
    assert "\n" not in str(said.value)


def test_global_hooks_are_refused(plain):
    handle = nn.modules.module.register_module_forward_hook(negated)
    try:
        with pytest.raises(SynflipError, match="a global forward hook, negated"):
            ladder(plain)
    finally:
        handle.remove()
    assert ladder(plain).original > 0.9


def test_hooks_of_the_backward_pass_change_nothing(plain):
    plain[0].register_full_backward_hook(lambda module, of_inputs, of_outputs: None)
    assert ladder(plain).original > 0.9


class Unlike(torch.Tensor):
    """A bias that adds something else than it holds."""

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), keywords=None):
        result = super().__torch_function__(function, types, arguments, keywords or {})
        return result + 3 if function is functional.linear else result


def test_a_network_that_computes_something_else_is_refused(plain):
    plain[2].bias = nn.Parameter(plain[2].bias.data.as_subclass(Unlike))
    with pytest.raises(SynflipError, match="computes something else than its layers"):
        ladder(plain)


class Own(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.first, self.last, self.drop = network[0], network[2], nn.Dropout(0.5)

    def forward(self, x):
        x = torch.flatten(x, 1).view(x.shape[0], -1)
        x = functional.dropout(functional.relu(self.first(x)), training=self.training)
        return functional.log_softmax(self.last(self.drop(x)), dim=1)


class Branches(Own):
    def forward(self, x):
        return self.last(self.first(x).relu()) + self.last(self.first(x).relu())


class DropsAlways(Own):
    def forward(self, x):
        return self.last(functional.dropout(self.first(x).relu()))


class Decides(Own):
    def forward(self, x):
        return self.last(self.first(x).relu() if x.sum() > 0 else self.first(x).relu() + 0)


def compiled_in_place(network):
    network[0].compile()
    network.compile()
    return network


@pytest.mark.parametrize(
    "change",
    [
        lambda n: nn.Sequential(nn.Sequential(nn.Flatten(), n[0]), nn.Sequential(n[1], nn.Identity(), n[2])),
        lambda n: nn.Sequential(*n, nn.Softmax(1)),
        lambda n: nn.Sequential(*n, nn.LogSoftmax(dim=-1)),
        lambda n: nn.Sequential(n[0], nn.ReLU(inplace=True), nn.AlphaDropout(0.3), n[2], nn.Dropout(0.1)),
        Own,
        lambda n: nn.DataParallel(Own(n)),
        torch.compile,
        lambda n: nn.Sequential(torch.compile(n[0]), n[1], nn.DataParallel(n[2])),
        compiled_in_place,
        lambda n: n.double(),
        lambda n: n.bfloat16(),
        lambda n: n.half(),
    ],
)
def test_networks_whose_meaning_is_clear_are_taken(change, plain):
    wanted = Ordinary(copy.deepcopy(plain), (64,)).layers
    network = change(plain)
    layers = Ordinary(network, (64,)).layers
    assert [layer.weight.shape for layer in layers] == [layer.weight.shape for layer in wanted]
    assert all(
        torch.allclose(a.weight, b.weight, rtol=0.01, atol=0.01) for a, b in zip(layers, wanted, strict=True)
    )
    assert ladder(network).original > 0.9


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Branches, "does not take the result before it"),
        (DropsAlways, "operation dropout drops values in evaluation too"),
        (Decides, "the forward of Decides cannot be followed"),
    ],
)
def test_other_forwards_are_refused(kind, message, plain, capfd):
    with pytest.raises(SynflipError, match=message):
        ladder(kind(plain))
    assert capfd.readouterr() == ("", "")  # torch prints the graph that it cannot follow


def test_a_relu6_is_cut_off_at_6():
    torch.manual_seed(0)
    network = fitted(nn.Sequential(nn.Linear(64, 48), nn.ReLU6(), nn.Linear(48, 10)), rate=0.05)
    with torch.no_grad():
        assert float((network[:2](SHARES) == 6).float().mean()) > 0.01
    coins = synflip.convert(network, data=DATA, epochs=4)
    assert coins.ladder.original == pytest.approx(right(network), abs=0.005)
    assert coins.ladder.converted > 0.7 and coins.ladder.vote > coins.ladder.original - 0.03


def test_a_layer_that_is_there_twice_becomes_two(plain):
    torch.manual_seed(0)
    shared, act = nn.Linear(48, 48), nn.ReLU()
    network = fitted(nn.Sequential(nn.Linear(64, 48), act, shared, act, shared, act, nn.Linear(48, 10)))
    assert len(Ordinary(network, (64,)).layers) == 4
    assert ladder(network).original == pytest.approx(right(network), abs=0.005)


def test_a_head_is_read_the_same_way(plain):
    front = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU()).eval()
    head = nn.Sequential(nn.Linear(20, 10))
    head.register_forward_hook(negated)
    with pytest.raises(SynflipError, match="the Sequential has a forward hook, negated"):
        synflip.convert(front, head, data=DATA, epochs=0)
    trained = nn.Sequential(nn.Flatten(), *plain[:2])
    found = ladder(trained, head=nn.Sequential(plain[2], nn.Softmax(1)))
    assert found.original == pytest.approx(right(plain), abs=0.005) and found.converted > 0.8
    assert ladder(trained, head=[np.int64(8)]).original is None


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": np.int64(0), "seed": np.int32(1), "bits": np.int16(4), "activation_bits": np.uint8(8)},
        {"seed": 1.0, "epochs": 0.0, "augment": np.bool_(False)},
        {"mean": np.float32(0), "std": torch.tensor(1.0), "seed": 1},
    ],
)
def test_numbers_of_other_kinds_are_taken_exactly(settings, plain):
    wanted = ladder(plain, seed=1)
    epochs = settings.pop("epochs", 0)
    assert ladder(plain, epochs, **{"seed": 1, **settings}) == wanted


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": True}, "epochs must be an integer"),
        ({"epochs": 1.5}, "epochs must be an integer"),
        ({"epochs": "3"}, "epochs must be an integer"),
        ({"seed": -1}, "the seed of a training must be in 0"),
        ({"seed": None}, "the seed must be an integer"),
        ({"bits": 4.5}, "bits must be an integer"),
        ({"activation_bits": None}, "activation bits must be an integer"),
        ({"augment": 2}, "augment must be True or False"),
        ({"mean": "half"}, "mean is 'half', not a number"),
        ({"mean": 1j}, "mean is 1j, not a number"),
        ({"std": torch.ones(2, requires_grad=True)}, "std has 2 numbers"),
        ({"progress": 3}, "progress must be True, or a function of a TrainStep, not 3"),
    ],
)
def test_other_settings_are_one_line(settings, message, plain):
    with pytest.raises(SynflipError, match=message) as said:
        ladder(plain, **settings)
    assert "\n" not in str(said.value)
