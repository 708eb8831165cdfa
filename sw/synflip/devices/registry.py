"""The device that a name stands for."""

import re

from synflip.errors import SynflipError
from synflip.inference.device import Device
from synflip.spec.geometry import Geometry


def is_port(name: str) -> bool:
    """Whether ``name`` is a serial port: a path, or COM and a number; perhaps with @ and a baud rate."""
    return "/" in name or re.fullmatch(r"COM\d+(@.*)?", name) is not None


def open_device(name: str, geometry: Geometry | None = None) -> Device:
    """The device called ``name``: ``golden``, ``cuda``, ``verilator``, ``icarus``, ``netlist:ecp5`` or
    ``netlist:ice40``, or one of them with a geometry of its own: ``verilator:64x8``; or a serial port,
    perhaps with its baud rate: ``/dev/ttyUSB0``, ``COM3@1000000``.

    Without a geometry a netlist is a small one (16x1), other simulations are 64x8. Raises SynflipError.
    """
    if is_port(name):
        from synflip.devices.serial import BAUD, open_serial

        path, _, baud = name.partition("@")
        if baud and not baud.isdecimal():
            raise SynflipError(f"{baud!r} in {name!r} is not a baud rate, such as 1000000")
        return open_serial(path, int(baud) if baud else BAUD)
    kind, _, size = name.partition(":")
    if kind == "netlist":
        from synflip_sim.simulators.netlist import open_netlist

        family, _, size = size.partition(":")
        return open_netlist(family, Geometry.parse(size) if size else geometry)
    geometry = Geometry.parse(size) if size else geometry or Geometry()
    if kind == "golden":
        from synflip.golden.cpu import Golden

        return Golden(geometry)
    if kind == "cuda":
        from synflip.golden.cuda import TorchGolden

        return TorchGolden(geometry)
    if kind == "verilator":
        from synflip_sim.simulators.verilator import open_verilator

        return open_verilator(geometry)
    if kind == "icarus":
        from synflip_sim.simulators.icarus import open_icarus

        return open_icarus(geometry)
    raise SynflipError(
        f"no device {name!r}; there are golden, cuda, verilator, icarus, netlist:ecp5 and netlist:ice40"
    )
