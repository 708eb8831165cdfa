"""Reading and writing compiled models (``*.safetensors``). Files are not trusted: no pickle, sizes first.

A model of features has the network that makes them beside it: ``m.features.pt2`` beside ``m.safetensors``.
"""

import json
import os
import struct
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.spec.input_quantizer import HIGH, LOW
from synflip.spec.model import CompiledModel, from_tensors
from synflip.util.outputs import beside, check_outputs, file_path, replacing
from synflip.util.text import one_line

MAX_HEADER_BYTES = 1 << 20
MAX_FILE_BYTES = 1 << 30
_DTYPES = ("U16", "U8", "I32")  # a tuple: what a file says its type is need not be hashable
_INPUT_DTYPES = {LOW: "F64", HIGH: "F64"}  # of these tensors alone


def save(model: CompiledModel, path: str | Path) -> None:
    """Write ``model`` to ``path``, and its extractor of features beside it if it has one; the same model
    gives the same bytes. A half-written file replaces nothing. Raises SynflipError."""
    from safetensors.numpy import save as to_bytes

    path = file_path(path)
    if not isinstance(model, CompiledModel):
        raise SynflipError(
            f"{path} is to hold a compiled model, not a {type(model).__name__}: compile a trained network "
            "first, synflip.compile_network"
        )
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in model.tensors().items()}
    content = to_bytes(tensors, metadata=model.metadata())
    if (length := struct.unpack("<Q", content[:8])[0]) > MAX_HEADER_BYTES:
        raise SynflipError(
            f"cannot write {path}: its names of columns and classes, its source and its tensors' names take "
            f"{length} bytes; at most {MAX_HEADER_BYTES} are read again"
        )
    files = {path: content}
    if model.features is not None and model.features.extractor is not None:
        files[features_path(path)] = model.features.extractor.content
    check_outputs(files)
    with ExitStack() as stack:  # all are whole before the first takes its place
        for file, content in files.items():
            stack.enter_context(replacing(file)).write_bytes(content)


def features_path(path: str | Path) -> Path:
    """Where the extractor of the model at ``path`` lies: ``m.features.pt2`` beside ``m.safetensors``.

    Two models never share one: any other ending stays, ``m.v1.features.pt2`` beside ``m.v1``.
    """
    return beside(path, ".safetensors", ".features.pt2")


def check_pair(path: str | Path) -> None:
    """Raise SynflipError if there is a file where the extractor of a model at ``path`` would lie, and it is
    not that of the model that is there: nobody asked for it to be replaced."""
    extractor = features_path(path)
    if not extractor.exists():
        return
    try:
        features = load(path).features
    except SynflipError:
        features = None
    if features is None or features.extractor is None:
        raise SynflipError(
            f"cannot write {extractor}, which goes with {path}: there is such a file, and it is of no model "
            f"at {path}; move it, or write the model under another name"
        )


def load(path: str | Path) -> CompiledModel:
    """Read the compiled model at ``path``, and its extractor of features if that is beside it. Raises
    SynflipError, naming the file and what is wrong with it."""
    if not isinstance(path, str | os.PathLike):
        raise SynflipError(f"a compiled model is read from a path, not from {path!r:.60}")
    path = Path(path)
    try:
        model = from_tensors(*_read(path, _DTYPES, "a compiled model", _INPUT_DTYPES))
        if model.features is None or not features_path(path).exists():
            return model
        from synflip.modelfile.extractor import load_extractor

        extractor = load_extractor(features_path(path), model.features.sha256)
        return replace(model, features=replace(model.features, extractor=extractor))
    except OSError as error:
        raise SynflipError(f"cannot read {path}: {error.strerror}") from None
    except SynflipError as error:
        raise SynflipError(f"{path}: {one_line(str(error))}") from None


def read_tensors(
    path: str | Path, dtypes: Sequence[str], what: str
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The tensors and the metadata of a safetensors file.

    dtypes: that its tensors may have, such as ``F32``. what: the kind of file, for errors, such as ``a
    compiled model``. Raises SynflipError, naming the file and what is wrong with it.
    """
    path = Path(path)
    try:
        return _read(path, dtypes, what)
    except OSError as error:
        raise SynflipError(f"cannot read {path}: {error.strerror}") from None
    except SynflipError as error:
        raise SynflipError(f"{path}: {one_line(str(error))}") from None


def _read(
    path: Path, dtypes: Sequence[str], what: str, named: Mapping[str, str] = MappingProxyType({})
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """named: the types of single tensors that have others; the rest as of ``read_tensors``."""
    from safetensors import SafetensorError, safe_open

    _check_header(path, dtypes, what, named)
    try:
        with safe_open(path, framework="numpy") as file:
            tensors: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise SynflipError(f"not a safetensors file: {error}") from None
    return tensors, metadata


def _check_header(path: Path, dtypes: Sequence[str], what: str, named: Mapping[str, str]) -> None:
    """Refuse what could make the library allocate more than the file holds, and types no such file has."""
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise SynflipError(f"{size} bytes; {what} has at most {MAX_FILE_BYTES}")
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise SynflipError("not a safetensors file: its header's length does not fit the file")
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError):
            raise SynflipError("not a safetensors file: its header is not JSON") from None
    if not isinstance(header, dict):
        raise SynflipError("not a safetensors file: its header is not an object")
    for name, entry in header.items():
        allowed = (named[name],) if name in named else dtypes
        if name != "__metadata__" and (not isinstance(entry, dict) or entry.get("dtype") not in allowed):
            kind = entry.get("dtype") if isinstance(entry, dict) else entry
            held = (
                f"{', '.join(allowed[:-1])} and {allowed[-1]}" if len(allowed) > 1 else f"{allowed[0]} there"
            )
            raise SynflipError(f"tensor {name} has type {kind!r}; {what} holds {held}")
