"""An accelerator on USB: the serial line's frames in two bulk endpoints, by pyusb and libusb.

docs/reference/usb.md has the rules."""

import errno
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from synflip.devices.accelerator import Accelerator
from synflip.devices.serial import MOST_BAUD, POLL, WRITE_TIMEOUT, SerialTransport, open_transport
from synflip.devices.transport import BusError
from synflip.spec.usb import (
    BULK_PACKET,
    IN_DIRECTION,
    IN_ENDPOINT,
    OUT_ENDPOINT,
    PRODUCT,
    TITLE,
    USB,
    VENDOR,
    Speed,
)
from synflip.util.extras import available, require
from synflip.util.text import one_line

TRANSFER = 16 * BULK_PACKET[Speed.high]  # bytes of a transfer to the host, at most: more than any answer
CONFIGURATION, INTERFACE = 1, 0
MILLISECONDS = 1000
REFUSED = "a device on USB may not be opened; docs/guide/usb.md says how to allow it"


class UsbPort:
    """The two endpoints as a ``serial.Port``. pyusb's errors are OSErrors, as a serial port's are."""

    def __init__(self, device: Any) -> None:
        """device: of pyusb. Raises OSError if another program holds it, or it may not be opened."""
        import usb.util

        self._device = device
        self._util = usb.util
        try:
            # Both ends begin with DATA0, and what an earlier host has left waiting is gone.
            device.set_configuration(CONFIGURATION)
            usb.util.claim_interface(device, INTERFACE)
        except BaseException:
            usb.util.dispose_resources(device)
            raise

    @property
    def in_waiting(self) -> int:
        """Bytes that a transfer may bring. It ends with a short packet, behind each answer."""
        return TRANSFER

    def read(self, size: int) -> bytes:
        """What one transfer brings, none if it takes longer than POLL."""
        from usb.core import USBTimeoutError

        try:
            return bytes(self._device.read(IN_DIRECTION | IN_ENDPOINT, size, round(POLL * MILLISECONDS)))
        except USBTimeoutError:
            return b""

    def write(self, content: bytes) -> None:
        """Send bytes. Raises OSError if the device does not take all of them in time."""
        sent = self._device.write(OUT_ENDPOINT, content, round(WRITE_TIMEOUT * MILLISECONDS))
        if sent != len(content):
            raise OSError(errno.EIO, f"{sent} of {len(content)} bytes were taken")

    def close(self) -> None:
        """Let other programs have it. That it is gone already is no error."""
        with suppress(OSError):
            self._util.release_interface(self._device, INTERFACE)
        with suppress(OSError):
            self._util.dispose_resources(self._device)


def plugged() -> list[tuple[str | None, Any]]:
    """Serial number and device of pyusb of each device with our numbers: None if it may not be read, empty if
    it is no accelerator. Raises BusError without libusb."""
    require("usb", extra="usb")
    import usb.core

    try:
        found: Iterable[Any] = usb.core.find(find_all=True, idVendor=VENDOR, idProduct=PRODUCT)
        return [(_serial_number(device), device) for device in found]
    except usb.core.NoBackendError:
        raise BusError("USB needs the library libusb (Debian: apt install libusb-1.0-0)") from None


def _serial_number(device: Any) -> str | None:
    # Of this vendor and product there may be other people's tests.
    with suppress(OSError, ValueError, NotImplementedError):
        return device.serial_number or "" if device.product == TITLE else ""
    return None


def listed() -> list[tuple[str, str]]:
    """Names and what they are of the accelerators on USB; none if pyusb or libusb is missing."""
    if not available("usb"):
        return []
    try:
        numbers = sorted(number for number, _ in plugged() if number)
    except BusError:
        return []
    return [(f"{USB}:{one_line(number)}", TITLE) for number in numbers]


def open_usb(serial_number: str) -> Accelerator:
    """The accelerator on USB with this serial number; with none, the only one. A run that another host has
    left is aborted. Raises SynflipError if it is not there, may not be opened, or does not answer."""
    name = f"{USB}:{serial_number}" if serial_number else USB
    items = plugged()
    found = [(number, device) for number, device in items if number and serial_number in ("", number)]
    if not found and any(number is None for number, _ in items):
        raise BusError(f"{one_line(name)}: {REFUSED}")
    if not found:
        raise BusError(f"{one_line(name)}: no such accelerator is plugged in; `synflip devices` lists them")
    if len(found) > 1:
        names = ", ".join(f"{USB}:{one_line(number)}" for number, _ in found)
        raise BusError(f"{one_line(name)} is one of {names}: name the one, by a serial number of its own")
    try:
        port = UsbPort(found[0][1])
    except OSError as error:
        if error.errno == errno.EACCES:
            raise BusError(f"{one_line(name)}: {REFUSED}") from None
        held = "; another program holds it" if error.errno == errno.EBUSY else ""
        raise BusError(f"{name} cannot be opened: {error}{held}") from None
    return open_transport(SerialTransport(name, MOST_BAUD, port=port))
