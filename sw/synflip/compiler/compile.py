"""From trained weights to a compiled model, which holds integers only."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synflip.errors import SynflipError
from synflip.spec.coins import probability_word
from synflip.spec.convolution import Convolution
from synflip.spec.features import Features
from synflip.spec.input_quantizer import InputQuantizer
from synflip.spec.model import CompiledModel, Layer
from synflip.spec.sizes import MAX_BITS
from synflip.util.text import one_line, second

if TYPE_CHECKING:
    from synflip.training.feature_network import FeatureNetwork
    from synflip.training.layers import SynapticNetwork

_INT32 = np.iinfo(np.int32)


def compile_network(
    network: "SynapticNetwork | FeatureNetwork",
    classes: Sequence[str],
    input_max: int,
    source: Mapping[str, Any] | None = None,
    input_quantizer: InputQuantizer | None = None,
) -> CompiledModel:
    """The compiled model of a trained network.

    network: of coins, as ``synflip.train`` or ``synflip.convert`` gives it; layers [J, I], C classes.
    classes: a name for each of the C logits. input_max: the largest pixel, 1..65535. source: where the
    network came from, JSON values, in place of the network's own card, ``network.source``; ``logit_scale``,
    the divisor of the logits in the softmax, is added to it. input_quantizer: in place of that of the data
    that the network was trained on, which it knows if they are features of any range. Raises SynflipError.
    """
    from synflip.training.feature_network import FeatureNetwork
    from synflip.training.layers import SynapticNetwork

    if not isinstance(network, SynapticNetwork | FeatureNetwork):
        raise SynflipError(
            f"a network of coins is compiled, not a {type(network).__name__}: synflip.train makes one of "
            "data, synflip.convert of a trained network"
        )
    features = None
    source = network.source if source is None else source
    input_quantizer = input_quantizer or network.input_quantizer
    if isinstance(network, FeatureNetwork):
        features, network = network.features(), network.head
        input_max = (1 << network.activation_bits) - 1
    weights, biases = [], []
    for layer in network.linear:
        weights.append(layer.weight.detach().numpy())
        biases.append(layer.quantised()[1].detach().numpy())
    return compile_layers(
        weights,
        biases,
        [shift.shift for shift in network.hidden],
        network.bits,
        network.activation_bits,
        classes,
        input_max,
        {**source, "logit_scale": network.temperature.item()},
        features,
        input_quantizer,
        network.places,
        network.channels_first,
    )


def compile_layers(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    shifts: Sequence[int],
    bits: int,
    activation_bits: int,
    classes: Sequence[str],
    input_max: int,
    source: Mapping[str, Any] | None = None,
    features: Features | None = None,
    input_quantizer: InputQuantizer | None = None,
    places: Sequence[Convolution | None] = (),
    channels_first: bool = False,
) -> CompiledModel:
    """The compiled model of plain arrays.

    weights: a float [J, I] for each layer, in [-1, 1], made the nearest value that ``bits`` can write (see
    ``synflip.spec.coins.probability_word``). biases: [J] for each layer, rounded to the nearest integer.
    shifts: r of each hidden layer. bits: k, 1..16. activation_bits: A, 1..8. input_max: the largest pixel.
    These are Python's or numpy's integers, no floats. classes: a name for each of the C outputs of the last
    layer. source: where the network came from, JSON values. features: what makes the images of pixels, if
    they are not pixels. input_quantizer: what makes the pixels, if features of any range are taken. places:
    where the weights of each layer go as kernels, rows in the order dy, dx, c; None, or nothing, of a dense
    layer. channels_first: whether images of a model that begins with a convolution are rows in the order c,
    y, x and not y, x, c. Raises SynflipError, with the layer and the number, for what cannot be run exactly.
    """
    if len(biases) != len(weights):
        raise SynflipError(f"{len(biases)} biases for {len(weights)} layers; every layer needs one")
    if len(places) not in (0, len(weights)):
        raise SynflipError(f"{len(places)} places for {len(weights)} layers; give each one, None if dense")
    bits, activation_bits, input_max = (_integer(value) for value in (bits, activation_bits, input_max))
    if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= MAX_BITS:
        raise SynflipError(f"bits must be an integer in 1..{MAX_BITS}, not {bits!r}")
    if not isinstance(classes, Sequence | np.ndarray) or not all(isinstance(name, str) for name in classes):
        raise SynflipError(f"classes must be a list with a name for each logit, not {classes!r:.60}")
    if (twice := second(classes)) is not None:
        raise SynflipError(f"two classes are called {one_line(twice)!r}: give each its own name")
    try:
        json.dumps(dict(source or {}))
    except (TypeError, ValueError) as error:
        raise SynflipError(f"the source of a model is written as JSON: {error}") from None
    layers = tuple(
        _layer(f"layer {index}", weight, bias, bits, place)
        for index, (weight, bias, place) in enumerate(
            zip(weights, biases, places or [None] * len(weights), strict=True)
        )
    )
    return CompiledModel(
        layers=layers,
        bits=bits,
        activation_bits=activation_bits,
        shifts=tuple(_integer(shift) for shift in shifts),
        classes=tuple(classes),
        input_max=input_max,
        source=dict(source or {}),
        features=features,
        input_quantizer=input_quantizer,
        channels_first=channels_first,
    )


def _layer(name: str, weight: ArrayLike, bias: ArrayLike, bits: int, place: Convolution | None) -> Layer:
    w, b = _floats(f"{name}: the weights", weight), _floats(f"{name}: the bias", bias)
    if w.ndim != 2 or 0 in w.shape:
        raise SynflipError(f"{name}: the weights have shape {list(w.shape)}, not [outputs, inputs]")
    if b.shape != w.shape[:1]:
        raise SynflipError(f"{name}: the bias has shape {list(b.shape)}, not [{w.shape[0]}]")
    outside = ~(np.abs(w) <= 1)  # true for NaN too
    if outside.any():
        j, i = (int(at[0]) for at in np.nonzero(outside))
        raise SynflipError(
            f"{name}: weight[{j}, {i}] = {w[j, i]} is outside [-1, 1]; clamp weights while training"
        )
    rounded = np.rint(b)
    outside = ~((rounded >= _INT32.min) & (rounded <= _INT32.max))
    if outside.any():
        j = int(outside.argmax())
        raise SynflipError(f"{name}: bias[{j}] = {b[j]} does not fit 32 bits")
    q = probability_word(np.abs(w), bits)
    # A coin with probability 0 has sign 0, so that the same network always gives the same file.
    sign = ((w < 0) & (q > 0)).astype(np.uint8)
    return Layer(q, sign, rounded.astype(np.int32), place)


def _floats(what: str, values: ArrayLike) -> NDArray[np.float64]:
    if hasattr(values, "detach"):
        values = values.detach().cpu()  # a torch parameter requires grad
    try:
        array = np.asarray(values)
        if array.dtype.kind == "c":
            raise SynflipError(f"{what} are complex: give their real parts if the imaginary ones are 0")
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise SynflipError(f"{what} are not an array of numbers: {error}") from None


def _integer(value: Any) -> Any:
    """An integer of numpy as Python's; anything else as it is, for the model's check to judge."""
    return int(value) if isinstance(value, np.integer) else value
