"""What host and device have agreed on about USB. docs/reference/usb.md has the rules.

The bytes of the two bulk endpoints are those of the serial line, ``spec.frames``.
"""

USB = "usb"  # of a device's name, before its serial number
#: For tests: pid.codes gives this pair to nobody, so it is not to be shipped in a product.
VENDOR, PRODUCT = 0x1209, 0x0001
MAKER, TITLE = "synflip", "synflip accelerator"
OUT_ENDPOINT, IN_ENDPOINT = 1, 1  # numbers; the address of the second has IN_DIRECTION, too
IN_DIRECTION = 0x80
CONTROL_PACKET = 64  # bytes of endpoint 0's packets, at most
FULL_SPEED_PACKET, HIGH_SPEED_PACKET = 64, 512  # bytes of a bulk packet, at most
