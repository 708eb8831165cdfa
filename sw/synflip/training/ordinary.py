"""Trained networks of torch read as dense layers: the weights that a forward pass in evaluation mode uses.

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
    End,
    Linear,
    Operation,
    check_kind,
    in_batches,
    refused,
)
from synflip.modelfile.pt2 import Program, naming
from synflip.util.text import first_line

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
class DenseLayer:
    """A Linear with the constants around it folded in: limit(x W^T + b), limit to 0..``limit`` if hidden.

    name: how messages name the Linear. weight: float64 [J, I]. bias: float64 [J]. limit: inf after a ReLU, 6
    after a ReLU6.
    """

    name: str
    weight: Tensor
    bias: Tensor
    limit: float = float("inf")

    def sums(self, x: Tensor) -> Tensor:
        """x W^T + b, float64 [N, J], of inputs [N, I]."""
        return x @ self.weight.T + self.bias

    def activations(self, x: Tensor) -> Tensor:
        """The sums with those below 0 and above the limit cut off, float64 [N, J]."""
        return self.sums(x).clamp(0, self.limit)


def logits(layers: Sequence[DenseLayer], x: Tensor) -> Tensor:
    """Logits, float64 [N, C], of inputs [N, I]."""
    for layer in layers[:-1]:
        x = layer.activations(x)
    return layers[-1].sums(x)


class Ordinary:
    """The dense layers of a trained network. Raises SynflipError, naming the operation, for what is none.

    network: any module that torch.export follows, or one that was read from a file. shapes: of one input,
    each tried until the network takes it. layers: from the input on; a network with one output, whose class
    is 1 where it is above 0, has two logits here, minus and plus half of it. outputs: of the network itself.
    DataParallel and torch.compile are looked through. Parametrisations, weight norm, spectral norm and
    pruning are resolved to the weight of a forward pass in evaluation mode.
    """

    def __init__(self, network: nn.Module, *shapes: Sequence[int]) -> None:
        if not isinstance(network, nn.Module):
            raise SynflipError(
                f"the network is a {type(network).__name__}, not a Sequential, another module of torch or a "
                "file"
            )
        self.network = _unwrapped(network)
        file = self.network.path if isinstance(self.network, Program | Onnx) else None
        with evaluating(self.network), naming(file):
            _check_modules(self.network)
            self._shape = self._taken(shapes)
            self.layers, self._end = _folded(self._operations())
        self.outputs = len(self.layers[-1].bias)
        if self.outputs == 1:
            last = self.layers[-1]
            halves = torch.tensor([-0.5, 0.5], dtype=torch.float64)
            self.layers[-1] = replace(last, weight=halves[:, None] * last.weight, bias=halves * last.bias)

    def _operations(self) -> list[Operation]:
        if isinstance(self.network, Onnx):
            return self.network.operations()
        example = self._input(torch.zeros(2, math.prod(self._shape)))
        program = self.network if isinstance(self.network, Program) else program_of(self.network, example)
        return operations(program, [program.batch or len(example), *self._shape])

    def _input(self, rows: Tensor) -> Tensor:
        """Rows [N, I] as the network takes them."""
        own = (*self.network.parameters(), *self.network.buffers())
        like = next((tensor for tensor in own if tensor.is_floating_point()), rows)
        return rows.to(like.device, like.dtype).reshape(-1, *self._shape)

    def _taken(self, shapes: Sequence[Sequence[int]]) -> Sequence[int]:
        """The first of the shapes that the network takes."""
        refusal: SynflipError | None = None
        for shape in shapes:
            self._shape = shape
            try:
                self._outputs(self._input(torch.zeros(2, math.prod(shape))))
                return shape
            except SynflipError as error:
                refusal = refusal or error
        assert refusal is not None
        raise refusal

    def _outputs(self, x: Tensor) -> Tensor:
        """What the network itself computes for inputs [N, ...]."""
        batch = self.network.batch if isinstance(self.network, Program | Onnx) else None
        try:
            parts = [self.network(part) for part in in_batches(x, batch)]
        except SynflipError:
            raise
        except Exception as error:  # whatever the module raises
            raise SynflipError(_failed(self.network, error)) from None
        if not all(isinstance(part, Tensor) for part in parts):
            raise SynflipError(f"the network gives a {type(parts[0]).__name__}, not one tensor, the logits")
        return torch.cat(parts)[: len(x)].detach().cpu().double()

    def check(self, rows: Tensor) -> None:
        """Raises SynflipError unless the network itself gives the same for inputs [N, I]."""
        z, size = logits(self.layers, rows), rows.abs()
        for layer in self.layers:
            size = size @ layer.weight.abs().T + layer.bias.abs()
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


def _folded(operations: Sequence[Operation]) -> tuple[list[DenseLayer], str | None]:
    """The layers of a chain of operations, and the kind of its end. Raises SynflipError."""
    layers: list[DenseLayer] = []
    before: list[Affine] = []  # of the next layer's inputs
    end: End | None = None
    last: Operation | None = None
    is_open = False  # nothing was cut off after the last layer
    for operation in operations:
        name = operation.name
        if end is not None:
            raise refused(end.name, f"cannot be made of coins before {name}")
        if isinstance(operation, Linear):
            if is_open:
                raise SynflipError(f"{name} comes after a Linear without a ReLU between them")
            layer = DenseLayer(name, operation.weight, operation.bias)
            if layers:
                _check_inputs(name, layers[-1], layer)
            while before:
                layer = _after(before.pop(), layer)
            layers.append(layer)
            is_open = True
        elif isinstance(operation, Affine):
            if is_open:
                layers[-1] = _before(operation, layers[-1])
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
    if not is_open:
        raise SynflipError(
            f"the last of {len(operations)} operations must be a Linear, whose outputs are the logits "
            "(softmax, sigmoid and argmax may follow)"
        )
    return layers, None if end is None else end.kind


def _before(affine: Affine, layer: DenseLayer) -> DenseLayer:
    """A layer with what is made of its sums folded in."""
    _check_count(affine, len(layer.bias), "outputs of the Linear before it")
    factor = affine.factor[:, None] if affine.factor.ndim else affine.factor
    bias = (layer.bias - affine.mean) * affine.factor + affine.bias
    return replace(layer, weight=layer.weight * factor, bias=bias)


def _after(affine: Affine, layer: DenseLayer) -> DenseLayer:
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
        elif not isinstance(module, nn.Linear | nn.BatchNorm1d):
            hooks.append(("pre-hook of a weight", hook))
    for kind, hook in hooks:
        raise SynflipError(
            f"{name} has a forward {kind}, {_called(hook)}, that changes what it computes: remove it first"
        )


def _called(hook: Any) -> str:
    return str(getattr(hook, "__name__", type(hook).__name__))


def _check_inputs(name: str, before: DenseLayer, layer: DenseLayer) -> None:
    if layer.weight.shape[1] != len(before.bias):
        raise SynflipError(
            f"{name} takes {layer.weight.shape[1]} inputs; the one before gives {len(before.bias)}"
        )
