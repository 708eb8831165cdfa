"""Networks whose weights are coins, in the contract's integer units, so that they compile without change.

A synapse adds sign * x with probability |w|. Over its coins, output j has mean b + sum of w x and variance
sum of x^2 |w| (1 - |w|); by the central limit theorem it is close to a Gaussian, so training draws one
Gaussian number an output in place of one coin a synapse, and gradients flow through mean and variance (local
reparameterisation: Kingma, Salimans, Welling, NeurIPS 2015, arXiv 1506.02557). Numbers that are integers in
the compiled model are rounded in the forward pass; the backward pass takes rounding for the identity
(straight-through: Bengio, Léonard, Courville, 2013, arXiv 1308.3432).
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from synflip.errors import SynflipError
from synflip.spec.sizes import MAX_ACTIVATION_BITS, MAX_BITS, MAX_LAYERS, MAX_OUTPUTS
from synflip.training.ladder import Ladder
from synflip.util.arrays import training_seed, whole_number

MAX_TRAINED_SHIFT = 15  # keeps every sum below 2**24, so that float32 holds it exactly
MAX_TRAINED_BIAS = (1 << 23) - 1
_LEAST_VARIANCE = 1e-2  # small for a sum of integers; the square root has no gradient at 0
# Mean square and mean of activations, as shares of the largest, for the initial scale: MNIST's images.
_MEAN_SQUARE = 1 / 10
_MEAN = 1 / 8


class SynapticLinear(nn.Module):
    """One layer of coins: activations [N, I] in 0..2**A-1 to sums z [N, J], both float32 that hold integers.

    weight: [J, I] in [-1, 1], probability and sign; in [0, 1] unless ``signed``. bias: [J], in units of
    ``bias_unit``. In training the sums have Gaussian noise; in evaluation the coins are flipped once for the
    whole batch, and the sums are exact.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        bits: int,
        activation_bits: int,
        generator: torch.Generator,
        signed: bool = True,
    ) -> None:
        super().__init__()
        self.bits = bits
        self.lowest = -1 if signed else 0
        # Standard deviation of z over coins and initial weights: the mean of |w| is one half. Biases are
        # measured in it, so that one learning rate serves weights and biases.
        self.bias_unit = ((1 << activation_bits) - 1) * math.sqrt(inputs * _MEAN_SQUARE / 2)
        weight = torch.rand(outputs, inputs, generator=generator)
        bias = torch.zeros(outputs)
        if not signed:  # the sums start around 0, where the shifts expect them
            bias -= inputs * _MEAN / 2 * ((1 << activation_bits) - 1) / self.bias_unit
        self.weight = nn.Parameter(weight * 2 - 1 if signed else weight)
        self.bias = nn.Parameter(bias)

    def quantised(self) -> tuple[Tensor, Tensor]:
        """Weights T / 2**k with their signs [J, I] and integer biases [J], as the compiled model has them."""
        with torch.no_grad():
            probability = thresholds(self.weight, self.bits).mul_(1.0 / (1 << self.bits))
            bias = (self.bias * self.bias_unit).round_().clamp_(-MAX_TRAINED_BIAS, MAX_TRAINED_BIAS)
            return probability.copysign_(self.weight), bias

    def flip(self, generator: torch.Generator) -> Tensor:
        """One flip of every synapse: [J, I] of -1, 0, 1."""
        weight, _ = self.quantised()
        return torch.bernoulli(weight.abs(), generator=generator) * weight.sign()

    def forward(self, x: Tensor, generator: torch.Generator, draws: int = 1) -> Tensor:
        """Sums z [N, J] of activations [N, I]; in training, of ``draws`` noises, [draws * N, J]."""
        weight, rounded = self.quantised()
        if not self.training:
            return nn.functional.linear(x, self.flip(generator), rounded)
        noise = torch.randn(draws, len(x), len(weight), generator=generator)
        bias = self.bias * self.bias_unit
        sums: Tensor = NoisySums.apply(x, self.weight, weight, noise)
        return sums.flatten(0, 1) + (bias + (rounded - bias).detach())

    def clamp(self) -> None:
        """Clamp the weights to [-1, 1], or [0, 1]; to be called after each step of the optimiser."""
        with torch.no_grad():
            self.weight.clamp_(self.lowest, 1)


class Shift(nn.Module):
    """Sums z to activations: min(max((z + round) >> r, 0), 2**A - 1); r is a learned log2 scale, rounded."""

    def __init__(self, log2_scale: float, activation_bits: int) -> None:
        super().__init__()
        self.largest = (1 << activation_bits) - 1
        self.log2_scale = nn.Parameter(torch.tensor(log2_scale))

    @property
    def shift(self) -> int:
        """r, the learned log2 scale rounded to an integer in 0..MAX_TRAINED_SHIFT."""
        return min(max(round(self.log2_scale.item()), 0), MAX_TRAINED_SHIFT)

    def forward(self, z: Tensor) -> Tensor:
        """Activations of sums, the same shape."""
        r = self.log2_scale + (self.shift - self.log2_scale).detach()
        y = z * torch.exp2(-r)
        with torch.no_grad():
            rounded = ((z + ((1 << self.shift) >> 1)) * 2.0**-self.shift).floor_()
        y = y + (rounded - y).detach()
        return y.clamp(0, self.largest)


class SynapticNetwork(nn.Module):
    """Layers of coins with shifts between them: activations [N, I] in 0..2**A-1 to logits [N, C].

    sizes: inputs, hidden layers, classes. bits: k. activation_bits: A. seed: of the initial weights. signed:
    whether weights are in [-1, 1] or in [0, 1].
    ``temperature`` is the learned divisor of the logits in the softmax. ``ladder``: the accuracies of the
    conversion that made it; None if it was trained. Raises SynflipError for sizes that no accelerator runs.
    """

    def __init__(
        self, sizes: Sequence[int], bits: int, activation_bits: int, seed: int = 0, signed: bool = True
    ) -> None:
        super().__init__()
        _check_sizes(sizes, bits, activation_bits)
        self.bits = bits
        self.activation_bits = activation_bits
        generator = torch.Generator().manual_seed(training_seed(seed))
        self.linear = [
            SynapticLinear(inputs, outputs, bits, activation_bits, generator, signed)
            for inputs, outputs in pairwise(sizes)
        ]
        # Three standard deviations fill the range of an activation.
        largest = (1 << activation_bits) - 1
        self.hidden = [
            Shift(math.log2(3 * layer.bias_unit / largest), activation_bits) for layer in self.linear[:-1]
        ]
        self.layers, self.shifts = nn.ModuleList(self.linear), nn.ModuleList(self.hidden)
        self.ladder: Ladder | None = None
        self.log_temperature = nn.Parameter(torch.tensor(math.log(self.linear[-1].bias_unit)))

    @property
    def temperature(self) -> Tensor:
        """Positive scalar: class probabilities are softmax(logits / temperature)."""
        return self.log_temperature.exp()

    def forward(self, x: Tensor, generator: torch.Generator, draws: int = 1) -> Tensor:
        """Logits float32 [N, C]: with Gaussian noise in training, exactly of one network sample in
        evaluation.

        x: activations float32 [N, I] in 0..2**A-1. generator: draws the noise or the coins. draws: in
        training, how many noises each image has; the logits are [draws * N, C]. Raises RuntimeError, torch's,
        for another shape.
        """
        for layer, shift in zip(self.linear, self.hidden, strict=False):
            x = shift(layer(x, generator, draws))
            draws = 1  # the first layer has repeated the images
        return self.linear[-1](x, generator, draws)

    def clamp(self) -> None:
        """Clamp all weights to their range; to be called after each step of the optimiser."""
        for layer in self.linear:
            layer.clamp()


class NoisySums(torch.autograd.Function):
    """mean + standard deviation * noise of the sums, with the gradients written out.

    Autograd would keep and revisit a dozen tensors as large as the weights: a third more time for a step.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, _trained: Tensor, weight: Tensor, noise: Tensor) -> Tensor:
        """Sums [draws, N, J]. x: [N, I]. _trained, weight: [J, I], before and after quantising.

        noise: standard normal numbers [draws, N, J].
        """
        squared = x * x
        spread = weight.abs().addcmul_(weight, weight, value=-1)  # |w| (1 - |w|)
        deviation = (squared @ spread.T).add_(_LEAST_VARIANCE).sqrt_()
        ctx.save_for_backward(x, squared, weight, spread, noise / deviation)
        return torch.addcmul(x @ weight.T, deviation, noise)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        """Gradients of x and, straight through the quantising, of the trained weights."""
        x, squared, weight, spread, noise_over_deviation = ctx.saved_tensors
        of_mean = gradients[0].sum(0)
        of_variance = (gradients[0] * noise_over_deviation).sum(0).mul_(0.5)
        of_weight = of_variance.T @ squared
        of_weight.mul_(weight.sign().sub_(weight, alpha=2)).add_(of_mean.T @ x)  # d|w|(1-|w|)/dw = sign - 2w
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = (of_mean @ weight).addcmul_(of_variance @ spread, x, value=2)
        return of_x, of_weight, None, None


def thresholds(weight: Tensor, bits: int) -> Tensor:
    """T in 0..2**k of weights in [-1, 1], as ``synflip.spec.coins.probability_word`` chooses it."""
    scaled = weight.abs().mul_(1 << bits)
    half = 1 << (bits - 1)
    heads = scaled.round()
    return torch.where(heads == half, (scaled > half).to(heads.dtype).mul_(2).add_(half - 1), heads)


def _check_sizes(sizes: Sequence[int], bits: int, activation_bits: int) -> None:
    if not 2 <= len(sizes) <= MAX_LAYERS + 1:
        raise SynflipError(f"{len(sizes) - 1} layers; a network has 1..{MAX_LAYERS}")
    for index, size in enumerate(sizes):
        if size < 1 or (index and size > MAX_OUTPUTS):
            what = f"layer {index - 1}: {size} outputs" if index else f"{size} inputs"
            raise SynflipError(f"{what}; a layer has 1..{MAX_OUTPUTS} outputs and at least 1 input")
    check_bits(bits, activation_bits)


def check_bits(bits: int, activation_bits: int) -> tuple[int, int]:
    """k and A as ints. Raises SynflipError for what is no integer, and for k or A that no accelerator has."""
    bits, activation_bits = whole_number(bits, "bits"), whole_number(activation_bits, "activation bits")
    if not 1 <= bits <= MAX_BITS:
        raise SynflipError(f"bits must be in 1..{MAX_BITS}, not {bits} (k, option --bits)")
    if not 1 <= activation_bits <= MAX_ACTIVATION_BITS:
        raise SynflipError(
            f"activation bits must be in 1..{MAX_ACTIVATION_BITS}, not {activation_bits} "
            "(A, option --activation-bits)"
        )
    return bits, activation_bits
