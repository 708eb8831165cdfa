"""Training: what is trained is what is compiled, the same seed gives the same bytes, and it learns."""

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from synflip import modelfile
from synflip.compiler.compile import compile_network
from synflip.data.dataset import Dataset
from synflip.data.registry import load
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.spec.coins import probability_word, threshold
from synflip.spec.model import CompiledModel, pixels_to_activations
from synflip.training import augment, convnets
from synflip.training import train as training
from synflip.training.baseline import fit_float, float_accuracy, float_baseline, float_network
from synflip.training.convert import convert
from synflip.training.distillation import train_teachers
from synflip.training.layers import (
    KERNEL_NOISE,
    NOISE,
    NoisySums,
    Shift,
    SynapticLinear,
    SynapticNetwork,
    flip,
    thresholds,
)
from synflip.training.loop import TrainStep, one_cycle
from synflip.training.train import train
from torch import nn
from torch.nn.functional import cross_entropy


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def few(dataset: Dataset, count: int = 200) -> Dataset:
    return Dataset(
        **{
            **vars(dataset),
            "train_images": dataset.train_images[:count],
            "train_labels": dataset.train_labels[:count],
        }
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def global_state_is_left_alone() -> Iterator[None]:
    before = torch.get_rng_state(), np.random.get_state()[1].tobytes(), torch.get_num_threads()  # type: ignore[index]
    yield
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (np.random.get_state()[1].tobytes(), torch.get_num_threads())  # type: ignore[index]


def test_same_seed_same_bytes(digits: Dataset, tmp_path: Path) -> None:
    files = []
    for number, seed in enumerate((3, 3, 4)):
        network = train(digits, (24, 16), epochs=2, seed=seed)
        path = tmp_path / f"{number}.safetensors"
        modelfile.save(compile_network(network, digits.classes, digits.input_max, {"seed": 0}), path)
        files.append(path.read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_digits_are_learned(digits: Dataset) -> None:
    network = train(digits, (64,), epochs=20, seed=0)
    model = compile_network(network, digits.classes, digits.input_max)
    with Golden() as device:
        device.load(model)
        result = device.infer(digits.test_images, samples=16, seed=1, logits=True)
    assert (result.winner == digits.test_labels).mean() >= 0.95
    assert result.logits is not None
    assert (result.logits.argmax(2) == digits.test_labels).mean() >= 0.91
    # The temperature makes probabilities of logits: without it they would all be 0 or 1.
    scaled = torch.from_numpy(result.logits[0]).double() / float(model.source["logit_scale"])
    loss = torch.nn.functional.cross_entropy(scaled, torch.from_numpy(digits.test_labels)).item()
    assert loss < 0.5


def test_shifts_are_learned_at_first_and_then_stay(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    scales: list[float] = []
    freeze = Shift.freeze
    monkeypatch.setattr(
        Shift, "freeze", lambda shift: (scales.append(shift.log2_scale.item()), freeze(shift))
    )
    steps: list[TrainStep] = []
    trained = train(digits, (32,), epochs=3, progress=steps.append)
    start = SynapticNetwork([64, 32, 10], 4, 8).hidden[0].log2_scale.item()
    learned, *later = scales
    assert learned not in (start, round(learned))
    assert set(later) == {round(learned)} == {trained.hidden[0].log2_scale.item()}
    assert len(scales) == len(steps) - math.ceil(len(steps) / 10)


def test_the_centre_is_the_mean_of_the_inputs_and_part_of_the_bias() -> None:
    layer = SynapticLinear(6, 3, 4, 8, generator(1)).train()
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([0.5, 0.0, -2.0]))
    batches = torch.randint(0, 256, (300, 20, 6), generator=generator(2)).float()
    for number, batch in enumerate(batches, 1):
        layer(batch, generator(3))
        if number in (1, 2, 50):  # the mean of all batches so far
            assert torch.allclose(layer.centre, batches[:number].mean((0, 1)), rtol=1e-4)
    late = torch.full((20, 6), 100.0)
    before = layer.centre.clone()
    layer(late, generator(3))
    assert torch.allclose(layer.centre - before, 0.02 * (100 - before), rtol=1e-3)
    weight, bias = layer.quantised()
    expected = layer.bias.detach().double() * layer.bias_unit - weight.double() @ layer.centre.double()
    assert ((bias - expected).abs() <= 0.5 + 1e-3).all() and expected.abs().min() > 1
    layer.eval()(late, generator(3))
    assert torch.equal(layer.quantised()[1], bias)


def test_float_baseline(digits: Dataset) -> None:
    first = float_baseline(digits, (64,), epochs=10, seed=1)
    assert first >= 0.95
    assert first == float_baseline(digits, (64,), epochs=10, seed=1)


def test_ordinary_networks_are_trained_on_images_minus_their_mean(digits: Dataset) -> None:
    """A pixel that is always the same says nothing, so its weights stay; afterwards pixels are plain."""
    images = digits.train_images.copy()
    images[:, 0] = 16
    data = replace(digits, train_images=images)
    network = float_network(data, (16,), seed=1)
    with torch.no_grad():
        network[0].weight[:, 0] = 3
    before = network[0].weight.clone()
    steps: list[TrainStep] = []
    fit_float(network, data, epochs=4, seed=1, progress=steps.append)
    assert torch.allclose(network[0].weight[:, 0], before[:, 0], atol=1e-6)
    assert not torch.allclose(network[0].weight[:, 20], before[:, 20], atol=1e-3)
    x, labels = torch.from_numpy(images).float() / 16, torch.from_numpy(data.train_labels)
    told = np.mean([step.loss for step in steps if step.epoch == 4])
    found, shifted = (cross_entropy(network(part), labels).item() for part in (x, x - x.mean(0)))
    assert abs(found - told) < 0.1 * told < abs(shifted - told)


def integers(model: CompiledModel, x: np.ndarray, coins: list[np.ndarray]) -> np.ndarray:
    """Section 1 of the contract in int64, from compiled layers and given signed coins [J, I]."""
    x = x.astype(np.int64)
    for index, (layer, flips) in enumerate(zip(model.layers, coins, strict=True)):
        z = x @ flips.astype(np.int64).T + layer.bias
        if index == len(model.layers) - 1:
            return z
        r = model.shifts[index]
        x = np.clip((z + ((1 << r) >> 1)) >> r, 0, 2**model.activation_bits - 1)
    raise AssertionError("no layers")


@pytest.mark.parametrize(("bits", "activation_bits"), [(4, 8), (1, 8), (16, 8), (3, 1), (8, 4)])
def test_evaluation_is_the_compiled_model_exactly(digits: Dataset, bits: int, activation_bits: int) -> None:
    network = train(few(digits), (32, 24), bits, activation_bits, epochs=3, seed=5)
    model = compile_network(network, digits.classes, digits.input_max)
    assert not network.training
    x = pixels_to_activations(digits.test_images, digits.input_max, activation_bits)
    flips = generator(9)
    coins = [flip(layer.quantised()[0], flips).numpy() for layer in network.linear]
    for layer, flipped in zip(model.layers, coins, strict=True):
        heads = threshold(layer.q, bits)
        assert np.isin(flipped, (-1, 0, 1)).all()
        assert (heads[flipped != 0] > 0).all()
        assert (flipped[heads == 1 << bits] != 0).all()
        assert (np.sign(flipped) == np.where(layer.sign == 1, -1, 1))[flipped != 0].all()
    with torch.no_grad():
        logits = network(torch.from_numpy(x).float(), generator(9)).numpy()
    assert np.array_equal(logits, integers(model, x, coins))
    assert np.ptp(logits) > 0


@pytest.mark.parametrize("bits", [1, 2, 4, 16])
def test_training_uses_the_probabilities_that_are_compiled(bits: int) -> None:
    layer = SynapticLinear(40, 50, bits, 8, generator())
    with torch.no_grad():
        layer.weight.view(-1)[:9] = torch.tensor([0, 1, -1, 0.5, -0.5, 0.49, 0.51, 1e-9, -1e-9])
        layer.bias.copy_(torch.linspace(-3, 3, 50))
    w = layer.weight.detach().numpy()
    heads = threshold(probability_word(np.abs(w), bits), bits)
    weight, bias = layer.quantised()
    assert np.array_equal(np.abs(weight.numpy()), heads / (1 << bits))
    assert np.array_equal(thresholds(layer.weight.detach(), bits).numpy(), heads)
    assert torch.equal(bias, bias.round()) and bias.abs().max() > 100


def test_noise_is_a_share_of_that_of_the_coins() -> None:
    """In training the sums have the mean of exact flips, and NOISE of their standard deviation."""
    layer = SynapticLinear(60, 5, 4, 8, generator(1))
    with torch.no_grad():
        layer.bias.fill_(0.5)
        x = torch.randint(0, 256, (1, 60), generator=generator(2)).float()
        many = 4000
        noisy = layer.train()(x.expand(many, 60), generator(3))
        layer.eval()
        flips = generator(4)
        exact = torch.cat([layer(x, flips) for _ in range(many)])
    deviation = exact.std(0)
    assert ((noisy.mean(0) - exact.mean(0)).abs() < 6 * deviation * (2 / many) ** 0.5).all()
    assert ((noisy.std(0) / (NOISE * deviation) - 1).abs() < 0.06).all()  # five standard errors
    assert (deviation > 100).all()


@pytest.mark.parametrize("draws", [1, 3])
def test_gradients_of_the_noisy_sums(draws: int) -> None:
    x = torch.rand(4, 6, generator=generator(0), dtype=torch.float64) * 5
    w = torch.rand(3, 6, generator=generator(1), dtype=torch.float64) * 1.8 - 0.9
    noise = torch.randn(draws, 4, 3, generator=generator(2), dtype=torch.float64)
    x.requires_grad_()
    w.requires_grad_()
    centre = torch.rand(6, generator=generator(3), dtype=torch.float64) * 5

    def centred(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        sums: torch.Tensor = NoisySums.apply(x, w, w.detach(), noise, centre)
        return sums - w.detach() @ centre  # as the biases do it

    assert torch.autograd.gradcheck(centred, (x, w))


def test_draws_share_the_images_and_nothing_else(digits: Dataset) -> None:
    network = SynapticNetwork([64, 20, 10], 4, 8, seed=1)
    x = torch.from_numpy(pixels_to_activations(digits.train_images[:7], digits.input_max, 8)).float()
    with torch.no_grad():
        logits = network(x, generator(3), 400).view(400, 7, 10)
        single = torch.stack([network(x, generator(100 + n)) for n in range(400)])
    assert (logits[0] != logits[1]).all()
    spread = single.std(0)
    assert ((logits.mean(0) - single.mean(0)).abs() < 5 * spread * (2 / 400) ** 0.5).all()
    assert ((logits.std(0) / spread).log().abs() < 0.3).all()


def test_the_loss_is_that_of_the_mean_softmax(digits: Dataset) -> None:
    """By the first step's loss, with the same noise."""
    data = few(digits, 30)
    losses: list[float] = []
    train(data, (12,), epochs=1, seed=5, mean_of=3, progress=lambda step: losses.append(step.loss))
    network = SynapticNetwork([64, 12, 10], 4, 8, seed=5)
    noise = generator(5)
    order = torch.randperm(30, generator=noise)
    x = torch.from_numpy(pixels_to_activations(data.train_images, data.input_max, 8))[order].float()
    with torch.no_grad():
        shares = (network(x, noise, 3) / network.temperature).softmax(1).view(3, 30, 10).mean(0)
    picked = shares[torch.arange(30), torch.from_numpy(data.train_labels)[order]]
    assert losses[0] == pytest.approx(float(-picked.log().mean()), rel=1e-5)
    with pytest.raises(SynflipError, match="mean_of must be at least 1, not 0"):
        train(data, (12,), epochs=1, mean_of=0)


def test_the_loss_is_that_of_what_teachers_answer(digits: Dataset) -> None:
    """By the first step's loss, with the same noise: of the mean of their softmaxes, whatever the labels."""
    data = few(digits, 30)
    data = replace(data, train_labels=np.zeros_like(data.train_labels))
    teachers = [float_network(data, (9,), seed) for seed in (1, 2)]
    losses: list[float] = []
    train(data, (12,), epochs=1, seed=5, progress=lambda step: losses.append(step.loss), teachers=teachers)
    network = SynapticNetwork([64, 12, 10], 4, 8, seed=5)
    noise = generator(5)
    order = torch.randperm(30, generator=noise)
    x = torch.from_numpy(pixels_to_activations(data.train_images, data.input_max, 8))[order].float()
    pixels = torch.from_numpy(data.train_images)[order].float() / data.input_max
    with torch.no_grad():
        shares = (network(x, noise) / network.temperature).softmax(1)
        wanted = sum(teacher(pixels).softmax(1) for teacher in teachers) / 2
    assert losses[0] == pytest.approx(float(-(wanted * shares.log()).sum(1).mean()), rel=1e-3)


def test_coins_learn_what_teachers_know(digits: Dataset) -> None:
    """Through coins behind convolutions too, and though all labels are wrong."""
    teachers = train_teachers(lambda seed: float_network(digits, (32,), seed), 2, digits, epochs=10)
    assert min(float_accuracy(teacher, digits) for teacher in teachers) > 0.9
    first, second = (next(teacher.parameters()) for teacher in teachers)
    assert (first != second).any()
    wrong = replace(digits, train_labels=(digits.train_labels + 1) % 10)
    for network in (
        train(wrong, (32,), epochs=10, teachers=teachers),
        convnets.train(wrong, (16,), (4,), epochs=6, teachers=teachers),
    ):
        model = compile_network(network, digits.classes, digits.input_max)
        with Golden() as golden:
            golden.load(model)
            result = golden.infer(digits.test_images, 8, 1)
        assert (result.winner == digits.test_labels).mean() > 0.7


def test_weights_without_signs(digits: Dataset) -> None:
    network = train(digits, (64,), epochs=15, seed=0, signed=False)
    assert all(layer.weight.min() >= 0 and layer.weight.max() <= 1 for layer in network.linear)
    model = compile_network(network, digits.classes, digits.input_max)
    assert not any(layer.sign.any() for layer in model.layers)
    with Golden() as golden:
        golden.load(model)
        result = golden.infer(digits.test_images, 8, 1)
    assert (result.winner == digits.test_labels).mean() > 0.9


@pytest.mark.parametrize("r", [0, 1, 4, 15])
def test_shift_is_the_contracts(r: int) -> None:
    shift = Shift(float(r), 8)
    z = np.unique(
        np.concatenate(
            [np.arange(-300, 300), np.arange(-5, 262) << r, (np.arange(-5, 262) << r) + (1 << r >> 1) - 1]
        )
    )
    with torch.no_grad():
        y = shift(torch.from_numpy(z).float()).numpy()
    assert np.array_equal(y, np.clip((z + ((1 << r) >> 1)) >> r, 0, 255))


def test_gradient_passes_through_the_shift_within_its_range() -> None:
    shift = Shift(2.3, 8)  # r = 2
    z = torch.tensor([-50.0, 100.0, 800.0, 5000.0], requires_grad=True)
    shift(z).sum().backward()
    assert z.grad is not None and shift.log2_scale.grad is not None
    assert z.grad.tolist() == [0, 0.25, 0.25, 0]
    assert shift.log2_scale.grad.item() == pytest.approx(-np.log(2) * (25 + 200), rel=1e-5)


def test_weights_stay_in_range(digits: Dataset) -> None:
    seen = []
    network = train(few(digits), (16,), epochs=3, progress=lambda step: seen.append(step.loss))
    for layer in network.linear:
        assert layer.weight.abs().max() <= 1
        assert (layer.weight.abs() == 1).any()  # the clamp was needed
    assert seen[-1] < seen[0]


def test_progress_counts_every_step(digits: Dataset) -> None:
    seen: list[TrainStep] = []
    train(few(digits, 70), (8,), epochs=2, progress=seen.append)
    assert [step.step for step in seen] == list(range(1, 7))
    assert {step.steps for step in seen} == {6} and [step.epoch for step in seen] == [1, 1, 1, 2, 2, 2]
    assert all(np.isfinite(step.loss) and 0 < step.rate <= training.RATE for step in seen)


def test_interrupted(digits: Dataset) -> None:
    def interrupt(step: TrainStep) -> None:
        if step.step == 3:
            raise KeyboardInterrupt

    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(few(digits), (8,), epochs=2, progress=interrupt)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_one_cycle() -> None:
    assert one_cycle(0) == pytest.approx(1 / 25)
    assert one_cycle(0.3) == pytest.approx(1)
    assert one_cycle(1) == pytest.approx(0)
    rates = [one_cycle(at / 1000) for at in range(1001)]
    assert np.argmax(rates) == 300 and (np.diff(rates[:301]) > 0).all() and (np.diff(rates[300:]) < 0).all()


@pytest.mark.parametrize("activation_bits", [1, 3, 8])
@pytest.mark.parametrize("input_max", [1, 16, 255])
def test_pixels_become_activations_as_in_the_compiled_model(input_max: int, activation_bits: int) -> None:
    network = SynapticNetwork([input_max + 1, 2], 4, activation_bits)
    model = compile_network(network, ["a", "b"], input_max)
    pixels = np.arange(input_max + 1, dtype=np.uint8)[None]
    found = pixels_to_activations(pixels, input_max, activation_bits)
    assert found.dtype == np.uint8 and np.array_equal(found, model.activations(pixels))
    largest = 2**activation_bits - 1
    nearest = [
        math.floor(Fraction(pixel * largest, input_max) + Fraction(1, 2)) for pixel in pixels[0].tolist()
    ]
    assert found[0].tolist() == nearest


def test_augmenting_moves_by_at_most_one_pixel() -> None:
    image = torch.arange(1, 13, dtype=torch.uint8)
    padded = np.pad(image.numpy().reshape(3, 4), 1)
    moves = {padded[i : i + 3, j : j + 4].tobytes() for i in range(3) for j in range(3)}
    shifted = augment.shifted(image.expand(300, 12), (3, 4), generator())
    assert {row.tobytes() for row in shifted.numpy()} == moves and len(moves) == 9


def test_augment_is_refused_for_rows_of_features() -> None:
    table = Dataset.of(np.arange(40.0).reshape(10, 4), np.arange(10) % 2, name="t")
    with pytest.raises(SynflipError, match="augment moves pictures; t has rows of features"):
        train(table, (4,), epochs=1, augment=True)
    train(table, (4,), epochs=1)


def test_augment_changes_the_training(digits: Dataset) -> None:
    plain, augmented = (train(few(digits), (8,), epochs=1, augment=augment) for augment in (False, True))
    assert not torch.equal(plain.linear[0].weight, augmented.linear[0].weight)


@pytest.mark.parametrize(
    ("sizes", "line"),
    [(5, "sizes must be a list of layer"), ((64, "a"), r"sizes\[1\] must be an integer")],
)
def test_sizes_of_a_network(sizes: object, line: str) -> None:
    with pytest.raises(SynflipError, match=line):
        SynapticNetwork(sizes, 4, 8)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"hidden": (1025,)}, "layer 0: 1025 outputs; a layer has 1..1024 outputs"),
        ({"hidden": (8, 0)}, "layer 1: 0 outputs"),
        ({"hidden": (8,) * 16}, "17 layers; a network has 1..16"),
        ({"bits": 17}, "bits must be in 1..16, not 17"),
        ({"activation_bits": 0}, "activation bits must be in 1..8, not 0"),
        ({"mean_of": 2.5}, "mean_of must be an integer, not 2.5"),
        ({"mean_of": True}, "mean_of must be an integer, not True"),
        ({"noise": 1.5}, "noise must be a number in 0..1, not 1.5; 1 is all of the coins' noise"),
        ({"noise": math.nan}, "noise must be a number in 0..1, not nan"),
        ({"noise": "all"}, "noise must be a number in 0..1, not 'all'"),
        ({"noise": True}, "noise must be a number in 0..1, not True"),
        ({"augment": "no"}, "augment must be True or False, not 'no'"),
        ({"signed": "no"}, "signed must be True or False, not 'no'"),
        ({"resume": True}, "resume goes on from a checkpoint: give its path too"),
        ({"resume": "yes"}, "resume must be True or False, not 'yes'"),
        ({"checkpoint": 5}, "a file to be written needs a path, not 5"),
        ({"checkpoint": "new/"}, "cannot write new/: it is the name of a folder"),
        ({"filters": 32}, "filters must be a list such as [32], or [[32, 32], 64], not 32"),
        ({"filters": (32, [1.5])}, "filters[1][0] must be an integer, not 1.5"),
        ({"filters": ("a",)}, "filters[0] must be an integer, not 'a'"),
        ({"teachers": None}, "teachers must be a list of networks, not a NoneType"),
        ({"teachers": nn.Linear(64, 10)}, "teachers must be a list of networks, not a Linear"),
        ({"teachers": [None]}, "teachers[0] is a NoneType, not a network"),
        ({"teachers": [nn.Linear(63, 10)]}, "teachers[0] takes no images [2, 64]: mat1 and mat2"),
        ({"teachers": [nn.Linear(64, 9)]}, "teachers[0] gives [2, 9], not logits [2, 10]"),
    ],
)
def test_refusals(digits: Dataset, change: dict, expected: str) -> None:
    with pytest.raises(SynflipError) as caught:
        train(digits, **({"epochs": 1} | change))
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_numbers_of_numpy_are_those_of_python(digits: Dataset) -> None:
    for settings in ({"mean_of": np.int64(2)}, {"mean_of": 2.0, "filters": np.array([4])}):
        network = train(few(digits, 32), (8,), epochs=1, signed=np.bool_(True), **settings)
        assert network.source["mean_of"] == 2 and type(network.source["mean_of"]) is int


@pytest.mark.parametrize("filters", [(), (2,)])
def test_a_share_of_the_noise(filters: tuple[int, ...]) -> None:
    """The sums of every layer vary by it from draw to draw. The card says what is not the default."""
    data = few(load("digits"), 32)
    spreads: list[list[float]] = []
    for share in (0.0, np.float64(0.25), 1.0):
        network = train(data, (8,), epochs=1, filters=filters, noise=share)
        assert network.source["noise"] == share and type(network.source["noise"]) is float
        spreads.append([])
        for layer in network.linear:
            with torch.no_grad():
                layer.weight.fill_(0.5)
                inputs = layer.place.inputs if layer.place else layer.weight.shape[1]
                sums = layer.train()(torch.full((1, inputs), 100.0), generator(3), 200)
            spreads[-1].append(sums.std(0).mean().item())
    none, quarter, whole = spreads
    assert max(none) < 1e-3 and quarter == pytest.approx([spread / 4 for spread in whole], rel=1e-3)
    network = train(data, (8,), epochs=1, filters=filters)
    assert "noise" not in network.source
    assert [layer.noise for layer in network.linear] == [*[KERNEL_NOISE] * len(filters), NOISE, NOISE]


@pytest.mark.parametrize("seed", [-1, 1 << 63])
def test_every_training_refuses_the_same_seeds_in_the_same_words(digits: Dataset, seed: int) -> None:
    network = float_network(digits, (8,))
    said = set()
    for refused in (
        lambda: train(digits, (8,), seed=seed),
        lambda: convnets.train(digits, (8,), seed=seed),
        lambda: convnets.float_baseline(digits, (8,), seed=seed),
        lambda: convert(network, data=digits, seed=seed),
        lambda: float_network(digits, (8,), seed),
        lambda: fit_float(network, digits, seed=seed),
        lambda: train_teachers(lambda number: network, 1, digits, seed=seed),
        lambda: SynapticNetwork((64, 10), 4, 8, seed),
    ):
        with pytest.raises(SynflipError) as caught:
            refused()
        said.add(str(caught.value))
    assert said == {f"the seed of a training must be in 0..2**63-1, not {seed}"}


def test_teachers_seeds_after_the_last_begin_at_0(digits: Dataset) -> None:
    made = []

    def make(seed: int) -> torch.nn.Module:
        made.append(seed)
        return float_network(digits, (8,), seed)

    train_teachers(make, 2, few(digits, 32), epochs=1, seed=(1 << 63) - 1)
    assert made == [(1 << 63) - 1, 0]
