"""Values of ports: integers on the simulator's side, dictionaries and lists by the gateware's layouts on ours."""

import re
from typing import Any

from amaranth.hdl import Shape
from amaranth.lib.data import ArrayLayout, Layout


def pack(shape: Any, value: Any) -> int:
    """The bits of a dictionary (struct), list (array) or integer. What a dictionary leaves out is 0."""
    if not isinstance(shape, Layout):
        return int(value) & ((1 << Shape.cast(shape).width) - 1)
    items = enumerate(value) if isinstance(shape, ArrayLayout) else value.items()
    bits = 0
    for key, part in items:
        field = shape[key]
        bits |= pack(field.shape, part) << field.offset
    return bits


def unpack(shape: Any, bits: int) -> Any:
    """The opposite of ``pack``."""
    if not isinstance(shape, Layout):
        width = Shape.cast(shape).width
        bits &= (1 << width) - 1
        return bits - (bits >> (width - 1) << width) if Shape.cast(shape).signed and width else bits
    parts = {key: unpack(field.shape, bits >> field.offset) for key, field in shape}
    return list(parts.values()) if isinstance(shape, ArrayLayout) else parts


def read(handle: Any) -> int:
    """The bits of a signal now."""
    value = handle.value
    return int(value) if len(value) == 1 else value.to_unsigned()


def child(scope: Any, name: str) -> Any:
    """A signal or instance inside ``scope``. Where a name was taken, the Verilog has it with a number behind."""
    pattern = re.compile(re.escape(name) + r"(\$\d+)?")
    found = [item for item in scope if pattern.fullmatch(item._name.strip("\\ "))]
    if len(found) != 1:
        raise LookupError(f"{len(found)} signals or instances {name} in {scope._path}")
    return found[0]
