"""What a board's accelerator is behind, and the links to it whose rates are computed."""

from enum import StrEnum


class Front(StrEnum):
    """Between the host and a board's accelerator: a UART, or a USB device."""

    serial = "serial"
    usb = "usb"


class Link(StrEnum):
    """Between host and accelerator. ahead: a serial line whose device takes requests ahead."""

    serial = "serial line"
    ahead = "serial line, ahead"
    usb = "USB"
    full_speed = "USB, full speed"
    axi = "AXI"
