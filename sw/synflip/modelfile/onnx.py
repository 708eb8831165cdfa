"""Reading networks of dense layers from ONNX files (``*.onnx``). Files are not trusted: sizes first.

A file is parsed by protobuf, which runs nothing. Its nodes are looked up in a list of operations, everything
else is refused by name, and only what leads to the scores is kept.
"""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synflip.errors import SynflipError
from synflip.modelfile import pt2
from synflip.modelfile.chain import program_of
from synflip.modelfile.external_data import WAY_OUT, take_in
from synflip.modelfile.operations import (
    Affine,
    Clamp,
    End,
    Linear,
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
from synflip.util.extras import require
from synflip.util.text import first_line

# onnx is imported when a file is read: it is optional.
if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

MAX_NODES = 4096
MAX_NUMBERS = 1 << 26  # in a constant
MAX_SIZES = 64  # numbers in a constant that sizes are computed with
MAX_COMPUTED = 1 << 20  # numbers that are computed with sizes, in all
MAX_AXES = 64  # of a result: numpy has no more
FIRST_OPSET = 6
_DTYPES = {1: "float32", 10: "float16", 11: "float64"}
_INTEGERS = {6: "int32", 7: "int64"}
#: Of shapes, and what is computed from them.
_OF_SIZES = ("Add", "Cast", "Concat", "Div", "Gather", "Mul", "Shape", "Slice", "Squeeze", "Sub", "Unsqueeze")
_SAME = ("Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
_OF_CONSTANTS = ("Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_ARITHMETIC = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}
_ENDS = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid", "ArgMax": "argmax"}
_POST_TRANSFORMS = {"NONE": None, "SOFTMAX": "softmax", "LOGISTIC": "sigmoid"}
_NEWER = "export it again with onnx.version_converter"


class Onnx(nn.Module):
    """A network in an ONNX file: run by onnx.reference, and read as operations.

    content: of the file. folder: where files with its weights may lie, see ``external_data``; None takes
    none. batch: the number of images that it was exported for; None if it takes any. ``path``: of the file,
    for messages; ``sha256``: the digest of it and of weights in other files, in hexadecimal.
    Raises SynflipError for what is no ONNX file, is not whole, or has more than one input or result.
    """

    def __init__(self, content: bytes, folder: Path | None = None) -> None:
        super().__init__()
        model, digest = _parsed(content), hashlib.sha256(content)
        if folder is not None:
            for part in take_in(model, folder, pt2.MAX_FILE_BYTES):
                digest.update(part)
        graph = model.graph
        self._constants = {tensor.name: _array(tensor.name, tensor) for tensor in graph.initializer}
        inputs = [value for value in graph.input if value.name not in self._constants]
        if len(inputs) != 1:
            names = ", ".join(value.name for value in inputs) or "none"
            raise SynflipError(f"its graph has {len(inputs)} inputs, {names}; a network takes one")
        self._input = inputs[0].name
        kind = inputs[0].type.tensor_type
        if kind.elem_type not in _DTYPES:
            raise SynflipError(f"its input {self._input} is not of floats; export it for float32")
        #: Of the input: a tensor without numbers that says its type.
        self.register_buffer("like", torch.zeros(0, dtype=getattr(torch, _DTYPES[kind.elem_type])))
        sizes = [size.dim_value if size.HasField("dim_value") else 0 for size in kind.shape.dim]
        self.batch = sizes[0] if sizes and sizes[0] > 0 else None
        self._shape = tuple(sizes[1:]) if sizes[1:] and min(sizes[1:]) > 0 else None
        self._result = _result(graph)
        self._nodes = _needed(graph, self._result)
        self._model = model
        self._evaluator: Any = None
        self.path: str | Path | None = None
        self.sha256 = digest.hexdigest()

    like: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """The scores for inputs [N, ...], as onnx.reference computes them. Raises SynflipError."""
        if self._evaluator is None:
            self.operations()  # nothing else is run
            self._evaluator = _evaluator(self._model, self._nodes, self._result)
        try:
            with np.errstate(all="ignore"):  # what is not finite differs from what is read
                (found,) = self._evaluator.run(None, {self._input: x.to(self.like.dtype).numpy()})
            return torch.from_numpy(np.array(found))
        except Exception as error:  # onnx has no common class for graphs that make no sense
            raise SynflipError(f"onnx.reference cannot run it: {first_line(error)}") from None

    def operations(self) -> list[Operation]:
        """The operations of a graph that is a chain, in order. Raises SynflipError, naming the node, for
        another graph."""
        return self._read()[0]

    def program(self) -> pt2.Program:
        """The same operations as a graph of torch, each in a layer that is called as the node, or as its
        result if the node has no name, in the input's type. Raises SynflipError."""
        return program_of(*self._read(), self._shape).to(self.like.dtype)

    def _read(self) -> tuple[list[Operation], list[str]]:
        """The operations and the names of their layers."""
        reader = _Reader(self._constants, self._input, self._shape)
        names: list[str] = []
        for index, node in self._nodes:
            reader.take(_named(index, node), node)
            names += [node.name or node.output[0]] * (len(reader.found) - len(names))
        if reader.current != self._result:
            raise SynflipError("its result is not the result of its last node: no chain of layers")
        return reader.found, names


def load(path: str | Path) -> Onnx:
    """The network in an ONNX file. Raises SynflipError, naming the file and what is wrong with it."""
    require("onnx")
    content = pt2.read(path)
    with pt2.naming(path):
        network = Onnx(content, Path(path).parent)
    network.path = path
    return network


def _parsed(content: bytes) -> "ModelProto":
    import onnx

    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's, whatever is installed
        raise SynflipError(f"not an ONNX file: {first_line(error)}") from None
    graph = model.graph
    if not model.opset_import or not graph.node:
        raise SynflipError("not an ONNX file: it has no nodes or no version of operations")
    last = onnx.defs.onnx_opset_version()
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx") and not FIRST_OPSET <= opset.version <= last:
            raise SynflipError(
                f"its operations have version {opset.version}; {FIRST_OPSET} to {last} are read: {_NEWER}"
            )
    if model.functions:
        raise SynflipError(f"it has functions of its own, {model.functions[0].name}: export it without them")
    if graph.sparse_initializer:
        raise SynflipError("it has sparse weights: export it with dense ones")
    if len(graph.node) > MAX_NODES:
        raise SynflipError(f"it has {len(graph.node)} nodes; at most {MAX_NODES} are read")
    return model


def _array(name: str, tensor: "TensorProto") -> NDArray[Any]:
    """The numbers of a tensor. No size in the file makes it larger than its bytes. Raises SynflipError."""
    name = f"tensor {name!r}"
    if tensor.data_location or tensor.external_data:
        raise SynflipError(f"{name} lies in another file: {WAY_OUT}")
    kind, shape = tensor.data_type, tuple(tensor.dims)
    if kind in _DTYPES:
        dtype, held = (
            np.dtype(_DTYPES[kind]),
            {1: tensor.float_data, 10: tensor.int32_data, 11: tensor.double_data},
        )
    elif kind in _INTEGERS:
        dtype, held = np.dtype(_INTEGERS[kind]), {6: tensor.int32_data, 7: tensor.int64_data}
    else:
        return np.zeros(0)  # of labels and the like; what needs its numbers finds none
    numbers: Any = held[kind]
    count = len(tensor.raw_data) // dtype.itemsize if tensor.raw_data else len(numbers)
    if min(shape, default=1) < 0 or math.prod(shape) != count or count > MAX_NUMBERS:
        raise SynflipError(f"{name} of shape {list(shape)} does not fit the {count} numbers that it has")
    if tensor.raw_data:
        if len(tensor.raw_data) % dtype.itemsize:
            raise SynflipError(f"{name} has {len(tensor.raw_data)} bytes, not whole numbers")
        return np.frombuffer(tensor.raw_data, dtype.newbyteorder("<")).astype(dtype).reshape(shape)
    if kind == 10:
        return np.array(numbers, dtype=np.uint16).view(np.float16).reshape(shape)
    return np.array(numbers, dtype=dtype).reshape(shape)


def _result(graph: "GraphProto") -> str:
    """The name of the scores among the outputs: of classifiers of scikit-learn, what ZipMap is made of."""
    makers = {name: node for node in graph.node for name in node.output}
    scores = [
        value.name
        for value in graph.output
        if value.type.tensor_type.elem_type not in _INTEGERS and value.type.tensor_type.elem_type != 8
    ]  # 8: labels that are text
    if not scores and len(graph.output) == 1:
        scores = [graph.output[0].name]
    if len(scores) != 1:
        names = ", ".join(value.name for value in graph.output) or "none"
        raise SynflipError(
            f"its graph has {len(graph.output)} outputs, {names}; export it with one, the logits"
        )
    maker = makers.get(scores[0])
    return maker.input[0] if maker is not None and maker.op_type == "ZipMap" and maker.input else scores[0]


def _needed(graph: "GraphProto", result: str) -> list[tuple[int, "NodeProto"]]:
    """The nodes that lead to ``result``, in the order of the file, and their places there."""
    wanted, found = {result}, []
    for index, node in reversed(list(enumerate(graph.node))):
        if wanted & set(node.output):
            wanted |= {name for name in node.input if name}
            found.append((index, node))
    return found[::-1]


def _evaluator(model: "ModelProto", nodes: Sequence[tuple[int, "NodeProto"]], result: str) -> Any:
    import onnx
    from onnx.reference import ReferenceEvaluator

    small = onnx.ModelProto()
    small.ir_version = model.ir_version
    small.opset_import.extend(model.opset_import)
    small.graph.name = "network"
    small.graph.node.extend(node for _, node in nodes)
    small.graph.initializer.extend(model.graph.initializer)
    small.graph.input.extend(model.graph.input)
    small.graph.output.append(onnx.ValueInfoProto(name=result))
    versions = [opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")]
    old = versions and 7 <= versions[0] < 14
    return ReferenceEvaluator(small, new_ops=[_batch_normalization()] if old else None)


def _batch_normalization() -> Any:
    """BatchNormalization of versions 7 to 13, as in inference: onnx.reference does it as in training, or not
    at all, though with one result inference is meant."""
    from onnx.reference.op_run import OpRun

    class BatchNormalization(OpRun):
        op_domain = ""

        def _run(self, x: Any, *statistics: Any, epsilon: float = 1e-5, **_: Any) -> tuple[Any]:
            factor, bias, mean, variance = (each.reshape(-1, *[1] * (x.ndim - 2)) for each in statistics)
            return (((x - mean) / np.sqrt(variance + epsilon) * factor + bias).astype(x.dtype),)

    return BatchNormalization


def _named(index: int, node: "NodeProto") -> str:
    """How messages name a node: ``node 3 (Gemm)``, with its own name if it has one."""
    own = f" {node.name}" if node.name not in ("", node.op_type) else ""
    return f"node {index} ({node.op_type}{own})"


class _Reader:
    """A chain that is followed node by node.

    current: the name of the result so far. shape: of one image of it, None if it is not known. found: the
    operations.
    """

    def __init__(self, constants: dict[str, NDArray[Any]], source: str, shape: Sequence[int] | None) -> None:
        self.constants = dict(constants)
        self.sizes: dict[str, tuple[int, bool]] = {}  # numbers at most, and whether they are one row
        self.computed = 0  # numbers of all of them
        self.bytes_made = pt2.Made()
        self.current, self.shape = source, shape
        self.found: list[Operation] = []
        self.opposite = ""  # the name of 1 - p, where p is the probability of the second of two classes

    def take(self, name: str, node: "NodeProto") -> None:
        """Take the next node. Raises SynflipError."""
        before = len(self.found)
        inputs = [item for item in node.input if item]
        if node.domain not in ("", "ai.onnx", "ai.onnx.ml"):
            raise refused(name, f"is an operation of {node.domain}, which is not known here")
        if node.op_type == "Constant":
            self.constants[node.output[0]] = self._constant(name, node)
        elif inputs and all(item in self.constants for item in inputs):
            self._fold(name, node)
        elif node.op_type == "Shape" or (self.sizes.keys() & set(inputs) and node.op_type in _OF_SIZES):
            self._size(name, node, inputs)
        elif self.current not in inputs:
            if self.opposite not in inputs:
                raise SynflipError(f"{name} does not take the result before it: no chain of layers")
            self._join(name, node)
        else:
            self._chain(name, node)
        self.bytes_made.add(name, constant_bytes(self.found[before:]))

    def _constant(self, name: str, node: "NodeProto") -> NDArray[Any]:
        for attribute in node.attribute:
            if attribute.name == "value":
                return _array(name, attribute.t)
            if attribute.name in ("value_float", "value_floats"):
                return np.array(_values(node, attribute.name), dtype=np.float32)
            if attribute.name in ("value_int", "value_ints"):
                return np.array(_values(node, attribute.name), dtype=np.int64)
        raise refused(name, "is a constant of another kind than numbers")

    def _fold(self, name: str, node: "NodeProto") -> None:
        """A constant that is made of a constant, with as many numbers."""
        if node.op_type not in _OF_CONSTANTS:
            raise refused(
                name, "computes something of constants alone: fold constants when you export the model"
            )
        value = self.constants[node.input[0]]
        if node.op_type == "Cast":
            to = _values(node, "to")
            if to not in (*_DTYPES, *_INTEGERS):
                raise refused(name, "makes another type than numbers")
            dtype = np.dtype({**_DTYPES, **_INTEGERS}[to])
            self.bytes_made.add(name, value.size * dtype.itemsize)
            value = value.astype(dtype)
        elif node.op_type == "Transpose":
            order = list(_values(node, "perm") or range(value.ndim)[::-1])
            if sorted(order) != list(range(value.ndim)):
                raise SynflipError(f"{name} has the order {order} for a constant of {value.ndim} dimensions")
            value = value.transpose(order)
        elif node.op_type != "Identity":
            if not value.flags.c_contiguous:
                self.bytes_made.add(name, value.nbytes)
            value = self._reshaped(name, node, value)
        self.constants[node.output[0]] = value

    def _reshaped(self, name: str, node: "NodeProto", value: NDArray[Any]) -> NDArray[Any]:
        if node.op_type == "Reshape":
            shape = self._whole(name, node, 1) if len(node.input) > 1 else list(_values(node, "shape") or ())
            shape = [
                value.shape[at] if size == 0 and at < value.ndim else size for at, size in enumerate(shape)
            ]
        else:
            axes = self._whole(name, node, 1) if len(node.input) > 1 else list(_values(node, "axes") or ())
            if node.op_type == "Squeeze":
                axes = axes or [at for at, size in enumerate(value.shape) if size == 1]
                dropped = {axis % max(value.ndim, 1) for axis in axes}
                shape = [size for at, size in enumerate(value.shape) if at not in dropped]
            else:
                shape, count = list(value.shape), value.ndim + len(axes)
                for axis in sorted(axis % max(count, 1) for axis in axes):
                    shape.insert(axis, 1)
        try:
            return value.reshape(shape)
        except (ValueError, OverflowError, MemoryError):
            raise SynflipError(
                f"{name} makes the shape {shape} of a constant of shape {list(value.shape)}"
            ) from None

    def _whole(self, name: str, node: "NodeProto", place: int) -> list[int]:
        """A small constant of integers: a shape, or axes."""
        value = self._argument(name, node, place)
        if value.size > MAX_SIZES or value.dtype.kind != "i":
            raise SynflipError(f"{name} has {value.size} numbers of {value.dtype} for sizes")
        return [int(item) for item in value.reshape(-1)]

    def _size(self, name: str, node: "NodeProto", inputs: Sequence[str]) -> None:
        """Something that is computed from the shape of a result alone."""
        kind = node.op_type
        count, is_row = MAX_AXES, True
        if kind != "Shape":
            parts = [self._part(name, item) for item in inputs]
            counts, rows = zip(*parts, strict=True)
            count, is_row = counts[0], rows[0] and kind not in ("Squeeze", "Unsqueeze")
            if kind == "Concat":
                count, is_row = sum(counts), any(rows)
            elif kind == "Gather":
                count, is_row = counts[1] if rows[0] else math.prod(counts), all(rows)
            elif kind in _ARITHMETIC:  # which repeats numbers along axes that one side lacks
                count = max(counts) if all(rows) or min(counts) == 1 else math.prod(counts)
                is_row = all(rows)
        self.computed += count
        if self.computed > MAX_COMPUTED:
            raise SynflipError(f"{name} computes sizes from more than {MAX_COMPUTED} numbers")
        self.sizes.update(dict.fromkeys(node.output, (count, is_row)))

    def _part(self, name: str, item: str) -> tuple[int, bool]:
        """What sizes are computed with: how many numbers it has at most, and whether they are one row."""
        if item in self.sizes:
            return self.sizes[item]
        if item not in self.constants:
            raise refused(name)
        value = self.constants[item]
        if value.size > MAX_SIZES:
            raise SynflipError(f"{name} computes sizes from {value.size} numbers")
        return value.size, value.ndim == 1

    def _chain(self, name: str, node: "NodeProto") -> None:
        """What is done with the result so far."""
        kind, current = node.op_type, self.current
        if self.found and isinstance(self.found[-1], End) and kind not in ("Concat", "Sub"):
            if kind not in (*_SAME, "ArgMax", "Normalizer"):
                raise refused(self.found[-1].name, f"cannot be made of coins before {name}")
            if kind == "ArgMax":
                self._end(name, node)
        elif kind in _SAME:
            self._same(name, node)
        elif kind in ("Gemm", "MatMul", "LinearClassifier"):
            {"Gemm": self._gemm, "MatMul": self._product, "LinearClassifier": self._classifier}[kind](
                name, node
            )
        elif kind in _ARITHMETIC:
            if kind == "Sub" and node.input[0] != current and self.found and isinstance(self.found[-1], End):
                self._opposite(name, node)
                return
            self.found.append(self._arithmetic(name, node))
        elif kind == "Neg":
            self.found.append(negative(name))
        elif kind == "BatchNormalization":
            self.found.append(self._normalised(name, node))
        elif kind == "Scaler":
            self._scaler(name, node)
        elif kind in ("Conv", "MaxPool"):
            (self._convolution if kind == "Conv" else self._max_pool)(name, node)
        elif kind in ("Relu", "Clip"):
            self.found.append(self._clamp(name, node))
        elif kind in _ENDS:
            self._end(name, node)
        elif kind == "Concat":
            self._join(name, node)
            return
        elif kind == "ArrayFeatureExtractor":
            self._second(name, node)
        else:
            raise refused(name)
        self.current = node.output[1 if kind == "LinearClassifier" else 0]

    def _same(self, name: str, node: "NodeProto") -> None:
        if node.input[0] != self.current:
            raise refused(name, "does not take the result before it as its first input")
        if node.op_type == "Cast" and _values(node, "to") not in _DTYPES:
            raise refused(name, "makes other numbers than floats")
        if node.op_type == "Dropout" and len(node.input) > 2 and self._argument(name, node, 2).any():
            raise SynflipError(f"{name} drops values in evaluation too: export the model for inference")
        if node.op_type == "Flatten" and (axis := _values(node, "axis")) not in (None, 1):
            raise SynflipError(f"{name} mixes images: flatten from dimension 1 on, not {axis}")
        if node.op_type not in ("Cast", "Dropout", "Identity"):
            self.shape = None if self.shape is None else self._picture(name, node) or (math.prod(self.shape),)

    def _picture(self, name: str, node: "NodeProto") -> tuple[int, ...]:
        """The shape C, H, W that a node reshapes rows to; empty if it makes something else."""
        if node.op_type != "Reshape" or len(node.input) < 2 or node.input[1] not in self.constants:
            return ()
        shape = tuple(self._whole(name, node, 1)[1:])
        assert self.shape is not None
        fits = len(shape) == 3 and min(shape) > 0 and math.prod(shape) == math.prod(self.shape)
        return shape if fits else ()

    def _argument(self, name: str, node: "NodeProto", place: int) -> NDArray[Any]:
        """The constant at a place."""
        value = node.input[place] if place < len(node.input) else ""
        if value not in self.constants:
            raise refused(name, f"has no constant as its input {place}")
        return self.constants[value]

    def _tensor(self, name: str, node: "NodeProto", place: int) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self._argument(name, node, place)))

    def _add(self, name: str, weight: Tensor, bias: Tensor | None) -> None:
        self.found.append(linear(name, weight, bias, self.shape))
        self.shape = (len(weight),)

    def _gemm(self, name: str, node: "NodeProto") -> None:
        if node.input[0] != self.current or _values(node, "transA"):
            raise refused(name, "does not take the result before it as rows, so it is no linear layer")
        weight, bias = self._tensor(name, node, 1).double(), None
        weight = weight if _values(node, "transB") else weight.t()
        if len(node.input) > 2 and node.input[2]:
            bias = self._tensor(name, node, 2).double() * _number(node, "beta", 1.0)
        self._add(name, weight * _number(node, "alpha", 1.0), bias)

    def _product(self, name: str, node: "NodeProto") -> None:
        if node.input[0] != self.current:
            raise refused(name, "does not take the result before it as rows, so it is no linear layer")
        self._add(name, self._tensor(name, node, 1).t(), None)

    def _classifier(self, name: str, node: "NodeProto") -> None:
        """LinearClassifier of scikit-learn's models: its second output are the scores."""
        rows, bias = (_floats(node, key) for key in ("coefficients", "intercepts"))
        after = _values(node, "post_transform") or b"NONE"
        kind = after.decode(errors="replace")
        if len(node.output) != 2 or not len(bias) or len(rows) % len(bias) or kind not in _POST_TRANSFORMS:
            raise refused(
                name, f"has {len(rows)} coefficients, {len(bias)} intercepts and the post_transform {kind}"
            )
        weight, bias = rows.reshape(len(bias), -1), torch.as_tensor(bias)
        end = _POST_TRANSFORMS[kind]
        if end == "sigmoid" and len(bias) == 2 and torch.equal(weight[0], -weight[1]):
            weight, bias, end = weight[1:], bias[1:], "softmax"  # two probabilities of one logit
        elif len(bias) == 1:
            end = "order"  # of two scores
        self._add(name, weight, bias)
        if end is not None:
            self.found.append(End(name, "order" if end == "sigmoid" else end))

    def _scaler(self, name: str, node: "NodeProto") -> None:
        offset, scale = (_floats(node, key) for key in ("offset", "scale"))
        self.found.append(arithmetic(name, "sub", offset, self.shape))
        self.found.append(arithmetic(name, "mul", scale, self.shape))

    def _arithmetic(self, name: str, node: "NodeProto") -> Affine:
        place, kind = 1 if node.input[0] == self.current else 0, _ARITHMETIC[node.op_type]
        if place == 0 and kind == "div":
            raise refused(name, "divides a constant by the result before it")
        if place == 0 and kind == "sub":
            kind = "rsub"
        return arithmetic(name, kind, self._tensor(name, node, place), self.shape)

    def _normalised(self, name: str, node: "NodeProto") -> Affine:
        if node.input[0] != self.current or _values(node, "training_mode") or len(node.output) > 1:
            raise refused(name, "is as in training: export the model for inference")
        factor, bias, mean, variance = (self._tensor(name, node, place) for place in range(1, 5))
        shape = self.shape
        return normalised(name, mean, variance, factor, bias, _number(node, "epsilon", 1e-5), shape)

    def _convolution(self, name: str, node: "NodeProto") -> None:
        weight = self._tensor(name, node, 1)
        bias = self._tensor(name, node, 2) if len(node.input) > 2 and node.input[2] else None
        stride, pad, dilation = self._windows(name, node, tuple(weight.shape[2:]))
        conv = convolution(name, weight, bias, stride, pad, dilation, _values(node, "group") or 1, self.shape)
        sizes = conv.size[1:], weight.shape[2:], conv.pad, conv.stride
        down, across = (
            (size + 2 * edge - side) // step + 1 for size, side, edge, step in zip(*sizes, strict=True)
        )
        if len(weight) * down * across > pt2.MAX_RESULT:
            raise SynflipError(f"{name}: a result of shape {[len(weight), down, across]} is too large")
        pt2.check_taps(weight.shape, down * across)
        self.found.append(conv)
        self.shape = (len(weight), down, across)

    def _max_pool(self, name: str, node: "NodeProto") -> None:
        window = list(_values(node, "kernel_shape") or ())
        if len(window) != 2 or len(node.output) > 1:
            raise refused(name, f"has windows of {window}, or gives more than their maxima")
        stride, pad, dilation = self._windows(name, node, window)
        ceil = bool(_values(node, "ceil_mode"))
        maximum = max_pool(name, window, stride, pad, dilation, ceil, self.shape)
        assert self.shape is not None
        self.found.append(maximum)
        self.shape = (
            self.shape[0], *(size // side for size, side in zip(self.shape[1:], window, strict=True)),
        )  # fmt: skip

    def _windows(
        self, name: str, node: "NodeProto", window: Sequence[int]
    ) -> tuple[list[int], list[int], list[int]]:
        """Strides, pads and dilations of a node with windows, or a kernel, of this size."""
        stride, pad, dilation = (
            list(_values(node, each) or otherwise)
            for each, otherwise in (("strides", (1, 1)), ("pads", (0,) * 4), ("dilations", (1, 1)))
        )
        if (len(stride), len(pad), len(dilation)) != (2, 4, 2) or min(stride) < 1:
            raise refused(name, f"has strides {stride} and pads {pad}, which are not those of pictures")
        automatic = _values(node, "auto_pad") or b"NOTSET"
        if automatic in (b"SAME_UPPER", b"SAME_LOWER") and self.shape is not None:
            sizes = zip(self.shape[1:], window, stride, strict=False)
            total = [max((-(-size // step) - 1) * step + side - size, 0) for size, side, step in sizes]
            less, more = [each // 2 for each in total], [each - each // 2 for each in total]
            pad = [*less, *more] if automatic == b"SAME_UPPER" else [*more, *less]
        elif automatic == b"VALID":
            pad = [0, 0, 0, 0]
        return stride, pad, dilation

    def _clamp(self, name: str, node: "NodeProto") -> Clamp:
        if node.op_type == "Relu":
            return Clamp(name)
        limits: list[Any] = [_values(node, "min"), _values(node, "max")]
        for place in (1, 2):
            if place < len(node.input) and node.input[place]:
                value = self._argument(name, node, place)
                limits[place - 1] = float(value.reshape(-1)[0]) if value.size == 1 else math.nan
        return clamp(name, *limits)

    def _end(self, name: str, node: "NodeProto") -> None:
        axis = _values(node, "axis")
        if node.op_type != "Sigmoid" and axis not in (None, 1, -1):
            raise SynflipError(f"{name} is over dimension {axis}; over the classes it is 1")
        if self.found and isinstance(self.found[-1], End):
            self.found.pop()  # the largest probability is that of the largest logit
        self.found.append(End(name, _ENDS[node.op_type]))

    def _second(self, name: str, node: "NodeProto") -> None:
        """The second of two opposite scores, which scikit-learn's machines of two classes give."""
        last = self.found[-1] if self.found else None
        if (
            not isinstance(last, Linear)
            or node.input[0] != self.current
            or self._whole(name, node, 1) != [1]
            or not (len(last.bias) == 2 and torch.equal(last.weight[0], -last.weight[1]))
            or last.bias[0] != -last.bias[1]
        ):
            raise refused(name, "takes some of the results before it")
        self.found[-1] = Linear(last.name, last.weight[1:], last.bias[1:])

    def _opposite(self, name: str, node: "NodeProto") -> None:
        """1 - p, which scikit-learn's networks put beside p: the probabilities of two classes."""
        end = self.found[-1]
        one = self._argument(name, node, 0)
        if not isinstance(end, End) or end.kind != "sigmoid" or one.size != 1 or one.reshape(-1)[0] != 1:
            raise refused(name, "subtracts the result before it from a constant")
        self.opposite = node.output[0]

    def _join(self, name: str, node: "NodeProto") -> None:
        if node.op_type != "Concat" or list(node.input) != [self.opposite, self.current]:
            raise refused(name, "puts results of the network together")
        self.found[-1] = End(name, "softmax")
        self.current = node.output[0]


def _values(node: "NodeProto", name: str) -> Any:
    """The value of an attribute; None if it is not there."""
    from onnx.helper import get_attribute_value

    return next((get_attribute_value(item) for item in node.attribute if item.name == name), None)


def _number(node: "NodeProto", name: str, otherwise: float) -> float:
    value = _values(node, name)
    return otherwise if value is None else float(value)


def _floats(node: "NodeProto", name: str) -> Tensor:
    return torch.tensor(list(_values(node, name) or ()), dtype=torch.float64)
