"""Verilog text of the accelerator."""

import os
from collections.abc import Sequence

from amaranth.back import verilog
from amaranth.hdl import ClockDomain, Fragment, Module, Signal, Value
from amaranth.lib import wiring
from synflip.spec.frames import BAUD, SILENCE_BITS
from synflip.spec.geometry import Geometry
from synflip.spec.usb import SERIAL_NUMBER, Speed
from synflip.util.cache import tool_caches
from synflip.util.garbage import uncollected

from synflip_hdl.accelerator import Accelerator
from synflip_hdl.axi.top import AxiTop
from synflip_hdl.export.memories import EXPORTED_MODULES, MemoryModules
from synflip_hdl.export.processes import run_at_time_0
from synflip_hdl.serial.top import SerialTop

TOP, AXI_TOP, SERIAL_TOP, USB_TOP = "synflip", "synflip_axi", "synflip_serial", "synflip_usb"


def to_verilog(top: wiring.Component, name: str = TOP, reset: bool = True, clocks: Sequence[str] = ()) -> str:
    """Verilog-2005 of a component, as module ``name``, and of its memories' modules. One component gives one
    text, always the same.

    reset: whether the module has the input ``rst``; without it, registers only start with their initial
    values. clocks: domains beside ``sync``; each has the inputs DOMAIN_clk and DOMAIN_rst.
    """
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    members = [Value.cast(value) for _, _, value in top.signature.flatten(top)]
    ports = [value for value in members if isinstance(value, Signal)]  # no constants
    platform = MemoryModules()
    design = top
    if clocks:  # Amaranth would make them in any order
        design = Fragment.get(top, platform)
        for domain in map(ClockDomain, clocks):
            design.add_domains(domain)
            ports += [domain.clk, domain.rst]
    if not reset:
        inner, design = design, Module()
        design.submodules.top = inner
        design.domains.sync = sync = ClockDomain(reset_less=True)
        ports.append(sync.clk)
    with tool_caches(), uncollected():  # Yosys is WebAssembly, which is compiled once and kept
        text = verilog.convert(
            design,
            name=name,
            platform=platform,
            ports=ports,
            strip_internal_attrs=True,
            emit_src=False,
        )
    return run_at_time_0(text) + EXPORTED_MODULES


def convert(geometry: Geometry, reset: bool = True) -> str:
    """An accelerator: the bus's two streams are its ports. reset: see ``to_verilog``."""
    return to_verilog(Accelerator(geometry), reset=reset)


def convert_axi(geometry: Geometry) -> str:
    """An accelerator behind AXI, module ``synflip_axi``, see ``axi.top.AxiTop``."""
    return to_verilog(AxiTop(geometry), AXI_TOP)


def convert_serial(
    geometry: Geometry, clock: float, baud: float = BAUD, silence_bits: int = SILENCE_BITS
) -> str:
    """An accelerator behind a UART, module ``synflip_serial``, see ``serial.top.SerialTop``."""
    return to_verilog(SerialTop(geometry, clock, baud, silence_bits, queued=True), SERIAL_TOP)


def convert_usb(
    geometry: Geometry, clock: float, speed: Speed = Speed.high, serial_number: str = SERIAL_NUMBER
) -> str:
    """An accelerator behind a USB device, module ``synflip_usb``, see ``usb.top.UsbTop``. Raises SynflipError
    without LUNA."""
    from synflip_hdl.usb.link import DOMAINS  # only here, because it needs LUNA
    from synflip_hdl.usb.top import UsbTop

    top = UsbTop(geometry, clock, serial_number, speed=speed)
    return to_verilog(top, USB_TOP, clocks=DOMAINS[speed])
