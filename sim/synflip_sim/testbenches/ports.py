"""Values of ports: integers in the simulator, dictionaries and lists by the gateware's layouts in a bench."""

import os
import re
from typing import Any

from amaranth.hdl import Shape
from amaranth.lib.data import ArrayLayout, Layout
from cocotb.handle import HierarchyObject


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


def signal(scope: HierarchyObject, name: str) -> Any:
    """A signal inside an instance; inside the top, a port."""
    return getattr(scope, name)


def block(scope: HierarchyObject, name: str) -> HierarchyObject:
    """An instance inside an instance. Where its name was taken, the Verilog has it with a number behind."""
    instances = [item for item in scope if isinstance(item, HierarchyObject)]
    found = [item for item in instances if re.fullmatch(rf"\\?{name}(\$\d+)? ?", item._name)]
    if len(found) != 1:
        raise LookupError(f"{len(found)} instances {name} in {scope._path}")
    return found[0]


def begin_reset(line: Any, active: int) -> bool:
    """Drive the reset at the start of a bench as the environment's variable RESET says; whether it is active.

    RESET: "active" (the default); "idle": the run starts without a reset; "open": nobody ever drives it.
    active: the line's level in reset.
    """
    kind = os.environ.get("RESET", "active")
    if kind != "open":
        line.value = active if kind == "active" else 1 - active
    return kind == "active"
