"""Trained networks of torch read as dense layers: the weights that a forward pass in evaluation mode uses.

A module can compute something else than its type says: hooks, a replaced ``forward``, weights that a hook
makes just before each pass. What is read is therefore compared with what the network itself computes.
"""

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.modules import module as torch_module
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from synflip.errors import SynflipError
from synflip.util.text import first_line

ALLOWED = (
    "Linear, ReLU or ReLU6 after it, Flatten, Dropout, Identity, BatchNorm1d right after a Linear, and "
    "Softmax or LogSoftmax last"
)
_ROUNDINGS = 16  # of a sum's terms, at most, in the network's own arithmetic
_WRAPPERS: tuple[tuple[type[nn.Module], str], ...] = (
    (nn.DataParallel, "module"),
    (nn.parallel.DistributedDataParallel, "module"),
    (torch._dynamo.OptimizedModule, "_orig_mod"),
)
#: Pre-hooks of torch that make a weight just before a forward pass. Running them gives that weight.
_MAKES_WEIGHT = (WeightNorm, SpectralNorm, BasePruningMethod)
_NOTHING = (nn.Dropout, nn.Dropout1d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.Identity)
_SOFTMAX = (nn.Softmax, nn.LogSoftmax)
_KINDS: tuple[type[nn.Module], ...] = (
    *(nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.ReLU6, nn.Flatten),
    *_NOTHING,
    *_SOFTMAX,
)
#: Functions and methods that a forward of one's own may call, and the module that each stands for.
_CALLS: dict[Any, type[nn.Module]] = {
    **dict.fromkeys((functional.relu, torch.relu, torch.relu_, "relu", "relu_"), nn.ReLU),
    **dict.fromkeys((functional.relu6,), nn.ReLU6),
    **dict.fromkeys((torch.flatten, "flatten", "view", "reshape"), nn.Flatten),
    **dict.fromkeys((functional.dropout,), nn.Dropout),
    **dict.fromkeys((functional.softmax, torch.softmax, "softmax"), nn.Softmax),
    **dict.fromkeys((functional.log_softmax, torch.log_softmax, "log_softmax"), nn.LogSoftmax),
}
_OF_SIZES = ("size", getattr, operator.getitem)  # what a forward computes of x.shape and x.size()


@dataclass(frozen=True)
class DenseLayer:
    """A Linear with the BatchNorm1d after it folded in: limit(x W^T + b), limit to 0..``limit`` if hidden.

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
    """The dense layers of a trained network. Raises SynflipError, naming the module, for what is none.

    network: a Sequential, or a module whose forward calls modules and functions one after another. layers:
    from the input on. DataParallel and torch.compile are looked through. Parametrisations, weight norm,
    spectral norm and pruning are resolved to the weight of a forward pass in evaluation mode.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = _unwrapped(network)
        if isinstance(self.network, _KINDS) or not isinstance(self.network, nn.Module):
            raise SynflipError(
                f"the network is a {type(self.network).__name__}, not a Sequential of {ALLOWED}"
            )
        self.layers: list[DenseLayer] = []
        self._softmax: Callable[..., Tensor] | None = None
        with evaluating(self.network):
            _check_modules(self.network)
            self._read(_graph(self.network))

    def check(self, inputs: Tensor, *shapes: Sequence[int]) -> None:
        """Raises SynflipError unless the network itself gives the same for inputs [N, I].

        shapes: of one input, each tried until the network takes it.
        """
        parameter = next(self.network.parameters(), inputs)
        wanted = logits(self.layers, inputs)
        size = inputs.abs()  # of the largest sum that rounding errors are a share of
        for layer in self.layers:
            size = size @ layer.weight.abs().T + layer.bias.abs()
        if self._softmax is not None:
            wanted = self._softmax(wanted, 1)
        found: Tensor | None = None
        error: Exception | None = None
        with evaluating(self.network):
            for shape in shapes:
                x = inputs.to(parameter.device, parameter.dtype).reshape(-1, *shape)
                try:
                    found = self.network(x).detach().cpu().double()
                    break
                except Exception as raised:  # whatever the module raises
                    error = error or raised
        if found is None:
            assert error is not None
            raise SynflipError(f"the network does not take {list(inputs.shape)}: {first_line(error)}")
        allowed = _ROUNDINGS * torch.finfo(parameter.dtype).eps * (1 + size)
        if found.shape != wanted.shape or not bool(((found - wanted).abs() <= allowed).all()):
            raise SynflipError(
                "the network computes something else than its layers: for the first training images its "
                f"outputs differ from theirs; make it a plain Sequential of {ALLOWED}"
            )

    def _read(self, graph: fx.Graph) -> None:
        before = ""  # the kind of the last module that computes something
        current: fx.Node | None = None
        count = 0
        for node in graph.nodes:
            if node.op == "placeholder":
                if current is not None and node.users:
                    raise SynflipError(f"the network takes a second input, {node.target}; it may have one")
                current = node if current is None else current
                continue
            if node.op == "output":
                if node.args[0] is not current:
                    raise SynflipError("the network's output is not its last result: no chain of layers")
                continue
            if node.target in _OF_SIZES and _is_size(node):
                continue
            count += 1
            module = self.network.get_submodule(node.target) if node.op == "call_module" else None
            kind, name = self._kind(node, module)
            if not node.args or node.args[0] is not current:
                raise SynflipError(f"{name} does not take the result before it: no chain of layers")
            current = node
            before = self._add(node, kind, name, module, before)
        if before not in ("Linear", "BatchNorm1d", "Softmax"):
            raise SynflipError(
                f"the last of {count} modules must be a Linear, whose outputs are the logits "
                "(Softmax and LogSoftmax may follow)"
            )

    def _kind(self, node: fx.Node, module: nn.Module | None) -> tuple[type[nn.Module], str]:
        """The module's type, or what a function stands for, and how messages name it."""
        if module is None:
            name = f"operation {node.name}"
            kind = _CALLS.get(node.target)
            if kind is None:
                raise SynflipError(f"{name} cannot be made of coins; allowed are {ALLOWED}")
            return kind, name
        name = named(str(node.target), module)
        for kind in _KINDS:
            if isinstance(module, kind):
                if type(module).forward is not kind.forward:
                    raise SynflipError(f"{name} is a {kind.__name__} with a forward of its own")
                return kind, name
        raise SynflipError(f"{name} cannot be made of coins; allowed are {ALLOWED}")

    def _add(
        self, node: fx.Node, kind: type[nn.Module], name: str, module: nn.Module | None, before: str
    ) -> str:
        """Take one module or function; gives the kind that the next one comes after."""
        if before == "Softmax" and kind not in _NOTHING:
            raise SynflipError(f"{name} comes after a Softmax, which must be the last")
        if kind in _NOTHING:
            if module is None and not _only_in_training(node):
                raise SynflipError(f"{name} drops values in evaluation too: give it training=self.training")
            return before
        if kind is nn.Flatten:
            if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) != (1, -1):
                raise SynflipError(f"{name} keeps some dimensions: only Flatten() makes rows of images")
            return before
        if kind is nn.Linear:
            if before in ("Linear", "BatchNorm1d"):
                raise SynflipError(f"{name} comes after a {before} without a ReLU between them")
            assert module is not None
            self.layers.append(_linear(name, module))
            if len(self.layers) > 1:
                _check_inputs(name, self.layers[-2], self.layers[-1])
            return "Linear"
        if before not in ("Linear", "BatchNorm1d"):
            only = "only after a Linear it is folded" if kind is nn.BatchNorm1d else f"allowed are {ALLOWED}"
            raise SynflipError(f"{name} comes after {before or 'nothing'}; {only}")
        if isinstance(module, nn.BatchNorm1d):
            if before != "Linear":
                raise SynflipError(f"{name} comes after {before}; only after a Linear it is folded")
            self.layers[-1] = _folded(name, module, self.layers[-1])
            return "BatchNorm1d"
        if kind in _SOFTMAX:
            dimension = module.dim if isinstance(module, _SOFTMAX) else _dimension(node)
            if dimension not in (None, 1, -1):
                raise SynflipError(f"{name} is over dimension {dimension}; over the classes it is 1")
            self._softmax = torch.softmax if kind is nn.Softmax else torch.log_softmax
            return "Softmax"
        if kind is nn.ReLU6:
            self.layers[-1] = replace(self.layers[-1], limit=6.0)
        return "ReLU"


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
    if any(nn.parameter.is_lazy(value) for value in module.parameters(False)):
        raise SynflipError(f"{name} has no weights yet: run the network once")
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


class _Tracer(fx.Tracer):
    """Follows a forward down to the modules that are read here, and through what wraps them."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether what a module computes is not followed further."""
        return isinstance(m, _KINDS) or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Follow the module inside a wrapper in place of the wrapper; never what torch.compile made."""
        inside = _unwrapped(m)
        return super().call_module(inside, inside.forward, args, kwargs)


def _graph(network: nn.Module) -> fx.Graph:
    try:
        return _Tracer().trace(network)
    except SynflipError:
        raise
    except Exception as error:  # whatever the module raises
        raise SynflipError(
            f"the forward of {type(network).__name__} cannot be followed: {first_line(error)}; make it a "
            f"Sequential of {ALLOWED}"
        ) from None


def _is_size(node: fx.Node) -> bool:
    """Whether a node is a size of a tensor: ``x.size(0)``, ``x.shape``, ``x.shape[0]``."""
    if node.target is getattr:
        return node.args[1] == "shape"
    of = node.args[0]
    return node.target == "size" or (isinstance(of, fx.Node) and of.target in _OF_SIZES and _is_size(of))


def _only_in_training(node: fx.Node) -> bool:
    return node.kwargs.get("training", node.args[2] if len(node.args) > 2 else True) is False


def _dimension(node: fx.Node) -> Any:
    return node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)


def _make_weights(name: str, module: nn.Module) -> None:
    """Run the pre-hooks that make weights: until then a module may hold those of its constructor."""
    for hook in module._forward_pre_hooks.values():
        try:
            hook(module, ())
        except Exception as error:  # whatever a method of pruning raises
            raise SynflipError(f"{name}: {_called(hook)} fails: {first_line(error)}") from None


def _linear(name: str, module: nn.Module) -> DenseLayer:
    """Weights and biases of a Linear."""
    _make_weights(name, module)
    weight, bias = _tensor(name, module, "weight"), _tensor(name, module, "bias")
    if weight is None or weight.ndim != 2:
        raise SynflipError(f"{name} has no weight [outputs, inputs]")
    bias = torch.zeros(len(weight), dtype=torch.float64) if bias is None else bias
    if bias.shape != weight.shape[:1]:
        raise SynflipError(f"{name}: its bias has shape {list(bias.shape)}, not [{len(weight)}]")
    return DenseLayer(name, weight, bias)


def _check_inputs(name: str, before: DenseLayer, layer: DenseLayer) -> None:
    if layer.weight.shape[1] != len(before.bias):
        raise SynflipError(
            f"{name} takes {layer.weight.shape[1]} inputs; the one before gives {len(before.bias)}"
        )


def _folded(name: str, norm: nn.BatchNorm1d, layer: DenseLayer) -> DenseLayer:
    """A Linear with the BatchNorm1d after it folded in, as in evaluation mode."""
    _make_weights(name, norm)
    mean, variance = _tensor(name, norm, "running_mean"), _tensor(name, norm, "running_var")
    if mean is None or variance is None:
        raise SynflipError(f"{name} has no running statistics: what it does depends on the batch")
    if norm.num_features != len(layer.bias):
        raise SynflipError(
            f"{name} takes {norm.num_features} features; the Linear before gives {len(layer.bias)}"
        )
    variance = variance + norm.eps
    if bool((variance <= 0).any()):
        channel = int((variance <= 0).int().argmax())
        raise SynflipError(f"{name}: the variance and eps of channel {channel} are not above 0 together")
    factor = variance.rsqrt()
    weight, bias = _tensor(name, norm, "weight"), _tensor(name, norm, "bias")
    if weight is not None:
        factor = factor * weight
    shifted = (layer.bias - mean) * factor
    return replace(
        layer, weight=layer.weight * factor[:, None], bias=shifted if bias is None else shifted + bias
    )


def _tensor(name: str, module: nn.Module, attribute: str) -> Tensor | None:
    """A tensor of a module as float64 on the CPU. Raises SynflipError for one that is no finite numbers."""
    try:
        value = getattr(module, attribute)
    except Exception as error:  # whatever a parametrisation raises
        raise SynflipError(f"{name}: its {attribute} cannot be computed: {first_line(error)}") from None
    if value is None:
        return None
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.layout != torch.strided:
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise SynflipError(f"{name}: its {attribute} is {kind}, not a dense tensor of real floats")
    if value.is_meta:
        raise SynflipError(f"{name}: its {attribute} is on the device meta, which holds no numbers")
    value = value.detach().cpu().double()
    bad = (~value.isfinite()).nonzero()
    if len(bad):
        place = bad[0].tolist()
        raise SynflipError(
            f"{name} has weights that are not finite: {attribute}{place} is {value[tuple(place)]:g}"
        )
    return value
