"""Conversion of trained ordinary networks to networks of coins."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synflip.data.dataset import Dataset, require_dataset
from synflip.errors import SynflipError
from synflip.modelfile.extractor import Extractor, copied, export, image_shape, log2_step
from synflip.spec.model import pixels_to_activations
from synflip.training.checkpoint import Checkpoint
from synflip.training.feature_network import FeatureNetwork, Normalise, per_channel
from synflip.training.layers import MAX_TRAINED_SHIFT, SynapticNetwork, check_bits, thresholds
from synflip.training.loop import Progress
from synflip.training.train import RATE as NEW_RATE
from synflip.training.train import fit_coins
from synflip.util.arrays import whole_number
from synflip.util.threads import one_thread

EPOCHS = 10
RATE = 0.01  # half of training's, because the weights are nearly right
MEASURED = 1000  # training images that scales are measured on
_PERCENTILE = 99.9  # of the activations above 0: fewer than one in a thousand of them is cut off
_SCALES = 25  # tried for each layer's weights, 2**(1/4) apart
ALLOWED = "Linear, ReLU after it, Flatten, Dropout, and BatchNorm1d right after a Linear"


@overload
def convert(
    network: nn.Sequential,
    *,
    data: Dataset,
    bits: int = 4,
    activation_bits: int = 8,
    epochs: int = EPOCHS,
    seed: int = 0,
    augment: bool = False,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
) -> SynapticNetwork: ...


@overload
def convert(
    network: nn.Module,
    head: nn.Sequential | Sequence[int],
    *,
    data: Dataset,
    bits: int = 4,
    activation_bits: int = 8,
    epochs: int = EPOCHS,
    seed: int = 0,
    augment: bool = False,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
) -> FeatureNetwork: ...


def convert(
    network: nn.Module,
    head: nn.Sequential | Sequence[int] | None = None,
    *,
    data: Dataset,
    bits: int = 4,
    activation_bits: int = 8,
    epochs: int = EPOCHS,
    seed: int = 0,
    augment: bool = False,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
) -> SynapticNetwork | FeatureNetwork:
    """A network of coins with the mean outputs of a trained network, fine-tuned.

    network: a Sequential of Linear, ReLU, Flatten, Dropout and BatchNorm1d that takes (pixel / input_max -
        mean) / std, [N, I]; all its weights become coins. With a head, any module that takes the same as
        [N, C, H, W] and gives [N, F], none below 0; it stays as it is: only the head's weights become coins.
    head: a trained Sequential as above that takes the features, or the outputs of new hidden layers.
    data: for measuring activations and fine-tuning. epochs: of fine-tuning; 0 leaves it out. bits: k.
    activation_bits: A. seed: of new weights, noise and the order of images. progress: called after every step
    with a TrainStep. augment: move images a little, those in colour are mirrored too; not with a head, whose
    features are computed once. mean, std: one number, or one for each channel. checkpoint, resume: of the
    fine-tuning, as of ``train``: the file that keeps what Ctrl-C would lose, and whether to go on from it.
    The networks given are left as they are. The same seed gives the same network on the same kind of machine.
    Raises SynflipError, naming the module's index and type, for what cannot be coins.
    """
    require_dataset(data)
    epochs = whole_number(epochs, "epochs")
    bits, activation_bits = whole_number(bits, "bits"), whole_number(activation_bits, "activation bits")
    seed = whole_number(seed, "the seed")
    if epochs < 0:
        raise SynflipError(f"epochs must not be negative, not {epochs}")
    check_bits(bits, activation_bits)
    kept = None if checkpoint is None else Checkpoint(checkpoint, resume)
    generator = torch.Generator().manual_seed(seed)
    largest = (1 << activation_bits) - 1
    if head is None:
        layers = _on_shares(dense_layers(network), data, mean, std)
        coins = _coins(layers, data.train_images.shape[1], data, bits, activation_bits, seed)
        rows = pixels_to_activations(data.train_images, data.input_max, activation_bits)
        initialise(coins, layers, _some(rows), 1 / largest)
        fit_coins(coins, data, rows, epochs, RATE, generator, augment, progress, checkpoint=kept)
        return coins
    if augment:
        raise SynflipError(
            "augment needs features that are made anew for every image; here they are made once"
        )
    given: list[tuple[Tensor, Tensor]] = []
    hidden: Sequence[int] = ()
    if isinstance(head, nn.Module):
        given = dense_layers(head)
    elif isinstance(head, Sequence) and all(isinstance(size, int) for size in head):
        hidden = head
    else:
        raise SynflipError(f"the head is {head!r}, neither a Sequential nor the outputs of hidden layers")
    shape = image_shape(data.shape)
    extractor = nn.Sequential(Normalise(1 / data.input_max, mean, std, shape[0]), copied(network))
    with one_thread():
        seen = Extractor(export(extractor, shape))(_some(data.train_images).reshape(-1, *shape))
        step, count = log2_step(seen, activation_bits), seen.shape[1]
        if given:
            coins = _coins(given, count, data, bits, activation_bits, seed)
        else:
            coins = SynapticNetwork([count, *hidden, len(data.classes)], bits, activation_bits, seed)
        both = FeatureNetwork(extractor, coins, shape, data.input_max, step)
        rows = both.features().rows(data.train_images, count, largest)
        if given:
            initialise(coins, given, _some(rows), 2.0**step)
    rate = RATE if given else NEW_RATE
    fit_coins(coins, data, rows, epochs, rate, generator, False, progress, checkpoint=kept)
    return both.eval()


def dense_layers(network: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Weights [J, I] and biases [J], float64, of each Linear with its BatchNorm1d. Raises SynflipError."""
    if type(network) is not nn.Sequential:
        raise SynflipError(f"the network is a {type(network).__name__}, not a Sequential of {ALLOWED}")
    layers: list[tuple[Tensor, Tensor]] = []
    before = ""  # the type of the last module that computes something
    for index, module in enumerate(network):
        kind = type(module).__name__
        name = f"module {index} ({kind})"
        # Subclasses may compute anything.
        if type(module) in (nn.Dropout, nn.Identity):
            continue
        if type(module) is nn.Flatten:
            if (module.start_dim, module.end_dim) != (1, -1):
                raise SynflipError(f"{name} keeps some dimensions: only Flatten() makes rows of images")
            continue
        if type(module) is nn.Linear:
            if before in ("Linear", "BatchNorm1d"):
                raise SynflipError(f"{name} comes after a {before} without a ReLU between them")
            bias = torch.zeros(module.out_features) if module.bias is None else module.bias
            layers.append((_double(module.weight), _double(bias)))
            if len(layers) > 1 and len(layers[-2][1]) != module.in_features:
                raise SynflipError(
                    f"{name} takes {module.in_features} inputs; the one before gives {len(layers[-2][1])}"
                )
        elif type(module) is nn.BatchNorm1d:
            if before != "Linear":
                raise SynflipError(
                    f"{name} comes after {before or 'nothing'}; only after a Linear it is folded"
                )
            layers[-1] = _folded(name, module, *layers[-1])
        elif type(module) is nn.ReLU:
            if before not in ("Linear", "BatchNorm1d"):
                raise SynflipError(f"{name} comes after {before or 'nothing'}; allowed are {ALLOWED}")
        else:
            raise SynflipError(f"{name} cannot be made of coins; allowed are {ALLOWED}")
        if layers and not (layers[-1][0].isfinite().all() and layers[-1][1].isfinite().all()):
            raise SynflipError(f"{name} has weights that are not finite")
        before = kind
    if before not in ("Linear", "BatchNorm1d"):
        raise SynflipError(
            f"the last of {len(network)} modules must be a Linear, whose outputs are the logits"
        )
    return layers


def initialise(
    network: SynapticNetwork, layers: Sequence[tuple[Tensor, Tensor]], rows: NDArray[np.uint8], unit: float
) -> None:
    """Set the coins so that their mean outputs are those of ordinary layers on inputs rows * unit.

    layers: weights and biases, float64. rows: [N, I], activations of training images. A weight w of a layer
    becomes w / m, cut off at 1: the smaller m, the less noise the coins make beside their mean; the larger,
    the fewer weights are cut off. It is chosen for the least square error of one network sample. Shifts are
    the smallest with which nearly all activations are in range.
    """
    x = torch.from_numpy(rows).double() * unit
    gain = 1 / unit  # a layer's input, in integers, is this times the ordinary network's
    for index, (layer, (weight, bias)) in enumerate(zip(network.linear, layers, strict=True)):
        largest = _largest_weight(weight, x, network.bits)
        gain /= largest
        with torch.no_grad():
            layer.weight.copy_((weight / largest).clamp(-1, 1))
            layer.bias.copy_(bias * gain / layer.bias_unit)
        z = x @ weight.T + bias
        if index == len(layers) - 1:
            network.log_temperature.data.fill_(math.log(gain))
            return
        x = z.relu()
        above = x[x > 0].numpy()
        top = float(np.percentile(above, _PERCENTILE)) * gain if len(above) else 1.0
        shift = network.hidden[index]
        shift.log2_scale.data.fill_(min(max(math.ceil(math.log2(top / shift.largest)), 0), MAX_TRAINED_SHIFT))
        gain *= 2.0**-shift.shift


def _largest_weight(weight: Tensor, x: Tensor, bits: int) -> float:
    """m, the weight that becomes 1, of weights [J, I]: the one with the least square error of a network
    sample on inputs [N, I]. Candidates are the largest weight, and 2**(1/4) times smaller each."""
    top = float(weight.abs().max())
    if top == 0:
        return 1.0
    x, weight = x.float(), weight.float()
    squared = x * x
    errors = []
    candidates = [top * 2 ** (-index / 4) for index in range(_SCALES)]
    for largest in candidates:
        share = (weight / largest).clamp(-1, 1)
        probability = thresholds(share, bits) / (1 << bits)
        cut = weight - largest * probability.copysign(share)
        noise = largest**2 * (squared @ (probability * (1 - probability)).T)
        errors.append(float(((x @ cut.T) ** 2 + noise).mean()))
    return candidates[int(np.argmin(errors))]


def _on_shares(
    layers: list[tuple[Tensor, Tensor]],
    data: Dataset,
    mean: float | Sequence[float],
    std: float | Sequence[float],
) -> list[tuple[Tensor, Tensor]]:
    """The layers with normalisation folded into the first: for shares, pixels / input_max, as they are."""
    (weight, bias), *others = layers
    channels = image_shape(data.shape)[0]
    pixels = weight.shape[1] // channels
    middle, spread = (
        torch.from_numpy(per_channel(name, value, channels)).repeat_interleave(pixels)
        for name, value in (("mean", mean), ("std", std))
    )
    if len(middle) != weight.shape[1]:
        return layers  # refused for its number of inputs
    weight = weight / spread
    return [(weight, bias - weight @ middle), *others]


def _folded(name: str, norm: nn.BatchNorm1d, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """A Linear's weights and bias with the BatchNorm1d after it folded in, as in evaluation mode."""
    if norm.running_mean is None or norm.running_var is None:
        raise SynflipError(f"{name} has no running statistics: what it does depends on the batch")
    if norm.num_features != len(bias):
        raise SynflipError(f"{name} takes {norm.num_features} features; the Linear before gives {len(bias)}")
    factor = (_double(norm.running_var) + norm.eps).rsqrt()
    if norm.weight is not None:
        factor = factor * _double(norm.weight)
    shifted = (bias - _double(norm.running_mean)) * factor
    return weight * factor[:, None], shifted if norm.bias is None else shifted + _double(norm.bias)


def _coins(
    layers: list[tuple[Tensor, Tensor]],
    inputs: int,
    data: Dataset,
    bits: int,
    activation_bits: int,
    seed: int,
) -> SynapticNetwork:
    """An untrained network of coins of the layers' sizes. Raises SynflipError if they do not fit the data."""
    sizes = [layers[0][0].shape[1], *(len(bias) for _, bias in layers)]
    if sizes[0] != inputs:
        raise SynflipError(f"the first Linear takes {sizes[0]} inputs; {data.name} gives {inputs}")
    if sizes[-1] != len(data.classes):
        raise SynflipError(f"the last Linear gives {sizes[-1]} logits; {data.name} has {len(data.classes)}")
    return SynapticNetwork(sizes, bits, activation_bits, seed)


def _double(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().double()


def _some(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """At most MEASURED of the rows, spread over all of them."""
    return rows[:: -(-len(rows) // MEASURED)]
