"""The device that a name stands for.

Golden, cuda, serial ports, USB and pools are built in. Every other device is an entry point of the group
``synflip.devices``: its name is the first word of the device's name, and it is a function

    def open(text: str, geometry: Geometry | None) -> Device

which gets what follows the colon in the name (``ecp5:16x4`` of ``netlist:ecp5:16x4``; empty without a colon)
and the geometry that the caller asks for besides. All names follow GRAMMAR, which ``DeviceName`` reads. A
package adds a device in its own pyproject.toml:

    [project.entry-points."synflip.devices"]
    mine = "my_package.my_module:open_mine"
"""

import os
import re
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from synflip.errors import SynflipError
from synflip.inference.device import Device
from synflip.spec.geometry import Geometry
from synflip.spec.usb import USB
from synflip.util.extras import explained
from synflip.util.text import one_line

GROUP = "synflip.devices"
Opener = Callable[[str, Geometry | None], Device]
#: How a device is named, wherever one is.
GRAMMAR = (
    "a device is NAME, or NAME:PxQ for P lanes and Q banks, or NAME:PxQ,SETTING=N (golden, golden:16x2, "
    "netlist:ecp5:16x1,image_slots=4); or a serial port, PORT or PORT@BAUD (/dev/ttyUSB0, COM3@1000000); or "
    "one on USB, usb:SERIAL; or several that share the work, pool:DEVICE,DEVICE"
)
FAMILIES = ("ecp5", "ice40")  # that a netlist is of
POOL = "pool"
_SETTING = r",(?!\w+=[^:/]*(?:,|$))"  # a comma that no setting of a geometry follows


@dataclass(frozen=True)
class DeviceName:
    """A device's name in parts.

    kind: of the device, ``golden`` or ``netlist:ecp5``; of a serial port its path. geometry: text after it,
    ``16x2`` or ``16x2,bits=3``, which ``Geometry.parse`` reads; None if the name has none. baud: of a serial
    port, if the name says it. port: whether it is one, or an accelerator on USB, whose kind is the whole
    name: it says itself what it is. members: names of the devices of a pool.
    """

    kind: str
    geometry: str | None = None
    baud: int | None = None
    port: bool = False
    members: tuple[str, ...] = ()

    @classmethod
    def parse(cls, name: str) -> "DeviceName":
        """The parts of ``name``. Nothing is opened. Raises SynflipError for a name that breaks GRAMMAR, for a
        geometry that no accelerator has, and for a device that is not installed."""
        if not isinstance(name, str):
            raise SynflipError(f"a device's name is a text, not a {type(name).__name__}; {GRAMMAR}")
        if name.partition(":")[0] == POOL:
            return cls(POOL, members=_members(name))
        if _is_usb(name):
            return cls(name, port=True)
        if _is_port(name):
            path, at, baud = (name, "", "") if os.path.exists(name) else _cut(name, "@")
            if at and not re.fullmatch(r"[0-9]{1,12}", baud):
                what = f"{one_line(baud[:20])!r} in {one_line(name[:100])!r}"
                raise SynflipError(f"{what} is not a baud rate, such as 1000000; {GRAMMAR}")
            return cls(path, baud=int(baud) if at else None, port=True)
        kind, colon, text = _cut(name, ":")
        if not colon or text in FAMILIES:
            kind, text = name, ""
        first, _, rest = kind.partition(":")
        known = names()
        if first not in known or (first in BUILT_IN and rest):
            raise SynflipError(
                f"no device {one_line(name)!r}; there are {', '.join(known)}, and serial ports; {GRAMMAR}"
            )
        if first == "netlist" and rest not in FAMILIES:
            raise SynflipError(
                f"no netlist family {one_line(rest or text)!r}; there are {' and '.join(FAMILIES)}; {GRAMMAR}"
            )
        if kind != name:
            try:
                Geometry.parse(text)
            except SynflipError as error:
                raise SynflipError(f"device {one_line(name)!r}: {error}; {GRAMMAR}") from None
        return cls(kind, text if kind != name else None)

    def single(self, work: str) -> "DeviceName":
        """Itself. Raises SynflipError for a pool, which ``work`` has no use for."""
        if self.members:
            raise SynflipError(f"{work} needs one device, not a pool, whose cycles depend on how it shares")
        return self


def _members(name: str) -> tuple[str, ...]:
    """Names of the devices of the pool ``name``. Raises SynflipError."""
    members, ports = tuple(re.split(_SETTING, name.partition(":")[2])), []
    for member in members:
        if not member or member.partition(":")[0] == POOL:
            what = "a pool" if member else "nothing"
            raise SynflipError(f"{what} is no device of a pool, in {one_line(name[:100])!r}; {GRAMMAR}")
        if DeviceName.parse(member).port:
            ports.append(member)
    for port in ports:
        if ports.count(port) > 1:
            raise SynflipError(f"{one_line(port)} is twice in {one_line(name[:100])!r}: name it once")
    return members


def _is_port(name: str) -> bool:
    return "/" in name or re.fullmatch(r"COM\d+(@.*)?", name) is not None


def _is_usb(name: str) -> bool:
    return name == USB or name.startswith(f"{USB}:")


def _cut(text: str, mark: str) -> tuple[str, str, str]:
    """What is before the last ``mark``, the mark, and what is after it; all of ``text`` first without one."""
    before, found, after = text.rpartition(mark)
    return (before, found, after) if found else (text, "", "")


def names() -> list[str]:
    """First words of the names of all devices but serial ports: those built in and those of packages."""
    return sorted({*BUILT_IN, *(point.name for point in _points())})


def listed() -> list[tuple[str, str]]:
    """Names of devices, and what each is: those that are built in and those of packages, of these also which
    package brings them, and the serial ports of this machine and its accelerators on USB, of which nothing is
    opened."""
    from serial.tools.list_ports import comports

    from synflip.devices import usb

    points = {point.name: f"of the package {point.value.partition('.')[0]}" for point in _points()}
    devices = {name: what for name, (_, what) in BUILT_IN.items()} | points
    ports = {port.device: f"serial port: {one_line(port.description)}" for port in sorted(comports())}
    return [*sorted(devices.items()), *ports.items(), *usb.listed()]


def _points() -> Iterable[EntryPoint]:
    return entry_points(group=GROUP)


def open_device(name: str, geometry: Geometry | str | None = None) -> Device:
    """The device called ``name``: ``golden``, ``cuda``, ``verilator``, ``icarus``, ``netlist:ecp5`` or
    ``netlist:ice40``, or one of them with a geometry of its own: ``verilator:64x8``,
    ``golden:16x2,image_slots=4``; or a serial port, perhaps with its baud rate: ``/dev/ttyUSB0``,
    ``COM3@1000000``; or an accelerator on USB by its serial number, ``usb:one``; or a device of another
    package; or a pool, several devices that share the work: ``pool:/dev/ttyUSB0,/dev/ttyUSB1,golden``.

    geometry: of a device whose name has none, a Geometry or a text such as ``16x2``. Without either a netlist
    is a small one (16x1), other devices are 64x8; a serial port's accelerator says itself what it is. The
    geometry of ``golden`` and ``cuda`` is that of the accelerator whose cycles they predict.

    Raises SynflipError, in one line, for a name that is none, for a package that is missing, for a port that
    cannot be opened, and if no accelerator answers there.
    """
    parts = DeviceName.parse(name)
    if geometry is not None and not isinstance(geometry, Geometry):
        geometry = Geometry.parse(geometry)
    if parts.port:
        return _open_port(parts)
    kind, _, text = name.partition(":")
    return _opener(kind, name)(text, geometry)


def chosen(text: str, geometry: Geometry | None = None) -> Geometry:
    """The geometry in a device's name, else the one asked for, else 64x8. Raises SynflipError."""
    return Geometry.parse(text) if text else geometry or Geometry()


def _open_port(name: DeviceName) -> Device:
    if _is_usb(name.kind):
        from synflip.devices.usb import open_usb

        return open_usb(name.kind.partition(":")[2])
    from synflip.devices.serial import BAUD, open_serial

    return open_serial(name.kind, BAUD if name.baud is None else name.baud)


def _open_golden(text: str, geometry: Geometry | None) -> Device:
    from synflip.golden.cpu import Golden

    return Golden(chosen(text, geometry))


def _open_cuda(text: str, geometry: Geometry | None) -> Device:
    from synflip.golden.cuda import CudaGolden

    return CudaGolden(chosen(text, geometry))


def _open_pool(text: str, geometry: Geometry | None) -> Device:
    from synflip.devices.pool import Pool

    with ExitStack() as opened:  # those before one that cannot be opened are closed again
        members = [
            (member, opened.enter_context(open_device(member, geometry)))
            for member in _members(f"{POOL}:{text}")
        ]
        opened.pop_all()
    return Pool(members)


#: What opens each, and what it is.
BUILT_IN: dict[str, tuple[Opener, str]] = {
    "golden": (_open_golden, "the reference, in torch"),
    "cuda": (_open_cuda, "the reference on a GPU"),
    POOL: (_open_pool, "several devices that share the work: pool:DEVICE,DEVICE"),
}


def _opener(kind: str, name: str) -> Opener:
    if kind in BUILT_IN:
        return BUILT_IN[kind][0]
    installed: dict[str, EntryPoint] = {point.name: point for point in _points()}
    try:
        return installed[kind].load()
    except ModuleNotFoundError as error:
        line = explained(error)
        if line is None:
            raise
        raise SynflipError(f"device {name}: {line}") from None
