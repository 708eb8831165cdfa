"""What host and device have agreed on about USB. docs/reference/usb.md has the rules.

The bytes of the two bulk endpoints are those of the serial line, ``spec.frames``.
"""

import re
from enum import StrEnum

from synflip.errors import SynflipError

USB = "usb"  # of a device's name, before its serial number
#: For tests: pid.codes gives this pair to nobody, so it is not to be shipped in a product.
VENDOR, PRODUCT = 0x1209, 0x0001
MAKER, TITLE = "synflip", "synflip accelerator"
SERIAL_NUMBER = "1"  # of a device, unless it is given one
OUT_ENDPOINT, IN_ENDPOINT = 1, 1  # numbers; the address of the second has IN_DIRECTION, too
IN_DIRECTION = 0x80
CONTROL_PACKET = 64  # bytes of endpoint 0's packets, at most
ULPI_CLOCK = 60e6  # Hz, of a transceiver
BIT_CLOCK, SAMPLE_CLOCK = 12e6, 48e6  # Hz, of full speed: its bits, and its lines as they are sampled


class Speed(StrEnum):
    """Of a device. full: 12 Mbit/s, by pins of the FPGA. high: 480 Mbit/s, by a transceiver (ULPI)."""

    full = "full"
    high = "high"


BULK_PACKET = {Speed.full: 64, Speed.high: 512}  # bytes, at most


def check_serial_number(text: str) -> None:
    """Raises SynflipError for a serial number that does not fit into a device's name."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", text):
        raise SynflipError(f"the serial number {text[:40]!r} is not 1 to 32 letters, digits, '-' and '_'")
