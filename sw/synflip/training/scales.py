"""From the weights of an ordinary network to the first weights, biases and shifts of coins.

What no training image shows must not choose a scale: inputs that are always the same, units that are always
0, units that nobody reads. Scales are then chosen for the least error of one network sample.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synflip.errors import SynflipError
from synflip.training.layers import MAX_TRAINED_SHIFT, SynapticNetwork, thresholds
from synflip.training.ordinary import OrdinaryLayer, logits
from synflip.uncertainty.temperature import fit_scale

_PERCENTILE = 99.9  # of the activations above 0: fewer than one in a thousand of them is cut off
_SCALES = 25  # at least, tried for each layer's weights, 2**(1/4) apart
_MOST_SCALES = 400  # reach 2**100 below the largest weight
_TYPICAL = 0.99  # share of a layer's weights that the largest of the smallest scales is compared with
_SHARES = (0.5, 0.75)  # of a layer's weights that are smaller than a typical one
_SWEEPS = 10  # of equalising: each layer takes part in two pairs
_OFFSET = 0.5  # share of its largest activation that a unit must always have for its bias to move on
_VOTING, _VOTES = 500, 16  # images, at most, and network samples that the ways to set coins are compared on
_PATCHES = 4000  # of a convolution's inputs that its scale is measured on
_UNLIKELY = 0.2  # nats an image by which another temperature must be likelier than the network's own
_SAME = 1e-9  # of the largest: smaller differences are rounding errors


def without_unseen(
    layers: Sequence[OrdinaryLayer], rows: NDArray[np.uint8], unit: float
) -> list[OrdinaryLayer]:
    """Layers with the same logits for inputs rows * unit, [N, I], whose weights of unseen inputs and units
    are 0.

    An input that is always c > 0 becomes part of the biases: w c. An input that is always 0 has no weight. A
    unit that is always 0, always the same, or not read by the next layer has none either. A unit in c..d with
    c > d / 2 becomes one in 0..d-c: its bias falls by c, and the next layer's rise by w c. Raises
    SynflipError, naming the module, if nothing of the images is left. Inputs of a convolution have no
    weights of their own, for each meets several of a kernel: they stay as they are.
    """
    out: list[OrdinaryLayer] = []
    x = torch.from_numpy(rows).double() * unit
    low, high = x.amin(0), x.amax(0)
    for index, layer in enumerate(layers):
        if layer.place is None:
            still = high - low <= _SAME * high.abs()
        else:
            still = torch.zeros(layer.weight.shape[1], dtype=torch.bool)
            high = torch.zeros(layer.weight.shape[1], dtype=torch.float64)
        moved = torch.where(still, high, 0.0)
        if out and out[-1].limit == math.inf and out[-1].place is None:
            moved = torch.where(still | (low > _OFFSET * high), low, moved)
            before = out[-1]
            out[-1] = replace(before, bias=before.bias - torch.where(still, 0.0, moved))
        layer = replace(
            layer, bias=layer.bias + layer.weight @ moved, weight=torch.where(still, 0.0, layer.weight)
        )
        out.append(layer)
        last = index == len(layers) - 1
        x = layers[index].sums(x) if last else layers[index].activations(x)
        low, high = x.amin(0), x.amax(0)
        if len(x) > 1 and bool((high - low <= _SAME * torch.maximum(high.abs(), low.abs())).all()):
            raise SynflipError(
                f"{layer.name} gives the same for all {len(x)} training images; was the network trained, and "
                "are mean and std those of its inputs?"
            )
    for index in range(len(out) - 2, -1, -1):
        read = (out[index + 1].by_unit(len(out[index].bias)) != 0).any(1).any(0)
        out[index] = replace(
            out[index],
            weight=torch.where(read[:, None], out[index].weight, 0.0),
            bias=torch.where(read, out[index].bias, 0.0),
        )
    return out


def equalised(layers: Sequence[OrdinaryLayer]) -> list[OrdinaryLayer]:
    """Layers of the same function in which a hidden unit's largest weight is as large as the largest that
    reads it: r = sqrt(r1 r2), as a ReLU of s z is s times that of z, s > 0.

    Nagel et al., Data-free quantization through weight equalization and bias correction, ICCV 2019,
    arXiv 1906.04721, equation 11. Units with a limit stay as they are.
    """
    out = list(layers)
    for _ in range(_SWEEPS):
        for index in range(len(out) - 1):
            if out[index].limit < math.inf:
                continue
            read = out[index + 1].by_unit(len(out[index].bias))
            first, second = out[index].weight.abs().amax(1), read.abs().amax((0, 1))
            scale = torch.where((first > 0) & (second > 0), (second / first).sqrt(), 1.0)
            out[index] = replace(
                out[index], weight=out[index].weight * scale[:, None], bias=out[index].bias * scale
            )
            weight = (read / scale).reshape(out[index + 1].weight.shape)
            out[index + 1] = replace(out[index + 1], weight=weight)
    return out


@dataclass(frozen=True)
class Scales:
    """How coins were set. layers: what they compute, perhaps equalised. largest: m of each layer, the weight
    that became a coin of probability 1; larger ones are cut off."""

    layers: tuple[OrdinaryLayer, ...]
    largest: tuple[float, ...]


def initialise(
    network: SynapticNetwork, layers: Sequence[OrdinaryLayer], rows: NDArray[np.uint8], unit: float
) -> Scales:
    """Set the coins so that their mean outputs are those of ordinary layers on inputs rows * unit.

    layers: as ``without_unseen`` gives them. rows: [N, I], activations of training images. A weight w of a
    layer becomes w / m, cut off at 1: the smaller m, the less noise the coins make beside their mean; the
    larger, the fewer weights are cut off. Shifts are the smallest with which nearly all activations are in
    range; behind a limit, m is such that the limit is the end of the range.

    Eight ways are tried: layers as they are or equalised; m for the least error or the least relative error
    of one network sample; biases as they are, or with the mean of what rounding and cutting off change. The
    one stays whose votes are the ordinary network's classes most often. If that is no better than classes
    drawn at random, because a few outlying weights made all others small, m is tried as the weight that half,
    and three quarters, of the layer's are smaller than.
    """
    x = network.ordered(torch.from_numpy(rows).double()) * unit
    wanted = logits(layers, x).argmax(1)
    voters = torch.from_numpy(rows[:: -(-len(rows) // _VOTING)]).float()
    wanted = wanted[:: -(-len(rows) // _VOTING)]
    best, found = -math.inf, Scales((), ())
    state: dict[str, Tensor] = {}
    forms = (list(layers), equalised(layers))
    at_random = -math.log(len(layers[-1].bias))
    for choose in (lambda form: _scales(form, x, network.bits), _typical_weights):
        if best > at_random:
            break
        for form in forms:
            for scales in choose(form):
                for corrected in (False, True):
                    largest = _set(network, form, scales, x, unit, corrected)
                    agreement = _agreement(network, voters, wanted)
                    if agreement > best:
                        best, found = agreement, Scales(tuple(form), tuple(largest))
                        state = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(state)
    return found


def as_they_are(
    network: SynapticNetwork, layers: Sequence[OrdinaryLayer], rows: NDArray[np.uint8], unit: float
) -> None:
    """Set the coins to ordinary layers of weights in [-1, 1] without a scale: |w| is the probability.

    rows, unit: as of ``initialise``; they choose the shifts.
    """
    _set(network, layers, [1.0] * len(layers), torch.from_numpy(rows).double() * unit, unit, corrected=False)


def _set(
    network: SynapticNetwork,
    layers: Sequence[OrdinaryLayer],
    scales: Sequence[float],
    x: Tensor,
    unit: float,
    corrected: bool,
) -> list[float]:
    """Set weights, biases, shifts and temperature for inputs x, float64 [N, I]. Gives m of each layer.

    corrected: add to the biases what the rounded weights change in the mean over x.
    """
    quiet = x  # activations of the coins without their noise, in the ordinary network's units
    gain = 1 / unit  # a layer's input, in integers, is this times the ordinary network's
    used = []
    for index, (coins, layer, scale) in enumerate(zip(network.linear, layers, scales, strict=True)):
        module = network.hidden[index] if index < len(network.hidden) else None
        largest = scale
        if module and layer.limit < math.inf:
            times = layer.limit * gain / module.largest  # 2**shift times m
            largest = max(scale / 2, times * 2.0 ** -_shift(round(math.log2(times / scale))))
        activations = (quiet * gain).float()
        gain /= largest
        used.append(largest)
        with torch.no_grad():
            coins.weight.copy_((layer.weight / largest).clamp(-1, 1))
            kept = coins.quantised()[0].double() * largest  # of the weights
            bias = layer.bias
            if corrected:
                bias = bias + (layer.unbiased(x) - replace(layer, weight=kept).unbiased(quiet)).mean(0)
            coins.set_biases(bias * gain, activations)
        if module is None:
            break
        x, quiet = layer.activations(x), replace(layer, weight=kept, bias=bias).activations(quiet)
        above = x
        if layers[index + 1].place is None:
            above = x[:, (layers[index + 1].weight != 0).any(0)]
        above = above[above > 0]
        top = float(np.percentile(above.numpy(), _PERCENTILE)) if len(above) else 1 / gain
        if layer.limit < math.inf:
            shift = _shift(round(math.log2(layer.limit * gain / module.largest)))
        else:
            shift = _shift(math.ceil(math.log2(top * gain / module.largest)))
        module.log2_scale.data.fill_(shift)
        gain *= 2.0**-shift
    network.log_temperature.data.fill_(math.log(gain))
    return used


def temper(
    network: SynapticNetwork,
    layers: Sequence[OrdinaryLayer],
    rows: NDArray[np.uint8],
    unit: float,
    labels: NDArray[np.integer],
) -> None:
    """Give coins another temperature if the ordinary network's logits are no logarithms of likelihoods.

    The largest of them may be the class all the same: cosines, regressions on one-hot rows, scores of a
    machine, logits that were scaled. Fine-tuning would begin with shares that are all alike, or all 0 and 1,
    and unlearn. Then the temperature is that with which one network sample gives ``labels`` [N], of inputs
    rows * unit, the largest likelihood. Where the network's own is nearly as likely, it stays. ``initialise``
    has set the coins.
    """
    wanted = torch.from_numpy(labels).long()

    def fitted(z: Tensor) -> float:
        spread = float((z - z.mean(1, keepdim=True)).std())
        return fit_scale(z.numpy()[None], labels, spread if spread > 0 else 1.0)

    def cost(z: Tensor, scale: float) -> float:
        return float(nn.functional.cross_entropy(z / scale, wanted))

    z = logits(layers, network.ordered(torch.from_numpy(rows).double()) * unit)
    if cost(z, 1.0) - cost(z, fitted(z)) <= _UNLIKELY:
        return
    network.eval()
    with torch.no_grad():
        one = network(torch.from_numpy(rows).float(), torch.Generator().manual_seed(0)).double()
        network.log_temperature.fill_(math.log(fitted(one)))
    network.train()


def _shift(exponent: int) -> int:
    return min(max(exponent, 0), MAX_TRAINED_SHIFT)


def _agreement(network: SynapticNetwork, rows: Tensor, wanted: Tensor) -> float:
    """Mean log of the votes' share of the classes ``wanted`` [N], for activations float32 [N, I]."""
    generator = torch.Generator().manual_seed(0)
    network.eval()
    votes = torch.zeros(len(rows))
    with torch.no_grad():
        for _ in range(_VOTES):
            votes += network(rows, generator).argmax(1) == wanted
    network.train()
    return float(((votes + 0.5) / (_VOTES + 1)).log().mean())


def _scales(layers: Sequence[OrdinaryLayer], x: Tensor, bits: int) -> list[list[float]]:
    """Two choices of m, the weight of each layer that becomes 1: with the least error of a network sample on
    inputs x, float64 [N, I], and with the least relative error. In the second, one output of huge weights
    does not choose for all."""
    chosen = []
    for index, layer in enumerate(layers):
        hidden = index < len(layers) - 1
        units = len(layer.bias)
        read = layers[index + 1].by_unit(units).square().sum((0, 1)) if hidden else torch.ones(units)
        chosen.append(_largest_weights(layer.weight, layer.rows(x, _PATCHES), bits, read))
        x = layer.activations(x)
    return [list(column) for column in zip(*chosen, strict=True)]


def _typical_weights(layers: Sequence[OrdinaryLayer]) -> list[list[float]]:
    """Choices of m by the layers alone: the weight that a share of its layer's, in _SHARES, is below."""
    live = [layer.weight.abs()[layer.weight != 0].numpy() for layer in layers]
    return [[float(np.quantile(sizes, share)) if len(sizes) else 1.0 for sizes in live] for share in _SHARES]


def _largest_weights(weight: Tensor, x: Tensor, bits: int, read: Tensor) -> tuple[float, float]:
    """m of weights [J, I], chosen in two ways (see ``_scales``). read: how much the next layer reads each
    unit, [J].

    Candidates are the largest weight and 2**(1/4) times smaller each, down to 1/64 of it and to 1/8 of a
    typical large weight.
    """
    live = (weight != 0) & (x.amax(0) > 0) & (read > 0)[:, None]
    sizes = weight.abs()[live].numpy()
    if not len(sizes):
        return 1.0, 1.0
    top, typical = float(sizes.max()), float(np.quantile(sizes, _TYPICAL))
    count = min(max(_SCALES, math.ceil(4 * math.log2(8 * top / typical))), _MOST_SCALES)
    x, weight = x.float(), (weight / top).float()
    squared = x * x
    carried = (x @ weight.T).var(0, correction=0)
    used = (read > 0) & (carried > 0)
    errors = []
    candidates = [2 ** (-index / 4) for index in range(count)]
    for largest in candidates:
        share = (weight / largest).clamp(-1, 1)
        probability = thresholds(share, bits) / (1 << bits)
        cut = weight - largest * probability.copysign(share)
        noise = largest**2 * (squared @ (probability * (1 - probability)).T)
        error = ((x @ cut.T) ** 2 + noise).mean(0)[used]
        errors.append((float((error * read[used]).sum()), float((error / carried[used]).log1p().sum())))
    least, relative = np.argmin(errors, axis=0)
    return top * candidates[least], top * candidates[relative]
