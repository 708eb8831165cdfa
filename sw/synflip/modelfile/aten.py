"""Graphs of torch (core ATen) read as operations of dense layers: of a module, or of a ``.pt2`` file."""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch import Tensor, fx, nn

from synflip.errors import SynflipError
from synflip.modelfile import pt2
from synflip.modelfile.operations import (
    Affine,
    Clamp,
    Conv2d,
    End,
    MaxPool2d,
    Operation,
    arithmetic,
    clamp,
    constant_bytes,
    convolution,
    linear,
    max_pool,
    negative,
    normalised,
    refused,
)
from synflip.modelfile.pt2 import Node, Program, Value, describe, layer_names, run, values_of
from synflip.util.cache import tool_caches
from synflip.util.text import first_line

#: Kinds of operations: those with weights, those that the weights behind them take in, and those after which
#: numbers are the same.
WEIGHTED = ("addmm", "conv1d", "conv2d", "linear", "matmul", "mm")
FOLDED = ("add", "batch_norm", "div", "mul", "neg", "rsub", "sub")
SAME = ("alias", "clone", "contiguous", "detach", "to")
DROPOUTS = ("alpha_dropout", "dropout", "feature_alpha_dropout", "feature_dropout")
RESHAPED = ("flatten", "reshape", "squeeze", "unflatten", "unsqueeze", "view")
#: Also what a Conv2d does first, in another ``padding_mode`` than zeros.
_PADS = "pads by an operation of its own, and coins as a convolution does with zeros (padding_mode='zeros')"
_ENDS = {
    "_log_softmax": "log_softmax",
    "_softmax": "softmax",
    "argmax": "argmax",
    "log_softmax": "log_softmax",
    "sigmoid": "sigmoid",
    "softmax": "softmax",
}


def program_of(network: nn.Module, example: Tensor, any_batch: bool = False) -> Program:
    """The graph of a module, as torch.export follows it for inputs like ``example`` [N, ...].

    network: in evaluation mode, with one tensor as its result. Messages name an operation by the module that
    it is in. any_batch: whether the graph takes other numbers of inputs too. Raises SynflipError for a module
    that cannot be followed.
    """
    try:
        with torch.no_grad(), tool_caches(), quiet():
            sizes = ({0: torch.export.Dim.AUTO},) if any_batch else None
            exported = torch.export.export(network, (example,), dynamic_shapes=sizes)
    except Exception as error:  # whatever the module raises
        raise SynflipError(
            f"the forward of {type(network).__name__} cannot be followed: {first_line(error)}; make what it "
            "computes independent of the images' values"
        ) from None
    signature, stored = exported.graph_signature, {**exported.state_dict, **exported.constants}
    tensors = {
        spec.arg.name: stored[spec.target]
        for spec in signature.input_specs
        if isinstance(spec.target, str) and isinstance(stored.get(spec.target), Tensor)
    }
    called = [node for node in exported.graph.nodes if node.op == "call_function"]
    nodes = [_node(node) for node in called if not str(node.target).startswith(f"aten.{pt2.ASSERTIONS}")]
    (source,), (result,) = signature.user_inputs, signature.user_outputs
    batch = None if any_batch else len(example)
    return Program(tuple(nodes), str(source), str(result), tensors, (batch, *example.shape[1:]))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what torch writes about a module that it cannot follow from the terminal: the error says it; and
    its warnings, which are about itself."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _node(node: fx.Node) -> Node:
    def of(argument: Any) -> Any:
        if isinstance(argument, fx.Node):
            return Value(argument.name)
        return [of(item) for item in argument] if isinstance(argument, list | tuple) else argument

    keywords = {name: of(value) for name, value in node.kwargs.items()}
    operation = str(node.target).removeprefix("aten.")
    stack = node.meta.get("nn_module_stack") or {}
    layers = layer_names((key, path) for key, (path, _) in stack.items())
    return Node(operation, tuple(of(item) for item in node.args), keywords, node.name, _named(node), layers)


def _named(node: fx.Node) -> str:
    """``module 3 (ReLU)`` in a module of torch, ``operation relu of module 3 (Own)`` in another's forward."""
    stack = list((node.meta.get("nn_module_stack") or {"": ("", "")}).values())
    path, kind = stack[-1]
    path, kind = str(path).split("@")[0], str(kind)
    module = f"module {path} ({kind.rpartition('.')[2]})"
    if path and kind.startswith("torch.nn.") and "parametrizations" not in path.split("."):
        return module
    return f"operation {node.name} of {module}" if path else f"operation {node.name}"


def operations(program: Program, shape: Sequence[int]) -> list[Operation]:
    """The operations of a graph that is a chain, in order.

    shape: of its input, [N, ...]. What is computed from constants alone is a constant. Raises SynflipError,
    naming the operation, for another graph.
    """
    known: dict[str, Any] = program.constants()
    sizes: dict[str, Any] = {name: value.to("meta") for name, value in known.items()}
    current, bytes_made = program.source, pt2.Made()
    sizes[current] = torch.empty(tuple(shape), device="meta")
    found: list[Operation] = []
    for index, node in enumerate(program.nodes):
        name, taken = describe(index, node), {value.name for value in values_of(node)}
        method = _METHODS.get(node.kind.removesuffix("_"))
        if method is None and current in taken and node.kind != "sym_size":
            raise refused(name, _PADS if node.kind == "pad" else "")
        result = run(index, node, sizes)
        if isinstance(result, Tensor) and result.numel() > pt2.MAX_RESULT * shape[0]:
            raise SynflipError(f"{name}: a result of shape {list(result.shape)} is too large")
        sizes[node.result] = result
        if not isinstance(result, Tensor):  # a size of a tensor
            known[node.result] = result
        elif taken <= known.keys():
            if node.kind.endswith("_"):
                raise refused(name, "changes a constant of the network in place")
            bytes_made.add(name, result.nbytes)
            known[node.result] = run(index, node, known)
        elif method is None or current not in taken:
            raise SynflipError(f"{name} does not take the result before it: no chain of layers")
        else:
            operation = method(_Chain(name, node, current, known, sizes[current], result))
            if operation is not None:
                bytes_made.add(name, constant_bytes([operation]))
                found.append(operation)
            current = node.result
    if current != program.result:
        raise SynflipError("the network's output is not its last result: no chain of layers")
    return found


class _Chain:
    """One operation on the result before it, ``current``. known: the constants. before, after: shapes of the
    result before it and of its own, as tensors without numbers."""

    def __init__(
        self, name: str, node: Node, current: str, known: dict[str, Any], before: Tensor, after: Tensor
    ) -> None:
        self.name, self.node, self.kind = name, node, node.kind.removesuffix("_")
        self.current, self.known = current, known
        self.before, self.after = before, after

    def nothing(self) -> None:
        """The same numbers."""

    def dropout(self) -> None:
        """Nothing, in evaluation."""
        if self.node.argument(2, "train") is not False:
            raise SynflipError(
                f"{self.name} drops values in evaluation too: give it training=self.training, and call "
                "network.eval() before an export"
            )

    def reshaped(self) -> None:
        """The same numbers in the same order, image by image."""
        if self.after.shape[:1] != self.before.shape[:1]:
            raise SynflipError(f"{self.name} mixes images: keep the first dimension, as Flatten() does")

    def _constant(self, index: int, name: str) -> Any:
        value = self.node.argument(index, name)
        if not isinstance(value, Value):
            return value
        if value.name not in self.known:
            raise refused(self.name, "combines results of the network, so it is no layer of a chain")
        return self.known[value.name]

    def linear(self) -> Operation:
        """A product with weights."""
        kind, place = self.kind, 1 if self.kind == "addmm" else 0
        if self.node.argument(place, "") != Value(self.current) or self.node.keywords:
            raise refused(self.name, "does not take the result before it as rows, so it is no linear layer")
        if kind == "linear":
            weight, bias = self._constant(1, "weight"), self._constant(2, "bias")
        else:
            weight = self._constant(place + 1, "").t()
            bias = self._constant(0, "") if place else None
        return linear(self.name, weight, bias, self.before.shape[1:])

    def arithmetic(self) -> Affine:
        """A constant that is added or multiplied, or a result that is subtracted from it."""
        kind, swapped = self.kind, self.node.argument(0, "self") != Value(self.current)
        if self.node.argument(2, "alpha", 1) != 1 or (swapped and kind == "div"):
            raise refused(self.name)
        if swapped:
            kind = {"sub": "rsub", "rsub": "sub"}.get(kind, kind)
        constant = self._constant(0 if swapped else 1, "other")
        if not isinstance(constant, Tensor):
            constant = torch.tensor(float(constant), dtype=torch.float64)
        return arithmetic(self.name, kind, constant, self.before.shape[1:])

    def negative(self) -> Affine:
        """The result with the other sign."""
        return negative(self.name)

    def normalised(self) -> Affine:
        """A batch normalisation in evaluation."""
        weight, bias, mean, variance = (self._constant(place, "") for place in range(1, 5))
        if mean is not None and self.node.argument(5, "training") is not False:
            raise SynflipError(f"{self.name} is not as in evaluation; call network.eval() first")
        eps = float(self.node.argument(7, "eps"))
        return normalised(self.name, mean, variance, weight, bias, eps, self.before.shape[1:])

    def convolution(self) -> Conv2d:
        """A convolution of pictures."""
        weight, bias = self._constant(1, "weight"), self._constant(2, "bias")
        stride, pad, dilation = (
            _listed(self.node.argument(place, name, otherwise))
            for place, name, otherwise in ((3, "stride", 1), (4, "padding", 0), (5, "dilation", 1))
        )
        groups = int(self.node.argument(6, "groups", 1))
        return convolution(self.name, weight, bias, stride, pad, dilation, groups, self.before.shape[1:])

    def max_pool(self) -> MaxPool2d:
        """A maximum over windows of pictures."""
        window, stride, pad, dilation = (
            _listed(self.node.argument(place, name, otherwise))
            for place, name, otherwise in (
                (1, "kernel_size", []), (2, "stride", []), (3, "padding", 0), (4, "dilation", 1),
            )
        )  # fmt: skip
        ceil = bool(self.node.argument(5, "ceil_mode", False))
        return max_pool(self.name, window, stride, pad, dilation, ceil, self.before.shape[1:])

    def clamp(self) -> Clamp:
        """A ReLU, or a cut-off at 0 and at a limit."""
        least, most = {"relu": (0, None), "relu6": (0, 6)}.get(
            self.kind,
            (self.node.argument(1, "min_val" if self.kind == "hardtanh" else "min"),
             self.node.argument(2, "max_val" if self.kind == "hardtanh" else "max")),
        )  # fmt: skip
        if self.kind == "hardtanh":
            least, most = -1 if least is None else least, 1 if most is None else most
        return clamp(self.name, least, most)

    def end(self) -> End:
        """What is made of the logits."""
        kind = _ENDS[self.kind]
        if kind != "sigmoid":
            dimension = self.node.argument(1, "dim")
            if dimension not in (1, -1) or self.before.ndim != 2:
                raise SynflipError(f"{self.name} is over dimension {dimension}; over the classes it is 1")
        return End(self.name, kind)


def _listed(value: Any) -> Any:
    """One number for both directions as a list; a list, or text, as it is."""
    return [value] if isinstance(value, int) else value


#: What is made of an operation, by its name without the underscore of those that work in place.
_METHODS: dict[str, Callable[[_Chain], Operation | None]] = {
    **dict.fromkeys(SAME, _Chain.nothing),
    **dict.fromkeys(DROPOUTS, _Chain.dropout),
    **dict.fromkeys(RESHAPED, _Chain.reshaped),
    **dict.fromkeys(("addmm", "linear", "matmul", "mm"), _Chain.linear),
    **dict.fromkeys(("add", "div", "mul", "rsub", "sub"), _Chain.arithmetic),
    **dict.fromkeys(("clamp", "clamp_min", "hardtanh", "relu", "relu6"), _Chain.clamp),
    **dict.fromkeys(_ENDS, _Chain.end),
    "batch_norm": _Chain.normalised,
    "conv2d": _Chain.convolution,
    "max_pool2d": _Chain.max_pool,
    "neg": _Chain.negative,
}
