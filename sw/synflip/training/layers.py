"""Networks whose weights are coins, in the contract's integer units, so that they compile without change.

A synapse adds sign * x with probability |w|. Over its coins, output j has mean b + sum of w x and variance
sum of x^2 |w| (1 - |w|); by the central limit theorem it is close to a Gaussian, so training draws one
Gaussian number an output in place of one coin a synapse, and gradients flow through mean and variance (local
reparameterisation: Kingma, Salimans, Welling, NeurIPS 2015, arXiv 1506.02557). Numbers that are integers in
the compiled model are rounded in the forward pass; the backward pass takes rounding for the identity
(straight-through: Bengio, Léonard, Courville, 2013, arXiv 1308.3432).

Activations are never negative, so a weight's change moves the sums of all images the same way, and the
biases have to move back. Training therefore takes the mean as b' + sum of w (x - c), c the running mean of x
(LeCun et al., Efficient BackProp, 1998, section 4.3), and the compiled bias is b = b' - sum of w c: the same
network, easier to train.

The loss of one sample punishes noise more than that of the mean of many samples does, by Jensen's
inequality. So training has a share of the coins' standard deviation: votes are right more often then, and
the mean softmax is likelier. With too small a share single samples are right less often.
"""

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn

from synflip.errors import SynflipError
from synflip.spec.convolution import Convolution
from synflip.spec.input_quantizer import InputQuantizer
from synflip.spec.sizes import MAX_ACTIVATION_BITS, MAX_BITS, MAX_LAYERS, MAX_OUTPUTS
from synflip.training.ladder import Ladder
from synflip.util.arrays import training_seed, whole_number, whole_sizes

MAX_TRAINED_SHIFT = 15  # keeps every sum below 2**24, so that float32 holds it exactly
MAX_TRAINED_BIAS = (1 << 23) - 1
_LEAST_VARIANCE = 1e-2  # small for a sum of integers; the square root has no gradient at 0
_MEAN_SQUARE = 1 / 10  # of activations, as a share of the largest's, for the initial scale: MNIST's images
_FOLLOW = 0.02  # share of the way to a batch's mean that the centre of a layer's inputs goes
NOISE, KERNEL_NOISE = 0.7, 0.5  # share of the coins' standard deviation in training; in convolutions
KERNELS = 16  # flips of a convolution's coins in a batch
_LEAST_SPREAD = 15 / 256  # p (1 - p) of p = 1/16: the gradient of a rarer coin would be rare and huge


class Synapses(nn.Module):
    """The coins of one layer, I rows for each of J outputs.

    weight: [J, I] in [-1, 1], probability and sign; in [0, 1] unless ``signed``. bias: [J], b' in units of
    ``bias_unit``. centre: [I], c. batches: how many c is the running mean of. place: where the weights go as
    kernels; None of a dense layer. noise: share of the coins' standard deviation that training has.
    """

    place: Convolution | None = None
    noise: float
    centre: Tensor
    batches: Tensor

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
        self.weight = nn.Parameter(weight * 2 - 1 if signed else weight)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("centre", torch.zeros(inputs))
        self.register_buffer("batches", torch.zeros(()))

    def quantised(self) -> tuple[Tensor, Tensor]:
        """Weights T / 2**k with their signs [J, I] and integer biases [J], as the compiled model has them."""
        with torch.no_grad():
            probability = thresholds(self.weight, self.bits).mul_(1.0 / (1 << self.bits))
            weight = probability.copysign_(self.weight)
            bias = (self.bias * self.bias_unit - weight @ self.centre).round_()
            return weight, bias.clamp_(-MAX_TRAINED_BIAS, MAX_TRAINED_BIAS)

    def set_biases(self, bias: Tensor, x: Tensor) -> None:
        """Set the biases b [J] of the compiled model, for the weights of now and activations x [N, I]."""
        with torch.no_grad():
            self.centre.copy_(self.mean_row(x))
            self.batches.fill_(1 / _FOLLOW)
            bias = bias.clamp(-MAX_TRAINED_BIAS, MAX_TRAINED_BIAS)
            self.bias.copy_((bias + self.quantised()[0] @ self.centre) / self.bias_unit)

    def follow(self, x: Tensor) -> None:
        """Move c towards the mean of a batch's activations [N, I]: the mean of all batches at first, later
        ``_FOLLOW`` of the way."""
        with torch.no_grad():
            self.batches += 1
            share = (1 / self.batches).clamp(min=_FOLLOW)
            self.centre.lerp_(self.mean_row(x), share)

    def mean_row(self, x: Tensor) -> Tensor:
        """The mean [I] of what meets an output's weights, of activations [N, I]."""
        return x.mean(0)

    def forward(self, x: Tensor, generator: torch.Generator, draws: int = 1) -> Tensor:
        """Sums z of activations [N, I] in 0..2**A-1, both float32 that hold integers.

        In training, of ``draws`` noises: the sums are those of [draws * N, I]. In evaluation the coins are
        flipped once for the whole batch, and the sums are exact.
        """
        raise NotImplementedError

    def clamp(self) -> None:
        """Clamp the weights to [-1, 1], or [0, 1]; to be called after each step of the optimiser."""
        with torch.no_grad():
            self.weight.clamp_(self.lowest, 1)


class SynapticLinear(Synapses):
    """A dense layer of coins: activations [N, I] to sums z [N, J]. In training the sums have Gaussian
    noise."""

    noise = NOISE

    def forward(self, x: Tensor, generator: torch.Generator, draws: int = 1) -> Tensor:
        """Sums z [N, J]; in training [draws * N, J]."""
        if self.training:
            self.follow(x)
        weight, rounded = self.quantised()
        if not self.training:
            return nn.functional.linear(x, flip(weight, generator), rounded)
        noise = torch.randn(draws, len(x), len(weight), generator=generator).mul_(self.noise)
        bias = self.bias * self.bias_unit
        sums: Tensor = NoisySums.apply(x, self.weight, weight, noise, self.centre)
        return sums.flatten(0, 1) + (bias + (rounded - bias).detach())


class SynapticConv2d(Synapses):
    """A convolution of coins and the max pooling behind it: activations [N, H * W * C] in the order y, x, c
    to the largest z of each pool window, [N, H' * W' * J] in the order y, x, j.

    place: sizes, and where the kernels [J, kh * kw * C] go, rows in the order dy, dx, c. A synapse has one
    coin for all positions, so the noise of positions is not independent; and a kernel of 3x3 over one channel
    has nine coins, whose sum is not Gaussian. So in training coins are flipped too, KERNELS times in a batch,
    each time for as many of its images. A coin is p + noise sqrt(p (1 - p)) e, where e, which is what was
    flipped, stays the same in the backward pass: it has the gradient of the mean and that of the variance.
    With all the noise, after two epochs of half of MNIST, votes of 16 are right most often so; then come
    Gaussian weights of the same mean and variance, coins with the gradient of the mean alone
    (straight-through), and a Gaussian number for each position.
    """

    noise = KERNEL_NOISE

    def __init__(
        self,
        place: Convolution,
        outputs: int,
        bits: int,
        activation_bits: int,
        generator: torch.Generator,
        signed: bool = True,
    ) -> None:
        super().__init__(place.rows, outputs, bits, activation_bits, generator, signed)
        self.place: Convolution = place

    def forward(self, x: Tensor, generator: torch.Generator, draws: int = 1) -> Tensor:
        """The largest sums z [N, H' * W' * J]; in training [draws * N, H' * W' * J]."""
        if self.training:
            self.follow(x)
        weight, rounded = self.quantised()
        if not self.training:
            return convolved(x, flip(weight, generator), rounded, self.place)
        bias = self.bias * self.bias_unit - self.weight @ self.centre
        bias = bias + (rounded - bias).detach()
        parts = x.repeat(draws, 1).tensor_split(min(KERNELS, draws * len(x)))
        place = self.place
        return torch.cat([convolved(part, self._trained(weight, generator), bias, place) for part in parts])

    def mean_row(self, x: Tensor) -> Tensor:
        """The mean of each channel over all places, for each place of a kernel: [kh * kw * C]."""
        *_, channels = self.place.input
        height, width = self.place.kernel
        return x.reshape(-1, channels).mean(0).repeat(height * width)

    def _trained(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        """One flip of ``weight``, the quantised ones, with gradients of those that are trained."""
        with torch.no_grad():
            p = weight.abs()
            noise = (flip(weight, generator).abs_() - p).mul_(self.noise)
            slope = (0.5 - p) / (p - p * p).clamp_(min=_LEAST_SPREAD) * noise + 1
            coins = (p + noise).copysign_(weight)
        mean = self.weight * slope
        return mean + (coins - mean).detach()


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

    def freeze(self) -> None:
        """Keep r as it is: the learned scale stays there."""
        self.log2_scale.requires_grad_(False).fill_(self.shift)


class SynapticNetwork(nn.Module):
    """Layers of coins with shifts between them: activations [N, I] in 0..2**A-1 to logits [N, C].

    sizes: inputs, outputs of the hidden layers, classes. bits: k. activation_bits: A. seed: of the initial
    weights. signed: whether weights are in [-1, 1] or in [0, 1]. convolutions: the first layers are these,
    each with as many kernels as ``sizes`` says; a dense layer behind one has H' * W' * J inputs.
    channels_first: whether an image, a row of activations, is in the order c, y, x, as a Dataset in colour
    has it, and not y, x, c.
    ``temperature`` is the learned divisor of the logits in the softmax. ``ladder``: the accuracies of the
    conversion that made it; None if it was trained. ``source``, ``input_quantizer``: its card, see
    ``training.card``, and that of the data it was trained on; ``compile_network`` takes both. Raises
    SynflipError for sizes that no accelerator runs.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        bits: int,
        activation_bits: int,
        seed: int = 0,
        signed: bool = True,
        convolutions: Sequence[Convolution] = (),
        channels_first: bool = False,
    ) -> None:
        super().__init__()
        sizes = _checked_sizes(sizes)
        check_bits(bits, activation_bits)
        self.bits = bits
        self.activation_bits = activation_bits
        self.channels_first = channels_first
        generator = torch.Generator().manual_seed(training_seed(seed))
        settings = bits, activation_bits, generator, signed
        self.linear: list[Synapses] = []
        width = sizes[0]
        for outputs, place in zip_longest(sizes[1:], convolutions):
            if place is None:
                self.linear.append(SynapticLinear(width, outputs, *settings))
                width = outputs
            else:
                self.linear.append(SynapticConv2d(place, outputs, *settings))
                width = outputs * math.prod(place.output)
        # Three standard deviations fill the range of an activation.
        largest = (1 << activation_bits) - 1
        self.hidden = [
            Shift(math.log2(3 * layer.bias_unit / largest), activation_bits) for layer in self.linear[:-1]
        ]
        self.layers, self.shifts = nn.ModuleList(self.linear), nn.ModuleList(self.hidden)
        self.ladder: Ladder | None = None
        self.source: dict[str, Any] = {}
        self.input_quantizer: InputQuantizer | None = None
        self.log_temperature = nn.Parameter(torch.tensor(math.log(self.linear[-1].bias_unit)))

    @property
    def places(self) -> list[Convolution | None]:
        """Where the weights of each layer go as kernels; None of a dense one."""
        return [layer.place for layer in self.linear]

    @property
    def temperature(self) -> Tensor:
        """Positive scalar: class probabilities are softmax(logits / temperature)."""
        return self.log_temperature.exp()

    def ordered(self, x: Tensor) -> Tensor:
        """Images in the order of the first layer's inputs, y, x, c.

        x: images [N, I] in the order that ``channels_first`` says. Raises RuntimeError, torch's, for another
        shape.
        """
        first = self.linear[0].place
        if first is None or not self.channels_first:
            return x
        height, width, channels = first.input
        return x.view(-1, channels, height, width).permute(0, 2, 3, 1).flatten(1)

    def forward(self, x: Tensor, generator: torch.Generator, draws: int = 1) -> Tensor:
        """Logits float32 [N, C]: with Gaussian noise in training, exactly of one network sample in
        evaluation.

        x: activations float32 [N, I] in 0..2**A-1. generator: draws the noise or the coins. draws: in
        training, how many noises each image has; the logits are [draws * N, C]. Raises RuntimeError, torch's,
        for another shape.
        """
        x = self.ordered(x)
        for layer, shift in zip(self.linear, self.hidden, strict=False):
            x = shift(layer(x, generator, draws))
            draws = 1  # the first layer has repeated the images
        return self.linear[-1](x, generator, draws)

    def clamp(self) -> None:
        """Clamp all weights to their range; to be called after each step of the optimiser."""
        for layer in self.linear:
            layer.clamp()

    def freeze_shifts(self) -> None:
        """Keep the shifts as they are for the rest of the training."""
        for shift in self.hidden:
            shift.freeze()


class NoisySums(torch.autograd.Function):
    """mean + standard deviation * noise of the sums, with the gradients written out.

    Autograd would keep and revisit a dozen tensors as large as the weights: a third more time for a step.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, _trained: Tensor, weight: Tensor, noise: Tensor, centre: Tensor
    ) -> Tensor:
        """Sums [draws, N, J]. x: [N, I]. _trained, weight: [J, I], before and after quantising.

        noise: standard normal numbers [draws, N, J]. centre: [I]; the mean's gradient of the weights is that
        of w (x - centre).
        """
        squared = x * x
        spread = weight.abs().addcmul_(weight, weight, value=-1)  # |w| (1 - |w|)
        deviation = (squared @ spread.T).add_(_LEAST_VARIANCE).sqrt_()
        ctx.save_for_backward(x, squared, weight, spread, noise / deviation, centre)
        return torch.addcmul(x @ weight.T, deviation, noise)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, None, None, None]:
        """Gradients of x and, straight through the quantising, of the trained weights."""
        x, squared, weight, spread, noise_over_deviation, centre = ctx.saved_tensors
        of_mean = gradients[0].sum(0)
        of_variance = (gradients[0] * noise_over_deviation).sum(0).mul_(0.5)
        of_weight = of_variance.T @ squared
        of_weight.mul_(weight.sign().sub_(weight, alpha=2))  # d|w|(1-|w|)/dw = sign - 2w
        of_weight.addmm_(of_mean.T, x - centre)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = (of_mean @ weight).addcmul_(of_variance @ spread, x, value=2)
        return of_x, of_weight, None, None, None


def flip(weight: Tensor, generator: torch.Generator) -> Tensor:
    """One flip of quantised weights [J, I]: -1, 0, 1."""
    return torch.bernoulli(weight.abs(), generator=generator) * weight.sign()


def convolved(x: Tensor, kernels: Tensor, bias: Tensor, place: Convolution) -> Tensor:
    """The largest sum of each pool window, [N, H' * W' * J] in the order y, x, j.

    x: [N, H * W * C] in the order y, x, c. kernels: [J, kh * kw * C], rows in the order dy, dx, c. bias: [J].
    """
    z = nn.functional.conv2d(
        channels_first(x, *place.input[:2]), channels_first(kernels, *place.kernel), bias,
        place.stride, place.pad,
    )  # fmt: skip
    if place.pool != (1, 1):
        z = nn.functional.max_pool2d(z, place.pool)
    return z.permute(0, 2, 3, 1).flatten(1)


def channels_first(rows: Tensor, height: int, width: int) -> Tensor:
    """Rows [N, H * W * C] in the order y, x, c as [N, C, H, W], as torch's convolutions take them."""
    return rows.view(len(rows), height, width, -1).permute(0, 3, 1, 2)


def thresholds(weight: Tensor, bits: int) -> Tensor:
    """T in 0..2**k of weights in [-1, 1], as ``synflip.spec.coins.probability_word`` chooses it."""
    scaled = weight.abs().mul_(1 << bits)
    half = 1 << (bits - 1)
    heads = scaled.round()
    return torch.where(heads == half, (scaled > half).to(heads.dtype).mul_(2).add_(half - 1), heads)


def _checked_sizes(values: Sequence[int]) -> list[int]:
    sizes = whole_sizes(values, "sizes")
    if not 2 <= len(sizes) <= MAX_LAYERS + 1:
        raise SynflipError(f"{len(sizes) - 1} layers; a network has 1..{MAX_LAYERS}")
    for index, size in enumerate(sizes):
        if size < 1 or (index and size > MAX_OUTPUTS):
            what = f"layer {index - 1}: {size} outputs" if index else f"{size} inputs"
            raise SynflipError(f"{what}; a layer has 1..{MAX_OUTPUTS} outputs and at least 1 input")
    return sizes


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
