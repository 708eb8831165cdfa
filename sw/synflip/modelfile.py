"""Reading and writing compiled models (``*.safetensors``). Files are not trusted: no pickle, sizes first."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from synflip.errors import SynflipError
from synflip.spec.model import CompiledModel, from_tensors

MAX_HEADER_BYTES = 1 << 20
MAX_FILE_BYTES = 1 << 30
MAX_MESSAGE = 300  # characters
_DTYPES = ("U16", "U8", "I32")  # a tuple: what a file says its type is need not be hashable


def save(model: CompiledModel, path: str | Path) -> None:
    """Write ``model``; the same model gives the same bytes. A half-written file replaces nothing."""
    from safetensors.numpy import save as to_bytes

    path = Path(path)
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in model.tensors().items()}
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(to_bytes(tensors, metadata=model.metadata()))
        partial.replace(path)
    except OSError as error:
        raise SynflipError(f"cannot write {path}: {error.strerror}") from None


def load(path: str | Path) -> CompiledModel:
    """Read a compiled model. Raises SynflipError, naming the file and what is wrong with it."""
    path = Path(path)
    try:
        _check_header(path)
        return _read(path)
    except OSError as error:
        raise SynflipError(f"cannot read {path}: {error.strerror}") from None
    except SynflipError as error:
        raise SynflipError(f"{path}: {_one_line(str(error))}") from None


def _one_line(text: str) -> str:
    """Names in a file that is not trusted may break lines, move the cursor or go on for a megabyte."""
    text = text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 3] + "..."
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def _read(path: Path) -> CompiledModel:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            tensors: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise SynflipError(f"not a safetensors file: {error}") from None
    return from_tensors(tensors, metadata)


def _check_header(path: Path) -> None:
    """Everything that could make the library allocate more than the file holds, or a type we do not take."""
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise SynflipError(f"{size} bytes; a compiled model has at most {MAX_FILE_BYTES}")
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
        if name != "__metadata__" and (not isinstance(entry, dict) or entry.get("dtype") not in _DTYPES):
            kind = entry.get("dtype") if isinstance(entry, dict) else entry
            raise SynflipError(f"tensor {name} has type {kind!r}; a compiled model holds U16, U8 and I32")
