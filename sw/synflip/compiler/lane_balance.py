"""An order of hidden outputs, by measured activity, that shortens the time of the fullest bank.

Row i lives in bank i mod Q, and a layer takes the time of its fullest bank. The outputs of a hidden layer may
be in any order, as long as the next layer's rows are in the same one: sums change only because their coins
come from other keys. The first layer's rows are pixels, whose order the contract fixes.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synflip.data.dataset import Dataset
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.inference.device import model_of
from synflip.inference.request import as_images, whole_seed
from synflip.spec.geometry import BANKS
from synflip.spec.model import CompiledModel, Layer

IMAGES, IMAGES_A_SAMPLE = 2000, 250
STEPS = 40_000


def balance(
    model: CompiledModel, pixels: NDArray[Any], banks: int = BANKS[-1], seed: int = 0
) -> CompiledModel:
    """The same network with its hidden outputs in an order that needs fewer cycles on ``banks`` banks.

    model: with hidden layers; others stay as they are, and so do convolutions. pixels: images [N, I], as the
    model takes them, to measure activity on, not those of a test. banks: 1, 2, 4 or 8. seed: of the search;
    the same seed gives the same order. Raises SynflipError for what is none of these, and for images that
    are not the model's.
    """
    model = model_of(model)
    if banks not in BANKS:
        raise SynflipError(f"banks must be 1, 2, 4 or 8, not {banks!r:.40}")
    if isinstance(pixels, Dataset):
        raise SynflipError("balance takes images: give those of training, dataset.train_images")
    seed = whole_seed(seed)
    generator = np.random.default_rng(seed)
    layers = list(model.layers)
    for index, active in enumerate(_activity(model, pixels, seed)):
        if layers[index].convolution is not None:
            continue
        order = deal(active, banks, generator)
        before, after = layers[index], layers[index + 1]
        layers[index] = Layer(before.q[order], before.sign[order], before.bias[order])
        layers[index + 1] = Layer(after.q[:, order], after.sign[:, order], after.bias)
    return replace(model, layers=tuple(layers), source={**model.source, "balanced": f"for {banks} banks"})


def _activity(model: CompiledModel, pixels: NDArray[Any], seed: int) -> list[NDArray[np.bool_]]:
    """For each hidden layer, bool [M, J]: which outputs were not zero, for M images and network samples."""
    golden = Golden()
    golden.load(model)
    images = as_images(model, pixels)
    step = max(len(images) // IMAGES, 1)
    x = torch.from_numpy(model.activations(images[::step][:IMAGES]))
    found = []
    for sample, part in enumerate(x.split(IMAGES_A_SAMPLE)):
        inputs = [values for values, _ in golden.layers(part, golden.coins(seed, sample))]
        found.append([(values != 0).numpy() for values in inputs[1:]])
    return [np.concatenate(layer) for layer in zip(*found, strict=True)]


def deal(active: NDArray[np.bool_], banks: int, generator: np.random.Generator) -> NDArray[np.intp]:
    """An order [J] of outputs (new place to old) with a smaller sum of the fullest bank's events.

    active: bool [M, J], which outputs were not zero; the sum is over M. The search starts from the order as
    it is, draws STEPS pairs of outputs from ``generator``, and swaps those of different banks unless the sum
    grows. So the result is never worse than the start.
    """
    order = np.arange(active.shape[1])
    events = np.ascontiguousarray(active.T).astype(np.int16)
    loads = np.stack([events[bank::banks].sum(0, dtype=np.int16) for bank in range(banks)])
    least = int(loads.max(0).sum())
    for i, j in generator.integers(0, len(order), (STEPS, 2)).tolist():
        a, b = i % banks, j % banks
        if a == b:
            continue
        moved = events[order[j]] - events[order[i]]
        loads[a] += moved
        loads[b] -= moved
        total = int(loads.max(0).sum())
        if total <= least:
            least = total
            order[i], order[j] = order[j], order[i]
        else:
            loads[a] -= moved
            loads[b] += moved
    return order
