"""The device that a name stands for.

Golden, cuda and serial ports are built in. Every other device is an entry point of the group
``synflip.devices``: its name is the first word of the device's name, and it is a function

    def open(text: str, geometry: Geometry | None) -> Device

which gets what follows the colon in the name (``ecp5:16x4`` of ``netlist:ecp5:16x4``; empty without a colon)
and the geometry that the caller asks for besides. A package adds a device in its own pyproject.toml:

    [project.entry-points."synflip.devices"]
    mine = "my_package.my_module:open_mine"
"""

import re
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from synflip.errors import SynflipError
from synflip.inference.device import Device
from synflip.spec.geometry import Geometry
from synflip.util.extras import explained

GROUP = "synflip.devices"
Opener = Callable[[str, Geometry | None], Device]


def is_port(name: str) -> bool:
    """Whether ``name`` is a serial port: a path, or COM and a number; perhaps with @ and a baud rate."""
    return "/" in name or re.fullmatch(r"COM\d+(@.*)?", name) is not None


def open_device(name: str, geometry: Geometry | None = None) -> Device:
    """The device called ``name``: ``golden``, ``cuda``, ``verilator``, ``icarus``, ``netlist:ecp5`` or
    ``netlist:ice40``, or one of them with a geometry of its own: ``verilator:64x8``; or a serial port,
    perhaps with its baud rate: ``/dev/ttyUSB0``, ``COM3@1000000``; or a device of another package.

    Without a geometry a netlist is a small one (16x1), other simulations are 64x8. Raises SynflipError.
    """
    if is_port(name):
        return _open_port(name)
    kind, _, text = name.partition(":")
    return _opener(kind, name)(text, geometry)


def chosen(text: str, geometry: Geometry | None = None) -> Geometry:
    """The geometry in a device's name, else the one asked for, else 64x8. Raises SynflipError."""
    return Geometry.parse(text) if text else geometry or Geometry()


def _open_port(name: str) -> Device:
    from synflip.devices.serial import BAUD, open_serial

    path, _, baud = name.partition("@")
    if baud and not baud.isdecimal():
        raise SynflipError(f"{baud!r} in {name!r} is not a baud rate, such as 1000000")
    return open_serial(path, int(baud) if baud else BAUD)


def _open_golden(text: str, geometry: Geometry | None) -> Device:
    from synflip.golden.cpu import Golden

    return Golden(chosen(text, geometry))


def _open_cuda(text: str, geometry: Geometry | None) -> Device:
    from synflip.golden.cuda import CudaGolden

    return CudaGolden(chosen(text, geometry))


BUILT_IN: dict[str, Opener] = {"golden": _open_golden, "cuda": _open_cuda}


def _opener(kind: str, name: str) -> Opener:
    if kind in BUILT_IN:
        return BUILT_IN[kind]
    installed: dict[str, EntryPoint] = {point.name: point for point in entry_points(group=GROUP)}
    if kind not in installed:
        names = ", ".join(sorted({*BUILT_IN, *installed}))
        raise SynflipError(
            f"no device {name!r}; there are {names}, and serial ports such as /dev/ttyUSB0; "
            "netlist takes a family: netlist:ecp5, netlist:ice40"
        )
    try:
        return installed[kind].load()
    except ModuleNotFoundError as error:
        line = explained(error)
        if line is None:
            raise
        raise SynflipError(f"device {name}: {line}") from None
