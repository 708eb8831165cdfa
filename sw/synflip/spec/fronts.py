"""What a board's accelerator is behind."""

from enum import StrEnum


class Front(StrEnum):
    """Between the host and a board's accelerator: a UART, or a USB device."""

    serial = "serial"
    usb = "usb"
