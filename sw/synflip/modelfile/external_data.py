"""Weights that an ONNX file has in another file beside it, as torch.onnx.export writes them by default.

Such a file is named in the ONNX file, which nobody trusts: it is read if the name is a plain one in the same
folder, and it is a regular file, no link; and no more of it than it has.
"""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from synflip.errors import SynflipError
from synflip.util.text import one_line

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

EXTERNAL = 1  # data_location of a tensor that lies in another file
SHOWN = 80  # letters of a name in messages
WAY_OUT = "export it with external_data=False, or put the file beside it"


def take_in(model: "ModelProto", folder: Path, most: int) -> Iterator[bytes]:
    """Put what lies in files in ``folder`` into the tensors of a model, and give the bytes of each.

    most: bytes, in all of them. Raises SynflipError, naming the tensor and the file.
    """
    for tensor in _tensors(model):
        if tensor.data_location == EXTERNAL:
            content = _read(tensor, folder, most)
            most -= len(content)
            del tensor.external_data[:]
            tensor.ClearField("data_location")
            tensor.raw_data = content
            yield content


def _tensors(model: "ModelProto") -> "Iterator[TensorProto]":
    """The constants that networks have: of the graph, and of its nodes."""
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t


def _read(tensor: "TensorProto", folder: Path, most: int) -> bytes:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    name = entries.get("location", "")
    what = f"tensor {one_line(tensor.name[:SHOWN])!r} lies in another file, {one_line(name[:SHOWN])!r}"
    if name in ("", ".", "..") or any(sign in name for sign in "/\\:\0"):
        raise SynflipError(f"{what}, which is no name of a file in the same folder: {WAY_OUT}")
    try:
        found = (folder / name).lstat()
        if not stat.S_ISREG(found.st_mode):
            raise SynflipError(f"{what}, which is no regular file: {WAY_OUT}")
        offset = _number(what, "offset", entries.get("offset", "0"))
        length = _number(what, "length", entries.get("length", str(max(found.st_size - offset, 0))))
        if offset + length > found.st_size:
            raise SynflipError(
                f"{what}: bytes {offset} to {offset + length} of {found.st_size}; copy both files again"
            )
        if length > most:
            raise SynflipError(f"{what}: {length} bytes, and {most} are left of what a network may have")
        with (folder / name).open("rb") as file:
            file.seek(offset)
            content = file.read(length)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SynflipError(f"{what}, which cannot be read ({reason}): {WAY_OUT}") from None
    return content


def _number(what: str, name: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise SynflipError(f"{what}: its {name} is {one_line(text[:SHOWN])!r}, not a number of bytes")
    return int(text)
