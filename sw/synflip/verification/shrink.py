"""A case that fails, made small: whatever can be left out without mending it is left out."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.spec.model import CompiledModel, Layer
from synflip.verification.cases import RandomCase, network

MAX_ATTEMPTS = 1000


def shrink(
    case: RandomCase, fails: Callable[[RandomCase], bool], say: Callable[[int], None] = lambda attempts: None
) -> RandomCase:
    """The last case of a greedy walk: any step of ``simpler`` that still fails is taken, until none does.

    say: called with the number of cases tried so far. Tries at most ``MAX_ATTEMPTS``.
    """
    attempts = 0
    found = True
    while found:
        found = False
        for candidate in simpler(case):
            attempts += 1
            say(attempts)
            if fails(candidate):
                case, found = candidate, True
                break
            if attempts >= MAX_ATTEMPTS:
                return case
    return case


def simpler(case: RandomCase) -> Iterator[RandomCase]:
    """Cases that are one step simpler, the largest steps first. No walk along them is endless."""
    for samples in _fewer(case.samples):
        margins = None if case.margins is None else case.margins[:samples]
        yield replace(case, samples=samples, margins=margins)
    for kept in _cuts(len(case.pixels)):
        yield replace(case, pixels=case.pixels[kept])
    if case.soft:
        yield replace(case, soft=False)
    if case.margins is not None:
        yield replace(case, margins=None)
        if case.margins.any():
            yield replace(case, margins=np.zeros_like(case.margins))
    for layers, shifts, pixels in _smaller(case):
        yield from _with(case, layers, shifts, pixels)
    yield from _plainer(case)


def _fewer(count: int) -> list[int]:
    return sorted({count // 2, count - 1} - {0, count, -1})


def _cuts(count: int) -> list[NDArray[np.intp]]:
    """Indices to keep of ``count`` things, at least one: either half, or all but one."""
    every = np.arange(count)
    halves = [every[: count // 2], every[count // 2 :]] if count > 2 else []
    return [kept for kept in (*halves, *(np.delete(every, at) for at in every[:16])) if 0 < len(kept) < count]


def _smaller(case: RandomCase) -> Iterator[tuple[list[Layer], list[int], NDArray[np.uint8]]]:
    """Fewer layers, then fewer rows and outputs."""
    layers, shifts = list(case.model.layers), list(case.model.shifts)
    for gone in range(len(layers) if len(layers) > 1 else 0):
        rest = layers[:gone] + layers[gone + 1 :]
        if gone < len(rest):  # the next layer reads what this one read
            following = rest[gone]
            take = np.resize(np.arange(following.rows), layers[gone].inputs)
            rest[gone] = Layer(following.q[:, take], following.sign[:, take], following.bias)
        yield rest, shifts[:gone] + shifts[gone + 1 :] if gone < len(rest) else shifts[:-1], case.pixels
    for kept in _cuts(layers[0].rows if layers[0].convolution is None else 0):
        first = _reading(layers[0], layers[0].rows, kept)
        yield [first, *layers[1:]], shifts, np.ascontiguousarray(case.pixels[:, kept])
    for index, layer in enumerate(layers):
        for kept in _cuts(layer.outputs):
            rest = list(layers)
            rest[index] = replace(layer, q=layer.q[kept], sign=layer.sign[kept], bias=layer.bias[kept])
            if index + 1 < len(rest):
                rest[index + 1] = _reading(rest[index + 1], layer.outputs, kept)
            yield rest, shifts, case.pixels


def _reading(layer: Layer, units: int, kept: NDArray[np.intp]) -> Layer:
    """A layer that reads some of ``units`` outputs: of every place, if it is a convolution or behind one."""
    rows = np.arange(layer.rows).reshape(-1, units)[:, kept].reshape(-1)
    place = layer.convolution
    if place is not None:
        place = replace(place, input=(*place.input[:2], len(kept)))
    q, sign = np.ascontiguousarray(layer.q[:, rows]), np.ascontiguousarray(layer.sign[:, rows])
    return Layer(q, sign, layer.bias, place)


def _plainer(case: RandomCase) -> Iterator[RandomCase]:
    """Zeros, and if that mends it, the largest numbers."""
    model = case.model
    layers, shifts = list(model.layers), list(model.shifts)
    for index, layer in enumerate(layers):
        largest = np.full_like(layer.q, (1 << model.bits) - 1)
        plain = []
        if layer.q.any():
            plain.append(replace(layer, q=np.zeros_like(layer.q)))
            if (layer.q != largest).any():
                plain.append(replace(layer, q=largest))
        if layer.sign.any():
            plain.append(replace(layer, sign=np.zeros_like(layer.sign)))
        if layer.bias.any():
            plain.append(replace(layer, bias=np.zeros_like(layer.bias)))
        for one in plain:
            yield from _with(case, [*layers[:index], one, *layers[index + 1 :]], shifts, case.pixels)
    for index in range(len(shifts)):
        if shifts[index]:
            yield from _with(case, layers, [*shifts[:index], 0, *shifts[index + 1 :]], case.pixels)
    if case.seed:
        yield replace(case, seed=0)
    if case.pixels.any():
        yield replace(case, pixels=np.zeros_like(case.pixels))
        brightest = np.full_like(case.pixels, min(model.input_max, 255))
        if (case.pixels != brightest).any():
            yield replace(case, pixels=brightest)


def _with(
    case: RandomCase, layers: list[Layer], shifts: list[int], pixels: NDArray[np.uint8]
) -> Iterator[RandomCase]:
    """The case with another model, if the contract allows that model."""
    old = case.model
    try:
        candidate = network(layers, old.bits, old.activation_bits, shifts, old.input_max)
        model: CompiledModel = replace(candidate, source=old.source)
    except SynflipError:
        return
    yield replace(case, model=model, pixels=pixels)
