"""A chain of operations as a graph of torch, whatever file it was read from."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from synflip.modelfile.operations import Affine, Clamp, Conv2d, End, Linear, MaxPool2d, Operation
from synflip.modelfile.pt2 import Node, Program, Value

_SOURCE = "x"
_ENDS = {
    "argmax": "argmax.default",
    "log_softmax": "log_softmax.int",
    "sigmoid": "sigmoid.default",
    "softmax": "softmax.int",
}


def program_of(
    operations: Sequence[Operation], layers: Sequence[str], shape: Sequence[int] | None
) -> Program:
    """The graph of a chain, with constants in float64, for any number of inputs.

    layers: the name of each operation's layer, see ``pt2.Node``. shape: of one input; None if it is not
    known. Scores that only have the order of the logits (``End``) are the logits here.
    """
    chain = _Graph(shape)
    for operation, layer in zip(operations, layers, strict=True):
        chain.add(operation, layer)
    sizes = () if shape is None else (None, *shape)
    return Program(tuple(chain.nodes), _SOURCE, chain.current, chain.tensors, sizes)


class _Graph:
    """A graph that grows by an operation at a time.

    current: the name of the result so far. shape: of one input's; None if it is not known.
    """

    def __init__(self, shape: Sequence[int] | None) -> None:
        self.nodes: list[Node] = []
        self.tensors: dict[str, Tensor] = {}
        self.current = _SOURCE
        self.shape = None if shape is None else tuple(shape)
        self._named: tuple[str, str] = "", ""  # how messages name what is added, and its layer

    def add(self, operation: Operation, layer: str) -> None:
        """Add the nodes of an operation."""
        self._named = operation.name, layer
        if isinstance(operation, Linear):
            if self.shape is not None and len(self.shape) > 1:
                self._node("flatten.using_ints", 1)
            self._node("linear.default", operation.weight, operation.bias)
            self.shape = (len(operation.bias),)
        elif isinstance(operation, Conv2d):
            if self.shape != operation.size:
                self._node("reshape.default", [-1, *operation.size])
            weight, sides = operation.weight, zip(operation.size[1:], operation.pad, strict=True)
            self._node("conv2d.default", weight, operation.bias, [*operation.stride], [*operation.pad])
            down, across = (
                (side + 2 * pad - kernel) // stride + 1
                for (side, pad), kernel, stride in zip(sides, weight.shape[2:], operation.stride, strict=True)
            )
            self.shape = (len(weight), down, across)
        elif isinstance(operation, MaxPool2d):
            assert self.shape is not None  # else it was not read
            self._node("max_pool2d.default", [*operation.window], [*operation.window])
            down, across = (
                side // window for side, window in zip(self.shape[1:], operation.window, strict=True)
            )
            self.shape = (self.shape[0], down, across)
        elif isinstance(operation, Affine):
            self._node("sub.Tensor", self._of_inputs(operation.mean))
            self._node("mul.Tensor", self._of_inputs(operation.factor))
            self._node("add.Tensor", self._of_inputs(operation.bias))
        elif isinstance(operation, Clamp):
            self._node("clamp.default", 0.0, operation.limit)
        elif isinstance(operation, End) and operation.kind in _ENDS:
            self._node(_ENDS[operation.kind], *(() if operation.kind == "sigmoid" else (1,)))

    def _node(self, operation: str, *arguments: Any) -> None:
        """An operation on the result so far."""
        given: list[Any] = [Value(self.current)]
        for argument in arguments:
            if isinstance(argument, Tensor):
                name = f"constant_{len(self.tensors)}"
                self.tensors[name] = argument
                given.append(Value(name))
            else:
                given.append(argument)
        self.current = f"result_{len(self.nodes)}"
        name, layer = self._named
        self.nodes.append(Node(operation, tuple(given), {}, self.current, name, (layer,)))

    def _of_inputs(self, value: Tensor) -> Tensor:
        """Constants, one for each number of an input or one for all, as they meet the result so far."""
        if not value.ndim or self.shape is None or len(self.shape) < 2:
            return value
        value = value.view(self.shape)
        first = value.flatten(1)[:, :1]
        return first.view(-1, *[1] * (value.ndim - 1)) if bool((value.flatten(1) == first).all()) else value
