"""Trained networks of torch read as layers that can be coins: the weights that a forward pass in evaluation
mode uses.

A module can compute something else than its type says: hooks, a replaced ``forward``, weights that a hook
makes just before each pass. What is read is therefore compared with what the network itself computes.
"""

import math
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules import module as torch_module
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from synflip.errors import SynflipError
from synflip.modelfile.aten import operations, program_of
from synflip.modelfile.onnx import Onnx
from synflip.modelfile.operations import (
    ALLOWED,
    Affine,
    Clamp,
    Conv2d,
    End,
    Linear,
    MaxPool2d,
    Operation,
    check_kind,
    in_batches,
    refused,
)
from synflip.modelfile.pt2 import Program, check_extractor, naming, output_shape
from synflip.modelfile.split import split
from synflip.spec.convolution import Convolution
from synflip.training.layers import channels_first, convolved
from synflip.util.text import first_line

_EXAMPLES = 2  # inputs that a module is followed with
_NETWORK_ROUNDINGS = 1e4  # of the largest output, at most, in a network's own arithmetic
_PATCHED = 100  # images, at least, that patches of a convolution's inputs are taken from
_ROUNDINGS = 16  # of a sum's terms, at most, in the network's own arithmetic
_WRAPPERS: tuple[tuple[type[nn.Module], str], ...] = (
    (nn.DataParallel, "module"),
    (nn.parallel.DistributedDataParallel, "module"),
    (torch._dynamo.OptimizedModule, "_orig_mod"),
)
#: Pre-hooks of torch that make a weight just before a forward pass. Running them gives that weight.
_MAKES_WEIGHT = (WeightNorm, SpectralNorm, BasePruningMethod)
_ENDS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda z: torch.softmax(z, 1),
    "log_softmax": lambda z: torch.log_softmax(z, 1),
    "sigmoid": torch.sigmoid,
}


@dataclass(frozen=True)
class OrdinaryLayer:
    """A Linear or Conv2d with the constants around it folded in: limit(x W^T + b), limit to 0..``limit`` if
    hidden.

    name: how messages name it. weight: float64 [J, I]; of a Conv2d kernels, rows in the order dy, dx, c.
    bias: float64 [J]. limit: inf after a ReLU, 6 after a ReLU6. place: of a Conv2d, where the kernels go, and
    the maximum behind them; its inputs are rows in the order y, x, c, its outputs in the order y, x, j.
    """

    name: str
    weight: Tensor
    bias: Tensor
    limit: float = float("inf")
    place: Convolution | None = None

    def sums(self, x: Tensor) -> Tensor:
        """x W^T + b, float64 [N, J], of inputs [N, I]; of a Conv2d the largest of each window, [N, H' * W' *
        J], of inputs [N, H * W * C]."""
        if self.place is None:
            return x @ self.weight.T + self.bias
        return convolved(x, self.weight, self.bias, self.place)

    def activations(self, x: Tensor) -> Tensor:
        """The sums with those below 0 and above the limit cut off."""
        return self.sums(x).clamp(0, self.limit)

    def unbiased(self, x: Tensor) -> Tensor:
        """x W^T, float64 [M, J], of inputs [N, I]; of a Conv2d at each position, without the maximum."""
        if self.place is None:
            return x @ self.weight.T
        z = convolved(x, self.weight, torch.zeros_like(self.bias), replace(self.place, pool=(1, 1)))
        return z.view(-1, len(self.bias))

    @property
    def width(self) -> int:
        """Numbers that leave, of one image."""
        return len(self.bias) * (1 if self.place is None else math.prod(self.place.output))

    def by_unit(self, units: int) -> Tensor:
        """The weights by the unit of the layer before that they read, [J, n, units]."""
        return self.weight.view(len(self.weight), -1, units)

    def rows(self, x: Tensor, most: int) -> Tensor:
        """What the weights meet, [M, I]: the inputs themselves, or of a Conv2d at most ``most`` of the
        patches of a hundred images or more, spread over them."""
        if self.place is None:
            return x
        images = max(most // math.prod(self.place.positions), _PATCHED)
        x = x[:: -(-len(x) // images)]
        maps = channels_first(x, *self.place.input[:2])
        taps = nn.functional.unfold(maps, self.place.kernel, padding=self.place.pad, stride=self.place.stride)
        patches = taps.view(len(x), self.place.input[2], -1, taps.shape[2])  # [N, C, taps, positions]
        patches = patches.permute(0, 3, 2, 1).reshape(-1, self.place.rows)
        return patches[:: -(-len(patches) // most)]


def place_of(network: nn.Module, x: Tensor) -> tuple[torch.device, torch.dtype]:
    """Where and in which type a network computes; where ``x`` is, if it has no numbers of its own."""
    own = (*network.parameters(), *network.buffers())
    like = next((tensor for tensor in own if tensor.is_floating_point()), x)
    return like.device, like.dtype


def same(found: Tensor, wanted: Tensor, dtype: torch.dtype) -> bool:
    """Whether two networks gave the same, but for rounding errors of arithmetic in ``dtype``."""
    allowed = _NETWORK_ROUNDINGS * torch.finfo(dtype).eps * float(wanted.abs().max())
    return found.shape == wanted.shape and bool(((found - wanted).abs() <= allowed).all())


def logits(layers: Sequence[OrdinaryLayer], x: Tensor) -> Tensor:
    """Logits, float64 [N, C], of inputs [N, I]."""
    for layer in layers[:-1]:
        x = layer.activations(x)
    return layers[-1].sums(x)


class Trained:
    """A trained network and the shape of the inputs that it takes. Raises SynflipError if it takes none.

    network: any module that torch.export follows, or one that was read from a file. shapes: of one input,
    each tried until the network takes it. DataParallel and torch.compile are looked through.
    """

    def __init__(self, network: nn.Module, *shapes: Sequence[int]) -> None:
        if not isinstance(network, nn.Module):
            raise SynflipError(
                f"the network is a {type(network).__name__}, not a Sequential, another module of torch or a "
                "file"
            )
        self.network = _unwrapped(network)
        self._file = self.network.path if isinstance(self.network, Program | Onnx) else None
        with evaluating(self.network), naming(self._file):
            _check_modules(self.network)
            self._shape = self._taken(shapes)

    def _program(self, any_batch: bool = False) -> Program:
        """The network as a graph. any_batch: of a module, one that takes other numbers of inputs too."""
        if isinstance(self.network, Onnx):
            return self.network.program()
        example = self._input(torch.zeros(_EXAMPLES, math.prod(self._shape)))
        return (
            self.network
            if isinstance(self.network, Program)
            else program_of(self.network, example, any_batch)
        )

    def split(self, layer: str, rows: Tensor) -> tuple[nn.Module, nn.Module]:
        """The network as two: what is in front of and including a layer, of pictures [N, C, H, W], and the
        rest. See ``modelfile.split``.

        rows: inputs [N, I], for which both together are compared with the network. Raises SynflipError.
        """
        with evaluating(self.network), naming(self._file):
            front, rest = split(self._program(any_batch=True), layer)
            check_extractor(front)
            x = self._input(rows)
            if not same(self._outputs(x, nn.Sequential(front, rest)), self._outputs(x), x.dtype):
                raise SynflipError(
                    f"the network computes something else than its parts in front of and behind {layer!r}: "
                    "remove what changes its weights before a forward pass"
                )
        return nn.Sequential(nn.Flatten(), nn.Unflatten(1, tuple(self._shape)), front), rest

    def _input(self, rows: Tensor) -> Tensor:
        """Rows [N, I] as the network takes them."""
        return rows.to(*place_of(self.network, rows)).reshape(-1, *self._shape)

    def _taken(self, shapes: Sequence[Sequence[int]]) -> Sequence[int]:
        """The first of the shapes that the network takes."""
        refusal: SynflipError | None = None
        for shape in shapes:
            self._shape = shape
            try:
                if isinstance(self.network, Program):  # of a file: nothing too large is computed
                    output_shape(self.network, (self.network.batch or _EXAMPLES, *shape))
                self._outputs(self._input(torch.zeros(2, math.prod(shape))))
                return shape
            except SynflipError as error:
                refusal = refusal or error
        assert refusal is not None
        raise refusal

    def _outputs(self, x: Tensor, network: nn.Module | None = None) -> Tensor:
        """What the network itself, or another that takes as many at once, computes for inputs [N, ...]."""
        network = network or self.network
        batch = self.network.batch if isinstance(self.network, Program | Onnx) else None
        try:
            parts = [network(part) for part in in_batches(x, batch)]
        except SynflipError:
            raise
        except Exception as error:  # whatever the module raises
            raise SynflipError(_failed(network, error)) from None
        if not all(isinstance(part, Tensor) for part in parts):
            raise SynflipError(f"the network gives a {type(parts[0]).__name__}, not one tensor, the logits")
        if any(not part.ndim for part in parts):
            raise SynflipError("the network gives one number for all images, not logits [N, C]")
        return torch.cat(parts)[: len(x)].detach().cpu().double()


class Ordinary(Trained):
    """The layers of a trained network. Raises SynflipError, naming the operation, for what is none.

    network, shapes: see ``Trained``. layers: from the input on; a network with one output, whose class is 1
    where it is above 0, has two logits here, minus and plus half of it. outputs: of the network itself.
    Parametrisations, weight norm, spectral norm and pruning are resolved to the weight of a forward pass in
    evaluation mode.
    """

    def __init__(self, network: nn.Module, *shapes: Sequence[int]) -> None:
        super().__init__(network, *shapes)
        with evaluating(self.network), naming(self._file):
            self.layers, self._end = _folded(self._operations())
        self.outputs = len(self.layers[-1].bias)
        if self.outputs == 1:
            last = self.layers[-1]
            halves = torch.tensor([-0.5, 0.5], dtype=torch.float64)
            self.layers[-1] = replace(last, weight=halves[:, None] * last.weight, bias=halves * last.bias)

    def _operations(self) -> list[Operation]:
        if isinstance(self.network, Onnx):
            return self.network.operations()
        program = self._program()
        return operations(program, [program.batch or _EXAMPLES, *self._shape])

    def ordered(self, rows: Tensor) -> Tensor:
        """Inputs [N, I], in the order c, y, x if they are pictures, in the order of the first layer's."""
        place = self.layers[0].place
        if place is None:
            return rows
        height, width, channels = place.input
        return rows.view(-1, channels, height, width).permute(0, 2, 3, 1).flatten(1)

    def check(self, rows: Tensor) -> None:
        """Raises SynflipError unless the network itself gives the same for inputs [N, I]."""
        x = self.ordered(rows)
        z, size = logits(self.layers, x), x.abs()
        for layer in self.layers:
            size = replace(layer, weight=layer.weight.abs(), bias=layer.bias.abs()).sums(size)
        x = self._input(rows)
        with evaluating(self.network):
            found = self._outputs(x)
        allowed = (
            _ROUNDINGS * torch.finfo(x.dtype).eps * (1 + size)
        )  # sums' rounding errors are shares of them
        if self._end in ("argmax", "order"):
            top = z.topk(2).values
            clear = top[:, 0] - top[:, 1] > 2 * allowed.amax(1)
            found = found.argmax(1) if self._end == "order" and found.ndim == 2 else found.reshape(len(z))
            same = bool((found == z.argmax(1))[clear].all())
        else:
            if self.outputs == 1 and self._end != "softmax":
                z, allowed = (z[:, 1:] - z[:, :1]), 2 * allowed[:, 1:]
                found = found.reshape(len(found), -1)
            wanted = _ENDS[self._end](z) if self._end else z
            same = found.shape == wanted.shape and bool(((found - wanted).abs() <= allowed).all())
        if not same:
            raise SynflipError(
                "the network computes something else than its layers: for the first training images its "
                f"outputs differ from theirs; make it a plain chain of {ALLOWED}"
            )


def _folded(operations: Sequence[Operation]) -> tuple[list[OrdinaryLayer], str | None]:
    """The layers of a chain of operations, and the kind of its end. Raises SynflipError."""
    layers: list[OrdinaryLayer] = []
    before: list[Affine] = []  # of the next layer's inputs
    end: End | None = None
    last: Operation | None = None
    size: tuple[int, int, int] | None = None  # C, H, W that the last convolution gives
    is_open = False  # nothing was cut off after the last layer
    for operation in operations:
        name = operation.name
        if end is not None:
            raise refused(end.name, f"cannot be made of coins before {name}")
        if isinstance(operation, Linear | Conv2d):
            if is_open:
                kind = "Linear" if layers[-1].place is None else "Conv2d"
                raise SynflipError(f"{name} comes after a {kind} without a ReLU between them")
            if isinstance(operation, Linear):
                layer = OrdinaryLayer(name, operation.weight, operation.bias)
                if layers:
                    _check_inputs(name, layers[-1], layer)
                while before:
                    layer = _after(before.pop(), layer)
                if size is not None:
                    layer = replace(layer, weight=_channels_last(layer.weight, size))
                size = None
            else:
                if layers and operation.size != size:
                    raise SynflipError(
                        f"{name} takes {list(operation.size)} of what is no picture of that size"
                    )
                layer = _kernels(operation)
                while before:
                    layer = _after_maps(before.pop(), layer)
                size = _size_of(layer)
            layers.append(layer)
            is_open = True
        elif isinstance(operation, MaxPool2d):
            if size is None:
                raise refused(name, "does not come after a Conv2d")
            before = [_behind_maximum(affine, operation, size) for affine in before]
            layers[-1] = _pooled(operation, layers[-1])
            size = _size_of(layers[-1])
        elif isinstance(operation, Affine):
            if is_open:
                layers[-1] = _before(operation, layers[-1], size)
            else:
                before.append(operation)
        elif isinstance(operation, Clamp):
            if not is_open and not isinstance(last, Clamp):
                raise refused(name, f"comes after {last.name if last else 'nothing'}, not after a Linear")
            layers[-1] = replace(layers[-1], limit=min(layers[-1].limit, operation.limit))
            is_open = False
        elif not is_open:
            raise refused(name, f"comes after {last.name if last else 'nothing'}, not after the last Linear")
        else:
            end = operation
        last = operation
    if not is_open or size is not None:
        raise SynflipError(
            f"the last of {len(operations)} operations must be a Linear, whose outputs are the logits "
            "(softmax, sigmoid and argmax may follow)"
        )
    return layers, None if end is None else end.kind


def _kernels(operation: Conv2d) -> OrdinaryLayer:
    """A convolution as a layer. Raises SynflipError for sizes beyond the contract's."""
    channels, height, width = operation.size
    shape = operation.weight.shape
    kernel = (shape[2], shape[3])
    try:
        place = Convolution((height, width, channels), kernel, operation.stride, operation.pad)
    except SynflipError as error:
        raise SynflipError(f"{operation.name}: {error}") from None
    weight = operation.weight.permute(0, 2, 3, 1).reshape(len(operation.weight), -1)
    return OrdinaryLayer(operation.name, weight, operation.bias, place=place)


def _pooled(operation: MaxPool2d, layer: OrdinaryLayer) -> OrdinaryLayer:
    """A convolution with a maximum behind it: one of windows of windows is that of larger ones."""
    assert layer.place is not None
    down, across = (a * b for a, b in zip(layer.place.pool, operation.window, strict=True))
    try:
        return replace(layer, place=replace(layer.place, pool=(down, across)))
    except SynflipError as error:
        raise SynflipError(f"{operation.name}: {error}") from None


def _behind_maximum(affine: Affine, operation: MaxPool2d, size: tuple[int, int, int]) -> Affine:
    """What is done to maps of C, H, W, as it is done to their maxima. Raises SynflipError if it is not the
    same."""
    affine = _of_channels(affine, size)
    if bool((affine.factor < 0).any()):
        raise refused(affine.name, f"has a factor below 0 in front of {operation.name}")
    places = math.prod(side // window for side, window in zip(size[1:], operation.window, strict=True))

    def all_places(value: Tensor) -> Tensor:
        return value.repeat_interleave(places) if value.ndim else value

    return replace(
        affine, mean=all_places(affine.mean), factor=all_places(affine.factor), bias=all_places(affine.bias)
    )


def _size_of(layer: OrdinaryLayer) -> tuple[int, int, int]:
    """C, H, W that a convolution gives."""
    assert layer.place is not None
    return (len(layer.bias), *layer.place.output)


def _channels_last(weight: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Weights [J, I] of maps of C, H, W: rows in the order c, y, x in the order y, x, c."""
    return weight.view(len(weight), *size).permute(0, 2, 3, 1).reshape(weight.shape)


def _of_channels(affine: Affine, size: tuple[int, int, int]) -> Affine:
    """What is done to maps of C, H, W, as numbers for each channel. Raises SynflipError if they differ inside
    one."""

    def one(value: Tensor) -> Tensor:
        if not value.ndim:
            return value
        _check_count(affine, math.prod(size), "numbers of the maps before it")
        rows = value.view(size[0], -1)
        if not bool((rows == rows[:, :1]).all()):
            raise refused(affine.name, "has other constants at other places of a picture")
        return rows[:, 0]

    return replace(affine, mean=one(affine.mean), factor=one(affine.factor), bias=one(affine.bias))


def _after_maps(affine: Affine, layer: OrdinaryLayer) -> OrdinaryLayer:
    """A convolution with what is made of its inputs folded in. Raises SynflipError if that would change the
    zeros around a picture."""
    assert layer.place is not None
    height, width, channels = layer.place.input
    affine = _of_channels(affine, (channels, height, width))
    shift = (affine.bias - affine.mean * affine.factor).expand(channels)
    if layer.place.pad != (0, 0) and bool((shift != 0).any()):
        raise refused(affine.name, f"moves what {layer.name} takes, which pads with zeros")
    weight = layer.by_unit(channels)
    bias = layer.bias + (weight * shift).sum((1, 2))
    return replace(layer, weight=(weight * affine.factor).reshape(layer.weight.shape), bias=bias)


def _before(affine: Affine, layer: OrdinaryLayer, size: tuple[int, int, int] | None) -> OrdinaryLayer:
    """A layer with what is made of its sums folded in. size: C, H, W of the maps that they are."""
    if size is not None and layer.place is not None:
        affine = _of_channels(affine, size)
        if layer.place.pool != (1, 1) and bool((affine.factor < 0).any()):
            raise refused(affine.name, "has a factor below 0 behind a maximum: put it in front of that")
    _check_count(affine, len(layer.bias), "outputs of the Linear before it")
    factor = affine.factor[:, None] if affine.factor.ndim else affine.factor
    bias = (layer.bias - affine.mean) * affine.factor + affine.bias
    return replace(layer, weight=layer.weight * factor, bias=bias)


def _after(affine: Affine, layer: OrdinaryLayer) -> OrdinaryLayer:
    """A layer with what is made of its inputs folded in."""
    _check_count(affine, layer.weight.shape[1], "inputs of the Linear after it")
    shift = (affine.bias - affine.mean * affine.factor).expand(layer.weight.shape[1])
    return replace(layer, weight=layer.weight * affine.factor, bias=layer.bias + layer.weight @ shift)


def _check_count(affine: Affine, count: int, what: str) -> None:
    for value in (affine.mean, affine.factor, affine.bias):
        if value.ndim and len(value) != count:
            raise SynflipError(f"{affine.name} has {len(value)} numbers for {count} {what}")


def _failed(network: nn.Module, error: Exception) -> str:
    """The line for an exception of a forward pass: the module that raised it, and what it says."""
    modules = {id(module): (path, module) for path, module in network.named_modules()}
    path, module, frame = "", network, None
    for inner, _ in traceback.walk_tb(error.__traceback__):
        if id(inner.f_locals.get("self")) in modules:
            path, module = modules[id(inner.f_locals["self"])]
            frame = inner
    name = named(path, module) if path else f"the {type(module).__name__}"
    given = None if frame is None else frame.f_locals.get("input")
    if isinstance(module, nn.Linear) and isinstance(given, Tensor) and given.shape[-1] != module.in_features:
        return f"{name} takes {module.in_features} inputs; what comes before it gives {given.shape[-1]}"
    return f"{name} fails: {first_line(error)}"


def named(path: str, module: nn.Module) -> str:
    """How messages name a module: ``module 3 (Linear)``."""
    return f"module {path} ({type(module).__name__})"


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients, nothing compiled; afterwards each module has the mode that it had."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        with (
            torch.no_grad(),
            torch.autocast("cpu", enabled=False),
            torch.random.fork_rng(devices=[]),
            torch.compiler.set_stance("force_eager"),
        ):
            for module, _ in modes:
                module.training = False
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def check_hooks() -> None:
    """Raises SynflipError for a hook on every module of torch: nobody can see what it does."""
    for kind, hooks in (
        ("hook", torch_module._global_forward_hooks),
        ("pre-hook", torch_module._global_forward_pre_hooks),
    ):
        if hooks:
            raise SynflipError(
                f"a global forward {kind}, {_called(next(iter(hooks.values())))}, changes what every module "
                "computes: remove it first"
            )


def _unwrapped(network: nn.Module) -> nn.Module:
    """The module inside DataParallel and torch.compile."""
    while True:
        for wrapper, inside in _WRAPPERS:
            if isinstance(network, wrapper):
                _check_module(type(network).__name__, network, wrapper=True)
                network = getattr(network, inside)
                break
        else:
            return network


def _check_modules(network: nn.Module) -> None:
    """Raises SynflipError for a module that does not compute what its class says."""
    check_hooks()
    for path, module in network.named_modules():
        if "parametrizations" not in path.split("."):  # these run where the weight is read
            _check_module(named(path, module) if path else f"the {type(module).__name__}", module)


def _check_module(name: str, module: nn.Module, wrapper: bool = False) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        raise SynflipError(f"{name} is compiled by torch.jit: give the module that it was made of")
    if "forward" in vars(module) and not isinstance(module, torch._dynamo.OptimizedModule):
        raise SynflipError(f"{name} has a forward that was replaced on the instance: give a plain module")
    if type(module).__call__ is not nn.Module.__call__ and not isinstance(
        module, torch._dynamo.OptimizedModule | fx.GraphModule
    ):
        raise SynflipError(f"{name} has a __call__ of its own: give a plain module")
    for what, value in module.named_parameters(recurse=False):
        if nn.parameter.is_lazy(value):
            raise SynflipError(f"{name} has no weights yet: run the network once")
        check_kind(name, what, value)
    hooks = [("hook", hook) for hook in module._forward_hooks.values()]
    for hook in module._forward_pre_hooks.values():
        if not isinstance(hook, _MAKES_WEIGHT):
            hooks.append(("pre-hook", hook))
        elif not isinstance(module, nn.Linear | nn.Conv2d | nn.BatchNorm1d | nn.BatchNorm2d):
            hooks.append(("pre-hook of a weight", hook))
    for kind, hook in hooks:
        raise SynflipError(
            f"{name} has a forward {kind}, {_called(hook)}, that changes what it computes: remove it first"
        )


def _called(hook: Any) -> str:
    return str(getattr(hook, "__name__", type(hook).__name__))


def _check_inputs(name: str, before: OrdinaryLayer, layer: OrdinaryLayer) -> None:
    if layer.weight.shape[1] != before.width:
        raise SynflipError(
            f"{name} takes {layer.weight.shape[1]} inputs; the one before gives {before.width}"
        )
