"""Reading networks that torch.export.save wrote (``*.pt2``), without running anything from the file.

torch.export.load unpickles parts of a file and evaluates text in it, so that a file can run anything. But the
archive is a zip with the graph in JSON and the plain bytes of each tensor, and only these are read here. The
graph's operations are looked up in a list of ones that give a tensor for tensors, and do nothing else.
"""

import hashlib
import io
import json
import math
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from synflip.errors import SynflipError
from synflip.util.text import first_line, one_line

MAX_FILE_BYTES = 256 << 20
MAX_ENTRIES = 4096  # of the archive
MAX_GRAPH_BYTES = 16 << 20
MAX_RESULT = 1 << 22  # numbers in any result, for one image
MAX_TAPS = 32 * MAX_RESULT  # numbers that a convolution's positions take of one image: a kernel of them each
MAX_MADE = 4 * MAX_FILE_BYTES  # bytes of what is made of the constants in a file: float16 becomes float64
TORCH = "torch 2.13"  # whose files are read
SCHEMA_MAJOR = 8  # of the graph, as TORCH writes it
_ATEN = "torch.ops.aten."  # before names of operations
_OLD_GRAPH = "serialized_exported_program.json"  # of torch before its archives had folders
_LAYOUTS = {1: torch.contiguous_format, 2: torch.channels_last, 4: torch.preserve_format}
_DTYPES = {6: torch.float16, 7: torch.float32, 8: torch.float64}
ASSERTIONS = "_assert"  # at the beginning of names of operations that only check
HOW_TO_SAVE = "torch.export.save(torch.export.export(network.eval(), (images,)), path)"
HOW_TO_EXPORT = (
    "torch.export.export(network.eval(), (images,), dynamic_shapes=({0: torch.export.Dim.AUTO},)) with two "
    "images or more"
)

_NAMES = """
    _log_softmax.default _softmax.default abs.default adaptive_avg_pool2d.default add.Tensor add_.Tensor
    addmm.default alias.default argmax.default avg_pool2d.default batch_norm.default cat.default
    clamp.default clamp_max.default clamp_min.default clone.default contiguous.default conv1d.default
    conv2d.default conv2d.padding detach.default div.Tensor div_.Tensor dropout.default elu.default
    elu_.default exp.default flatten.using_ints gelu.default hardsigmoid.default hardsigmoid_.default
    hardswish.default hardswish_.default hardtanh.default hardtanh_.default leaky_relu.default
    leaky_relu_.default linear.default log_softmax.int matmul.default max_pool2d.default mean.default
    mean.dim mm.default mul.Tensor mul_.Tensor neg.default neg_.default pad.default permute.default
    pow.Tensor_Scalar relu.default relu6.default relu6_.default relu_.default reshape.default
    rsub.Scalar rsub.Tensor select.int sigmoid.default silu.default silu_.default slice.Tensor
    softmax.int sqrt.default squeeze.dim sub.Tensor sub_.Tensor sum.dim_IntList sym_size.int t.default
    tanh.default transpose.int unflatten.int unsqueeze.default view.default
"""
#: Overloads of torch.ops.aten that a graph may use.
OPERATIONS = frozenset(_NAMES.split())
#: Overloads that are read as others: what ``run_decompositions`` makes of some, see ``_composed``, and types.
_DECOMPOSED = frozenset(
    (
        "_to_copy.default",
        "to.dtype",
        "_native_batch_norm_legit_no_training.default",
        "_native_batch_norm_legit.no_stats",
        "convolution.default",
        "max_pool2d_with_indices.default",
    )
)


@dataclass(frozen=True)
class Value:
    """The name of a tensor or size in a graph."""

    name: str


@dataclass(frozen=True)
class Node:
    """One operation: its name in OPERATIONS, its arguments (Values, numbers, lists of them), its result.

    name: how messages name it; None if its place in the graph says it. layers: names of the modules that it
    is in, from the outside in; of the second use of a module ``pool`` it is ``pool@1``.
    """

    operation: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    result: str
    name: str | None = None
    layers: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The operation without its overload: ``add`` of ``add.Tensor``."""
        return self.operation.split(".")[0]

    def argument(self, index: int, name: str, otherwise: Any = None) -> Any:
        """The argument at ``index``, which may be given by its name; ``otherwise`` if it is not given."""
        return self.arguments[index] if index < len(self.arguments) else self.keywords.get(name, otherwise)


class Program(nn.Module):
    """A graph with one input and one output, run node by node.

    nodes: in the order of execution. source, result: names of input and output. tensors: float tensors that
    nodes use, by name. sizes: of the input that the graph was exported with, None where any size will do;
    empty if they are not known. ``path``: of the file that it was read from, for messages; ``sha256``: its
    digest, in hexadecimal.
    """

    def __init__(
        self,
        nodes: tuple[Node, ...],
        source: str,
        result: str,
        tensors: dict[str, Tensor],
        sizes: tuple[int | None, ...] = (),
    ) -> None:
        super().__init__()
        self.sizes = sizes
        self.path: str | Path | None = None
        self.sha256: str | None = None
        self.nodes = nodes
        self.source, self.result = source, result
        self._places = {name: f"tensor_{index}" for index, name in enumerate(tensors)}
        for name, place in self._places.items():
            self.register_buffer(place, tensors[name])

    @property
    def batch(self) -> int | None:
        """The number of images that the graph was exported for; None if it takes any."""
        return self.sizes[0] if self.sizes else None

    def constants(self) -> dict[str, Any]:
        """The stored tensors by their names in the graph."""
        return {name: getattr(self, place) for name, place in self._places.items()}

    def forward(self, x: Tensor) -> Tensor:
        """The graph's output for its input. Raises SynflipError, naming the operation that fails."""
        values = {**self.constants(), self.source: x}
        for index, node in enumerate(self.nodes):
            values[node.result] = run(index, node, values)
        return self.output(values)

    def output(self, values: Mapping[str, Any]) -> Tensor:
        """The output among the results. Raises SynflipError if it is none of them."""
        found = values.get(self.result)
        if not isinstance(found, Tensor):
            raise SynflipError("the graph's output is none of its results")
        return found


class Made:
    """Bytes that are made of the constants in a file, in all: every node may name the same constant."""

    def __init__(self) -> None:
        self._bytes = 0

    def add(self, name: str, count: int) -> None:
        """Count what an operation makes. Raises SynflipError, naming it, for too many bytes."""
        self._bytes += count
        if self._bytes > MAX_MADE:
            raise SynflipError(f"{name}: more than {MAX_MADE} bytes are made of the constants in the file")


def run(index: int, node: Node, values: Mapping[str, Any]) -> Any:
    """The result of one operation. values: of the tensors and sizes before it. Raises SynflipError."""

    def at(argument: Any) -> Any:
        if isinstance(argument, Value):
            return values[argument.name]
        return [at(item) for item in argument] if isinstance(argument, list) else argument

    try:
        packet, overload = node.operation.split(".")
        operation = getattr(getattr(torch.ops.aten, packet), overload)
        arguments = [at(argument) for argument in node.arguments]
        keywords = {name: at(argument) for name, argument in node.keywords.items()}
        return operation(*arguments, **keywords)
    except KeyError as error:
        raise SynflipError(f"{describe(index, node)}: there is no {error} before it") from None
    except Exception as error:  # torch has no common class for arguments that make no sense
        raise SynflipError(f"{describe(index, node)}: {first_line(error)}") from None


def describe(index: int, node: Node) -> str:
    """How messages name an operation: ``operation 3 (conv2d)``."""
    return node.name or f"operation {index} ({node.kind})"


def output_shape(program: Program, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The output's shape for inputs of ``shape``, found without computing or allocating anything.

    Raises SynflipError for a graph that does not take such inputs, or with results that are too large: one
    of them, or those of constants alone in all.
    """

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            if isinstance(result, Tensor) and result.numel() > MAX_RESULT * shape[0]:
                raise SynflipError(f"a result of shape {list(result.shape)} is too large")
            if function is torch.ops.aten.convolution.default:
                check_taps(args[1].shape, math.prod(result.shape[2:]))
            return result

    values: dict[str, Any] = {name: value.to("meta") for name, value in program.constants().items()}
    constants, bytes_made = set(values), Made()
    values[program.source] = torch.empty(shape, device="meta")
    with torch.no_grad(), Sizes():
        for index, node in enumerate(program.nodes):
            found = values[node.result] = run(index, node, values)
            if isinstance(found, Tensor) and {value.name for value in values_of(node)} <= constants:
                constants.add(node.result)
                bytes_made.add(describe(index, node), found.nbytes)
    return tuple(program.output(values).shape)


def check_taps(weight: Sequence[int], positions: int) -> None:
    """Raises SynflipError for a convolution that takes too much of an image: of a small file, a large kernel
    at many positions. weight: shape of its weights [J, C, ...]."""
    taps = math.prod(weight[1:]) * positions
    if taps > MAX_TAPS:
        raise SynflipError(
            f"a convolution of weights {list(weight)} at {positions} positions takes {taps} numbers of an "
            f"image; at most {MAX_TAPS}"
        )


def check_extractor(program: Program) -> None:
    """Raises SynflipError unless the features of an image depend on this image alone.

    They do not if the graph is random or as in training, or if it was exported for a fixed number of images.
    """
    for index, node in enumerate(program.nodes):
        if node.kind == "batch_norm" and node.argument(5, "training") is not False:
            raise SynflipError(_why_training(index, node))
        if node.kind == "dropout" and node.argument(2, "train") is not False:
            raise SynflipError(f"{describe(index, node)} is as in training; call network.eval() first")
    batch, *others = program.sizes or (None, None)
    sizes = [size for size in others if size is not None]
    if len(sizes) != len(others):
        return
    images = 5 if batch == 3 else 3
    try:
        found = output_shape(program, (images, *sizes))[:1]
    except SynflipError:
        if batch is None or not _takes(program, (batch, *sizes)):
            raise
        found = ()
    if found != (images,):
        many = "a fixed number of images" if batch is None else f"{batch} image{'' if batch == 1 else 's'}"
        raise SynflipError(f"it was exported for {many}: export it with a dynamic batch, {HOW_TO_EXPORT}")


def _takes(program: Program, shape: tuple[int, ...]) -> bool:
    try:
        output_shape(program, shape)
    except SynflipError:
        return False
    return True


def _why_training(index: int, node: Node) -> str:
    """Why a batch normalisation is not as in evaluation, and what to do."""
    if node.argument(3, "running_mean") is None:
        return (
            f"{describe(index, node)} has no running statistics (track_running_stats=False): also after "
            "eval() it takes them from the images beside it; train it with track_running_stats=True"
        )
    return f"{describe(index, node)} is not as in evaluation; call network.eval() first"


def load(path: str | Path) -> Program:
    """The network in a ``.pt2`` file, which can be an extractor, see ``check_extractor``.

    Raises SynflipError, naming the file and what is wrong with it.
    """
    if Path(path).suffix.lower() == ".onnx":
        raise SynflipError(
            f"{path}: an extractor is a .pt2 file, which runs in float64 so that features are the same on "
            f"every machine; an ONNX file has operations of float32. Export the torch module: {HOW_TO_SAVE}"
        )
    program = load_chain(path)
    with naming(path):
        check_extractor(program)
    return program


def load_chain(path: str | Path) -> Program:
    """The network in a ``.pt2`` file, which need not take any number of images. Raises SynflipError."""
    content = read(path)
    with naming(path):
        program = parse(content)
    program.path, program.sha256 = path, hashlib.sha256(content).hexdigest()
    return program


@contextmanager
def naming(path: str | Path | None) -> Iterator[None]:
    """Begin what is wrong with a file with its path. None: what is read is no file."""
    try:
        yield
    except SynflipError as error:
        if path is None:
            raise
        raise SynflipError(f"{path}: {one_line(str(error))}") from None


def read(path: str | Path) -> bytes:
    """The bytes of a file that is not too large. Raises SynflipError."""
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise SynflipError(f"{path} has {size} bytes; a network may have {MAX_FILE_BYTES}")
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise SynflipError(f"cannot read {path}: {error.strerror}") from None


def parse(content: bytes) -> Program:
    """The network in the bytes of a ``.pt2`` file. Raises SynflipError."""
    archive = _open(content)
    try:
        return _program(archive)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        # The JSON has other keys or types than torch writes.
        raise SynflipError(f"its graph is not what torch 2.13 writes ({first_line(error)})") from None


class _Archive:
    """The zip archive: the names below its one top folder, and their bytes."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self.file = file
        self.entries = {entry.filename.partition("/")[2]: entry for entry in file.infolist()}
        self.names = {entry.filename.rpartition("/")[2]: entry for entry in file.infolist()}

    def _read(self, entry: zipfile.ZipInfo, name: str, most: int) -> bytes:
        # Only what is stored as it is: nothing that is read can be larger than the file.
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.file_size > most:
            raise SynflipError(f"{name} in it is compressed, encrypted or too large")
        try:
            return self.file.read(entry)
        except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError) as error:
            raise SynflipError(f"{name} in it cannot be read: {first_line(error)}") from None

    def bytes(self, name: str, most: int = MAX_FILE_BYTES) -> bytes:
        entry = self.entries.get(name)
        if entry is None:
            raise SynflipError(f"not a network of torch.export.save: no {name} in it")
        return self._read(entry, name, most)

    def written_by(self, name: str) -> str:
        """The torch that wrote the graph in the entry ``name``, as far as it is known: ``torch 2.6.0``."""
        entry = self.entries.get(name) or self.names[name]
        text = self._read(entry, name, MAX_GRAPH_BYTES)
        found = re.search(rb'"torch_version": *"([0-9A-Za-z.+]{1,40})"', text)
        return f"torch {found[1].decode()}" if found else "another torch"

    def json(self, name: str) -> Any:
        try:
            return json.loads(self.bytes(name, MAX_GRAPH_BYTES))
        except (ValueError, RecursionError):
            raise SynflipError(f"{name} in it is not JSON") from None


def _open(content: bytes) -> _Archive:
    pickle = f"a pickle, as torch.save writes it, which could run anything when it is read; use {HOW_TO_SAVE}"
    if content[:1] == b"\x80":
        raise SynflipError(pickle)
    if content[:4] == b"PK\x03\x04" and content[-22:-18] != b"PK\x05\x06":
        raise SynflipError("not a whole zip archive; save or copy it again")
    if content[:4] != b"PK\x03\x04" or content.count(b"PK\x01\x02") > MAX_ENTRIES:
        raise SynflipError(f"not a network of torch.export.save; use {HOW_TO_SAVE}")
    try:
        archive = _Archive(zipfile.ZipFile(io.BytesIO(content)))
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise SynflipError(f"not a whole zip archive: {first_line(error)}") from None
    if "data.pkl" in archive.entries:
        raise SynflipError(pickle)
    return archive


def _program(archive: _Archive) -> Program:
    names = [name for name in archive.entries if name.startswith("models/") and name.endswith(".json")]
    if _OLD_GRAPH in archive.names:
        raise SynflipError(_other_torch(archive.written_by(_OLD_GRAPH)))
    if len(names) != 1:
        raise SynflipError(f"not one network of torch.export.save, but {len(names)}; use {HOW_TO_SAVE}")
    name = names[0].removeprefix("models/").removesuffix(".json")
    model = archive.json(names[0])
    version = model["schema_version"]["major"]
    if version != SCHEMA_MAJOR:
        reason = _other_torch(archive.written_by(names[0]))
        raise SynflipError(f"graph version {version!r}; this synflip reads {SCHEMA_MAJOR}: {reason}")
    graph = model["graph_module"]["graph"]
    computed = [node for node in graph["nodes"] if not str(node["target"]).startswith(_ATEN + ASSERTIONS)]
    nodes = tuple(_node(index, node) for index, node in enumerate(computed))
    inputs: list[str] = []
    kept: dict[str, tuple[str, str]] = {}  # name in the graph -> kind and name in the archive
    for spec in model["graph_module"]["signature"]["input_specs"]:
        ((kind, entry),) = spec.items()
        if kind == "user_input":
            inputs.append(str(entry["arg"]["as_tensor"]["name"]))
        elif kind in ("parameter", "buffer", "tensor_constant"):
            folder = (
                "constants" if kind == "tensor_constant" or entry.get("persistent") is False else "weights"
            )
            kept[str(entry["arg"]["name"])] = folder, str(entry[f"{kind}_name"])
        else:
            raise SynflipError(f"its graph has an input of kind {kind}; a network takes one tensor")
    outputs = model["graph_module"]["signature"]["output_specs"]
    if len(inputs) != 1 or len(outputs) != 1 or "user_output" not in outputs[0]:
        raise SynflipError(
            "its graph does not give one tensor for one tensor; call network.eval() before exporting it"
        )
    used = {value.name for node in nodes for value in values_of(node)}
    if any(f"data/{folder}/model.pt" in archive.entries for folder in ("weights", "constants")):
        raise SynflipError(
            f"its tensors are pickled, which could run anything when they are read: "
            f"{_other_torch(archive.written_by(names[0]))}"
        )
    configs = {
        folder: archive.json(f"data/{folder}/{name}_{folder}_config.json")["config"]
        for folder in ("weights", "constants")
    }
    tensors, bytes_made = {}, Made()
    for value, (folder, stored) in kept.items():
        if value in used:
            tensors[value] = _tensor(archive, folder, stored, configs[folder][stored])
            bytes_made.add(f"tensor {stored}", tensors[value].nbytes)
    result = str(outputs[0]["user_output"]["arg"]["as_tensor"]["name"])
    return Program(nodes, inputs[0], result, tensors, _input_sizes(graph, inputs[0]))


def _input_sizes(graph: dict[str, Any], name: str) -> tuple[int | None, ...]:
    """Sizes of the input that the graph was exported with, None where any size will do."""
    entry = graph.get("tensor_values", {}).get(name, {})
    return tuple(int(size["as_int"]) if "as_int" in size else None for size in entry.get("sizes", ()))


def _other_torch(version: str) -> str:
    return f"it was written by {version}; {TORCH} writes what is read here: export and save it with {TORCH}"


def values_of(node: Node) -> list[Value]:
    """The tensors and sizes that an operation takes."""

    def among(arguments: Iterable[Any]) -> Iterator[Value]:
        for argument in arguments:
            if isinstance(argument, list):
                yield from among(argument)
            elif isinstance(argument, Value):
                yield argument

    return list(among([*node.arguments, *node.keywords.values()]))


def _composed(operation: str, arguments: list[Any]) -> tuple[str, list[Any]]:
    """The operation that torch had before ``run_decompositions``, and its arguments; any other as it is."""
    if operation == "_native_batch_norm_legit_no_training.default":
        return "batch_norm.default", [*arguments[:5], False, *arguments[5:], False]
    if operation == "_native_batch_norm_legit.no_stats":
        return "batch_norm.default", [*arguments[:3], None, None, *arguments[3:], False]
    if operation == "max_pool2d_with_indices.default":
        return "max_pool2d.default", arguments
    if operation == "convolution.default" and not arguments[6]:
        return f"conv{len(arguments[3])}d.default", [*arguments[:6], arguments[8]]
    return operation, arguments


def _check_allowed(index: int, target: str, operation: str, allowed: frozenset[str]) -> None:
    if target == operation or operation not in allowed:
        shown = sorted({item.split(".")[0] for item in OPERATIONS if "_." not in item and item[0] != "_"})
        raise SynflipError(f"operation {index} is {target}; allowed are {', '.join(shown)}")


def _node(index: int, node: dict[str, Any]) -> Node:
    target = str(node["target"])
    operation = target.removeprefix(_ATEN)
    _check_allowed(index, target, operation, OPERATIONS | _DECOMPOSED)
    arguments, keywords = [], {}
    for entry in node["inputs"]:
        argument = _argument(entry["arg"])
        if entry["kind"] == 2:
            keywords[str(entry["name"])] = argument
        else:
            arguments.append(argument)
    operation, arguments = _composed(operation, arguments)
    if operation in ("to.dtype", "_to_copy.default"):
        dtype = keywords.get("dtype", torch.float32) if len(arguments) < 2 else arguments[1]
        if dtype not in (torch.float32, torch.float64):
            raise SynflipError(f"operation {index} makes other numbers than float32 or float64: leave it out")
        # Its numbers are those before it: a graph may run in float64, whatever it was exported for.
        operation, arguments, keywords = "alias.default", arguments[:1], {}
    _check_allowed(index, target, operation, OPERATIONS)
    # Of several results, such as a normalised batch and its statistics, only the first is kept.
    output, *_ = node["outputs"]
    result = output["as_sym_int"]["as_name"] if "as_sym_int" in output else output["as_tensor"]["name"]
    # Of each module that the operation is in: the key of its use, its path, its type.
    stack = str(node.get("metadata", {}).get("nn_module_stack", ""))
    uses = [tuple(use.split(",")[:2]) for use in stack.split(";") if use.count(",") == 2]
    return Node(operation, tuple(arguments), keywords, str(result), layers=layer_names(uses))


def layer_names(uses: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Names of modules as ``Node.layers`` has them. uses: key and path of each, as torch.export notes them:
    ``L__self__pool@1`` and ``pool``."""
    named = [(key.partition("@"), path.partition("@")[0]) for key, path in uses]
    return tuple(path + at + count for (_, at, count), path in named if path)


def _argument(entry: dict[str, Any]) -> Any:
    ((kind, value),) = entry.items()
    if kind == "as_none":
        return None
    if kind == "as_tensor":
        return Value(str(value["name"]))
    if kind == "as_tensors":
        return [Value(str(item["name"])) for item in value]
    if kind == "as_sym_int":
        return _size(value)
    if kind == "as_sym_ints":
        return [_size(item) for item in value]
    one = {"as_int": int, "as_float": float, "as_bool": bool, "as_string": str}
    if kind in one:
        return one[kind](value)
    many = {"as_ints": int, "as_floats": float, "as_bools": bool}
    if kind in many:
        return [many[kind](item) for item in value]
    if kind == "as_memory_format":
        return _LAYOUTS[value]
    if kind == "as_scalar_type":
        return _DTYPES.get(value)
    raise SynflipError(f"its graph has an argument of kind {kind}, which is not read here")


def _size(entry: dict[str, Any]) -> int | Value:
    return Value(str(entry["as_name"])) if "as_name" in entry else int(entry["as_int"])


def _tensor(archive: _Archive, folder: str, name: str, entry: dict[str, Any]) -> Tensor:
    """A stored tensor, contiguous. No size in the file makes it larger than its bytes."""
    meta = entry["tensor_meta"]
    if entry["use_pickle"] or meta is None:
        raise SynflipError(f"tensor {name} is pickled, which could run anything when it is read")
    dtype = _DTYPES.get(meta["dtype"])
    if dtype is None or meta["layout"] != 7:
        raise SynflipError(f"tensor {name} is not one of floats; was network.eval() called?")
    content = archive.bytes(f"data/{folder}/{entry['path_name']}")
    sizes = [int(size["as_int"]) for size in meta["sizes"]]
    strides = [int(stride["as_int"]) for stride in meta["strides"]]
    offset = int(meta["storage_offset"]["as_int"])
    there = len(content) // dtype.itemsize
    if min([*sizes, *strides, offset, len(sizes)]) < 0 or len(strides) != len(sizes) or len(sizes) > 8:
        raise SynflipError(f"tensor {name} has sizes {sizes} and strides {strides}")
    if 0 in sizes:
        return torch.empty(sizes, dtype=torch.float32)
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    if last >= there or math.prod(sizes) > there:
        raise SynflipError(f"tensor {name} of sizes {sizes} is beyond its {len(content)} bytes")
    flat = torch.frombuffer(bytearray(content), dtype=dtype, count=there)
    return flat.as_strided(sizes, strides, offset).float().contiguous()
