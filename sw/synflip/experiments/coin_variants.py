"""Variants of the contract's coins: other bits, noisy probabilities, samples that are related."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from synflip.compiler.compile import compile_layers
from synflip.golden.cpu import Golden
from synflip.golden.kernels import CoinPlanes
from synflip.spec import lfsr
from synflip.spec.coins import key_words, threshold, word_taps
from synflip.spec.model import CompiledModel
from synflip.spec.sizes import MAX_BITS

#: Endless network samples: of each, the signed coins int8 [J, I] of every layer.
Coins = Iterator[list[torch.Tensor]]


def requantised(model: CompiledModel, bits: int) -> CompiledModel:
    """The same network with probabilities rounded to ``bits`` bits."""
    return _with(model, [_weights(model, index) for index in range(len(model.layers))], bits)


def noisy(model: CompiledModel, spread: float, seed: int) -> CompiledModel:
    """The same network with a Gaussian error added to each probability, which is clipped to 0..1.

    spread: standard deviation of the errors. The errors are the same in all samples. The model has MAX_BITS
    bits, so that small errors are not rounded away.
    """
    generator = np.random.default_rng(seed)
    weights = []
    for index in range(len(model.layers)):
        weight = _weights(model, index)
        off = np.clip(np.abs(weight) + generator.normal(0, spread, weight.shape), 0, 1)
        weights.append(np.where(model.layers[index].sign > 0, -off, off))
    return _with(model, weights, MAX_BITS)


def _weights(model: CompiledModel, index: int) -> NDArray[np.float64]:
    layer = model.layers[index]
    share = threshold(layer.q, model.bits) / (1 << model.bits)
    return np.where(layer.sign > 0, -share, share)


def _with(model: CompiledModel, weights: list[NDArray[np.float64]], bits: int) -> CompiledModel:
    return compile_layers(
        weights, [layer.bias for layer in model.layers], model.shifts, bits, model.activation_bits,
        model.classes, model.input_max, model.source, model.features,
    )  # fmt: skip


def independent(golden: Golden, seed: int) -> Coins:
    """The contract's coins: samples are independent."""
    sample = 0
    while True:
        yield golden.coins(seed, sample)
        sample += 1


def one_word(golden: Golden, seed: int) -> Coins:
    """Coins of which all outputs of a row share one word; samples are independent."""
    assert golden.model is not None
    planes = [
        CoinPlanes.of(layer, golden.model.bits, lambda output, bit: word_taps(0, bit))
        for layer in golden.model.layers
    ]
    for keys in _keys(golden, seed):
        yield golden.flip(keys, planes)


def antithetic(golden: Golden, seed: int) -> Coins:
    """Samples in pairs, of which the second has the complemented keys of the first.

    A bit of a word is the XOR of three key bits, so a word u becomes 2^k - 1 - u.
    """
    for keys in _keys(golden, seed):
        yield golden.flip(keys)
        yield golden.flip(~keys)


def stratified(golden: Golden, seed: int) -> Coins:
    """Samples in groups of 2^k with the same keys; sample n of a group XORs n, bits reversed, into all words.

    So each word takes all 2^k values once in a group, and a coin with threshold T is heads in exactly T of
    the samples. The first 2, 4, 8, ... samples have one word in each half, quarter, eighth, ... of the range.
    """
    model = golden.model
    assert model is not None
    for keys in _keys(golden, seed):
        words, first = [], 0
        for layer in model.layers:
            words.append(key_words(keys[first : first + layer.rows], layer.outputs, model.bits).T)
            first += -(-layer.rows // 8) * 8
        for sample in range(1 << model.bits):
            mask = int(f"{sample:0{model.bits}b}"[::-1], 2)
            yield [
                torch.from_numpy(
                    ((word ^ mask) < threshold(layer.q, model.bits)).astype(np.int8)
                    * (1 - 2 * layer.sign.astype(np.int8))
                )
                for word, layer in zip(words, model.layers, strict=True)
            ]


def redrawn(golden: Golden, seed: int, precision: float) -> Coins:
    """Independent samples, in each of which every weight w is drawn anew from N(w, 1 / precision), sign
    included, before its coin is flipped: ``precision`` of the method's own code (scann.py of
    sandialabs/scANNs). 1 / precision: the standard deviation."""
    assert golden.model is not None
    weights = [_weights(golden.model, index) for index in range(len(golden.model.layers))]
    generator = np.random.default_rng(seed)
    while True:
        coins = []
        for weight in weights:
            drawn = generator.normal(weight, 1 / precision)
            heads = generator.random(weight.shape) < np.abs(drawn)
            coins.append(torch.from_numpy((heads * np.sign(drawn)).astype(np.int8)))
        yield coins


#: Gives the coins of a model that the golden model has loaded, by a seed.
Arrangement = Callable[[Golden, int], Coins]
#: The arrangements by name.
ARRANGEMENTS: dict[str, Arrangement] = {
    "independent": independent,
    "one word a row": one_word,
    "antithetic": antithetic,
    "stratified": stratified,
}


def arranged_logits(
    model: CompiledModel,
    images: NDArray[np.uint8],
    arrangement: Arrangement,
    samples: int,
    seed: int,
    report: Callable[[int, int], None],
) -> NDArray[np.int32]:
    """Logits int32 [S, N, C] with the coins of an arrangement. report: is given samples done and all."""
    with Golden() as golden:
        golden.load(model)
        x = torch.from_numpy(model.activations(images))
        found = np.empty((samples, len(x), len(model.classes)), dtype=np.int32)
        for sample, coins in zip(range(samples), arrangement(golden, seed), strict=False):
            found[sample] = golden.forward(x, coins)[0]
            report(sample + 1, samples)
    return found


def unsampled_logits(model: CompiledModel, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Logits [1, N, C] of a dense model with each coin's mean in place of the coin."""
    x = model.activations(images).astype(np.float64)
    for index, layer in enumerate(model.layers):
        z = x @ _weights(model, index).T + layer.bias
        if index < len(model.shifts):
            step = 1 << model.shifts[index]
            x = np.clip((z + (step >> 1)) // step, 0, (1 << model.activation_bits) - 1)
    return z[None]


def _keys(golden: Golden, seed: int) -> Iterator[NDArray[np.uint64]]:
    rows, sample = golden.key_rows, 0
    while True:
        yield lfsr.keys(seed, sample * rows, rows)
        sample += 1
